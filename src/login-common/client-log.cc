// What the log says of a client.
#include <fmt/format.h>

#include "lib/log.h"
#include "login-common/client.h"
#include "login-common/proxy-log.h"

namespace postern::login {
namespace {

/// The same in Dovecot 2.4's words.
std::string reason_24(std::string_view reason) {
  if (reason == "Aborted login by logging out") return "Logged out";
  // 2.3's POP3 says it twice.
  if (reason.starts_with(kDisconnected)) reason.remove_prefix(kDisconnected.size());
  return std::string(reason);
}

}  // namespace

/// Made at first use: a trusted hop may have named it, or changed the address that is in it.
const std::string& Client::session() {
  if (session_.empty()) session_ = shared_.session_ids.make(remote_);
  return session_;
}

bool Client::compat() const noexcept {
  return settings_->login_compat == config::LoginCompat::dovecot_2_3;
}

std::uint64_t Client::seconds_since(io::TimePoint when) const noexcept {
  const auto passed =
      std::chrono::duration_cast<std::chrono::seconds>(shared_.loop.now() - when).count();
  return passed > 0 ? static_cast<std::uint64_t>(passed) : 0;
}

std::string Client::secured_text() const {
  if (stream_ && (tls_handshaking_ || (!context_.security.tls && !tls_error_.empty()))) {
    return tls_error_.empty() ? "TLS handshaking" : "TLS handshaking: " + tls_error_;
  }
  // A balancer's TLS is the client's, too.
  if (context_.security.ssl_secured && !context_.security.tls && !compat()) return "TLS";
  if (context_.security.tls) return tls_error_.empty() ? "TLS" : "TLS: " + tls_error_;
  return context_.security.secured ? "secured" : "";
}

std::string Client::ssl_text() const {
  if (stream_ && context_.security.tls && stream_->tls()) return stream_->tls_info().text();
  return context_.security.ssl_secured && !context_.security.tls ? "(proxied)" : "";
}

std::string Client::elements() {
  const LogElements& format = log_elements(*settings_);
  const std::string secured = secured_text();
  const std::string ssl = ssl_text();
  LogFacts facts;
  facts.user = user_;
  facts.original_user = original_user_;
  facts.auth_user = auth_user_;
  facts.service = shared_.protocol.name;
  facts.remote = remote_;
  facts.local = local_;
  facts.real_remote = real_remote_;
  facts.real_local = real_local_;
  facts.mech = mech_;
  facts.secured = secured;
  facts.ssl_security = ssl;
  facts.session = session();
  facts.listener = listener_.name;
  facts.local_name = local_name_;
  facts.passdb = &passdb_fields_;
  return format.render(facts);
}

void Client::log_line(log::Level level, std::string_view message) {
  log::write(level, session_line(*settings_, message, elements()));
}

EndFacts::Certificate Client::certificate_fact() const noexcept {
  using Fact = EndFacts::Certificate;
  if (!settings_->auth_ssl_require_client_cert) return Fact::irrelevant;
  if (certificate_.state == io::ClientCertificate::State::valid) return Fact::irrelevant;
  if (certificate_.state == io::ClientCertificate::State::invalid) return Fact::invalid;
  return context_.security.ssl_secured || tls_handshaking_ ? Fact::missing : Fact::no_tls;
}

/// The one line about a client that did not get through.
void Client::log_end(std::string_view prefix, std::string_view words) {
  if (std::exchange(logged_, true)) return;
  facts_.connected_seconds = seconds_since(connected_);
  facts_.attempts_seconds = facts_.attempts == 0 ? 0 : seconds_since(first_attempt_);
  facts_.auth_started_seconds = facts_.attempts == 0 ? 0 : seconds_since(auth_started_);
  // A client that never got as far as the greeting because of its own handshake has not waited for
  // auth.
  if (state_ <= State::handshake) facts_.greeted = true;
  facts_.certificate = certificate_fact();
  facts_.handshaking = tls_handshaking_;
  std::string message;
  std::string remark;
  if (settings_->login_log_style == config::LoginLogStyle::dovecot_2_4 && words == kDisconnected) {
    message = "Login aborted: " + reason_24(close_reason_);
    if (with_remark_) remark = end_remark_24(facts_);
  } else {
    message = std::string(words) + close_reason_;
    if (with_remark_) remark = end_remark(facts_);
  }
  if (!remark.empty()) message += " " + remark;
  // A balancer's or monitor's knock is no news.
  if (facts_.attempts == 0 && any_contains(settings_->login_healthcheck_networks, seen_remote_)) {
    if (log::debug_enabled()) log_line(log::Level::debug, message);
    return;
  }
  log::write(log::Level::info, std::string(prefix) + session_line(*settings_, message, elements()));
}

SessionRow Client::row() {
  SessionRow out;
  out.user = user_;
  out.service = shared_.protocol.name;
  out.rip = remote_.ip.text();
  out.lip = local_.ip.text();
  out.session = session();
  out.secured = secured_text();
  out.state = "login";
  if (const Endpoint to = attempt_ ? attempt_->backend() : Endpoint{}; to.ip) {
    out.dest_user = attempt_->dest_user();
    out.dest_ip = to.ip.text();
    out.dest_port = std::to_string(to.port);
  }
  return out;
}

}  // namespace postern::login
