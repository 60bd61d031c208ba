#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace postern::login {

/// How an authentication ended without a session, whoever decided it: the login process, the auth
/// server (its `code=`), or the proxy core. Each protocol has one reply per outcome.
enum class Outcome : std::uint8_t {
  wrong_credentials,       // FAIL without a code, or with `reason`
  authz_failed,            // code=authz_fail
  temp_fail,               // code=temp_fail, auth unreachable or dead
  user_disabled,           // code=user_disabled
  pass_expired,            // code=pass_expired
  invalid_base64,          // found here, or code=invalid_base64
  mech_invalid,            // unknown, private or unusable mechanism
  plaintext_refused,       // disable_plaintext_auth: LOGIN, USER/PASS
  mech_plaintext_refused,  // disable_plaintext_auth: a plaintext mechanism in AUTHENTICATE
  tls_required,            // ssl=required before TLS
  anonymous_denied,
  login_disabled,       // OK with nologin
  referral,             // OK with nologin and host; text is the reason, `referral` the target
  aborted,              // the client sent "*"
  proxy_unavailable,    // CONNECT, INTERNAL, REMOTE, PROTOCOL failures of the proxy
  proxy_misconfigured,  // REMOTE_CONFIG, INTERNAL_CONFIG
  userip_limit,         // mail_max_userip_connections; the connection is closed after the reply
  handoff_failed,       // the mail service cannot be reached; the connection is closed
};

/// What the client is to be told.
struct AuthResult {
  Outcome outcome = Outcome::wrong_credentials;
  bool has_reason = false;    // `text` came from a passdb (`reason=`), it is not the default text
  std::string text;           // shown to the client; control bytes already removed
  std::string referral_host;  // Outcome::referral only
  std::uint16_t referral_port = 0;
  std::string user;  // the name after auth's rewriting, for referrals
  std::string mech;  // upper case, for referrals
};

}  // namespace postern::login
