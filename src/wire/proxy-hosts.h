#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/ip.h"
#include "lib/result.h"

/// Where a login may be proxied to: the list that a passdb may have in `host`, and the field
/// `proxy_hosts` in which auth tells our login processes what came of it.
namespace postern::wire {

inline constexpr std::size_t kMaxHostText = 1024;      // bytes of `host`
inline constexpr std::size_t kMaxProxyHosts = 16;      // in one list
inline constexpr std::size_t kMaxProxyAddresses = 32;  // of all its hosts together
inline constexpr unsigned kMaxHostWeight = 100;

/// One entry of `host`.
struct HostSpec {
  std::string name;             // a DNS name, or the address as text; without brackets
  std::optional<IpAddress> ip;  // if the name is one
  std::uint16_t port = 0;       // 0: not said
  unsigned weight = 1;          // 1..kMaxHostWeight
  bool operator==(const HostSpec&) const = default;
};

/// Reads `host`: entries separated by commas, each a name or an address, with `:port` and `*weight`
/// behind it. An IPv6 address stands in brackets if a port follows. An entry that comes twice
/// counts once.
/// @return at least one host; an Error that quotes nothing of `text` if any entry is wrong
Result<std::vector<HostSpec>> parse_host_list(std::string_view text);

/// One host that a login may go to, in the order they are to be tried.
struct ProxyHost {
  std::string name;                  // for the certificate and the log
  std::uint16_t port = 0;            // 0: the protocol's
  std::vector<IpAddress> addresses;  // at least one
  bool operator==(const ProxyHost&) const = default;
};

/// "NAME PORT ADDRESS,ADDRESS;NAME PORT ADDRESS"
std::string proxy_hosts_text(const std::vector<ProxyHost>& hosts);
/// The reverse; strict, and bounded as above.
Result<std::vector<ProxyHost>> parse_proxy_hosts(std::string_view text);

}  // namespace postern::wire
