#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config/settings.h"
#include "config/variables.h"
#include "lib/ip.h"
#include "login-common/auth-result.h"

/// What the log says of a client before and at its login, in Dovecot 2.3's words: fail2ban filters
/// and log analysers match them. (What it says of a proxied session is proxy-log.h.)
namespace postern::login {

/// What the elements of a line are made of. Borrowed for the call.
struct LogFacts {
  std::string_view user, original_user, auth_user;  // as auth says; made safe here
  std::string_view service;
  Endpoint remote, local, real_remote, real_local;
  std::string_view mech;  // of the last attempt; made safe here
  std::string_view secured;
  std::string_view ssl_security;
  std::string_view session, listener, local_name;
  const std::vector<std::pair<std::string, std::string>>* passdb = nullptr;
};

/// login_log_format_elements, compiled. A value; copies share.
class LogElements {
 public:
  /// @param format  checked when the configuration was loaded
  explicit LogElements(const std::string& format);
  /// "user=<alice>, method=PLAIN, rip=…": an element whose variables are all empty is left out,
  /// unless it shows the user.
  std::string render(const LogFacts& facts) const;
  const std::string& format() const noexcept { return format_; }

 private:
  struct Element {
    config::Template text;
    bool always = false;
  };
  std::string format_;
  std::vector<Element> elements_;
};

/// The elements for `settings`: compiled once for each format, few formats kept.
const LogElements& log_elements(const config::LoginSettings& settings);

/// What begins the line about a client that did not get through.
inline constexpr std::string_view kDisconnected = "Disconnected: ";

/// What decides the remark in brackets behind a reason.
struct EndFacts {
  bool greeted = false;
  unsigned attempts = 0;
  unsigned successes = 0;
  enum class Pending : std::uint8_t {
    none,
    client_response,  // the client was to send a SASL response
    auth_server,      // auth was busy
    login,            // the mail service or anvil was
  } pending = Pending::none;
  /// Of the client, where auth_ssl_require_client_cert demands one.
  enum class Certificate : std::uint8_t {
    irrelevant,  // not demanded, or there and valid
    invalid,
    missing,
    no_tls,  // nor could there be one
  } certificate = Certificate::irrelevant;
  bool handshaking = false;  // TLS has begun and is not done
  bool aborted = false;      // the client took its last attempt back
  enum class Ending : std::uint8_t { client, full, shutdown } ending = Ending::client;
  bool auth_lost = false;  // the connection to auth died during a request
  bool backend_refused = false;
  bool has_outcome = false;  // of the last failure, where it sets one
  Outcome outcome = Outcome::wrong_credentials;
  std::uint64_t connected_seconds = 0;     // since the client came
  std::uint64_t attempts_seconds = 0;      // since the first attempt began
  std::uint64_t auth_started_seconds = 0;  // since the pending attempt began
};
/// "(auth failed, 1 attempts in 2 secs)"; empty if nothing fits.
std::string end_remark(const EndFacts& facts);
/// The same in Dovecot 2.4's words, and as its code: "(auth failed, 1 attempts in 2 secs)
/// (auth_failed)". See end-remark-24.cc.
std::string end_remark_24(const EndFacts& facts);

}  // namespace postern::login
