#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "lib/secret.h"
#include "login-common/backend-dialogue.h"
#include "sasl/client.h"

/// What the protocols' dialogues with backends have in common: what of a backend's words clients
/// see, how a dialogue ends, and the client's side of SASL.
namespace postern::login {

class SaslBackend : public BackendDialogue {
 public:
  /// Bytes of a line for the client before login, its end included, whatever the backend has said.
  static constexpr std::size_t kMaxClientLine = 512;

  /// Nothing is said any more once the login has failed or succeeded.
  Then on_line(std::string_view line, WipingBuffer& to_backend, WipingBuffer& to_client) final;
  Then on_tls_started(WipingBuffer& to_backend) final;
  const Failure& failure() const final { return failure_; }
  std::string take_remark() final;

 protected:
  /// @param target  outlives this
  explicit SaslBackend(const BackendTarget& target);

  /// A line without its end; the dialogue goes on.
  virtual Then take_line(std::string_view line, WipingBuffer& to_backend,
                         WipingBuffer& to_client) = 0;
  virtual Then tls_started(WipingBuffer& to_backend) = 0;
  /// What stands before and behind the base64 of a response.
  virtual std::string_view quote() const { return {}; }

  /// `ours`, then the backend's text made printable and cut, then CRLF: kMaxClientLine in all.
  static std::string client_line(std::string_view ours, std::string_view text);

  Then fail(FailureType type, std::string reason, std::string reply = {});
  Then succeed();
  /// The backend let in whom the mechanism had told it not to.
  Then contradicted();

  /// proxy_mech, else `otherwise`.
  std::string_view mechanism_name(std::string_view otherwise) const;
  /// The same for protocols with a login command: without proxy_mech a master user needs PLAIN, all
  /// others need none ("").
  std::string_view mechanism_name() const;
  /// Makes mechanism_, or fails.
  Then choose_mechanism(std::string_view name);
  /// @param before  stands before the response
  Then send_sasl(sasl::ClientReply reply, std::string_view before, WipingBuffer& out);
  /// @param command  "AUTH", of messages
  Then answer_challenge(std::string_view base64, std::string_view command, WipingBuffer& out);

  const BackendTarget& target_;
  std::unique_ptr<sasl::ClientMechanism> mechanism_;
  bool refused_ = false;  // the mechanism was told so; the backend's verdict is still to come
  std::string refusal_;
  std::string remark_;

 private:
  sasl::ClientCredentials credentials_;
  Then end_ = Then::read_line;  // once failed or logged in
  Failure failure_;
};

}  // namespace postern::login
