#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "config/kinds.h"
#include "config/value.h"
#include "lib/ip.h"
#include "lib/secret.h"

/// What each process reads of postern.conf, as C++ structs whose members are the settings by name.
/// The structs, their defaults, the parser, `postern -n` and the manual all follow from one table,
/// the settings-*.def files; who reads a setting is which files the struct below includes. A
/// default- constructed struct holds the defaults.
namespace postern::config {

// The choices, in the order of the table's fourth column (a unit test holds them together).
enum class Ssl : std::uint8_t { no, yes, required };
enum class TlsVersion : std::uint8_t { any, tls1, tls1_1, tls1_2, tls1_3, latest };
enum class BackendTlsVersion : std::uint8_t {
  as_server,
  any,
  tls1,
  tls1_1,
  tls1_2,
  tls1_3,
  latest
};
enum class LoginCompat : std::uint8_t { none, dovecot_2_3 };
enum class LoginLogStyle : std::uint8_t { dovecot_2_3, dovecot_2_4 };
enum class ProxyBalance : std::uint8_t { first, hash };
enum class BackendProxyHeader : std::uint8_t { no, v1, v2 };
enum class ForwardLevel : std::uint8_t { dovecot_2_3, dovecot_2_4 };
enum class SyslogFacility : std::uint8_t {
  auth,
  authpriv,
  cron,
  daemon,
  ftp,
  kern,
  lpr,
  mail,
  news,
  syslog,
  user,
  uucp,
  local0,
  local1,
  local2,
  local3,
  local4,
  local5,
  local6,
  local7
};
enum class ServiceType : std::uint8_t { none, log, anvil, login, worker, startup };
enum class PassdbDriver : std::uint8_t { none, static_, passwd_file, sql };
enum class UserdbDriver : std::uint8_t { none, static_, passwd_file, sql, prefetch };
enum class PassdbSkip : std::uint8_t { never, authenticated, unauthenticated };
enum class UserdbSkip : std::uint8_t { never, found, notfound };
enum class PassdbRule : std::uint8_t {
  return_,
  return_ok,
  return_fail,
  continue_,
  continue_ok,
  continue_fail
};
enum class Tristate : std::uint8_t { default_, yes, no };
enum class SqlDriver : std::uint8_t { none, sqlite };

#define SETTING(kind, name, default_text, choices, help) kinds::kind::type name{};

/// Read by every process.
struct CommonSettings {
  CommonSettings();
#include "config/settings-common.def"
};

/// The master's: what it needs to start everything.
struct MasterSettings : CommonSettings {
  MasterSettings();
#include "config/settings-log.def"
#include "config/settings-master.def"
};

/// The log process's. The master opens the files and hands them over; log formats the lines.
struct LogSettings : CommonSettings {
  LogSettings();
#include "config/settings-log.def"
};

/// Anvil's.
struct AnvilSettings : CommonSettings {};

/// A login process's, for one connection: which filters apply depends on its addresses and name.
struct LoginSettings : CommonSettings {
  LoginSettings();
#include "config/settings-login-auth.def"
#include "config/settings-login.def"
#include "config/settings-managesieve.def"
#include "config/settings-ssl.def"
#include "config/settings-submission.def"
};

/// Auth's and auth-worker's, for the requests of one service (protocol).
struct AuthSettings : CommonSettings {
  AuthSettings();
#include "config/settings-auth.def"
#include "config/settings-login-auth.def"
};

/// One key and its text, as the operator wrote it.
struct KeyValue {
  std::string key;
  Secret value;
};

/// One [passdb NAME]. Its templates (args, fields, queries …) compile: that was checked at load.
struct PassdbSettings {
  PassdbSettings();
  std::string name;      // the section's
  std::string protocol;  // only for this protocol; empty: for all
#include "config/settings-passdb.def"
  std::vector<KeyValue> raw;  // the keys that were given, in order
};

/// One [userdb NAME].
struct UserdbSettings {
  UserdbSettings();
  std::string name;
  std::string protocol;
#include "config/settings-userdb.def"
  std::vector<KeyValue> raw;
};

/// One listener of a service, as configured. An inet one becomes a socket per address.
struct ListenerSettings {
  enum class Kind : std::uint8_t { inet, unix_socket };
  ListenerSettings();
  Kind kind = Kind::inet;
  std::string name;  // of an inet listener; the path of a UNIX one as written
#include "config/settings-inet-listener.def"
#include "config/settings-unix-listener.def"
};

/// One service. In what the loader returns, limits and users are resolved: no 0 that means "the
/// default", no $default_login_user; paths are absolute.
struct ServiceSettings {
  ServiceSettings();
  std::string name;
#include "config/settings-service.def"
  std::vector<ListenerSettings> listeners;
};

#undef SETTING

/// vsz_limit as written, before it is resolved: "default_vsz_limit applies".
inline constexpr std::uint64_t kDefaultVszLimit = UINT64_MAX;

/// Sets one member by its name. False if `S` has no such member; an Error if the value is wrong.
template <class S>
Result<bool> assign(S& settings, std::string_view name, const Value& value);
extern template Result<bool> assign(CommonSettings&, std::string_view, const Value&);
extern template Result<bool> assign(MasterSettings&, std::string_view, const Value&);
extern template Result<bool> assign(LogSettings&, std::string_view, const Value&);
extern template Result<bool> assign(AnvilSettings&, std::string_view, const Value&);
extern template Result<bool> assign(LoginSettings&, std::string_view, const Value&);
extern template Result<bool> assign(AuthSettings&, std::string_view, const Value&);
extern template Result<bool> assign(PassdbSettings&, std::string_view, const Value&);
extern template Result<bool> assign(UserdbSettings&, std::string_view, const Value&);
extern template Result<bool> assign(ListenerSettings&, std::string_view, const Value&);
extern template Result<bool> assign(ServiceSettings&, std::string_view, const Value&);

}  // namespace postern::config
