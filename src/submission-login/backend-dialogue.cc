#include "submission-login/backend-dialogue.h"

#include <algorithm>
#include <utility>

#include "lib/text.h"
#include "submission-login/submission-dialogues.h"

namespace postern::submission_login {

using login::BackendTls;
using login::FailureType;
using login::Then;
using wire::SmtpReplyLine;

const std::array<std::string_view, 7> SubmissionBackendDialogue::kStateNames{
    "banner", "ehlo", "starttls", "tls-ehlo", "xclient", "xclient-ehlo", "authenticate"};

namespace {

constexpr std::string_view kPlain = "PLAIN";
constexpr std::string_view kEmptyResponse = "=";

bool is_success(unsigned code) noexcept {
  return code / 100 == 2;
}

}  // namespace

SubmissionBackendDialogue::SubmissionBackendDialogue(const login::BackendTarget& target)
    : SaslBackend(target) {}

std::string SubmissionBackendDialogue::state() const {
  return std::string(kStateNames[static_cast<std::size_t>(state_)]);
}

Then SubmissionBackendDialogue::take_line(std::string_view line, WipingBuffer& to_backend,
                                          WipingBuffer& to_client) {
  ++reply_lines_;
  const auto reply = wire::parse_smtp_reply(line);
  if (!reply) return no_reply(line);
  if (code_ && *code_ != reply->code) {
    return fail(FailureType::protocol, "Inconsistent SMTP reply: " + log_safe_line(line) +
                                           " (status != " + std::to_string(*code_) + ")");
  }
  code_ = reply->code;
  const auto follow = [&]() {
    switch (state_) {
      case State::banner:
        return on_banner(*reply, line, to_backend);
      case State::ehlo:
      case State::tls_ehlo:
      case State::xclient_ehlo:
        return on_ehlo_reply(*reply, line, to_backend, to_client);
      case State::starttls:
        return on_starttls_reply(*reply, line);
      case State::xclient:
        return on_xclient_reply(*reply, line, to_backend);
      case State::authenticate:
        return on_auth_reply(*reply, line, to_backend, to_client);
    }
    return fail(FailureType::internal, "No such state");
  };
  const Then then = follow();
  if (reply->last) {
    code_.reset();
    reply_lines_ = 0;
  }
  return then;
}

/// Dovecot 2.3 fails an assertion here if the line is an answer to AUTH, and takes all sessions of
/// its process along.
Then SubmissionBackendDialogue::no_reply(std::string_view line) {
  const std::string shown = log_safe_line(line);
  switch (state_) {
    case State::banner:
      return fail(FailureType::protocol, "Invalid banner: " + shown);
    case State::ehlo:
    case State::tls_ehlo:
    case State::xclient_ehlo:
      return fail(FailureType::protocol, "Invalid EHLO line: " + shown);
    case State::starttls:
      return fail(FailureType::protocol, "Invalid STARTTLS reply: " + shown);
    case State::xclient:
      return fail(FailureType::protocol, "Invalid XCLIENT reply: " + shown);
    case State::authenticate:
      return fail(FailureType::protocol, "Invalid AUTH reply: " + shown);
  }
  return fail(FailureType::internal, "No such state");
}

Then SubmissionBackendDialogue::on_banner(const SmtpReplyLine& reply, std::string_view line,
                                          WipingBuffer& out) {
  constexpr unsigned kReady = 220;
  if (reply.code != kReady) {
    return fail(FailureType::protocol, "Invalid banner: " + log_safe_line(line));
  }
  if (!reply.last) return Then::read_line;
  send_ehlo(out);
  state_ = State::ehlo;
  return Then::read_line;
}

void SubmissionBackendDialogue::send_ehlo(WipingBuffer& out) {
  out.append("EHLO ").append(target_.host_name).append("\r\n");
  capabilities_ = {};
}

Then SubmissionBackendDialogue::on_ehlo_reply(const SmtpReplyLine& reply, std::string_view line,
                                              WipingBuffer& out, WipingBuffer& to_client) {
  if (!is_success(reply.code)) {
    return fail(FailureType::protocol, "Invalid EHLO line: " + log_safe_line(line));
  }
  if (reply_lines_ > 1) learn(reply.text);  // the first names the host
  return reply.last ? after_ehlo(out, to_client) : Then::read_line;
}

void SubmissionBackendDialogue::learn(std::string_view keyword) {
  const auto parts = words(keyword);
  if (parts.empty()) return;
  const std::vector<std::string> values(parts.begin() + 1, parts.end());
  if (same_text(parts.front(), "STARTTLS")) capabilities_.starttls = true;
  if (same_text(parts.front(), "ENHANCEDSTATUSCODES")) capabilities_.enhanced = true;
  if (same_text(parts.front(), "AUTH")) capabilities_.mechanisms = values;
  if (same_text(parts.front(), "XCLIENT")) capabilities_.xclient = {true, values};
}

Then SubmissionBackendDialogue::after_ehlo(WipingBuffer& out, WipingBuffer& to_client) {
  if (state_ == State::ehlo && target_.tls == BackendTls::starttls) {
    if (!capabilities_.starttls) {
      return fail(FailureType::remote_config, "STARTTLS not supported");
    }
    out.append("STARTTLS\r\n");
    state_ = State::starttls;
    return Then::read_line;
  }
  if (!std::exchange(identified_, true) && send_xclient(out)) return Then::read_line;
  return identify(out, to_client);
}

Then SubmissionBackendDialogue::on_starttls_reply(const SmtpReplyLine& reply,
                                                  std::string_view line) {
  if (!is_success(reply.code)) {
    return fail(FailureType::remote, "STARTTLS failed: " + log_safe_line(line));
  }
  return reply.last ? Then::start_tls : Then::read_line;
}

Then SubmissionBackendDialogue::tls_started(WipingBuffer& to_backend) {
  send_ehlo(to_backend);
  state_ = State::tls_ehlo;
  return Then::read_line;
}

/// True if there is something to say of the client that the backend wants to know.
bool SubmissionBackendDialogue::send_xclient(WipingBuffer& out) {
  if (!capabilities_.xclient.offered || target_.not_trusted) return false;
  XclientCommands commands = xclient_commands(target_, capabilities_.xclient);
  if (commands.left_out) remark_ = "Fields too long to be forwarded";
  if (commands.lines.empty()) return false;
  login_said_ = commands.login_said;
  unsaid_ = std::move(commands.lines);
  xclient_replies_ = unsaid_.size();
  state_ = State::xclient;
  // Only Dovecot, which knows sessions, takes more behind an XCLIENT before it has answered:
  // Postfix calls that improper, and ends the connection (smtpd_forbid_unauth_pipelining, 3.9's
  // default).
  const bool at_once = capabilities_.xclient.has("SESSION") && !target_.nopipelining;
  do {
    send_next_xclient(out);
  } while (at_once && !ehlo_sent_);
  return true;
}

/// The next XCLIENT; behind the last one EHLO, as the backend has forgotten the first.
void SubmissionBackendDialogue::send_next_xclient(WipingBuffer& out) {
  if (unsaid_.empty()) {
    send_ehlo(out);
    ehlo_sent_ = true;
    return;
  }
  out.append(unsaid_.front());
  unsaid_.erase(unsaid_.begin());
}

Then SubmissionBackendDialogue::on_xclient_reply(const SmtpReplyLine& reply, std::string_view line,
                                                 WipingBuffer& out) {
  // Trying again would not change it (Dovecot 2.4).
  if (!is_success(reply.code)) {
    return fail(FailureType::remote_config, "XCLIENT failed: " + log_safe_line(line));
  }
  if (!reply.last) return Then::read_line;
  --xclient_replies_;
  if (!ehlo_sent_) send_next_xclient(out);
  if (xclient_replies_ == 0) state_ = State::xclient_ehlo;
  return Then::read_line;
}

/// Who logs in: with AUTH, or by what XCLIENT has said (proxy_noauth).
Then SubmissionBackendDialogue::identify(WipingBuffer& out, WipingBuffer& to_client) {
  if (!target_.noauth) return send_auth(out);
  // Dovecot 2.3 reports success to the client, though the backend knows of nobody.
  if (!login_said_) {
    return fail(FailureType::remote_config, "XCLIENT LOGIN not supported (proxy_noauth needs it)");
  }
  to_client.append("235 2.7.0 Logged in.\r\n");
  return succeed();
}

Then SubmissionBackendDialogue::send_auth(WipingBuffer& out) {
  const auto& offered = capabilities_.mechanisms;
  if (offered.empty()) {
    return fail(FailureType::remote_config,
                "Authentication support not advertised (TLS required?)");
  }
  const bool plain = std::any_of(offered.begin(), offered.end(),
                                 [](const std::string& name) { return same_text(name, kPlain); });
  // A mechanism that the passdb names is tried even if the backend does not name it.
  if (target_.mech.empty() && !plain) {
    return fail(FailureType::remote_config, "PLAIN authentication not advertised (TLS required?)");
  }
  const std::string_view name = mechanism_name(kPlain);
  if (const Then then = choose_mechanism(name); then != Then::read_line) return then;
  state_ = State::authenticate;
  const std::string command = "AUTH " + std::string(mechanism_->name());
  auto initial = mechanism_->initial();
  if (!initial) {  // the server speaks first
    out.append(command).append("\r\n");
    return Then::read_line;
  }
  WipingBuffer base64;
  const Then then = send_sasl(std::move(*initial), "", base64);
  if (then != Then::read_line) return then;
  constexpr std::size_t kLineEnd = 2;
  const bool empty = base64.size() == kLineEnd;
  const bool fits = command.size() + 1 + base64.size() <= kMaxCommand;
  out.append(command);
  if (empty) out.append(" ").append(kEmptyResponse);
  if (empty || !fits) out.append("\r\n");
  if (!empty && fits) out.append(" ").append(base64.view());
  if (!fits) initial_ = std::move(base64);
  return Then::read_line;
}

Then SubmissionBackendDialogue::on_auth_reply(const SmtpReplyLine& reply, std::string_view line,
                                              WipingBuffer& out, WipingBuffer& to_client) {
  constexpr unsigned kChallenge = 334;
  if (reply.code == kChallenge) {
    return reply.last ? on_challenge(reply.text, out) : no_reply(line);
  }
  if (reply.code / 100 == 3) return no_reply(line);
  // The end of a reply is a reply.
  const std::string shown = client_line("", line);
  if (verdict_.size() + shown.size() > kMaxClientLine) verdict_.clear();
  verdict_.append(shown);
  if (reply_lines_ == 1) {
    std::string_view text = reply.text;
    const std::string_view code = wire::smtp_enhanced_code(text);
    if (capabilities_.enhanced && !code.empty()) text.remove_prefix(code.size());
    text = trim(text);
    reason_ = log_safe_line(text.empty() ? line : text);
  }
  if (!reply.last) return Then::read_line;
  if (!is_success(reply.code)) return refused(reply.code);
  if (refused_) {
    return contradicted();
  }
  to_client.append(verdict_);
  return succeed();
}

Then SubmissionBackendDialogue::on_challenge(std::string_view base64, WipingBuffer& out) {
  if (initial_) {
    if (!base64.empty()) {
      return fail(FailureType::protocol,
                  "Challenge before the initial response: " + log_safe_line(base64));
    }
    out.append(initial_->view());
    initial_.reset();
    return Then::read_line;
  }
  return answer_challenge(base64, "AUTH", out);
}

/// What a backend says of a refusal may tell strangers which users there are: without an enhanced
/// code, which means something to clients, it is replaced, unless the operator wants otherwise.
Then SubmissionBackendDialogue::refused(unsigned code) {
  if (refused_) return fail(FailureType::auth_not_replied, refusal_);
  if (code < 500) return fail(FailureType::auth_tempfail, reason_, verdict_);
  const std::string_view text = std::string_view(verdict_).substr(4);
  if (target_.hide_auth_errors &&
      wire::smtp_enhanced_code(text.substr(0, text.find('\r'))).empty()) {
    return fail(FailureType::auth_replied, reason_, "535 5.7.8 Authentication failed.\r\n");
  }
  return fail(FailureType::auth_replied, reason_, verdict_);
}

std::unique_ptr<login::BackendDialogue> make_submission_backend_dialogue(
    const login::BackendTarget& target) {
  return std::make_unique<SubmissionBackendDialogue>(target);
}

}  // namespace postern::submission_login
