#include "login-common/sasl-backend.h"

#include <algorithm>
#include <utility>

#include "lib/text.h"

namespace postern::login {

SaslBackend::SaslBackend(const BackendTarget& target) : target_(target) {
  credentials_.authzid = target.user;
  credentials_.authid = target.master.empty() ? target.user : target.master;
  credentials_.secret = &target.password;
}

std::string SaslBackend::take_remark() {
  return std::exchange(remark_, {});
}

Then SaslBackend::on_line(std::string_view line, WipingBuffer& to_backend,
                          WipingBuffer& to_client) {
  if (end_ != Then::read_line) return end_;
  if (line.ends_with('\r')) line.remove_suffix(1);
  return take_line(line, to_backend, to_client);
}

std::string SaslBackend::client_line(std::string_view ours, std::string_view text) {
  constexpr std::string_view kEnd = "\r\n";
  constexpr std::string_view kCut = "...";  // what log_safe_line() puts behind what it has cut
  const std::size_t room = kMaxClientLine - std::min(kMaxClientLine, ours.size() + kEnd.size());
  const bool fits = text.size() <= room;
  const std::size_t most = fits ? room : room - std::min(room, kCut.size());
  return std::string(ours).append(log_safe_line(text, most)).append(kEnd);
}

Then SaslBackend::on_tls_started(WipingBuffer& to_backend) {
  if (end_ != Then::read_line) return end_;
  return tls_started(to_backend);
}

Then SaslBackend::fail(FailureType type, std::string reason, std::string reply) {
  failure_ = {type, std::move(reason), std::move(reply)};
  end_ = Then::failed;
  return end_;
}

Then SaslBackend::succeed() {
  end_ = Then::logged_in;
  return end_;
}

Then SaslBackend::contradicted() {
  return fail(FailureType::protocol, "Login accepted after it was refused: " + refusal_);
}

std::string_view SaslBackend::mechanism_name(std::string_view otherwise) const {
  return target_.mech.empty() ? otherwise : std::string_view(target_.mech);
}

std::string_view SaslBackend::mechanism_name() const {
  return mechanism_name(target_.master.empty() ? "" : "PLAIN");
}

Then SaslBackend::choose_mechanism(std::string_view name) {
  mechanism_ = sasl::make_client_mechanism(name, credentials_);
  if (mechanism_) return Then::read_line;
  return fail(FailureType::internal, "Unsupported SASL mechanism " + log_safe(name));
}

Then SaslBackend::send_sasl(sasl::ClientReply reply, std::string_view before, WipingBuffer& out) {
  switch (reply.kind) {
    case sasl::ClientReply::Kind::broken:
      return fail(FailureType::protocol, "Invalid authentication data: " + reply.reason);
    case sasl::ClientReply::Kind::refused:
      refused_ = true;
      refusal_ = std::move(reply.reason);
      break;
    case sasl::ClientReply::Kind::respond:
      break;
  }
  out.append(before).append(quote());
  base64_encode(reply.bytes.view(), out);
  out.append(quote()).append("\r\n");
  return Then::read_line;
}

Then SaslBackend::answer_challenge(std::string_view base64, std::string_view command,
                                   WipingBuffer& out) {
  const auto challenge = base64_decode(base64);
  if (!challenge) {
    return fail(FailureType::protocol,
                "Invalid base64 data in " + std::string(command) + " response");
  }
  if (refused_) return fail(FailureType::auth_not_replied, refusal_);
  return send_sasl(mechanism_->challenge(challenge->view()), "", out);
}

}  // namespace postern::login
