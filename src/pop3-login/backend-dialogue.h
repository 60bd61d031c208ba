#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "lib/secret.h"
#include "login-common/backend-dialogue.h"
#include "sasl/client.h"

/// POP3 towards a backend, from its banner to its verdict. Only the command behind XCLIENT is
/// pipelined.
/// Source: Dovecot, "Login process proxying", POP3; RFC 1939, RFC 2595, RFC 5034.
namespace postern::pop3_login {

class Pop3BackendDialogue final : public login::BackendDialogue {
 public:
  static constexpr std::size_t kMaxLine = 4096;    // bytes of one line
  static constexpr std::size_t kMaxLines = 100;    // before the verdict
  static constexpr std::size_t kMaxBytes = 65536;  // before the verdict

  explicit Pop3BackendDialogue(const login::BackendTarget& target);

  login::Then on_line(std::string_view line, WipingBuffer& to_backend,
                      WipingBuffer& to_client) override;
  login::Then on_tls_started(WipingBuffer& to_backend) override;
  std::string state() const override;
  const login::Failure& failure() const override { return failure_; }
  std::string take_remark() override;

 private:
  /// Where it stands. The log knows five words: what lies between STLS and XCLIENT has STLS's.
  enum class State : std::uint8_t { banner, starttls, capa, capa_list, xclient, login1, login2 };
  static const std::array<std::string_view, 7> kStateNames;

  login::Then on_banner(std::string_view line, WipingBuffer& out);
  login::Then on_starttls_reply(std::string_view line);
  login::Then on_capa(std::string_view line, WipingBuffer& out);
  login::Then on_xclient_reply(std::string_view line, WipingBuffer& out);
  login::Then on_user_reply(std::string_view line, WipingBuffer& out);
  login::Then on_login_reply(std::string_view line, WipingBuffer& out, WipingBuffer& to_client);
  login::Then on_challenge(std::string_view base64, WipingBuffer& out);
  login::Then refused(std::string_view line);

  login::Then identify(WipingBuffer& out);
  login::Then send_login(WipingBuffer& out);
  login::Then send_auth(WipingBuffer& out);
  login::Then send_sasl(sasl::ClientReply reply, std::string_view before, WipingBuffer& out);
  login::Then fail(login::FailureType type, std::string reason, std::string reply = {});
  std::string_view mechanism_name() const;

  const login::BackendTarget& target_;
  State state_ = State::banner;
  State login_state_ = State::login1;  // what follows the reply to XCLIENT
  bool xclient_offered_ = false;       // by the banner, which may be from before TLS, or by CAPA
  bool login_sent_ = false;
  sasl::ClientCredentials credentials_;
  std::unique_ptr<sasl::ClientMechanism> mechanism_;
  bool refused_ = false;  // the mechanism was told so; the reply is still to come
  std::string refusal_;
  std::size_t lines_ = 0;
  std::size_t bytes_ = 0;
  login::Then end_ = login::Then::read_line;  // once failed or logged in
  login::Failure failure_;
  std::string remark_;
};

}  // namespace postern::pop3_login
