#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lib/ip.h"
#include "lib/key-pin.h"
#include "lib/log.h"
#include "lib/result.h"
#include "login-common/backend-dialogue.h"
#include "login-common/proxy.h"

/// From the fields of an auth reply to where and how to connect. No I/O.
namespace postern::login {

/// One place to connect to.
struct BackendAddress {
  Endpoint to;
  std::string host;  // whose address it is: the name of the certificate, and for the log
};

/// Where a login is to be proxied to, and what is said there.
struct Destination {
  std::vector<BackendAddress> addresses;    // at least one; tried in this order
  bool any_cert = false;                    // the backend's certificate is not checked
  std::string tls_name;                     // its name; empty: host
  std::vector<KeyPin> tls_pins;             // keys it may have; none: any
  std::chrono::milliseconds timeout{0};     // from the first connect to the login, retries included
  std::chrono::milliseconds down_after{0};  // of failures, until it counts as down; 0: never
  unsigned refresh = 0;                     // seconds, proxy_refresh; 0: never
  unsigned proxy_header = 0;  // version of the PROXY header that the backend gets first; 0: none
  std::optional<IpAddress> source;  // bind to it; none: login_source_ips or the kernel's
  BackendTarget target;             // target.ttl is already decremented (0: used up)
};

/// Something about the fields that is logged, behind no "proxy(…)" prefix.
struct Remark {
  log::Level level = log::Level::warning;
  std::string text;
};

/// Reads the fields of an auth reply with `proxy`. All fields are read before anything follows from
/// them, so their order does not matter. Unknown fields are skipped (a remark at debug level).
/// @param fields   its password is moved into the result
/// @param client   what is known of the client; settings must be set
/// @param remarks  appended to, also when the result is an Error
/// @return an Error whose code is a FailureType and whose text is the log's: "host not given",
///         "password not given", "Invalid hostip …" (Dovecot 2.3's texts)
Result<Destination> read_destination(ProxyFields&& fields, const ProxyClient& client,
                                     const ProxyCore::Protocol& protocol,
                                     std::vector<Remark>& remarks);

/// `proxy_timeout` and its like: "1500ms", "2 min"; a bare number is seconds. Nothing if `text` is
/// neither or longer than a day.
std::optional<std::chrono::milliseconds> read_interval(std::string_view text);

/// Knows which addresses are this instance's own.
class LoopGuard {
 public:
  LoopGuard() = default;
  /// @param listeners  the sockets clients connect to; UNIX ones are skipped
  /// @param local      this host's addresses, which a wildcard listener stands for; loopback
  ///                   addresses always are
  LoopGuard(const std::vector<config::SocketInfo>& listeners, std::vector<IpAddress> local);
  /// True if connecting to `to` would reach a listener of ours.
  bool is_listener(const Endpoint& to) const noexcept;
  /// Drops from `destination` the addresses that lead back here: a listener, or the end the client
  /// is connected to (as it is, or as a trusted hop said); none if proxy_allow_self is set.
  /// @return an Error "Proxying loops to itself" if none is left
  Status check(Destination& destination, const ProxyClient& client) const;

 private:
  std::vector<Endpoint> listeners_;
  std::vector<Endpoint> wildcards_;
  std::vector<IpAddress> local_;
};

/// This host's addresses, as the kernel lists them now (getifaddrs(3)).
std::vector<IpAddress> local_addresses();

}  // namespace postern::login
