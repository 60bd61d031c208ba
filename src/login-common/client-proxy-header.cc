// What a balancer in front of us says of a client: the PROXY header, before anything of the
// client's, TLS included.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "lib/log.h"
#include "lib/text.h"
#include "login-common/client.h"

namespace postern::login {

/// Whether the balancer may speak at all is decided by the socket's own address.
void Client::wait_for_header() {
  state_ = State::proxy_header;
  deadline_ = connected_ + settings_->haproxy_timeout;
  if (any_contains(settings_->haproxy_trusted_networks, real_remote_.ip)) return;
  refuse_header(log::Level::warning,
                fmt::format("haproxy: Client not trusted (rip={})", real_remote_.ip.text()));
}

/// Takes from the socket what belongs to the header and no byte more: what follows may be TLS.
void Client::read_header() {
  std::array<char, wire::kMaxProxyHeaderV2> buffer{};
  const std::size_t kept = input_.size();
  const io::IoResult seen = stream_->peek(buffer.data(), buffer.size() - kept);
  if (seen.status == io::IoStatus::again) return;
  if (seen.status != io::IoStatus::ok) return header_ended();
  input_.append({buffer.data(), seen.bytes});
  const auto parsed = wire::parse_proxy_header(input_.view());
  using Status = wire::ProxyHeaderParse::Status;
  if (parsed.status == Status::bad) {
    return refuse_header(log::Level::error,
                         fmt::format("{}rip={})", parsed.error, real_remote_.ip.text()));
  }
  const bool done = parsed.status == Status::done;
  const std::size_t size = done ? parsed.consumed - kept : seen.bytes;
  const io::IoResult taken = stream_->read(buffer.data(), size);
  if (taken.status != io::IoStatus::ok || taken.bytes != size) return header_ended();
  if (!done) return;
  input_.clear();
  take_header(parsed.header);
  owner_.on_client_known();
  ask_access();
}

void Client::take_header(const wire::ProxyHeader& header) {
  const std::string from = real_remote_.ip.text();
  if (!header.remark.empty()) {
    header_line(log::Level::error, fmt::format("{}rip={})", header.remark, from));
  }
  if (header.has_addresses) {
    remote_ = header.source;
    local_ = header.destination;
    seen_remote_ = remote_.ip;
    seen_local_ = local_.ip;
  }
  local_name_ = to_lower(header.authority);
  if (header.valid_certificate) {
    certificate_.state = io::ClientCertificate::State::valid;
    certificate_.username = header.common_name;
  }
  context_.security.ssl_secured = header.tls;
  select_settings();
  judge_addresses(true);
  deadline_ = connected_ + settings_->login_timeout;
  log::debug("haproxy: {} came by {} to {} (tls={}, authority={}, alpn={}, certificate={})",
             remote_.text(), from, local_.text(), header.tls, log_safe(header.authority),
             log_safe(header.alpn), log_safe(header.common_name));
}

/// The balancer has gone. One that never said a word only looked whether we are there.
void Client::header_ended() {
  const std::string from = real_remote_.ip.text();
  if (!input_.empty()) {
    return refuse_header(
        log::Level::error,
        fmt::format("haproxy: Client disconnected: Failed to read full header (rip={})", from));
  }
  refuse_header(log::Level::debug, fmt::format("haproxy: Client disconnected (rip={}): {}", from,
                                               "Connection reset by peer"));
}

void Client::header_late() {
  refuse_header(log::Level::error,
                fmt::format("haproxy: Client timed out (rip={})", real_remote_.ip.text()));
}

/// Strangers can reach the listener, and a balancer that is set up wrongly is so for every client.
void Client::header_line(log::Level level, std::string_view message) {
  if (any_contains(settings_->login_healthcheck_networks, real_remote_.ip)) {
    level = log::Level::debug;
  }
  if (level == log::Level::debug) return log::debug("{}", message);
  if (!shared_.header_lines.allow(shared_.loop.now())) return;
  if (const unsigned left_out = shared_.header_lines.take_left_out(); left_out > 0) {
    log::warning("haproxy: {} more such lines were left out", left_out);
  }
  log::write(level, message);
}

/// Ends a connection of which no more is known than the balancer's address: it gets this line
/// instead of the usual one.
void Client::refuse_header(log::Level level, std::string_view message) {
  header_line(level, message);
  logged_ = true;
  close("No PROXY header");
}

}  // namespace postern::login
