#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/secret.h"
#include "login-common/sasl-backend.h"
#include "submission-login/backend-xclient.h"
#include "wire/smtp-text.h"

/// SMTP submission towards a backend, from its banner to its verdict. Only the EHLO behind XCLIENT
/// is pipelined. Source: Dovecot, "Login process proxying", submission; RFC 5321, RFC 3207, RFC
/// 4954, Postfix XCLIENT_README.
namespace postern::submission_login {

class SubmissionBackendDialogue final : public login::SaslBackend {
 public:
  explicit SubmissionBackendDialogue(const login::BackendTarget& target);

  std::string state() const override;

 private:
  login::Then take_line(std::string_view line, WipingBuffer& to_backend,
                        WipingBuffer& to_client) override;
  login::Then tls_started(WipingBuffer& to_backend) override;
  enum class State : std::uint8_t {
    banner,
    ehlo,
    starttls,
    tls_ehlo,
    xclient,
    xclient_ehlo,
    authenticate,
  };
  static const std::array<std::string_view, 7> kStateNames;
  /// What the last EHLO said.
  struct Capabilities {
    bool starttls = false;
    bool enhanced = false;  // ENHANCEDSTATUSCODES
    XclientOffer xclient;
    std::vector<std::string> mechanisms;
  };

  login::Then on_banner(const wire::SmtpReplyLine& reply, std::string_view line, WipingBuffer& out);
  login::Then on_ehlo_reply(const wire::SmtpReplyLine& reply, std::string_view line,
                            WipingBuffer& out, WipingBuffer& to_client);
  login::Then on_starttls_reply(const wire::SmtpReplyLine& reply, std::string_view line);
  login::Then on_xclient_reply(const wire::SmtpReplyLine& reply, std::string_view line,
                               WipingBuffer& out);
  login::Then on_auth_reply(const wire::SmtpReplyLine& reply, std::string_view line,
                            WipingBuffer& out, WipingBuffer& to_client);
  login::Then on_challenge(std::string_view base64, WipingBuffer& out);
  login::Then no_reply(std::string_view line);
  login::Then refused(unsigned code);

  void send_ehlo(WipingBuffer& out);
  void learn(std::string_view keyword);
  login::Then after_ehlo(WipingBuffer& out, WipingBuffer& to_client);
  bool send_xclient(WipingBuffer& out);
  void send_next_xclient(WipingBuffer& out);
  login::Then identify(WipingBuffer& out, WipingBuffer& to_client);
  login::Then send_auth(WipingBuffer& out);

  State state_ = State::banner;
  std::optional<unsigned> code_;  // of the reply whose end has not come yet
  std::size_t reply_lines_ = 0;   // of that reply
  Capabilities capabilities_;
  bool identified_ = false;          // XCLIENT was said, or is not to be
  std::vector<std::string> unsaid_;  // XCLIENT commands that wait for the reply to the one before
  std::size_t xclient_replies_ = 0;  // still to come
  bool ehlo_sent_ = false;           // behind XCLIENT
  bool login_said_ = false;          // by XCLIENT
  std::optional<WipingBuffer> initial_;  // base64 that was too long for AUTH's line
  std::string verdict_;                  // the reply to AUTH, made safe, for the client
  std::string reason_;                   // its text, for the log
};

}  // namespace postern::submission_login
