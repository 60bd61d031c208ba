// Why a client left before its login was done, as Dovecot 2.4 says it (login_log_style = 2.4).
#include <fmt/format.h>

#include "login-common/log-line.h"

namespace postern::login {
namespace {

struct Reason {
  std::string_view words, code;
};

Reason of_outcome(Outcome outcome, bool succeeded) {
  switch (outcome) {
    case Outcome::authz_failed:
      return {"authorization failed", "authorization_failed"};
    case Outcome::temp_fail:
      return {"auth service reported temporary failure", "temp_fail"};
    case Outcome::user_disabled:
      return {"user disabled", "user_disabled"};
    case Outcome::pass_expired:
      return {"password expired", "password_expired"};
    case Outcome::invalid_base64:
      return {"sent invalid base64 in response", "invalid_base64"};
    case Outcome::login_disabled:
      return {"login disabled", "login_disabled"};
    case Outcome::referral:
      return {"auth referral", "auth_nologin_referral"};
    case Outcome::mech_invalid:
      return {"tried to use unsupported auth mechanism", "invalid_mech"};
    case Outcome::mech_plaintext_refused:
      return {"tried to use disallowed cleartext auth", "cleartext_auth_disabled"};
    case Outcome::anonymous_denied:
      return {"anonymous logins disabled", "anonymous_auth_disabled"};
    case Outcome::userip_limit:
      return {"connection limit reached", "connection_limit"};
    case Outcome::wrong_credentials:
    case Outcome::plaintext_refused:
    case Outcome::tls_required:
    case Outcome::aborted:
    case Outcome::proxy_unavailable:
    case Outcome::proxy_misconfigured:
    case Outcome::handoff_failed:
      break;
  }
  return succeeded ? Reason{"internal failure", "internal_failure"}
                   : Reason{"auth failed", "auth_failed"};
}

Reason of_attempts(const EndFacts& facts) {
  if (facts.auth_lost) return {"auth process communication failure", "auth_process_comm_fail"};
  if (facts.aborted) return {"auth aborted by client", "auth_aborted_by_client"};
  if (facts.pending == EndFacts::Pending::client_response)
    return {"client didn't finish SASL auth", "auth_waiting_client"};
  if (facts.backend_refused) return {"proxy dest authentication failure", "proxy_dest_auth_failed"};
  return of_outcome(facts.has_outcome ? facts.outcome : Outcome::wrong_credentials,
                    facts.successes > 0);
}

}  // namespace

std::string end_remark_24(const EndFacts& facts) {
  if (facts.handshaking) return "(disconnected during TLS handshake) (tls_handshake_not_finished)";
  if (!facts.greeted) {
    return fmt::format(
        "(disconnected before auth was ready, waited {} secs) (auth_process_not_ready)",
        facts.connected_seconds);
  }
  switch (facts.ending) {
    case EndFacts::Ending::client:
      break;
    case EndFacts::Ending::full:
      return "(client_limit and process_limit was hit and this login session was killed.) "
             "(process_full)";
    case EndFacts::Ending::shutdown:
      return "(The process is shutting down so the login is aborted.) (shutting_down)";
  }
  switch (facts.certificate) {
    case EndFacts::Certificate::irrelevant:
      break;
    case EndFacts::Certificate::invalid:
      return "(client sent an untrusted cert) (client_ssl_cert_untrusted)";
    case EndFacts::Certificate::missing:
      return "(client didn't send a cert) (client_ssl_cert_missing)";
    case EndFacts::Certificate::no_tls:
      return "(cert required, client didn't start TLS) (client_ssl_not_started)";
  }
  if (facts.attempts == 0) {
    return fmt::format("(no auth attempts in {} secs) (no_auth_attempts)", facts.connected_seconds);
  }
  const Reason reason = of_attempts(facts);
  const std::string count =
      facts.successes > 0 ? fmt::format("{}/{} successful auths", facts.successes, facts.attempts)
                          : fmt::format("{} attempts", facts.attempts);
  return fmt::format("({}, {} in {} secs) ({})", reason.words, count, facts.attempts_seconds,
                     reason.code);
}

}  // namespace postern::login
