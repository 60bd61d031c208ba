#include "pop3-login/backend-xclient.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <string_view>

#include "lib/text.h"
#include "wire/tab-line.h"

namespace postern::pop3_login {
namespace {

/// Nothing that would end the value or the line, or be a nuisance in other hosts' logs.
bool is_word(std::string_view text, std::size_t most) {
  return !text.empty() && text.size() <= most && std::all_of(text.begin(), text.end(), [](char c) {
    return static_cast<unsigned char>(c) > ' ' && static_cast<unsigned char>(c) < 0x7f &&
           c != '"' && c != '\\';
  });
}

void append(std::string_view key, std::string_view value, std::string& line) {
  line.append(" ").append(key).append("=").append(value);
}

void append_endpoint(std::string_view ip, std::string_view port, const Endpoint& endpoint,
                     std::string& line) {
  if (!endpoint.ip) return;
  append(ip, endpoint.ip.text(), line);
  if (endpoint.port != 0) append(port, std::to_string(endpoint.port), line);
}

std::string forwarded(const login::BackendTarget& target) {
  std::string joined;
  for (const auto& [name, value] : target.forward) {
    if (!joined.empty()) joined += '\t';
    joined += wire::tab_escape(fmt::format("{}={}", name, value));
  }
  return joined.empty() ? joined : base64_encode(joined);
}

}  // namespace

bool append_xclient(const login::BackendTarget& target, WipingBuffer& out) {
  constexpr std::size_t kMaxSession = 64;
  constexpr std::size_t kMaxHost = 253;
  std::string line = "XCLIENT";
  append_endpoint("ADDR", "PORT", target.client, line);
  if (is_word(target.session, kMaxSession)) append("SESSION", target.session, line);
  append("TTL", std::to_string(target.ttl), line);
  if (!target.forward_2_3_only) {
    append("CLIENT-TRANSPORT", target.client_tls ? "TLS" : "insecure", line);
    append_endpoint("DESTADDR", "DESTPORT", target.local, line);
    if (is_word(target.local_name, kMaxHost)) append("DESTNAME", target.local_name, line);
  }
  const std::string forward = forwarded(target);
  constexpr std::string_view kForward = " FORWARD=";
  const bool fits = line.size() + kForward.size() + forward.size() + 2 <= kMaxXclientLine;
  if (!forward.empty() && fits) append("FORWARD", forward, line);
  out.append(line).append("\r\n");
  return fits || forward.empty();
}

}  // namespace postern::pop3_login
