#include "login-common/source-ips.h"

#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>

#include "lib/handle.h"
#include "lib/log.h"
#include "lib/text.h"

namespace postern::login {
namespace {

std::vector<IpAddress> resolve(const std::string& word) {
  if (const auto ip = IpAddress::parse(word)) return {*ip};
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  const int error = getaddrinfo(word.c_str(), nullptr, &hints, &list);
  if (error != 0) {
    log::error("login_source_ips: cannot resolve {}: {}", log_safe(word), gai_strerror(error));
    return {};
  }
  const Handle<addrinfo, freeaddrinfo> owner(list);
  std::vector<IpAddress> out;
  for (const addrinfo* one = list; one != nullptr; one = one->ai_next) {
    sockaddr_storage address{};
    std::memcpy(&address, one->ai_addr, std::min<std::size_t>(one->ai_addrlen, sizeof address));
    const IpAddress ip = Endpoint::from_sockaddr(address).ip;
    if (ip) out.push_back(ip);
  }
  return out;
}

bool can_bind(const IpAddress& ip) noexcept {
  sockaddr_storage address{};
  const socklen_t size = Endpoint{ip, 0}.to_sockaddr(address);
  const UniqueFd fd(::socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const void* plain = &address;
  return fd && ::bind(fd.get(), static_cast<const sockaddr*>(plain), size) == 0;
}

/// Somewhere in [0, size): processes that start together need not begin together.
std::size_t any_turn(std::size_t size) noexcept {
  return size == 0 ? 0 : static_cast<std::size_t>(::getpid()) % size;
}

}  // namespace

SourceIps::SourceIps(const std::vector<std::string>& setting) {
  bool skip_unusable = false;
  for (std::size_t i = 0; i < setting.size(); ++i) {
    std::string word = setting[i];
    if (i == 0 && word.starts_with('?')) {
      skip_unusable = true;
      word.erase(0, 1);
      if (word.empty()) continue;
    }
    for (const IpAddress& ip : resolve(word)) {
      if (std::find(addresses_.begin(), addresses_.end(), ip) != addresses_.end()) continue;
      if (skip_unusable && !can_bind(ip)) continue;
      addresses_.push_back(ip);
    }
  }
  turn_ = any_turn(addresses_.size());
}

std::optional<IpAddress> SourceIps::next(const IpAddress& to) noexcept {
  for (std::size_t i = 0; i < addresses_.size(); ++i) {
    const IpAddress& ip = addresses_[turn_];
    turn_ = (turn_ + 1) % addresses_.size();
    if (ip.family() == to.family()) return ip;
  }
  return std::nullopt;
}

}  // namespace postern::login
