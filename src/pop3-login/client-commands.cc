// What the commands before login do and say.
#include <utility>

#include "config/settings.h"
#include "lib/text.h"
#include "login-common/offer.h"
#include "login-common/xclient.h"
#include "pop3-login/capabilities.h"
#include "pop3-login/client-dialogue.h"

namespace postern::pop3_login {

using login::AuthResult;
using login::Outcome;
using login::Wish;

const std::array<Pop3ClientDialogue::Command, 9> Pop3ClientDialogue::kCommands{{
    {"APOP", &Pop3ClientDialogue::apop},
    {"AUTH", &Pop3ClientDialogue::auth},
    {"CAPA", &Pop3ClientDialogue::capa},
    {"PASS", &Pop3ClientDialogue::pass},
    {"QUIT", &Pop3ClientDialogue::quit},
    {"STLS", &Pop3ClientDialogue::stls},
    {"USER", &Pop3ClientDialogue::user},
    {"XCLIENT", &Pop3ClientDialogue::xclient},
    {"XOIP", &Pop3ClientDialogue::xoip},
}};

namespace {

/// Text that came from elsewhere stays on its line.
void append_text(std::string_view text, WipingBuffer& out) {
  for (const char c : text) {
    out.append(static_cast<unsigned char>(c) < ' ' || c == 0x7f ? ' ' : c);
  }
}

/// @param code  with its brackets, or empty
void say_error(std::string_view code, std::string_view text, WipingBuffer& out) {
  out.append("-ERR ").append(code).append(code.empty() ? "" : " ");
  append_text(text, out);
  out.append("\r\n");
}

constexpr std::string_view kAuthCode = "[AUTH]";       // RFC 3206
constexpr std::string_view kTemporary = "[SYS/TEMP]";  // RFC 3206
constexpr std::string_view kPermanent = "[SYS/PERM]";  // RFC 3206
constexpr std::string_view kInUse = "[IN-USE]";        // RFC 2449

}  // namespace

void Pop3ClientDialogue::greet(WipingBuffer& out) {
  out.append(context_.security.trusted ? "+OK [XCLIENT] " : "+OK ");
  append_text(context_.greeting, out);
  if (!context_.challenge.empty()) out.append(' ').append(context_.challenge);
  out.append("\r\n");
}

Wish Pop3ClientDialogue::capa(std::string_view /*arguments*/, WipingBuffer& out) {
  append_capabilities(context_, out);
  return Wish::next;
}

Wish Pop3ClientDialogue::quit(std::string_view /*arguments*/, WipingBuffer& out) {
  out.append("+OK Logging out\r\n");
  return close("Aborted login by logging out");
}

Wish Pop3ClientDialogue::stls(std::string_view /*arguments*/, WipingBuffer& out) {
  if (context_.security.tls || context_.security.ssl_secured) {
    out.append("-ERR TLS is already active.\r\n");
    return Wish::next;
  }
  if (!login::can_start_tls(context_)) {
    out.append("-ERR TLS support isn't enabled.\r\n");
    return Wish::next;
  }
  out.append("+OK Begin TLS negotiation now.\r\n");
  return Wish::start_tls;
}

Wish Pop3ClientDialogue::user(std::string_view arguments, WipingBuffer& out) {
  named_ = arguments;
  if (!login::plaintext_permitted(context_)) return refuse_plaintext();
  user_ = named_;
  out.append("+OK\r\n");
  return Wish::next;
}

Wish Pop3ClientDialogue::pass(std::string_view arguments, WipingBuffer& out) {
  if (!login::plaintext_permitted(context_)) return refuse_plaintext();
  if (!user_) {
    out.append("-ERR No username given.\r\n");
    return Wish::next;
  }
  WipingBuffer plain;
  plain.append('\0').append(*user_).append('\0').append(arguments);
  WipingBuffer base64;
  base64_encode(plain.view(), base64);
  request_ = {};
  request_.initial.emplace(std::move(base64));
  request_.user = std::move(*user_);
  request_.plaintext_command = true;
  user_.reset();
  return authenticate("PLAIN");
}

/// The driver makes the same check, answers, counts and logs the attempt.
Wish Pop3ClientDialogue::refuse_plaintext() {
  user_.reset();
  request_ = {};
  request_.user = named_;
  request_.plaintext_command = true;
  return authenticate("PLAIN");
}

Wish Pop3ClientDialogue::auth(std::string_view arguments, WipingBuffer& out) {
  const std::size_t blank = std::min(arguments.size(), arguments.find(' '));
  const std::string_view mech = arguments.substr(0, blank);
  if (mech.empty()) {
    append_mechanisms(context_, out);
    return Wish::next;
  }
  const std::string_view initial = arguments.substr(std::min(arguments.size(), blank + 1));
  request_ = {};
  if (initial == "=") {
    request_.initial.emplace();
  } else if (!initial.empty() && is_base64(initial)) {
    request_.initial.emplace(initial);
  } else {
    request_.invalid_initial = !initial.empty();
  }
  return authenticate(to_upper(mech));
}

/// `USER DIGEST`, the digest being MD5 of the greeting's challenge and the password (RFC 1939).
Wish Pop3ClientDialogue::apop(std::string_view arguments, WipingBuffer& out) {
  constexpr std::size_t kDigits = 32;
  if (context_.challenge.empty()) return refuse_apop("APOP not enabled", out);
  const std::size_t blank = arguments.find(' ');
  if (blank == std::string_view::npos || arguments.size() - blank - 1 != kDigits) {
    return refuse_apop("Invalid parameters", out);
  }
  const auto digest = hex_decode(arguments.substr(blank + 1));
  if (!digest) return refuse_apop("Invalid characters in MD5 response", out);
  WipingBuffer response;
  response.append(context_.challenge).append('\0').append(arguments.substr(0, blank));
  response.append('\0').append(*digest);
  WipingBuffer base64;
  base64_encode(response.view(), base64);
  request_ = {};
  request_.initial.emplace(std::move(base64));
  request_.uses_challenge = true;
  return authenticate("APOP");
}

Wish Pop3ClientDialogue::refuse_apop(std::string_view text, WipingBuffer& out) {
  out.append("-ERR ").append(text).append(".\r\n");
  const config::LoginSettings& settings = *context_.settings;
  if (!settings.auth_verbose && !settings.auth_debug) return Wish::next;
  log_ = "APOP failed: ";
  log_ += text;
  return Wish::log_id;
}

Wish Pop3ClientDialogue::xclient(std::string_view arguments, WipingBuffer& out) {
  if (!context_.security.trusted) {
    out.append("+OK You are not from trusted IP - ignoring\r\n");
    return Wish::next;
  }
  Result<login::Forwarded> said = login::parse_xclient(arguments);
  if (!said.ok()) {
    out.append("-ERR Invalid parameters\r\n");
    return Wish::next;
  }
  return apply(std::move(said).value(), out);
}

/// XCLIENT's predecessor.
Wish Pop3ClientDialogue::xoip(std::string_view arguments, WipingBuffer& out) {
  return xclient("ADDR=" + std::string(arguments), out);
}

Wish Pop3ClientDialogue::apply(login::Forwarded forwarded, WipingBuffer& out) {
  forwarded_ = std::move(forwarded);
  out.append("+OK Updated\r\n");
  return Wish::forwarded;
}

Wish Pop3ClientDialogue::authenticate(std::string mech) {
  request_.mech = std::move(mech);
  state_ = State::busy;
  return Wish::authenticate;
}

login::LoginFacts Pop3ClientDialogue::facts() const {
  login::LoginFacts out;
  out.mech = mechanism_;
  return out;
}

void Pop3ClientDialogue::challenge(std::string_view base64, WipingBuffer& out) {
  out.append("+ ");
  append_text(base64, out);
  out.append("\r\n");
  state_ = State::response;
}

void Pop3ClientDialogue::failed(const AuthResult& result, WipingBuffer& out) {
  if (state_ == State::closed) return;
  say_failed(result, out);
  bad_response_ = false;
  state_ = State::command;
}

void Pop3ClientDialogue::say_failed(const AuthResult& result, WipingBuffer& out) {
  const auto text = [&result](std::string_view otherwise) {
    return result.text.empty() ? otherwise : std::string_view(result.text);
  };
  constexpr std::string_view kFailed = "Authentication failed.";
  constexpr std::string_view kUnavailable = "Account is temporarily unavailable.";
  switch (result.outcome) {
    case Outcome::wrong_credentials:
    case Outcome::user_disabled:
    case Outcome::pass_expired: {
      // A reason may bring its own response code.
      const bool own = result.has_reason && result.text.starts_with('[');
      return say_error(own ? "" : kAuthCode, text(kFailed), out);
    }
    case Outcome::authz_failed:
      return say_error(kAuthCode, text("Authorization failed"), out);
    case Outcome::temp_fail:
      return say_error(kTemporary, text("Temporary authentication failure."), out);
    case Outcome::invalid_base64:
      return say_error(kAuthCode,
                       text(bad_response_ ? "Invalid base64 in response"
                                          : "Invalid base64 data in initial response"),
                       out);
    case Outcome::mech_invalid:
      return say_error(kAuthCode, text("Unsupported authentication mechanism."), out);
    case Outcome::plaintext_refused:
      return say_error(
          kAuthCode,
          text("Plaintext authentication disallowed on non-secure (SSL/TLS) connections."), out);
    case Outcome::mech_plaintext_refused:
      return say_error(kAuthCode, text("Plaintext authentication disabled."), out);
    case Outcome::tls_required:
      return say_error(kAuthCode, text("Authentication not allowed until SSL/TLS is enabled."),
                       out);
    case Outcome::anonymous_denied:
      return say_error("", text(kFailed), out);
    case Outcome::login_disabled:
      return say_error(kAuthCode, text("Login disabled for this user"), out);
    case Outcome::referral:  // POP3 has no word for it
      return say_error("", text("Try this server instead."), out);
    case Outcome::aborted:
      return say_error("", text("Authentication aborted by client."), out);
    case Outcome::proxy_unavailable:
      return say_error(kTemporary, text(kUnavailable), out);
    case Outcome::proxy_misconfigured: {
      // Dovecot 2.3 says nothing of what kind of failure it is, and clients take it for a password.
      const bool compat = context_.settings->login_compat == config::LoginCompat::dovecot_2_3;
      return say_error(compat ? "" : kPermanent, text(kUnavailable), out);
    }
    case Outcome::userip_limit:
      return say_error(kInUse, text("Maximum number of connections from user+IP exceeded"), out);
    case Outcome::handoff_failed:
      return bye(Bye::internal,
                 text("Internal login failure. Refer to server log for more information."), out);
  }
}

/// Whatever plaintext left half said is forgotten; what it was told (USER, bad commands, XCLIENT)
/// counts on.
void Pop3ClientDialogue::tls_started(WipingBuffer& /*out*/) {
  if (state_ == State::closed) return;
  line_.clear();
  state_ = State::command;
}

void Pop3ClientDialogue::bye(Bye kind, std::string_view text, WipingBuffer& out) {
  say_error(kind == Bye::internal ? kTemporary : "", text, out);
}

/// POP3 has no reply that nobody asked for.
void Pop3ClientDialogue::waiting_for_auth(WipingBuffer& /*out*/) {}

void Pop3ClientDialogue::input_full(WipingBuffer& out) {
  bye(Bye::resource, "Input buffer full, aborting", out);
}

}  // namespace postern::pop3_login
