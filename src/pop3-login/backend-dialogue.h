#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "lib/secret.h"
#include "login-common/sasl-backend.h"

/// POP3 towards a backend, from its banner to its verdict. Only the command behind XCLIENT is
/// pipelined.
/// Source: Dovecot, "Login process proxying", POP3; RFC 1939, RFC 2595, RFC 5034.
namespace postern::pop3_login {

class Pop3BackendDialogue final : public login::SaslBackend {
 public:
  explicit Pop3BackendDialogue(const login::BackendTarget& target);

  std::string state() const override;

 private:
  login::Then take_line(std::string_view line, WipingBuffer& to_backend,
                        WipingBuffer& to_client) override;
  login::Then tls_started(WipingBuffer& to_backend) override;
  /// Where it stands. The log knows five words: what lies between STLS and XCLIENT has STLS's.
  enum class State : std::uint8_t { banner, starttls, capa, capa_list, xclient, login1, login2 };
  static const std::array<std::string_view, 7> kStateNames;

  login::Then on_banner(std::string_view line, WipingBuffer& out);
  login::Then on_starttls_reply(std::string_view line);
  login::Then on_capa(std::string_view line, WipingBuffer& out);
  login::Then on_xclient_reply(std::string_view line, WipingBuffer& out);
  login::Then on_user_reply(std::string_view line, WipingBuffer& out);
  login::Then on_login_reply(std::string_view line, WipingBuffer& out, WipingBuffer& to_client);
  login::Then refused(std::string_view line);

  login::Then identify(WipingBuffer& out);
  login::Then send_login(WipingBuffer& out);
  login::Then send_auth(WipingBuffer& out);

  State state_ = State::banner;
  State login_state_ = State::login1;  // what follows the reply to XCLIENT
  bool xclient_offered_ = false;       // by the banner, which may be from before TLS, or by CAPA
  bool login_sent_ = false;
};

}  // namespace postern::pop3_login
