#pragma once

#include <bitset>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "lib/secret.h"
#include "login-common/sasl-backend.h"
#include "wire/imap-text.h"

/// IMAP towards a backend, from its banner to its verdict. Everything it is told is pipelined where
/// no answer is needed first; what was learned before TLS is forgotten behind it.
/// Source: Dovecot, "Login process proxying", IMAP; tags and state names are Dovecot's.
namespace postern::imap_login {

class ImapBackendDialogue final : public login::SaslBackend {
 public:
  static constexpr std::size_t kMaxRelayed = 16;  // alerts passed on before the verdict

  explicit ImapBackendDialogue(const login::BackendTarget& target);

  std::string state() const override;
  bool answers_are_tagged() const noexcept override { return true; }

 private:
  login::Then take_line(std::string_view line, WipingBuffer& to_backend,
                        WipingBuffer& to_client) override;
  login::Then tls_started(WipingBuffer& to_backend) override;
  /// Commands without an answer yet, in the order they are named in messages.
  enum class Sent : std::uint8_t { id, starttls, capability, authenticate, auth_continue, login };
  /// The kind of the last reply.
  enum class Received : std::uint8_t {
    none,
    banner,
    id,
    starttls,
    capability,
    auth_continue,
    login
  };

  login::Then on_banner(std::string_view line, WipingBuffer& out);
  login::Then on_untagged(std::string_view rest, WipingBuffer& to_client);
  login::Then on_continuation(std::string_view rest, WipingBuffer& out);
  login::Then on_tagged(std::string_view line, WipingBuffer& out, WipingBuffer& to_client);
  login::Then on_login_reply(std::string_view rest, WipingBuffer& to_client);
  login::Then on_starttls_reply(std::string_view rest);
  login::Then on_challenge(std::string_view base64, WipingBuffer& out);
  login::Then unexpected(std::string_view line);
  void say_success(std::string_view rest, WipingBuffer& to_client) const;

  /// Sends what can be sent now, in order.
  login::Then advance(WipingBuffer& out);
  bool must_know_capabilities() const;
  bool login_is_disabled() const;
  login::Then refuse_plaintext();
  login::Then send_login(WipingBuffer& out);
  login::Then send_authenticate(std::string_view mech, WipingBuffer& out);

  std::string reply_line(std::string_view text) const;
  bool is_sent(Sent what) const { return sent_[static_cast<std::size_t>(what)]; }
  void set_sent(Sent what, bool on = true) { sent_[static_cast<std::size_t>(what)] = on; }
  bool login_pending() const {
    return is_sent(Sent::login) || is_sent(Sent::authenticate) || is_sent(Sent::auth_continue);
  }

  std::bitset<6> sent_;
  Received received_ = Received::none;
  bool want_id_ = false;
  bool want_starttls_ = false;
  bool want_capability_ = false;
  bool want_login_ = false;
  bool id_offered_ = false;  // by the banner, which may be from before TLS
  bool tls_up_ = false;
  wire::ImapCapabilities capabilities_;        // before login
  wire::ImapCapabilities login_capabilities_;  // untagged, behind the login command

  bool initial_sent_ = false;
  std::vector<WipingBuffer> literals_;  // parts of LOGIN that wait for a "+", in order
  std::size_t next_literal_ = 0;

  std::size_t relayed_ = 0;
};

}  // namespace postern::imap_login
