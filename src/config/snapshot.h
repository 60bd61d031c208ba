#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "config/settings.h"
#include "config/value.h"
#include "lib/ip.h"
#include "lib/result.h"
#include "lib/secret.h"

/// What a child of the master is told about itself: the master evaluates postern.conf once and
/// writes, for each service, the settings that service's program reads and nothing else into a
/// sealed memfd (wire/channel.h kSettingsFd). A login process never sees a database password, auth
/// no TLS key.
///
/// In a child:
///   Result<Snapshot> snapshot = Snapshot::load(wire::kSettingsFd);
///   LoginConfig config(std::move(snapshot.value()));     // or AuthConfig, or snapshot.log()
namespace postern::config {

/// One open listening socket.
struct SocketInfo {
  ListenerSettings::Kind kind = ListenerSettings::Kind::inet;
  std::string name;  // inet: the listener's name; UNIX: its path as written ("login/login")
  bool ssl = false;  // TLS from the first byte
  bool haproxy = false;
  bool reuse_port = false;
  Endpoint endpoint;         // inet
  bool any_address = false;  // inet: endpoint.ip is 0.0.0.0 or ::
  std::string path;          // UNIX: absolute
  unsigned mode = 0;         // UNIX
  std::string user;          // UNIX: owner; empty: root
  std::string group;         // UNIX; empty: the owner's
  /// "192.0.2.1:143", or the path.
  std::string text() const;
};

/// Where a setting is said to hold: every term given must match.
struct Filter {
  std::string protocol;  // "imap"; empty: any
  bool protocol_not = false;
  std::vector<Network> local;
  std::vector<std::string> local_names;  // lower case; "*.example.com" is one label before the rest
  std::vector<Network> remote;

  bool matches(std::string_view protocol_in, const IpAddress& local_ip, const IpAddress& remote_ip,
               std::string_view local_name) const noexcept;
  /// How many kinds of terms it has.
  unsigned terms() const noexcept;
  /// "local 192.0.2.0/24 protocol imap", as it stands in a section head.
  std::string text() const;
};

/// One setting that was given.
struct Assignment {
  std::string key;
  Value value;
};

/// The settings of one filter, or the global ones (a Filter without terms).
struct SettingsBlock {
  Filter filter;
  std::vector<Assignment> settings;
};

/// A snapshot as the child has read it.
class Snapshot {
 public:
  /// Reads the whole of `fd`, parses it and wipes what it read. Does not close `fd`.
  static Result<Snapshot> load(int fd);
  static Result<Snapshot> parse(std::string_view bytes);

  ServiceSettings service;            // who this process is; listeners is empty
  std::vector<SocketInfo> listeners;  // in the order of the inherited descriptors
  std::vector<SettingsBlock> blocks;  // global first, then in rising precedence
  std::vector<PassdbSettings> passdbs;
  std::vector<UserdbSettings> userdbs;

  /// The bytes that parse() reads back. Databases are written from their `raw` keys.
  WipingBuffer serialize() const;

  /// For programs whose settings no filter changes.
  CommonSettings common() const;
  LogSettings log() const;
  AnvilSettings anvil() const;
};

/// A login process's settings, selected by what is known of a connection.
class LoginConfig {
 public:
  explicit LoginConfig(Snapshot&& snapshot);
  const ServiceSettings& service() const noexcept { return snapshot_.service; }
  const std::vector<SocketInfo>& listeners() const noexcept { return snapshot_.listeners; }

  /// The settings of a connection. The same pointer for the same set of matching filters, so it can
  /// key a TLS context; O(1) when no filter exists. What old connections hold stays alive with
  /// them.
  /// @param protocol    "imap" …
  /// @param local_name  the name the client asked for (SNI), any case; empty: none
  std::shared_ptr<const LoginSettings> select(std::string_view protocol, const IpAddress& local_ip,
                                              const IpAddress& remote_ip,
                                              std::string_view local_name);
  /// The settings without any filter but the protocol's.
  std::shared_ptr<const LoginSettings> global(std::string_view protocol);
  /// True if a [local_name] filter exists, so that SNI may change the settings.
  bool depends_on_local_name() const noexcept { return by_local_name_; }
  /// One LoginSettings per block that sets a certificate, global first: to load every certificate
  /// before the process is confined.
  std::vector<std::shared_ptr<const LoginSettings>> with_certificates(std::string_view protocol);

 private:
  std::shared_ptr<const LoginSettings> build(const std::string& matching);

  Snapshot snapshot_;
  bool by_local_name_ = false;
  // Key: one byte a filter block, '1' where it matches.
  std::unordered_map<std::string, std::shared_ptr<const LoginSettings>> cache_;
  std::string scratch_;
};

/// Auth's settings and databases, selected by the service (protocol) of a request.
class AuthConfig {
 public:
  explicit AuthConfig(Snapshot&& snapshot);
  const ServiceSettings& service() const noexcept { return snapshot_.service; }
  const std::vector<SocketInfo>& listeners() const noexcept { return snapshot_.listeners; }

  /// @param protocol  the request's service, "imap", "smtp" …; empty: global settings
  std::shared_ptr<const AuthSettings> select(std::string_view protocol);
  /// All, in file order; look at PassdbSettings::protocol for whom each is.
  const std::vector<PassdbSettings>& passdbs() const noexcept { return snapshot_.passdbs; }
  const std::vector<UserdbSettings>& userdbs() const noexcept { return snapshot_.userdbs; }

 private:
  Snapshot snapshot_;
  std::unordered_map<std::string, std::shared_ptr<const AuthSettings>> cache_;
  std::string scratch_;
};

}  // namespace postern::config
