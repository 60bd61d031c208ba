#include "submission-login/backend-xclient.h"

#include <algorithm>
#include <utility>

#include "lib/text.h"
#include "login-common/xclient.h"
#include "wire/smtp-text.h"

namespace postern::submission_login {
namespace {

/// Collects attributes into commands.
class Writer {
 public:
  explicit Writer(const XclientOffer& offer) : offer_(offer) {}

  /// @param value  as it is; nothing is said if it is empty
  void add(std::string_view name, std::string_view value) {
    if (value.empty() || !offer_.has(name)) return;
    std::string attribute = " ";
    attribute.append(name).append("=").append(wire::xtext_encode(value));
    const bool fits = line_.size() + attribute.size() + kLineEnd.size() <= kMaxCommand;
    if (!fits && line_ != kCommand) finish();
    line_ += attribute;
  }
  /// HELO is the one whose absence is said: Dovecot does not take that for a PROTO.
  void add_helo(std::string_view value) {
    if (!value.empty()) return add("HELO", value);
    if (offer_.has("HELO")) line_.append(" HELO=[UNAVAILABLE]");
  }
  void add_endpoint(std::string_view ip_name, std::string_view port_name,
                    const Endpoint& endpoint) {
    add_port(port_name, endpoint);
    add_ip(ip_name, endpoint);
  }
  std::vector<std::string> take() {
    if (line_ != kCommand) finish();
    return std::move(lines_);
  }

 private:
  static constexpr std::string_view kCommand = "XCLIENT";
  static constexpr std::string_view kLineEnd = "\r\n";

  void add_port(std::string_view name, const Endpoint& endpoint) {
    if (endpoint.ip && endpoint.port != 0) add(name, std::to_string(endpoint.port));
  }
  /// Dovecot 2.3 leaves the prefix out, and Postfix then refuses every IPv6 client.
  void add_ip(std::string_view name, const Endpoint& endpoint) {
    if (!endpoint.ip) return;
    add(name, (endpoint.ip.is_v6() ? "IPV6:" : "") + endpoint.ip.text());
  }
  void finish() { lines_.push_back(std::exchange(line_, std::string(kCommand)).append(kLineEnd)); }

  const XclientOffer& offer_;
  std::string line_{kCommand};
  std::vector<std::string> lines_;
};

}  // namespace

bool XclientOffer::has(std::string_view name) const {
  return std::any_of(names.begin(), names.end(),
                     [name](const std::string& one) { return same_text(one, name); });
}

XclientCommands xclient_commands(const login::BackendTarget& target, const XclientOffer& offer) {
  Writer writer(offer);
  XclientCommands out;
  writer.add_helo(target.helo);
  writer.add("PROTO", target.helo_protocol);
  out.login_said = target.noauth && offer.has("LOGIN") && !target.user.empty();
  if (out.login_said) writer.add("LOGIN", target.user);
  writer.add("TTL", std::to_string(target.ttl));
  writer.add_endpoint("ADDR", "PORT", target.client);
  if (login::is_session_id(target.session)) writer.add("SESSION", target.session);
  if (!target.forward_2_3_only) {
    writer.add_endpoint("DESTADDR", "DESTPORT", target.local);
    if (wire::is_smtp_domain(target.local_name)) writer.add("DESTNAME", target.local_name);
    writer.add("CLIENT-TRANSPORT", target.client_tls ? "TLS" : "insecure");
  }
  const std::string forward = login::forward_text(target);
  constexpr std::string_view kAround = "XCLIENT FORWARD=\r\n";
  out.left_out =
      offer.has("FORWARD") && kAround.size() + wire::xtext_encode(forward).size() > kMaxAttribute;
  if (!out.left_out) writer.add("FORWARD", forward);
  out.lines = writer.take();
  return out;
}

}  // namespace postern::submission_login
