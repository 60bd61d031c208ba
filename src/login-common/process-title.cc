#include "login-common/process-title.h"

#include <fmt/format.h>

#include <cstring>

namespace postern::login {

ProcessTitle::ProcessTitle(int argc, char** argv) {
  if (argc < 1 || argv == nullptr || argv[0] == nullptr) return;
  // The kernel puts the arguments behind each other, in order.
  begin_ = argv[0];
  char* end = begin_ + std::strlen(begin_) + 1;
  for (int i = 1; i < argc && argv[i] == end; ++i) end = argv[i] + std::strlen(argv[i]) + 1;
  room_ = static_cast<std::size_t>(end - begin_);
}

void ProcessTitle::set(std::string_view title) {
  if (room_ < 2 || title == shown_) return;
  shown_ = title.substr(0, room_ - 1);
  std::memcpy(begin_, shown_.data(), shown_.size());
  std::memset(begin_ + shown_.size(), 0, room_ - shown_.size());
}

std::string title_text(const TitleFacts& facts) {
  std::string out = fmt::format("{}/{} [", facts.instance, facts.program);
  if (facts.pre_login + facts.proxies == 1) {
    out += facts.only_ip;
    out += facts.only_tls ? " TLS " : " ";
    out += facts.pre_login == 1 ? "pre-login" : "proxy";
  } else {
    out += fmt::format("{} pre-login", facts.pre_login);
    if (facts.proxies > 0) out += fmt::format(" + {} proxies", facts.proxies);
  }
  return out + "]";
}

}  // namespace postern::login
