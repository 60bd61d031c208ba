#pragma once

#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "lib/ip.h"

/// What the resolver reads at start. Lines it does not understand are passed over, as every
/// resolver does.
namespace postern::io {

struct ResolvConf {
  std::vector<std::string> servers;  // "192.0.2.1", "[2001:db8::1]:53"; at most 8
  std::vector<std::pair<std::string, std::string>> options;  // evdns's names: timeout, attempts
};
/// resolv.conf(5): nameserver, and of options timeout and attempts. `nameserver` takes a port after
/// the address as well ("127.0.0.1:5300").
ResolvConf parse_resolv_conf(std::string_view text);

/// hosts(5): lower-case names to their addresses, in file order.
using Hosts = std::unordered_map<std::string, std::vector<IpAddress>>;
Hosts parse_hosts(std::string_view text);

/// A file's first megabyte; empty if it cannot be read.
std::string read_small_file(const std::string& path);

}  // namespace postern::io
