// What the commands before login do and say.
#include <algorithm>
#include <utility>

#include "config/settings.h"
#include "imap-login/capabilities.h"
#include "imap-login/client-dialogue.h"
#include "lib/text.h"
#include "login-common/offer.h"
#include "login-common/referral.h"

namespace postern::imap_login {

using login::AuthResult;
using login::Outcome;
using login::Wish;

// AUTHENTICATE has a line of its own kind and is recognised before its arguments are read.
const std::array<ImapClientDialogue::Command, 7> ImapClientDialogue::kCommands{{
    {"CAPABILITY", &ImapClientDialogue::capability},
    {"ENABLE", &ImapClientDialogue::enable},
    {"ID", &ImapClientDialogue::id},
    {"LOGIN", &ImapClientDialogue::login},
    {"LOGOUT", &ImapClientDialogue::logout},
    {"NOOP", &ImapClientDialogue::noop},
    {"STARTTLS", &ImapClientDialogue::starttls},
}};

namespace {

/// Text that came from elsewhere stays on its line.
void append_text(std::string_view text, WipingBuffer& out) {
  for (const char c : text) {
    out.append(static_cast<unsigned char>(c) < ' ' || c == 0x7f ? ' ' : c);
  }
}

std::string_view or_default(const AuthResult& result, std::string_view text) {
  return result.text.empty() ? text : std::string_view(result.text);
}

std::string referral_code(const AuthResult& result) {
  constexpr std::uint16_t kImapPort = 143;
  return "REFERRAL " + login::referral_url("imap", kImapPort, result) + "/";
}

}  // namespace

void ImapClientDialogue::tagged(std::string_view status, std::string_view text, WipingBuffer& out) {
  out.append(tag_invalid_ ? "*" : tag_.view()).append(' ').append(status).append(' ');
  append_text(text, out);
  out.append("\r\n");
}

void ImapClientDialogue::tagged_code(std::string_view code, std::string_view text,
                                     WipingBuffer& out) {
  out.append(tag_.view()).append(" NO [");
  append_text(code, out);
  out.append("] ");
  append_text(text, out);
  out.append("\r\n");
}

void ImapClientDialogue::greet(WipingBuffer& out) {
  out.append("* OK [CAPABILITY ").append(pre_login_capabilities(context_)).append("] ");
  append_text(context_.greeting, out);
  out.append("\r\n");
}

ImapClientDialogue::Said ImapClientDialogue::capability(WipingBuffer& out) {
  // RFC 3501 makes every client ask again after STARTTLS, so only one that asked before shows that
  // it does not read the code in the greeting.
  if (!starttls_) used_capability_ = true;
  out.append("* CAPABILITY ").append(pre_login_capabilities(context_)).append("\r\n");
  tagged("OK", "Pre-login capabilities listed, post-login capabilities have more.", out);
  return Wish::next;
}

ImapClientDialogue::Said ImapClientDialogue::enable(WipingBuffer& out) {
  out.append("* ENABLED\r\n");
  tagged("OK", "ENABLE ignored in non-authenticated state.", out);
  return Wish::next;
}

ImapClientDialogue::Said ImapClientDialogue::noop(WipingBuffer& out) {
  tagged("OK", "NOOP completed.", out);
  return Wish::next;
}

ImapClientDialogue::Said ImapClientDialogue::logout(WipingBuffer& out) {
  out.append("* BYE Logging out\r\n");
  tagged("OK", "Logout completed.", out);
  return close("Aborted login by logging out");
}

ImapClientDialogue::Said ImapClientDialogue::starttls(WipingBuffer& out) {
  if (context_.security.tls || context_.security.ssl_secured) {
    tagged("BAD", "TLS is already active.", out);
    return Wish::next;
  }
  if (!login::can_start_tls(context_)) {
    tagged("BAD", "TLS support isn't enabled.", out);
    return Wish::next;
  }
  starttls_ = true;
  tagged("OK", "Begin TLS negotiation now.", out);
  return Wish::start_tls;
}

ImapClientDialogue::Said ImapClientDialogue::id(WipingBuffer& out) {
  out.append("* ID ").append(id_reply(context_.settings->imap_id_send)).append("\r\n");
  tagged("OK", "ID completed.", out);
  const bool first = !std::exchange(id_seen_, true);
  retained_ = id_->take_retained();
  if (first && !id_->log_text().empty()) {
    id_log_ = "ID sent: " + id_->log_text();
    id_log_pending_ = true;  // said by the next call, after what was forwarded is applied
  }
  const bool forwards = id_->forwards();
  if (forwards) forwarded_ = id_->take_forwarded();
  id_.reset();
  if (forwards) return Wish::forwarded;
  if (std::exchange(id_log_pending_, false)) return Wish::log_id;
  return Wish::next;
}

ImapClientDialogue::Said ImapClientDialogue::login(WipingBuffer& out) {
  WipingBuffer user = std::exchange(kept_[0], WipingBuffer());
  WipingBuffer password = std::exchange(kept_[1], WipingBuffer());
  if (odd_arguments_ || arguments_ != 2) return bad_command(out);
  WipingBuffer plain;
  plain.append('\0').append(user.view()).append('\0').append(password.view());
  WipingBuffer base64;
  base64_encode(plain.view(), base64);
  request_ = {};
  request_.mech = "PLAIN";
  request_.initial.emplace(std::move(base64));
  request_.user = user.view();
  request_.plaintext_command = true;
  return authenticate();
}

ImapClientDialogue::Said ImapClientDialogue::authenticate() {
  state_ = State::busy;
  return Wish::authenticate;
}

login::LoginFacts ImapClientDialogue::facts() const {
  login::LoginFacts out;
  out.tag = tag_.view();
  out.mech = mechanism_;
  out.used_capability = used_capability_;
  if (context_.settings->imap_id_retain) out.client_id = retained_;
  return out;
}

void ImapClientDialogue::challenge(std::string_view base64, WipingBuffer& out) {
  out.append("+ ");
  append_text(base64, out);
  out.append("\r\n");
  state_ = State::response;
  line_.clear();
}

void ImapClientDialogue::failed(const AuthResult& result, WipingBuffer& out) {
  say_failed(result, out);
  bad_response_ = false;
  if (state_ != State::closed) start_next_line();
}

void ImapClientDialogue::say_failed(const AuthResult& result, WipingBuffer& out) {
  switch (result.outcome) {
    case Outcome::wrong_credentials:
    case Outcome::user_disabled:
      if (!result.has_reason) {
        return tagged_code("AUTHENTICATIONFAILED", or_default(result, "Authentication failed."),
                           out);
      }
      // A reason may bring its own response code.
      if (result.text.starts_with('[')) return tagged("NO", result.text, out);
      return tagged_code("ALERT", result.text, out);
    case Outcome::authz_failed:
      return tagged_code("AUTHORIZATIONFAILED", or_default(result, "Authorization failed"), out);
    case Outcome::temp_fail:
      return tagged_code("UNAVAILABLE", or_default(result, "Temporary authentication failure."),
                         out);
    case Outcome::pass_expired:
      return tagged_code("EXPIRED", or_default(result, "Authentication failed."), out);
    case Outcome::invalid_base64:
      return tagged("BAD",
                    or_default(result, bad_response_ ? "Invalid base64 in response"
                                                     : "Invalid base64 data in initial response"),
                    out);
    case Outcome::mech_invalid:
      return tagged_code("ALERT", or_default(result, "Unsupported authentication mechanism."), out);
    case Outcome::plaintext_refused:
      out.append(
          "* BAD [ALERT] Plaintext authentication not allowed without SSL/TLS, but your client did "
          "it anyway. If anyone was listening, the password was exposed.\r\n");
      return tagged_code(
          "PRIVACYREQUIRED",
          or_default(result,
                     "Plaintext authentication disallowed on non-secure (SSL/TLS) connections."),
          out);
    case Outcome::mech_plaintext_refused:
      return tagged_code("PRIVACYREQUIRED",
                         or_default(result, "Plaintext authentication disabled."), out);
    case Outcome::tls_required:
      return tagged_code("PRIVACYREQUIRED",
                         or_default(result, "Authentication not allowed until SSL/TLS is enabled."),
                         out);
    case Outcome::anonymous_denied:
      return tagged_code("CONTACTADMIN", or_default(result, "Authentication failed."), out);
    case Outcome::login_disabled:
      return tagged_code("CONTACTADMIN", or_default(result, "Login disabled for this user"), out);
    case Outcome::referral:
      return tagged_code(referral_code(result), or_default(result, "Try this server instead."),
                         out);
    case Outcome::aborted:
      return tagged("BAD",
                    bad_response_ ? "Invalid base64 in response"
                                  : or_default(result, "Authentication aborted by client."),
                    out);
    case Outcome::proxy_unavailable:
      return tagged_code("UNAVAILABLE", or_default(result, "Account is temporarily unavailable."),
                         out);
    case Outcome::proxy_misconfigured:
      return tagged_code("SERVERBUG", or_default(result, "Account is temporarily unavailable."),
                         out);
    case Outcome::userip_limit:
      return tagged_code(
          "LIMIT", or_default(result, "Maximum number of connections from user+IP exceeded"), out);
    case Outcome::handoff_failed:
      return bye(
          Bye::internal,
          or_default(result, "Internal login failure. Refer to server log for more information."),
          out);
  }
}

/// Whatever plaintext left half said is forgotten; what it was told (bad commands, an ID) counts
/// on.
void ImapClientDialogue::tls_started(WipingBuffer& /*out*/) {
  if (state_ == State::closed) return;
  tag_.clear();
  name_.clear();
  line_.clear();
  start_next_line();
}

void ImapClientDialogue::bye(Bye kind, std::string_view text, WipingBuffer& out) {
  out.append(kind == Bye::internal ? "* BYE [UNAVAILABLE] " : "* BYE ");
  append_text(text, out);
  out.append("\r\n");
}

void ImapClientDialogue::waiting_for_auth(WipingBuffer& out) {
  out.append("* OK Waiting for authentication process to respond..\r\n");
}

void ImapClientDialogue::input_full(WipingBuffer& out) {
  bye(Bye::resource, "Input buffer full, aborting", out);
}

}  // namespace postern::imap_login
