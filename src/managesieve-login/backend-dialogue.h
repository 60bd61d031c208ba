#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "lib/secret.h"
#include "login-common/sasl-backend.h"
#include "wire/sieve-reply.h"

/// ManageSieve towards a backend, from its greeting to its verdict. Nothing is pipelined.
/// Source: Dovecot, "Login process proxying", ManageSieve; RFC 5804.
namespace postern::managesieve_login {

class SieveBackendDialogue final : public login::SaslBackend {
 public:
  explicit SieveBackendDialogue(const login::BackendTarget& target);

  std::string state() const override;

 private:
  login::Then take_line(std::string_view line, WipingBuffer& to_backend,
                        WipingBuffer& to_client) override;
  login::Then tls_started(WipingBuffer& to_backend) override;
  std::string_view quote() const override { return "\""; }
  enum class State : std::uint8_t { none, tls_start, tls_ready, xclient, auth };
  static const std::array<std::string_view, 5> kStateNames;

  login::Then on_reply(WipingBuffer& to_backend, WipingBuffer& to_client);
  login::Then on_capability(WipingBuffer& out);
  login::Then on_starttls_reply();
  login::Then on_xclient_reply(WipingBuffer& out);
  login::Then on_auth_reply(WipingBuffer& out, WipingBuffer& to_client);
  login::Then on_challenge(WipingBuffer& out);
  login::Then accepted(WipingBuffer& to_client);
  login::Then refused();
  login::Then unexpected();

  login::Then greeted(WipingBuffer& out);
  login::Then identify(WipingBuffer& out);
  login::Then send_auth(WipingBuffer& out);

  State state_ = State::none;
  wire::SieveReplyReader reader_;
  std::string line_;  // the first of the reply, safe to log but for its length
  bool in_reply_ = false;
  // Capabilities, of this side of TLS.
  bool sasl_ = false;
  bool starttls_ = false;
  bool xclient_ = false;

  bool empty_initial_ = false;  // was not said, and is awaited by an empty challenge
  WipingBuffer block_;          // capabilities said before the final OK, for the client
};

}  // namespace postern::managesieve_login
