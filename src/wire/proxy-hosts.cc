#include "wire/proxy-hosts.h"

#include <algorithm>
#include <cerrno>

#include "lib/text.h"

namespace postern::wire {
namespace {

constexpr std::size_t kMaxName = 253;  // bytes of a DNS name

Error bad(std::string text) {
  return Error{EINVAL, std::move(text)};
}

bool is_host_name(std::string_view name) noexcept {
  return !name.empty() && name.size() <= kMaxName && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '-' || c == '_';
  });
}

/// The parts of `text` between separators; empty ones are kept.
std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> out;
  for (;;) {
    const std::size_t at = text.find(separator);
    out.push_back(text.substr(0, at));
    if (at == std::string_view::npos) return out;
    text.remove_prefix(at + 1);
  }
}

/// Cuts ":PORT" off `text`, which is left as the name.
bool take_port(std::string_view& text, std::uint16_t& port) {
  std::size_t colon = std::string_view::npos;
  if (text.starts_with('[')) {
    const std::size_t end = text.find(']');
    if (end == std::string_view::npos || end == 1) return false;
    const std::string_view behind = text.substr(end + 1);
    if (!behind.empty() && behind.front() != ':') return false;
    const std::string_view inside = text.substr(1, end - 1);
    const auto ip = IpAddress::parse(inside);
    if (!ip || inside.find(':') == std::string_view::npos) return false;
    if (behind.empty()) {
      text = inside;
      return true;
    }
    colon = end + 1;
  } else if (!IpAddress::parse(text)) {
    colon = text.find(':');
  }
  if (colon == std::string_view::npos) return true;
  const auto number = decimal(text.substr(colon + 1), 1, 65535);
  if (!number) return false;
  port = static_cast<std::uint16_t>(*number);
  text = text.starts_with('[') ? text.substr(1, colon - 2) : text.substr(0, colon);
  return true;
}

Result<HostSpec> parse_host(std::string_view text) {
  HostSpec out;
  if (const std::size_t star = text.find('*'); star != std::string_view::npos) {
    const auto weight = decimal(text.substr(star + 1), 1, kMaxHostWeight);
    if (!weight) return bad("a weight that is not 1 to 100");
    out.weight = static_cast<unsigned>(*weight);
    text = text.substr(0, star);
  }
  if (!take_port(text, out.port)) return bad("a port or brackets that are wrong");
  out.ip = IpAddress::parse(text);
  if (!out.ip && !is_host_name(text)) return bad("neither a name nor an address");
  out.name = text;
  return out;
}

bool is_same_place(const HostSpec& a, const HostSpec& b) {
  return a.port == b.port && a.ip == b.ip && same_text(a.name, b.name);
}

Result<ProxyHost> parse_proxy_host(std::string_view text) {
  const std::vector<std::string_view> parts = split(text, ' ');
  if (parts.size() != 3) return bad("a host without its three parts");
  ProxyHost out;
  if (!IpAddress::parse(parts[0]) && !is_host_name(parts[0])) return bad("a host without a name");
  out.name = parts[0];
  const auto port = decimal(parts[1], 0, 65535);
  if (!port) return bad("a host with a wrong port");
  out.port = static_cast<std::uint16_t>(*port);
  for (const std::string_view word : split(parts[2], ',')) {
    const auto ip = IpAddress::parse(word);
    if (!ip) return bad("a host with a wrong address");
    out.addresses.push_back(*ip);
  }
  return out;
}

}  // namespace

Result<std::vector<HostSpec>> parse_host_list(std::string_view text) {
  if (text.size() > kMaxHostText) return bad("too long");
  std::vector<HostSpec> out;
  for (const std::string_view part : split(text, ',')) {
    auto host = parse_host(trim(part));
    if (!host.ok()) return host.error();
    const bool again = std::ranges::any_of(
        out, [&](const HostSpec& known) { return is_same_place(known, host.value()); });
    if (again) continue;
    if (out.size() == kMaxProxyHosts) return bad("too many hosts");
    out.push_back(std::move(host).value());
  }
  return out;
}

std::string proxy_hosts_text(const std::vector<ProxyHost>& hosts) {
  std::string out;
  for (const ProxyHost& host : hosts) {
    if (!out.empty()) out += ';';
    out.append(host.name).append(" ").append(std::to_string(host.port)).append(" ");
    bool first = true;
    for (const IpAddress& ip : host.addresses) {
      if (!std::exchange(first, false)) out += ',';
      out += ip.text();
    }
  }
  return out;
}

Result<std::vector<ProxyHost>> parse_proxy_hosts(std::string_view text) {
  std::vector<ProxyHost> out;
  std::size_t addresses = 0;
  for (const std::string_view part : split(text, ';')) {
    auto host = parse_proxy_host(part);
    if (!host.ok()) return host.error();
    addresses += host.value().addresses.size();
    if (out.size() == kMaxProxyHosts || addresses > kMaxProxyAddresses) {
      return bad("too many hosts or addresses");
    }
    out.push_back(std::move(host).value());
  }
  return out;
}

}  // namespace postern::wire
