// What the commands before login do and say.
#include <utility>

#include "config/settings.h"
#include "lib/text.h"
#include "login-common/offer.h"
#include "login-common/referral.h"
#include "login-common/xclient.h"
#include "managesieve-login/capabilities.h"
#include "managesieve-login/client-dialogue.h"

namespace postern::managesieve_login {

using login::AuthResult;
using login::Outcome;
using login::Wish;

const std::array<SieveClientDialogue::Command, 6> SieveClientDialogue::kCommands{{
    {"AUTHENTICATE", &SieveClientDialogue::authenticate_argument,
     &SieveClientDialogue::authenticate},
    {"CAPABILITY", &SieveClientDialogue::no_argument, &SieveClientDialogue::capability},
    {"LOGOUT", &SieveClientDialogue::no_argument, &SieveClientDialogue::logout},
    {"NOOP", &SieveClientDialogue::noop_argument, &SieveClientDialogue::noop},
    {"STARTTLS", &SieveClientDialogue::no_argument, &SieveClientDialogue::starttls},
    {"XCLIENT", &SieveClientDialogue::xclient_argument, &SieveClientDialogue::xclient},
}};

namespace {

constexpr std::string_view kTryLater = "TRYLATER";  // RFC 5804 section 1.3

bool has_nul(std::string_view text) {
  return text.find('\0') != std::string_view::npos;
}

}  // namespace

void SieveClientDialogue::say(std::string_view status, std::string_view code, std::string_view text,
                              WipingBuffer& out) const {
  out.append(status).append(' ');
  if (!code.empty()) out.append('(').append(code).append(") ");
  wire::append_sieve_string(text, out);
  out.append("\r\n");
}

void SieveClientDialogue::greet(WipingBuffer& out) {
  append_capabilities(context_, out);
  say("OK", "", context_.greeting, out);
}

bool SieveClientDialogue::no_argument(Event /*kind*/) {
  return false;
}

Wish SieveClientDialogue::capability(WipingBuffer& out) {
  append_capabilities(context_, out);
  say("OK", "", "Capability completed.", out);
  return Wish::next;
}

Wish SieveClientDialogue::logout(WipingBuffer& out) {
  say("OK", "", "Logout completed.", out);
  return close("Aborted login by logging out");
}

bool SieveClientDialogue::noop_argument(Event kind) {
  if (arguments_ > 0 || has_nul(reader_.value())) return false;
  if (kind == Event::atom) ending_text_ = "Invalid echo tag.";
  tag_ = reader_.take_value();
  return true;
}

Wish SieveClientDialogue::noop(WipingBuffer& out) {
  if (arguments_ == 0) {
    say("OK", "", "NOOP Completed", out);
  } else if (!ending_text_.empty()) {
    say("NO", "", ending_text_, out);
  } else {
    WipingBuffer code("TAG ");
    wire::append_sieve_string(tag_.view(), code);
    say("OK", code.view(), "Done", out);
  }
  return Wish::next;
}

Wish SieveClientDialogue::starttls(WipingBuffer& out) {
  if (context_.security.tls || context_.security.ssl_secured) {
    say("NO", "", "TLS is already active.", out);
    return Wish::next;
  }
  if (!login::can_start_tls(context_)) {
    say("NO", "", "TLS support isn't enabled.", out);
    return Wish::next;
  }
  say("OK", "", "Begin TLS negotiation now.", out);
  return Wish::start_tls;
}

/// The mechanism's name, then perhaps an initial response.
bool SieveClientDialogue::authenticate_argument(Event kind) {
  const bool string = kind == Event::quoted || kind == Event::literal;
  if (arguments_ == 0) {
    mechanism_.clear();
    if (!string || reader_.value().empty() || has_nul(reader_.value())) return false;
    mechanism_ = to_upper(reader_.value());
    request_ = {};
    reader_.limit({.budget = kMaxResponse + kAround, .literal = kMaxResponse});
    return true;
  }
  constexpr std::string_view kInvalid = "Invalid AUTHENTICATE initial response.";
  if (arguments_ > 1 || !string) {
    // A response that is no base64 is that first, whatever stands behind it.
    if (!request_.invalid_initial) refuse(Ending::refusal, kInvalid);
    return true;
  }
  if (reader_.value().empty()) {
    request_.initial.emplace();
  } else if (is_base64(reader_.value())) {
    request_.initial.emplace(reader_.take_value());
  } else {
    request_.invalid_initial = true;
  }
  return true;
}

Wish SieveClientDialogue::authenticate(WipingBuffer& out) {
  if (arguments_ == 0) return bad_command(out);
  request_.mech = mechanism_;
  bad_response_ = false;
  cancel_text_ = {};
  state_ = State::busy;
  return Wish::authenticate;
}

/// `KEY=VALUE`, as an atom. All or nothing: half an XCLIENT is never applied.
bool SieveClientDialogue::xclient_argument(Event kind) {
  if (!context_.security.trusted) return true;
  if (kind != Event::atom) return false;
  const std::string_view word = reader_.value();
  const std::size_t equals = word.find('=');
  if (equals == std::string_view::npos) return true;
  return login::take_xclient(word.substr(0, equals), word.substr(equals + 1), said_);
}

Wish SieveClientDialogue::xclient(WipingBuffer& out) {
  if (!context_.security.trusted) {
    say("NO", "", "You are not from trusted IP", out);
    return Wish::next;
  }
  forwarded_ = std::move(said_);
  say("OK", "", "Updated", out);
  return Wish::forwarded;
}

login::LoginFacts SieveClientDialogue::facts() const {
  login::LoginFacts out;
  out.mech = mechanism_;
  return out;
}

void SieveClientDialogue::challenge(std::string_view base64, WipingBuffer& out) {
  wire::append_sieve_string(base64, out);
  out.append("\r\n");
  start_response();
}

void SieveClientDialogue::failed(const AuthResult& result, WipingBuffer& out) {
  if (state_ == State::closed) return;
  say_failed(result, out);
  bad_response_ = false;
  cancel_text_ = {};
  start_line();
}

void SieveClientDialogue::say_failed(const AuthResult& result, WipingBuffer& out) {
  const auto no = [&](std::string_view otherwise, std::string_view code = {}) {
    say("NO", code, result.text.empty() ? otherwise : std::string_view(result.text), out);
  };
  constexpr std::string_view kUnavailable = "Account is temporarily unavailable.";
  switch (result.outcome) {
    case Outcome::wrong_credentials:
    case Outcome::user_disabled:
    case Outcome::pass_expired:
    case Outcome::anonymous_denied:
      return no("Authentication failed.");
    case Outcome::authz_failed:
      return no("Authorization failed");
    case Outcome::temp_fail:
      return no("Temporary authentication failure.", kTryLater);
    case Outcome::invalid_base64:
      return no(bad_response_ ? "Invalid base64 in response"
                              : "Invalid base64 data in initial response");
    case Outcome::mech_invalid:
      return no("Unsupported authentication mechanism.");
    case Outcome::plaintext_refused:  // there is no command for it
    case Outcome::mech_plaintext_refused:
      return no("Plaintext authentication disabled.");
    case Outcome::tls_required:
      return no("Authentication not allowed until SSL/TLS is enabled.", "ENCRYPT-NEEDED");
    case Outcome::login_disabled:
      return no("Login disabled for this user");
    case Outcome::referral: {
      constexpr std::uint16_t kPort = 4190;
      return no("Try this server instead.",
                "REFERRAL " + login::referral_url("sieve", kPort, result));
    }
    case Outcome::aborted:
      return no(cancel_text_.empty() ? "Authentication aborted by client." : cancel_text_);
    case Outcome::proxy_unavailable:
      return no(kUnavailable, kTryLater);
    case Outcome::proxy_misconfigured:
      return no(kUnavailable);
    case Outcome::userip_limit:
      return no("Maximum number of connections from user+IP exceeded");
    case Outcome::handoff_failed:
      return bye(Bye::internal,
                 result.text.empty()
                     ? "Internal login failure. Refer to server log for more information."
                     : std::string_view(result.text),
                 out);
  }
}

/// Whatever plaintext left half said is forgotten, but for how often it was wrong. The client is
/// told anew what is offered (RFC 5804 section 2.2).
void SieveClientDialogue::tls_started(WipingBuffer& out) {
  if (state_ == State::closed) return;
  start_line();
  append_capabilities(context_, out);
  say("OK", "", "TLS negotiation successful.", out);
}

void SieveClientDialogue::bye(Bye kind, std::string_view text, WipingBuffer& out) {
  say("BYE", kind == Bye::shutdown ? kTryLater : "", text, out);
}

/// ManageSieve has no reply that nobody asked for.
void SieveClientDialogue::waiting_for_auth(WipingBuffer& /*out*/) {}

void SieveClientDialogue::input_full(WipingBuffer& out) {
  bye(Bye::resource, "Input buffer full, aborting", out);
}

}  // namespace postern::managesieve_login
