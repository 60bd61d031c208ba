// Attempt: from a destination to a connected socket.

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <ctime>
#include <utility>

#include "io/socket.h"
#include "lib/log.h"
#include "login-common/proxy-attempt.h"
#include "wire/proxy-header.h"

namespace postern::login {
namespace {

/// What keeps us from connecting and says nothing of the backend.
bool is_local(int error) noexcept {
  return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM ||
         error == EADDRNOTAVAIL;
}

/// With others left to try, no longer than this for one that is thought to be down.
constexpr io::Milliseconds kProbePatience{2000};
/// The master is busy at most.
constexpr io::Milliseconds kMasterPatience{1000};

/// Dovecot 2.4's words.
std::string down_text(const BackendRecord& record) {
  const std::int64_t now = std::time(nullptr);
  return fmt::format("Host has been down for {} secs (last success was {})",
                     std::max<std::int64_t>(now - record.success_known, 0), record.success_known);
}

}  // namespace

Endpoint Attempt::backend() const {
  if (!destination_) return {};
  return destination_->addresses[address_].to;
}

/// Begins a connection to the address whose turn it is, or to the next that may be tried.
void Attempt::connect() {
  if (client_.ttl <= 1) {
    fail(FailureType::remote_config, "TTL reached zero - proxies appear to be looping?");
    return;
  }
  for (;;) {
    record_ = &core_.records().get(backend());
    core_.records().enter(*record_);
    std::string why = refusal();
    if (why.empty()) {
      if (record_->health == wire::BackendNewsKind::down) return ask_probe();
      return open_connection();
    }
    leave_record();
    if (address_ + 1 == destination_->addresses.size()) return refuse(std::move(why));
    ++address_;
  }
}

/// Why no login may go to the backend now; empty: it may, or (if it is down) may ask.
std::string Attempt::refusal() const {
  if (record_->disabled) return "Host is disabled (posternctl proxy disable)";
  const unsigned most = client_.settings->proxy_max_pending;
  if (record_->health == wire::BackendNewsKind::full || (most > 0 && record_->attempts > most)) {
    return "Too many logins wait for this host";
  }
  if (record_->health == wire::BackendNewsKind::down &&
      core_.loop().now() < record_->no_probe_before) {
    return down_text(*record_);
  }
  return {};
}

/// No address is left that may be tried. It is no failure of the backend's. Who has tried before it
/// went down goes on waiting for it as long as for one that is starting again: that may be what it
/// is doing.
void Attempt::refuse(std::string reason) {
  retry_allowed_ = tried_;
  fail(FailureType::connect, std::move(reason));
}

void Attempt::ask_probe() {
  phase_ = Phase::asking;
  question_ = core_.records().ask_probe(*record_, [this](bool granted) { on_probe(granted); });
  timer_.set(kMasterPatience);
}

/// @param granted  also if the master does not answer: who is left to itself tries
void Attempt::on_probe(bool granted) {
  core_.records().cancel(std::exchange(question_, 0));
  timer_.cancel();
  if (granted) return open_connection();
  std::string why = down_text(*record_);
  leave_record();
  if (address_ + 1 == destination_->addresses.size()) return refuse(std::move(why));
  ++address_;
  connect();
}

void Attempt::open_connection() {
  const Endpoint to = backend();
  connection_started_ = core_.loop().now();
  tried_ = true;
  lines_ = 0;
  bytes_ = 0;
  asked_ = false;
  early_ = 0;
  local_trouble_ = false;
  sent_ = 0;
  dialogue_ = core_.protocol().make_dialogue(destination_->target);
  open_raw_log();
  choose_source(to.ip);
  phase_ = Phase::connecting;
  if (log::debug_enabled()) {
    log_line(log::Level::debug, proxy_prefix(user_, to), "Connecting to " + to.ip.text());
  }
  if (!open_socket(to)) return;
  arm_connect_timer();
  // A backend speaks first, so its first line, or the error read() meets, tells how connect()
  // ended: one event and three system calls less than waiting for it. TLS cannot wait.
  // Nor can a PROXY header.
  const bool first =
      destination_->target.tls == BackendTls::implicit || destination_->proxy_header != 0;
  stream_->want(!first, first);
}

/// One log a connection: its two files begin with a banner.
void Attempt::open_raw_log() {
  raw_log_.reset();
  const std::string& directory = client_.settings->login_proxy_rawlog_dir;
  if (directory.empty()) return;
  Result<std::unique_ptr<RawLog>> log =
      RawLog::open(directory, client_.settings->proxy_rawlog_secrets);
  if (log.ok()) {
    raw_log_ = std::move(log).value();
  } else {
    log_line(log::Level::error, proxy_prefix(user_, backend()), log.error().text);
  }
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
  // A backend that has greeted lives; it may take its time to verify a password.
  io::Milliseconds share = phase_ == Phase::dialogue ? left : left / addresses;
  if (addresses > 1 && record_->health == wire::BackendNewsKind::down) {
    share = std::min(share, kProbePatience);
  }
  timer_.set(std::max(share, io::Milliseconds(0)));
}

void Attempt::on_connect_writable() {
  const int error = io::connect_error(stream_->fd());
  if (error != 0) {
    connect_failed(error);
    return;
  }
  if (destination_->proxy_header != 0 && !send_proxy_header()) return;
  if (destination_->target.tls != BackendTls::implicit) {
    stream_->want(true, false);
    return;
  }
  record_->on_connected();
  start_tls();
}

/// Says who the client is, before anything else and before TLS.
/// @return false if it could not: then fail() has been called
bool Attempt::send_proxy_header() {
  wire::ProxyHeader header;
  header.source = client_.remote;
  header.destination = client_.local;
  header.tls = client_.tls;
  header.authority = client_.local_name;
  const std::string bytes =
      wire::write_proxy_header(destination_->proxy_header, header, client_.session);
  const io::IoResult put = stream_->write(bytes);
  if (put.status == io::IoStatus::ok && put.bytes == bytes.size()) {
    sent_ += put.bytes;
    if (raw_log_) raw_log_->out(bytes);  // no command, and no secret
    return true;
  }
  // The socket has just been made: there is room for a few hundred bytes, or it is dead.
  disconnected(put.status == io::IoStatus::error
                   ? fmt::format("write(size={}) failed: {}", bytes.size(), stream_->error())
                   : "No room for the PROXY header");
  return false;
}

bool Attempt::connected() const {
  if (phase_ != Phase::connecting) return true;
  return stream_ && static_cast<bool>(io::remote_endpoint(stream_->fd()).ip);
}

void Attempt::connect_failed(int error) {
  const Endpoint to = backend();
  const Error text =
      system_error(fmt::format("connect({}, {}) failed", to.ip.text(), to.port), error);
  local_trouble_ = is_local(error);
  fail(FailureType::connect, fmt::format("{} ({})", text.text, where_text()));
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
