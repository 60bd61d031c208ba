#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace postern {

/// An IPv4 or IPv6 address; an IPv4-mapped IPv6 address is held as the IPv4 one. A value.
class IpAddress {
 public:
  enum class Family : std::uint8_t { none, v4, v6 };

  IpAddress() = default;  // no address
  /// Strict: a dotted quad, or RFC 4291 text without brackets or scope.
  static std::optional<IpAddress> parse(std::string_view text);
  static IpAddress from_bytes(Family family, const void* bytes) noexcept;

  Family family() const noexcept { return family_; }
  bool is_v4() const noexcept { return family_ == Family::v4; }
  bool is_v6() const noexcept { return family_ == Family::v6; }
  explicit operator bool() const noexcept { return family_ != Family::none; }
  /// Network order; 4 or 16 bytes, empty for no address.
  std::string_view bytes() const noexcept;
  /// Canonical text (RFC 5952); empty for no address.
  std::string text() const;
  bool operator==(const IpAddress&) const = default;
  // NOLINTNEXTLINE(modernize-use-nullptr): the 0 is the compiler's
  auto operator<=>(const IpAddress&) const = default;

 private:
  Family family_ = Family::none;
  std::array<std::uint8_t, 16> bytes_{};
};

/// Address and port of one end of a TCP connection. A value.
struct Endpoint {
  IpAddress ip;
  std::uint16_t port = 0;

  /// From what accept(2) or getsockname(2) filled in; a UNIX socket gives no address.
  static Endpoint from_sockaddr(const sockaddr_storage& address) noexcept;
  /// Fills `out` for connect(2) or bind(2); returns the length to pass.
  socklen_t to_sockaddr(sockaddr_storage& out) const noexcept;
  /// "192.0.2.1:143", "[2001:db8::1]:143".
  std::string text() const;
  bool operator==(const Endpoint&) const = default;
  // NOLINTNEXTLINE(modernize-use-nullptr)
  auto operator<=>(const Endpoint&) const = default;
};

/// A CIDR block; a bare address is its own /32 or /128.
class Network {
 public:
  /// "192.0.2.0/24", "2001:db8::/32", "192.0.2.1".
  static std::optional<Network> parse(std::string_view text);
  bool contains(const IpAddress& ip) const noexcept;
  unsigned bits() const noexcept { return bits_; }
  const IpAddress& address() const noexcept { return address_; }
  std::string text() const;

 private:
  IpAddress address_;
  unsigned bits_ = 0;
};

/// True if any of `networks` contains `ip`.
bool any_contains(const std::vector<Network>& networks, const IpAddress& ip) noexcept;

}  // namespace postern
