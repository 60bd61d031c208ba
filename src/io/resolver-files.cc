#include "io/resolver-files.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>

#include "lib/handle.h"
#include "lib/text.h"

namespace postern::io {
namespace {

constexpr std::size_t kMaxServers = 8;
constexpr std::size_t kMaxFile = 1024UL * 1024;

/// Calls `take` with the words of every line that is not empty, comments removed.
template <class Take>
void each_line(std::string_view text, Take take) {
  while (!text.empty()) {
    std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    line = line.substr(0, line.find_first_of("#;"));
    const auto found = words(line, " \t\r");
    if (found.size() >= 2) take(found);
  }
}

/// "127.0.0.1:5300" or a bare address, in the form evdns reads; empty if it is neither.
std::string server_address(std::string_view text) {
  text = text.substr(0, text.find('%'));  // evdns knows no scopes
  if (const auto ip = IpAddress::parse(text)) {
    return ip->is_v6() ? "[" + ip->text() + "]" : ip->text();
  }
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos || !decimal(text.substr(colon + 1), 1, 65535)) return {};
  std::string_view host = text.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  return IpAddress::parse(host) ? std::string(text) : std::string();
}

}  // namespace

ResolvConf parse_resolv_conf(std::string_view text) {
  ResolvConf out;
  each_line(text, [&out](const std::vector<std::string_view>& line) {
    if (line[0] == "nameserver" && out.servers.size() < kMaxServers) {
      std::string address = server_address(line[1]);
      if (!address.empty()) out.servers.push_back(std::move(address));
    } else if (line[0] == "options") {
      for (std::size_t i = 1; i < line.size(); i++) {
        const std::size_t colon = line[i].find(':');
        if (colon == std::string_view::npos) continue;
        const std::string_view name = line[i].substr(0, colon);
        const std::string_view value = line[i].substr(colon + 1);
        if ((name == "timeout" || name == "attempts") && decimal(value, 1, 30)) {
          out.options.emplace_back(name, value);
        }
      }
    }
  });
  return out;
}

Hosts parse_hosts(std::string_view text) {
  Hosts out;
  each_line(text, [&out](const std::vector<std::string_view>& line) {
    const auto ip = IpAddress::parse(line[0]);
    if (!ip) return;
    for (std::size_t i = 1; i < line.size(); i++) {
      auto& addresses = out[to_lower(line[i])];
      if (std::find(addresses.begin(), addresses.end(), *ip) == addresses.end()) {
        addresses.push_back(*ip);
      }
    }
  });
  return out;
}

std::string read_small_file(const std::string& path) {
  std::string out;
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) return out;
  while (out.size() < kMaxFile) {
    constexpr std::size_t kStep = 8192;
    const std::size_t size = out.size();
    out.resize(size + kStep);
    const ssize_t n = ::read(fd.get(), out.data() + size, kStep);
    out.resize(size + static_cast<std::size_t>(std::max<ssize_t>(n, 0)));
    if (n == 0 || (n < 0 && errno != EINTR)) break;
  }
  return out;
}

}  // namespace postern::io
