// Attempt: from a destination to a connected socket.

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <utility>

#include "io/socket.h"
#include "lib/log.h"
#include "login-common/proxy-attempt.h"

namespace postern::login {
namespace {

/// What keeps us from connecting and says nothing of the backend.
bool is_local(int error) noexcept {
  return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM ||
         error == EADDRNOTAVAIL;
}

}  // namespace

Endpoint Attempt::backend() const {
  if (!destination_) return {};
  return {destination_->addresses[address_], destination_->port};
}

/// Begins a connection to the address whose turn it is.
void Attempt::connect() {
  const io::TimePoint now = core_.loop().now();
  connection_started_ = now;
  const Endpoint to = backend();
  lines_ = 0;
  bytes_ = 0;
  asked_ = false;
  early_ = 0;
  local_trouble_ = false;
  sent_ = 0;
  if (client_.ttl <= 1) {
    fail(FailureType::remote_config, "TTL reached zero - proxies appear to be looping?");
    return;
  }
  record_ = &core_.records().get(to);
  record_->on_start(now);
  if (record_->is_down(destination_->down_after)) {
    retry_allowed_ = false;
    // Not a new failure: the one who is trying finds out.
    leave_record();
    fail(FailureType::connect, "Host is down");
    return;
  }
  dialogue_ = core_.protocol().make_dialogue(destination_->target);
  choose_source(to.ip);
  phase_ = Phase::connecting;
  if (log::debug_enabled()) {
    log_line(log::Level::debug, proxy_prefix(user_, to), "Connecting to " + to.ip.text());
  }
  if (!open_socket(to)) return;
  arm_connect_timer();
  // A backend speaks first, so its first line, or the error read() meets, tells how connect()
  // ended: one event and three system calls less than waiting for it. TLS cannot wait.
  const bool implicit = destination_->target.tls == BackendTls::implicit;
  stream_->want(!implicit, implicit);
}

/// Picks the address to connect from; a reconnect keeps it.
void Attempt::choose_source(const IpAddress& to) {
  if (source_chosen_ && (!source_ || source_->family() == to.family())) return;
  source_chosen_ = true;
  source_.reset();
  if (!destination_->source) {
    source_ = core_.source_ips(*client_.settings).next(to);
    return;
  }
  if (destination_->source->family() == to.family()) {
    source_ = destination_->source;
    return;
  }
  log_line(log::Level::warning, proxy_prefix(user_, backend()),
           fmt::format("source_ip {} is of another family than {}, not binding to it",
                       destination_->source->text(), to.text()));
}

/// @return false if it could not: then fail() has been called
bool Attempt::open_socket(const Endpoint& to) {
  std::size_t tries = 1;
  if (!destination_->source)
    tries = std::max<std::size_t>(1, core_.source_ips(*client_.settings).size());
  for (;;) {
    Result<UniqueFd> fd = io::connect_tcp(to, source_);
    if (fd.ok()) {
      io::set_nodelay(fd.value().get());
      stream_ = std::make_unique<io::Stream>();
      stream_->open(core_.loop(), std::move(fd).value(),
                    io::Callback<unsigned>::to<&Attempt::on_stream>(*this));
      return true;
    }
    // Out of ports on, or no longer the owner of, one source address: another may do.
    if (fd.error().code == EADDRNOTAVAIL && source_ && --tries > 0) {
      source_ = core_.source_ips(*client_.settings).next(to.ip);
      continue;
    }
    connect_failed(fd.error().code);
    return false;
  }
}

/// While other addresses are left, connecting to this one may not take all of the time.
void Attempt::arm_connect_timer() {
  const auto left = std::chrono::duration_cast<io::Milliseconds>(deadline_ - core_.loop().now());
  const auto addresses = static_cast<std::int64_t>(destination_->addresses.size() - address_);
  const io::Milliseconds share = phase_ == Phase::connecting ? left / addresses : left;
  timer_.set(std::max(share, io::Milliseconds(0)));
}

void Attempt::on_connect_writable() {
  const int error = io::connect_error(stream_->fd());
  if (error != 0) {
    connect_failed(error);
    return;
  }
  record_->on_connected();
  start_tls();
}

bool Attempt::connected() const {
  if (phase_ != Phase::connecting) return true;
  return stream_ && static_cast<bool>(io::remote_endpoint(stream_->fd()).ip);
}

/// The connection was not made. Another address is tried at once, if there is one.
void Attempt::connect_failed(int error) {
  const Endpoint to = backend();
  const Error text =
      system_error(fmt::format("connect({}, {}) failed", to.ip.text(), to.port), error);
  std::string reason = fmt::format("{} ({})", text.text, where_text());
  local_trouble_ = is_local(error);
  if (address_ + 1 < destination_->addresses.size() && deadline_ > core_.loop().now()) {
    if (log::debug_enabled()) {
      log_line(log::Level::debug, proxy_prefix(user_, to), reason + " - trying the next address");
    }
    if (!local_trouble_) record_->on_failure(core_.loop().now(), connection_started_);
    leave_record();
    drop_connection();
    ++address_;
    connect();
    return;
  }
  fail(FailureType::connect, std::move(reason));
}

/// "after 3 secs, 3 reconnects, local=127.0.0.1:35378". The loop reads its clock once a turn, so
/// that a timeout of 3 seconds may measure as a little less.
std::string Attempt::where_text() const {
  const auto seconds =
      std::chrono::round<std::chrono::seconds>(core_.loop().now() - started_).count();
  std::string out = fmt::format("after {} secs", seconds);
  if (reconnects_ > 0) out += fmt::format(", {} reconnects", reconnects_);
  const Endpoint local = stream_ ? io::local_endpoint(stream_->fd()) : Endpoint{};
  if (local.ip) {
    out += ", local=" + local.text();
  } else if (source_) {
    out += ", local=" + source_->text();
  }
  return out;
}

/// Closes what there is of a connection; safe inside the stream's own event.
void Attempt::drop_connection() {
  input_.clear();
  output_.clear();
  to_client_.clear();
  if (!stream_) return;
  stream_->close();
  core_.loop().retire(std::move(stream_));
}

}  // namespace postern::login
