// What the client is told.
#include <fmt/format.h>

#include "lib/text.h"
#include "submission-login/client-dialogue.h"

namespace postern::submission_login {

using login::AuthResult;
using login::Outcome;
using login::Wish;

namespace {

/// Text that came from elsewhere stays on its line.
void append_line(std::string_view before, std::string_view text, WipingBuffer& out) {
  out.append(before);
  for (const char c : text) {
    out.append(static_cast<unsigned char>(c) < ' ' || c == 0x7f ? ' ' : c);
  }
  out.append("\r\n");
}

/// How an outcome is said where the passdb has no words for it.
struct Said {
  unsigned code;
  std::string_view enhanced;
  std::string_view text;
};

Said said(Outcome outcome) {
  constexpr std::string_view kFailed = "Authentication failed.";
  constexpr std::string_view kUnavailable = "Account is temporarily unavailable.";
  switch (outcome) {
    case Outcome::wrong_credentials:
    case Outcome::user_disabled:
    case Outcome::pass_expired:
      return {535, "5.7.8", kFailed};
    case Outcome::authz_failed:
      return {535, "5.7.8", "Authorization failed"};
    case Outcome::temp_fail:
      return {454, "4.7.0", "Temporary authentication failure."};
    case Outcome::invalid_base64:
      return {501, "5.5.2", "Invalid base64 data in initial response"};
    case Outcome::mech_invalid:
      return {504, "5.5.4", "Unsupported authentication mechanism."};
    case Outcome::plaintext_refused:
    case Outcome::mech_plaintext_refused:
      return {523, "5.7.10", "Plaintext authentication disabled."};
    case Outcome::tls_required:
      return {530, "5.7.0", "Authentication not allowed until SSL/TLS is enabled."};
    case Outcome::anonymous_denied:
      return {525, "5.7.13", kFailed};
    case Outcome::login_disabled:
      return {525, "5.7.13", "Login disabled for this user"};
    case Outcome::referral:  // SMTP has no word for it
      return {535, "5.7.8", "Try this server instead."};
    case Outcome::aborted:
      return {501, "5.5.2", "Authentication aborted by client."};
    case Outcome::proxy_unavailable:
    case Outcome::proxy_misconfigured:
      return {454, "4.7.0", kUnavailable};
    case Outcome::userip_limit:
      return {421, "4.7.0", "Maximum number of connections from user+IP exceeded"};
    case Outcome::handoff_failed:
      return {421, "4.0.0", "Internal login failure. Refer to server log for more information."};
  }
  return {535, "5.7.8", kFailed};
}

}  // namespace

void SubmissionClientDialogue::greet(WipingBuffer& out) {
  append_line("220 " + context_.host_name + " ", context_.greeting, out);
}

/// The one place from which a command is answered: who sends nothing but nonsense is let go.
Wish SubmissionClientDialogue::reply(unsigned code, std::string_view enhanced,
                                     std::string_view text, WipingBuffer& out) {
  const bool bad = code == 500 || code == 501 || code == 503;
  bad_commands_ = bad ? bad_commands_ + 1 : 0;
  if (bad_commands_ > kMaxBadCommands) {
    constexpr std::string_view kText = "Too many invalid commands.";
    append_line("421 4.7.0 " + context_.host_name + " ", kText, out);
    return close(kText);
  }
  append_line(fmt::format("{}{}{} ", code, enhanced.empty() ? "" : " ", enhanced), text, out);
  return Wish::next;
}

void SubmissionClientDialogue::failed(const AuthResult& result, WipingBuffer& out) {
  if (state_ == State::closed) return;
  state_ = State::command;
  say_failed(result, out);
  given_up_ = GivenUp::no;
  mail_.clear();
}

void SubmissionClientDialogue::say_failed(const AuthResult& result, WipingBuffer& out) {
  if (given_up_ == GivenUp::too_long) {
    reply(500, "5.5.2", "Line too long", out);
    return;
  }
  if (result.outcome == Outcome::handoff_failed) {
    return bye(Bye::internal, said(result.outcome).text, out);
  }
  const Said usual = said(result.outcome);
  std::string_view text = usual.text;
  if (given_up_ == GivenUp::bad_base64) text = "Invalid base64 in response";
  if (!result.text.empty()) text = result.text;
  reply(usual.code, usual.enhanced, text, out);
}

void SubmissionClientDialogue::bye(Bye kind, std::string_view text, WipingBuffer& out) {
  const auto enhanced = [kind]() -> std::string_view {
    switch (kind) {
      case Bye::timeout:
        return "4.4.2";
      case Bye::shutdown:
        return "4.3.2";
      case Bye::resource:
      case Bye::internal:
        return "4.0.0";
    }
    return "4.0.0";
  };
  append_line(fmt::format("421 {} {} ", enhanced(), context_.host_name), text, out);
}

/// SMTP has no reply that nobody asked for.
void SubmissionClientDialogue::waiting_for_auth(WipingBuffer& /*out*/) {}

void SubmissionClientDialogue::input_full(WipingBuffer& out) {
  bye(Bye::resource, "Input buffer full, aborting", out);
}

}  // namespace postern::submission_login
