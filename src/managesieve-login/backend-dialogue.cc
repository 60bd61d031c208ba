#include "managesieve-login/backend-dialogue.h"

#include <utility>

#include "lib/text.h"
#include "login-common/xclient.h"
#include "managesieve-login/sieve-dialogues.h"
#include "wire/sieve-arguments.h"

namespace postern::managesieve_login {

using login::BackendTls;
using login::FailureType;
using login::Then;
using Kind = wire::SieveReply::Kind;

const std::array<std::string_view, 5> SieveBackendDialogue::kStateNames{
    "none", "tls-start", "tls-ready", "xclient", "auth"};

namespace {

constexpr std::size_t kMaxClientText = 256;  // bytes of a refusal of the backend

/// `OK "text"` and the like, the text as a client may see it.
std::string status_line(std::string_view status, std::string_view text) {
  WipingBuffer out(status);
  if (!text.empty()) {
    out.append(' ');
    wire::append_sieve_string(log_safe_line(text, kMaxClientText), out);
  }
  out.append("\r\n");
  return std::string(out.view());
}

}  // namespace

SieveBackendDialogue::SieveBackendDialogue(const login::BackendTarget& target)
    : SaslBackend(target) {}

std::string SieveBackendDialogue::state() const {
  return std::string(kStateNames[static_cast<std::size_t>(state_)]);
}

Then SieveBackendDialogue::take_line(std::string_view line, WipingBuffer& to_backend,
                                     WipingBuffer& to_client) {
  if (!std::exchange(in_reply_, true)) line_ = log_safe_line(line, kMaxLine);
  switch (reader_.take(line)) {
    case wire::SieveReplyReader::Event::more:
      return Then::read_line;
    case wire::SieveReplyReader::Event::error:
      return unexpected();
    case wire::SieveReplyReader::Event::reply:
      in_reply_ = false;
      return on_reply(to_backend, to_client);
  }
  return fail(FailureType::internal, "No such event");
}

Then SieveBackendDialogue::on_reply(WipingBuffer& to_backend, WipingBuffer& to_client) {
  switch (state_) {
    case State::none:
    case State::tls_ready:
      return on_capability(to_backend);
    case State::tls_start:
      return on_starttls_reply();
    case State::xclient:
      return on_xclient_reply(to_backend);
    case State::auth:
      return on_auth_reply(to_backend, to_client);
  }
  return fail(FailureType::internal, "No such state");
}

Then SieveBackendDialogue::unexpected() {
  const bool greeting = state_ == State::none || state_ == State::tls_ready;
  return fail(
      FailureType::protocol,
      (greeting ? "Invalid capability response: " : "Invalid reply: ") + log_safe_line(line_));
}

Then SieveBackendDialogue::on_capability(WipingBuffer& out) {
  const wire::SieveReply& reply = reader_.reply();
  switch (reply.kind) {
    case Kind::strings: {
      const std::string_view name = reply.text.view();
      if (same_text(name, "SASL")) sasl_ = !trim(reply.value).empty();
      if (same_text(name, "STARTTLS")) starttls_ = true;
      if (same_text(name, "XCLIENT")) xclient_ = true;
      return Then::read_line;
    }
    case Kind::ok:
      return greeted(out);
    case Kind::no:
    case Kind::bye:
      break;
  }
  return fail(FailureType::protocol,
              "Remote sent unexpected NO/BYE instead of capability response");
}

Then SieveBackendDialogue::greeted(WipingBuffer& out) {
  if (state_ == State::tls_ready || target_.tls != BackendTls::starttls) return identify(out);
  if (!starttls_) return fail(FailureType::remote_config, "Remote doesn't support STARTTLS");
  out.append("STARTTLS\r\n");
  state_ = State::tls_start;
  return Then::read_line;
}

Then SieveBackendDialogue::on_starttls_reply() {
  if (reader_.reply().kind == Kind::strings) return unexpected();
  if (reader_.reply().kind == Kind::ok) {
    state_ = State::tls_ready;
    return Then::start_tls;
  }
  return fail(FailureType::remote, "Remote refused STARTTLS command");
}

/// What was offered in clear means nothing; the backend says it again by itself (RFC 5804 section
/// 2.2).
Then SieveBackendDialogue::tls_started(WipingBuffer& /*to_backend*/) {
  sasl_ = starttls_ = xclient_ = false;
  return Then::read_line;
}

/// XCLIENT if it may be, else the login.
Then SieveBackendDialogue::identify(WipingBuffer& out) {
  if (!sasl_) {
    return fail(FailureType::remote_config, "Server has disabled authentication (TLS required?)");
  }
  if (!xclient_ || target_.not_trusted) return send_auth(out);
  if (!login::append_xclient(target_, out)) remark_ = "Fields too long to be forwarded";
  state_ = State::xclient;
  return Then::read_line;
}

Then SieveBackendDialogue::on_xclient_reply(WipingBuffer& out) {
  if (reader_.reply().kind == Kind::strings) return unexpected();
  if (reader_.reply().kind == Kind::ok) return send_auth(out);
  // Trying again would not change it (Dovecot 2.4).
  return fail(FailureType::remote_config, "Remote XCLIENT failed: " + log_safe_line(line_));
}

Then SieveBackendDialogue::send_auth(WipingBuffer& out) {
  const Then chosen = choose_mechanism(mechanism_name("PLAIN"));
  if (chosen != Then::read_line) return chosen;
  state_ = State::auth;
  const std::string command = "AUTHENTICATE \"" + std::string(mechanism_->name()) + "\"";
  auto initial = mechanism_->initial();
  const bool responds = initial && initial->kind == sasl::ClientReply::Kind::respond;
  if (!initial || (responds && initial->bytes.empty())) {
    empty_initial_ = initial.has_value();
    out.append(command).append("\r\n");
    return Then::read_line;
  }
  return send_sasl(std::move(*initial), command + " ", out);
}

Then SieveBackendDialogue::on_auth_reply(WipingBuffer& out, WipingBuffer& to_client) {
  const wire::SieveReply& reply = reader_.reply();
  switch (reply.kind) {
    case Kind::strings:
      if (!reply.has_value && block_.empty()) return on_challenge(out);
      // There are servers that say anew what they offer, before they say that it worked.
      wire::append_sieve_string(log_safe_line(reply.text.view(), kMaxLine), block_);
      if (reply.has_value) {
        block_.append(' ');
        wire::append_sieve_string(log_safe_line(reply.value, kMaxLine), block_);
      }
      block_.append("\r\n");
      return Then::read_line;
    case Kind::ok:
      return accepted(to_client);
    case Kind::no:
    case Kind::bye:
      break;
  }
  return refused();
}

Then SieveBackendDialogue::on_challenge(WipingBuffer& out) {
  const std::string_view base64 = reader_.reply().text.view();
  if (std::exchange(empty_initial_, false) && base64.empty()) {
    out.append("\"\"\r\n");
    return Then::read_line;
  }
  return answer_challenge(base64, "AUTHENTICATE", out);
}

/// The line goes to the client as it is, but for what only a mechanism could make use of: the
/// client's own was another.
Then SieveBackendDialogue::accepted(WipingBuffer& to_client) {
  const wire::SieveReply& reply = reader_.reply();
  if (refused_) {
    return contradicted();
  }
  to_client.append(block_.view());
  if (reply.plain && reply.code != "SASL") {
    // Any case will do for a backend (RFC 5804 section 1.2), not for every client.
    constexpr std::string_view kOk = "OK";
    to_client.append(kOk).append(std::string_view(line_).substr(kOk.size())).append("\r\n");
  } else {
    to_client.append(status_line("OK", reply.text.view()));
  }
  return succeed();
}

/// What a backend says of a refusal may tell strangers which users there are: it is for the log,
/// unless it is to be tried again.
Then SieveBackendDialogue::refused() {
  const wire::SieveReply& reply = reader_.reply();
  if (refused_) return fail(FailureType::auth_not_replied, refusal_);
  const std::string_view text = reply.text.view();
  const bool only_text = reply.kind == Kind::no && !text.empty();
  const std::string reason = log_safe_line(only_text ? text : std::string_view(line_));
  if (reply.code == "TRYLATER") {
    return fail(FailureType::auth_tempfail, reason, status_line("NO (TRYLATER)", text));
  }
  return fail(FailureType::auth_replied, reason, "NO \"Authentication failed.\"\r\n");
}

std::unique_ptr<login::BackendDialogue> make_sieve_backend_dialogue(
    const login::BackendTarget& target) {
  return std::make_unique<SieveBackendDialogue>(target);
}

}  // namespace postern::managesieve_login
