#include "lib/ip.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <cstring>

#include "lib/text.h"

namespace postern {
namespace {

constexpr std::array<std::uint8_t, 12> kMappedPrefix{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

}  // namespace

std::optional<IpAddress> IpAddress::parse(std::string_view text) {
  if (text.empty() || text.size() >= INET6_ADDRSTRLEN) return std::nullopt;
  if (text.find('\0') != std::string_view::npos) return std::nullopt;  // inet_pton() stops there
  const std::string terminated(text);
  std::array<std::uint8_t, 16> raw{};
  if (inet_pton(AF_INET, terminated.c_str(), raw.data()) == 1)
    return from_bytes(Family::v4, raw.data());
  if (inet_pton(AF_INET6, terminated.c_str(), raw.data()) == 1)
    return from_bytes(Family::v6, raw.data());
  return std::nullopt;
}

IpAddress IpAddress::from_bytes(Family family, const void* bytes) noexcept {
  IpAddress ip;
  const auto* p = static_cast<const std::uint8_t*>(bytes);
  if (family == Family::v6 && std::equal(kMappedPrefix.begin(), kMappedPrefix.end(), p)) {
    family = Family::v4;
    p += kMappedPrefix.size();
  }
  ip.family_ = family;
  if (family == Family::v4) std::memcpy(ip.bytes_.data(), p, 4);
  if (family == Family::v6) std::memcpy(ip.bytes_.data(), p, 16);
  return ip;
}

std::string_view IpAddress::bytes() const noexcept {
  const std::size_t n = is_v4() ? 4 : is_v6() ? 16 : 0;
  return {reinterpret_cast<const char*>(bytes_.data()), n};
}

std::string IpAddress::text() const {
  if (!*this) return {};
  std::array<char, INET6_ADDRSTRLEN> buffer{};
  if (is_v4()) {
    // By hand: an address is in every log line many times over, and inet_ntop() asks printf.
    char* end = buffer.data();
    for (std::size_t i = 0; i < 4; i++) {
      if (i > 0) *end++ = '.';
      end = std::to_chars(end, buffer.data() + buffer.size(), bytes_[i]).ptr;
    }
    return {buffer.data(), end};
  }
  inet_ntop(AF_INET6, bytes_.data(), buffer.data(), buffer.size());
  return buffer.data();
}

Endpoint Endpoint::from_sockaddr(const sockaddr_storage& address) noexcept {
  Endpoint out;
  if (address.ss_family == AF_INET) {
    sockaddr_in in{};
    std::memcpy(&in, &address, sizeof in);
    out.ip = IpAddress::from_bytes(IpAddress::Family::v4, &in.sin_addr);
    out.port = ntohs(in.sin_port);
  } else if (address.ss_family == AF_INET6) {
    sockaddr_in6 in{};
    std::memcpy(&in, &address, sizeof in);
    out.ip = IpAddress::from_bytes(IpAddress::Family::v6, &in.sin6_addr);
    out.port = ntohs(in.sin6_port);
  }
  return out;
}

socklen_t Endpoint::to_sockaddr(sockaddr_storage& out) const noexcept {
  out = {};
  const std::string_view raw = ip.bytes();
  if (ip.is_v4()) {
    sockaddr_in in{};
    in.sin_family = AF_INET;
    in.sin_port = htons(port);
    std::memcpy(&in.sin_addr, raw.data(), raw.size());
    std::memcpy(&out, &in, sizeof in);
    return sizeof in;
  }
  sockaddr_in6 in{};
  in.sin6_family = AF_INET6;
  in.sin6_port = htons(port);
  if (ip.is_v6()) std::memcpy(&in.sin6_addr, raw.data(), raw.size());
  std::memcpy(&out, &in, sizeof in);
  return sizeof in;
}

std::string Endpoint::text() const {
  return (ip.is_v6() ? "[" + ip.text() + "]" : ip.text()) + ":" + std::to_string(port);
}

std::optional<Network> Network::parse(std::string_view text) {
  Network out;
  const std::size_t slash = text.find('/');
  const auto ip = IpAddress::parse(text.substr(0, slash));
  if (!ip) return std::nullopt;
  const unsigned all = ip->is_v4() ? 32 : 128;
  out.address_ = *ip;
  out.bits_ = all;
  if (slash != std::string_view::npos) {
    const auto bits = decimal(text.substr(slash + 1), 0, all);
    if (!bits) return std::nullopt;
    out.bits_ = static_cast<unsigned>(*bits);
  }
  return out;
}

bool Network::contains(const IpAddress& ip) const noexcept {
  if (ip.family() != address_.family()) return false;
  const std::string_view a = address_.bytes();
  const std::string_view b = ip.bytes();
  const std::size_t whole = bits_ / 8;
  if (a.substr(0, whole) != b.substr(0, whole)) return false;
  if (bits_ % 8 == 0) return true;
  const unsigned mask = 0xff00U >> bits_ % 8 & 0xffU;
  return ((static_cast<unsigned char>(a[whole]) ^ static_cast<unsigned char>(b[whole])) & mask) ==
         0;
}

std::string Network::text() const {
  return address_.text() + "/" + std::to_string(bits_);
}

bool any_contains(const std::vector<Network>& networks, const IpAddress& ip) noexcept {
  return std::any_of(networks.begin(), networks.end(),
                     [&](const Network& n) { return n.contains(ip); });
}

}  // namespace postern
