#include "pop3-login/backend-dialogue.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "lib/text.h"
#include "login-common/xclient.h"
#include "pop3-login/pop3-dialogues.h"

namespace postern::pop3_login {

using login::BackendTls;
using login::FailureType;
using login::Then;

const std::array<std::string_view, 7> Pop3BackendDialogue::kStateNames{
    "banner", "starttls", "starttls", "starttls", "xclient", "login1", "login2"};

namespace {

constexpr std::string_view kTemporary = "[SYS/TEMP]";

/// Codes of a refused login that are passed on with their text (RFC 2449, RFC 3206).
constexpr std::array<std::string_view, 4> kKnownCodes{"[AUTH]", "[IN-USE]", "[LOGIN-DELAY]",
                                                      "[SYS/PERM]"};

/// What stands behind it is not looked at: there are servers that put no blank there.
bool is_ok(std::string_view line) {
  return line.starts_with("+OK");
}

/// `-ERR text`: the text; nothing if the line is something else.
std::optional<std::string_view> error_text(std::string_view line) {
  if (line == "-ERR") return "";
  constexpr std::string_view kError = "-ERR ";
  if (!line.starts_with(kError)) return std::nullopt;
  return line.substr(kError.size());
}

/// The protocol is raw: what ends a line cannot be said.
bool fits_line(std::string_view text) {
  constexpr std::string_view kEnds("\r\n\0", 3);
  return text.find_first_of(kEnds) == std::string_view::npos;
}

}  // namespace

Pop3BackendDialogue::Pop3BackendDialogue(const login::BackendTarget& target)
    : SaslBackend(target) {}

std::string Pop3BackendDialogue::state() const {
  return std::string(kStateNames[static_cast<std::size_t>(state_)]);
}

Then Pop3BackendDialogue::take_line(std::string_view line, WipingBuffer& to_backend,
                                    WipingBuffer& to_client) {
  switch (state_) {
    case State::banner:
      return on_banner(line, to_backend);
    case State::starttls:
      return on_starttls_reply(line);
    case State::capa:
    case State::capa_list:
      return on_capa(line, to_backend);
    case State::xclient:
      return on_xclient_reply(line, to_backend);
    case State::login1:
      return on_user_reply(line, to_backend);
    case State::login2:
      return on_login_reply(line, to_backend, to_client);
  }
  return fail(FailureType::internal, "No such state");
}

Then Pop3BackendDialogue::on_banner(std::string_view line, WipingBuffer& out) {
  if (!is_ok(line)) {
    return fail(FailureType::protocol, "Invalid banner: " + log_safe_line(line));
  }
  const bool raw = mechanism_name().empty();
  if (raw && (!fits_line(target_.user) || !fits_line(target_.password.reveal()))) {
    return fail(FailureType::internal, "User name or password has a CR, LF or NUL");
  }
  xclient_offered_ = line.starts_with("+OK [XCLIENT]");
  if (target_.tls != BackendTls::starttls) return identify(out);
  out.append("STLS\r\n");
  state_ = State::starttls;
  return Then::read_line;
}

Then Pop3BackendDialogue::on_starttls_reply(std::string_view line) {
  if (is_ok(line)) return Then::start_tls;
  return fail(FailureType::remote, "STLS failed: " + log_safe_line(line));
}

/// There is no second banner: a backend whose first did not offer XCLIENT, or had it cut out on the
/// way, is asked.
Then Pop3BackendDialogue::tls_started(WipingBuffer& to_backend) {
  if (xclient_offered_ || target_.not_trusted || target_.forward_2_3_only) {
    return identify(to_backend);
  }
  to_backend.append("CAPA\r\n");
  state_ = State::capa;
  return Then::read_line;
}

Then Pop3BackendDialogue::on_capa(std::string_view line, WipingBuffer& out) {
  if (state_ == State::capa) {
    if (!is_ok(line)) return identify(out);
    state_ = State::capa_list;
    return Then::read_line;
  }
  if (line == ".") return identify(out);
  if (same_text(line.substr(0, line.find(' ')), "XCLIENT")) xclient_offered_ = true;
  return Then::read_line;
}

/// XCLIENT if it may be, and the login.
Then Pop3BackendDialogue::identify(WipingBuffer& out) {
  if (!xclient_offered_ || target_.not_trusted) return send_login(out);
  if (!login::append_xclient(target_, out)) remark_ = "Fields too long to be forwarded";
  if (!target_.nopipelining) {
    const Then then = send_login(out);
    if (then != Then::read_line) return then;
  }
  state_ = State::xclient;
  return Then::read_line;
}

Then Pop3BackendDialogue::on_xclient_reply(std::string_view line, WipingBuffer& out) {
  // Trying again would not change it (Dovecot 2.4).
  if (!is_ok(line)) {
    return fail(FailureType::remote_config, "XCLIENT failed: " + log_safe_line(line));
  }
  if (!login_sent_) return send_login(out);
  state_ = login_state_;
  return Then::read_line;
}

Then Pop3BackendDialogue::send_login(WipingBuffer& out) {
  login_sent_ = true;
  if (!mechanism_name().empty()) return send_auth(out);
  out.append("USER ").append(target_.user).append("\r\n");
  state_ = login_state_ = State::login1;
  return Then::read_line;
}

Then Pop3BackendDialogue::send_auth(WipingBuffer& out) {
  if (const Then then = choose_mechanism(mechanism_name()); then != Then::read_line) return then;
  state_ = login_state_ = State::login2;
  const std::string command = "AUTH " + std::string(mechanism_->name());
  auto initial = mechanism_->initial();
  if (!initial) {
    // The server speaks first: not every one takes Dovecot's "=" for that.
    out.append(command).append("\r\n");
    return Then::read_line;
  }
  if (initial->kind == sasl::ClientReply::Kind::respond && initial->bytes.empty()) {
    out.append(command).append(" =\r\n");
    return Then::read_line;
  }
  return send_sasl(std::move(*initial), command + " ", out);
}

Then Pop3BackendDialogue::on_user_reply(std::string_view line, WipingBuffer& out) {
  if (!is_ok(line)) return refused(line);
  out.append("PASS ").append(target_.password.reveal()).append("\r\n");
  state_ = State::login2;
  return Then::read_line;
}

Then Pop3BackendDialogue::on_login_reply(std::string_view line, WipingBuffer& out,
                                         WipingBuffer& to_client) {
  if (is_ok(line)) {
    if (refused_) {
      return contradicted();
    }
    to_client.append(client_line("", line));
    return succeed();
  }
  // "+" without a blank is an empty challenge (Dovecot 2.4).
  if (mechanism_ && (line == "+" || line.starts_with("+ "))) {
    return answer_challenge(line.substr(std::min<std::size_t>(line.size(), 2)), "AUTH", out);
  }
  if (refused_) return fail(FailureType::auth_not_replied, refusal_);
  return refused(line);
}

/// What a backend says of a refusal may tell strangers which users there are: without a code that
/// means something to clients it is replaced, unless the operator wants otherwise.
Then Pop3BackendDialogue::refused(std::string_view line) {
  const auto text = error_text(line);
  if (!text) {
    return fail(FailureType::auth_replied, log_safe_line(line), "-ERR Authentication failed.\r\n");
  }
  const std::string reason = log_safe_line(*text);
  const std::string verbatim = client_line("", line);
  if (starts_with_text(*text, kTemporary)) {
    return fail(FailureType::auth_tempfail, reason, verbatim);
  }
  const bool known =
      std::any_of(kKnownCodes.begin(), kKnownCodes.end(),
                  [&text](std::string_view code) { return starts_with_text(*text, code); });
  if (known || !target_.hide_auth_errors) {
    return fail(FailureType::auth_replied, reason, verbatim);
  }
  return fail(FailureType::auth_replied, reason, "-ERR [AUTH] Authentication failed.\r\n");
}

std::unique_ptr<login::BackendDialogue> make_pop3_backend_dialogue(
    const login::BackendTarget& target) {
  return std::make_unique<Pop3BackendDialogue>(target);
}

}  // namespace postern::pop3_login
