#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "lib/ip.h"

/// The header a balancer puts in front of a client's first byte: the PROXY protocol, versions 1 and
/// 2, as a pure parser. Source: HAProxy, "The PROXY protocol", doc/proxy-protocol.txt; the words of
/// its errors are those Dovecot 2.3.19.1 logs.
namespace postern::wire {

inline constexpr std::size_t kMaxProxyHeaderV1 = 108;   // bytes, CRLF included
inline constexpr std::size_t kMaxProxyHeaderV2 = 1500;  // bytes, the signature included

/// What a header says of the connection behind it.
struct ProxyHeader {
  /// The balancer speaks for itself (LOCAL: it looks whether we are alive).
  bool local = false;
  /// source and destination hold; else the connection's own addresses do (LOCAL, UNKNOWN, a family
  /// without addresses).
  bool has_addresses = false;
  Endpoint source;       // the client
  Endpoint destination;  // what it connected to
  /// The client has TLS with the balancer.
  bool tls = false;
  /// The client showed a certificate there, on this connection or the one whose session it resumed,
  /// and the balancer found it good.
  bool valid_certificate = false;
  std::string common_name;  // of that certificate; empty unless it is valid
  std::string authority;    // the name the client asked for (SNI); any bytes, at most 255
  std::string alpn;         // the protocol it asked for; any bytes, at most 255
  /// Harmless but worth a line in the log, without its address: "haproxy(v2): Unsupported address
  /// family (family=00".
  std::string remark;
};

/// What came of the bytes so far.
struct ProxyHeaderParse {
  enum class Status : std::uint8_t {
    need_more,  // nothing is wrong yet
    done,       // header, and `consumed` bytes it took
    bad,        // error says why
  };
  Status status = Status::need_more;
  std::size_t consumed = 0;
  ProxyHeader header;
  /// A log line up to the peer's address: "haproxy(v1): Client disconnected: Proxied remote port is
  /// invalid (port=`99999', "; the caller adds "rip=192.0.2.1)". Safe to log.
  std::string error;
};

/// Reads a header from the start of `bytes`, which may be any part of a connection's beginning: a
/// network may cut a header anywhere. Bytes behind it are not looked at. Never asks for more once
/// kMaxProxyHeaderV2 bytes are there. All or nothing: a bad header says nothing of the client.
ProxyHeaderParse parse_proxy_header(std::string_view bytes);

/// The header that says `header` to a server: LOCAL or UNKNOWN if an address is missing. A pair of
/// addresses of different families goes as IPv6. Version 1 has room for nothing but addresses.
/// @param version    1 or 2
/// @param unique_id  version 2: an id of the connection, at most 128 bytes; empty: none
std::string write_proxy_header(unsigned version, const ProxyHeader& header,
                               std::string_view unique_id);

}  // namespace postern::wire
