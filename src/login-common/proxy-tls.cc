// Attempt: TLS to the backend.

#include <fmt/format.h>

#include <cerrno>
#include <chrono>
#include <utility>

#include "login-common/proxy-attempt.h"

namespace postern::login {

bool Attempt::checks_certificate() const {
  return !destination_->any_cert && client_.settings->ssl_client_require_valid_cert;
}

Result<std::shared_ptr<io::TlsContext>> Attempt::tls_context(io::Verify& verify) {
  const bool check = checks_certificate();
  verify = check ? io::Verify::chain_and_name : io::Verify::none;
  Result<std::shared_ptr<io::TlsContext>> context = core_.tls().get(*client_.settings, check);
  if (!context.ok()) {
    return Error{0, fmt::format("Can't set up SSL to the backend: {}", context.error().text)};
  }
  if (check && !context.value()->has_ca()) {
    return Error{0,
                 "Can't verify the backend's SSL certificate: no CA is configured "
                 "(check ssl_client_ca_* settings?)"};
  }
  return context;
}

void Attempt::start_tls() {
  io::Verify verify = io::Verify::chain_and_name;
  Result<std::shared_ptr<io::TlsContext>> context = tls_context(verify);
  if (!context.ok()) {
    fail(FailureType::internal_config, context.error().text);
    return;
  }
  phase_ = Phase::tls;
  // The dialogue asked with an empty output: nothing may follow a STARTTLS before its answer.
  output_.clear();
  arm_connect_timer();
  stream_->want(false, false);
  const std::string& name = destination_->tls_name;
  stream_->start_tls_client(std::move(context).value(),
                            {name.empty() ? destination_->addresses[address_].host : name, verify,
                             destination_->tls_pins});
}

void Attempt::on_tls_started() {
  phase_ = Phase::dialogue;
  asked_ = false;
  if (destination_->target.tls == BackendTls::implicit) {
    stream_->want(true, false);
    return;
  }
  const Then then = dialogue_->on_tls_started(output_);
  if (!output_.empty()) asked_ = true;
  if (raw_log_) raw_log_->out_commands(output_.view());
  if (follow(then)) flush();
}

/// A certificate that is not accepted stays so: no retry. A peer that speaks no TLS is a wrong
/// setting. What else breaks a handshake may be a passing trouble.
void Attempt::on_tls_failed() {
  const std::string error = stream_->error();
  switch (stream_->error_code()) {
    case EKEYREJECTED: {
      const auto duration =
          std::chrono::duration_cast<std::chrono::seconds>(core_.loop().now() - client_.connected);
      fail(FailureType::internal_config,
           fmt::format("Disconnected by server: Connection closed: {} (state={}, duration={}s)",
                       error, dialogue_->state(), duration.count()));
      return;
    }
    case EPROTO:
      fail(FailureType::remote_config, "Failed to start SSL handshake: " + error);
      return;
    default:
      disconnected(error);
      return;
  }
}

}  // namespace postern::login
