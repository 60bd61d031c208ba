#include "login-common/relay-session.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/random.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "io/socket.h"
#include "lib/check.h"
#include "lib/log.h"
#include "login-common/proxy-log.h"

namespace postern::login {
namespace {

constexpr std::size_t kCoolRead = 16UL * 1024;     // bytes read at once while little moves
constexpr std::size_t kTlsRecord = 16UL * 1024;    // the largest, RFC 8446 section 5.1
constexpr std::size_t kTurnBytes = 512UL * 1024;   // moved before others get their turn
constexpr std::uint64_t kLimitFrom = 64UL * 1024;  // bytes after which kUnsentBytes is worth a call
constexpr std::uint8_t kHot = 3;                   // full reads in a row that make splice worth it
constexpr std::size_t kColdSplice = 8UL * 1024;    // a smaller one ends it

// The fields of texts_.
enum Text : unsigned { user, rip, lip, session, secured, dest_user, elements, texts_count };

}  // namespace

RelaySession::RelaySession(Relay& relay, RelayStart&& start, std::uint64_t id, std::size_t index)
    : relay_(relay),
      client_(std::move(start.client)),
      backend_(std::move(start.backend)),
      settings_(std::move(start.settings)),
      record_(start.record),
      raw_log_(std::move(start.raw_log)),
      last_io_(relay.loop_.now()),
      dest_(start.identity.backend),
      id_(id),
      index_(static_cast<std::uint32_t>(index)) {
  const SessionIdentity& who = start.identity;
  const std::array<std::string_view, Text::texts_count> fields{
      who.user, who.rip, who.lip, who.session, who.secured, who.dest_user, who.elements};
  std::size_t size = 0;
  for (const std::string_view field : fields) size += field.size() + 1;
  texts_ = std::make_unique<char[]>(size);  // NOLINT(modernize-avoid-c-arrays)
  char* to = texts_.get();
  for (const std::string_view field : fields) {
    // A NUL would end the field early; none of these can hold one that matters.
    to = std::replace_copy(field.begin(), field.end(), to, '\0', '?');
    *to++ = '\0';
  }
  up_.written = start.sent_to_backend;
  down_.written = start.sent_to_client;
  up_.pending = std::move(start.to_backend);
  down_.pending = std::move(start.to_client);
  if (raw_log_) raw_log_->out(up_.pending.view());
  if (record_ != nullptr) ++record_->sessions;
}

RelaySession::~RelaySession() {
  leave_record();
}

void RelaySession::leave_record() noexcept {
  if (record_ == nullptr) return;
  if (!lingering_) {
    --record_->sessions;
  } else if (--record_->lingering == 0) {
    record_->disconnects = 0;
  }
  record_ = nullptr;
}

std::string_view RelaySession::text(unsigned field) const noexcept {
  const char* at = texts_.get();
  while (field-- > 0) at += std::strlen(at) + 1;
  return at;
}

SessionRow RelaySession::row() const {
  SessionRow row;
  row.id = id_;
  row.user = text(Text::user);
  row.service = relay_.service_;
  row.rip = text(Text::rip);
  row.lip = text(Text::lip);
  row.session = text(Text::session);
  row.secured = text(Text::secured);
  row.state = closing() ? "closing" : "proxied";
  row.dest_user = text(Text::dest_user);
  row.dest_ip = dest_.ip.text();
  row.dest_port = std::to_string(dest_.port);
  return row;
}

void RelaySession::begin() {
  client_->rebind(io::Callback<unsigned>::to<&RelaySession::on_client>(*this));
  backend_->rebind(io::Callback<unsigned>::to<&RelaySession::on_backend>(*this));
  client_->want_hang_up(false);
  // TCP_NODELAY is on: the client's socket has it from its listener, the backend's from connecting.
  if (!drain(Side::client) || !drain(Side::backend)) return;
  settle();
}

void RelaySession::on_client(unsigned events) noexcept {
  on_events(Side::client, events);
}
void RelaySession::on_backend(unsigned events) noexcept {
  on_events(Side::backend, events);
}

void RelaySession::on_events(Side side, unsigned events) {
  if (ended_) return;
  if (lingering_) return discard();
  if ((events & io::Stream::kTlsFailed) != 0) return fail(side, "");
  if ((events & io::Stream::kWritable) != 0 && !drain(side)) return;
  if ((events & io::Stream::kReadable) != 0 && !pump(side)) return;
  settle();
}

/// Moves what `from` has to the other side. False: the session has ended.
bool RelaySession::pump(Side from) {
  Flow& flow = flow_from(from);
  // An event of this turn may be older than what has happened since.
  if (flow.eof || !flow.clear()) return true;
  const std::uint64_t before = flow.written;
  Go go = Go::more;
  while (go == Go::more && flow.written - before < kTurnBytes) {
    const bool bare = client_->plain() && backend_->plain() && relay_.splice_works_ && !raw_log_;
    if (flow.written >= kLimitFrom) limit_unsent(flow, other(from));
    go = bare && flow.heat >= kHot ? splice_once(from) : copy_once(from);
  }
  if (go == Go::ended) return false;
  if (flow.pipe && flow.pipe->filled == 0) give_back_pipe(flow);
  return true;
}

RelaySession::Go RelaySession::copy_once(Side from) {
  Flow& flow = flow_from(from);
  io::Stream& source = stream(from);
  const std::size_t room = flow.heat > 0 ? Relay::kBufferBytes : kCoolRead;
  char* const buffer = relay_.buffer_->data();
  std::size_t size = 0;
  io::IoResult got;
  do {
    got = source.read(buffer + size, room - size);
    if (got.status == io::IoStatus::ok) size += got.bytes;
    // A full TLS record is rarely the last.
  } while (got.status == io::IoStatus::ok && !source.plain() && got.bytes == kTlsRecord &&
           room - size >= kTlsRecord);
  const bool full =
      source.plain() ? size == room : got.status == io::IoStatus::ok && got.bytes == kTlsRecord;
  flow.heat =
      full ? static_cast<std::uint8_t>(std::min<int>(flow.heat + 1, kHot)) : std::uint8_t{0};
  if (size > 0) {
    last_io_ = relay_.loop_.now();
    if (raw_log_ && from == Side::client) raw_log_->out({buffer, size});
    if (raw_log_ && from == Side::backend) raw_log_->in({buffer, size});
    if (!send(flow, other(from), {buffer, size})) return Go::ended;
  }
  if (got.status == io::IoStatus::error) {
    fail(from, fmt::format("read(size={}) failed: ", room));
    return Go::ended;
  }
  if (got.status == io::IoStatus::closed) {
    end_of(from);
    return Go::wait;
  }
  return full && got.status == io::IoStatus::ok && flow.pending.empty() ? Go::more : Go::wait;
}

RelaySession::Go RelaySession::splice_once(Side from) {
  Flow& flow = flow_from(from);
  if (!flow.pipe) flow.pipe = relay_.pipes_.take();
  if (!flow.pipe) return copy_once(from);
  const ssize_t n = ::splice(stream(from).fd(), nullptr, flow.pipe->write_end.get(), nullptr,
                             PipePool::kPipeBytes, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
  if (n > 0) {
    last_io_ = relay_.loop_.now();
    flow.pipe->filled += static_cast<std::size_t>(n);
    if (static_cast<std::size_t>(n) < kColdSplice) flow.heat = 0;
    const Go go = drain_pipe(flow, other(from));
    // A half-empty pipe means an empty socket: the loop tells when there is more.
    return go == Go::more && static_cast<std::size_t>(n) < PipePool::kPipeBytes / 4 ? Go::wait : go;
  }
  if (n == 0) {
    end_of(from);
    return Go::wait;
  }
  if (errno == EAGAIN || errno == EINTR) {
    flow.heat = 1;
    return Go::wait;
  }
  if (errno == EINVAL || errno == ENOSYS || errno == EPERM) {
    relay_.splice_works_ = false;
    return Go::more;
  }
  // The error is the socket's; read() meets it again and says it as every other.
  flow.heat = 0;
  return Go::more;
}

/// Writes out the flow's pipe.
RelaySession::Go RelaySession::drain_pipe(Flow& flow, Side to) {
  while (flow.pipe && flow.pipe->filled > 0) {
    const ssize_t n = ::splice(flow.pipe->read_end.get(), nullptr, stream(to).fd(), nullptr,
                               flow.pipe->filled, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
    if (n > 0) {
      last_io_ = relay_.loop_.now();
      flow.written += static_cast<std::uint64_t>(n);
      flow.pipe->filled -= static_cast<std::size_t>(n);
      continue;
    }
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return Go::wait;
    const int error = n < 0 ? errno : EPIPE;
    fail(to, system_error(fmt::format("write(size={}) failed", flow.pipe->filled), error).text);
    return Go::ended;
  }
  return Go::more;
}

/// Offers `bytes` to `to`; the rest waits in the flow. False: the session has ended.
bool RelaySession::send(Flow& flow, Side to, std::string_view bytes) {
  io::Stream& sink = stream(to);
  while (!bytes.empty()) {
    const io::IoResult put = sink.write(bytes);
    if (put.status == io::IoStatus::again) break;
    if (put.status != io::IoStatus::ok) {
      fail(to, fmt::format("write(size={}) failed: ", bytes.size()));
      return false;
    }
    flow.written += put.bytes;
    bytes.remove_prefix(put.bytes);
    // A socket that took a part is full; a TLS stream writes record by record.
    if (sink.plain()) break;
  }
  if (!bytes.empty()) flow.pending.append(bytes);
  return true;
}

/// Writes what waits for `to`. False: the session has ended.
bool RelaySession::drain(Side to) {
  Flow& flow = flow_from(other(to));
  io::Stream& sink = stream(to);
  while (!flow.pending.empty()) {
    const io::IoResult put = sink.write(flow.pending.view());
    if (put.status == io::IoStatus::again) return true;
    if (put.status != io::IoStatus::ok) {
      fail(to, fmt::format("write(size={}) failed: ", flow.pending.size()));
      return false;
    }
    last_io_ = relay_.loop_.now();
    flow.written += put.bytes;
    flow.pending.consume(put.bytes);
    if (sink.plain() && !flow.pending.empty()) return true;
  }
  if (drain_pipe(flow, to) == Go::ended) return false;
  if (flow.pipe && flow.pipe->filled == 0) give_back_pipe(flow);
  return true;
}

/// `from` will send no more.
void RelaySession::end_of(Side from) {
  const bool first = !closing();
  flow_from(from).eof = true;
  last_io_ = relay_.loop_.now();
  if (!first) return;
  closed_by_ = from;
  ++relay_.closing_;
  relay_.arm_sweep();
}

/// Passes on ends of file, ends what is over and says what to wait for. False: it has ended.
bool RelaySession::settle() {
  if (closing()) {
    // A client that is to learn late that its backend is gone must not see it from a FIN.
    const bool hides = closed_by_ == Side::backend && spreads();
    const bool half = settings_->proxy_half_close && !hides;
    const bool over = hides  ? down_.clear()
                      : half ? up_.over() && down_.over()
                             : up_.clear() && down_.clear();
    if (over) {
      const bool by_client = closed_by_ == Side::client;
      finish(by_client ? "client" : "server", "", true, !by_client);
      return false;
    }
    for (const Side from : {Side::client, Side::backend}) {
      Flow& flow = flow_from(from);
      if (!flow.over() || flow.finished) continue;
      flow.finished = true;
      if (half) stream(other(from)).shutdown_write();
    }
  }
  // With proxy_half_close=no the other side is not read any more either: what it says is lost.
  const bool read = settings_->proxy_half_close || !closing();
  client_->want(read && !up_.eof && up_.clear(), !down_.clear());
  backend_->want(read && !down_.eof && down_.clear(), !up_.clear());
  return true;
}

void RelaySession::give_back_pipe(Flow& flow) noexcept {
  relay_.pipes_.give_back(std::move(flow.pipe));
}

void RelaySession::limit_unsent(Flow& flow, Side to) noexcept {
  if (flow.limited) return;
  flow.limited = true;
  io::set_unsent_limit(stream(to).fd(), Relay::kUnsentBytes);
}

void RelaySession::sweep(io::TimePoint now) {
  if (lingering_) return;
  const auto silent = now - last_io_;
  if (closing()) {
    const std::chrono::seconds limit =
        settings_->proxy_half_close ? Relay::kHalfOpen : Relay::kFlush;
    if (silent >= limit) {
      finish(closed_by_ == Side::client ? "client" : "server", "", true, false);
      return;
    }
  }
  const std::chrono::milliseconds idle = settings_->proxy_idle_timeout;
  if (idle.count() > 0 && idle != config::kInfinite && silent >= idle) {
    finish("proxy", "Idle for too long", true, false);
    return;
  }
  // Set late: sessions that end soon do not pay for it, and the first probe is minutes away.
  if (!keepalive_set_) {
    keepalive_set_ = true;
    const config::TcpKeepalive& keep = settings_->proxy_tcp_keepalive;
    if (keep.count > 0) {
      io::set_keepalive(client_->fd(), keep.idle, keep.interval, keep.count);
      io::set_keepalive(backend_->fd(), keep.idle, keep.interval, keep.count);
    }
    const std::chrono::milliseconds unheard = settings_->proxy_tcp_user_timeout;
    if (unheard.count() > 0) {
      io::set_user_timeout(client_->fd(), static_cast<unsigned>(unheard.count()));
      io::set_user_timeout(backend_->fd(), static_cast<unsigned>(unheard.count()));
    }
  }
}

void RelaySession::kick(std::string_view reason, bool spread) {
  if (lingering_) return end();
  finish("proxy", reason, false, spread);
}

/// Ends the session because `side` broke. @param what  begins the text of a socket's error
void RelaySession::fail(Side side, std::string_view what) {
  const std::string& error = stream(side).error();
  // Whoever left first is the reason; that the other then met a closed door is not.
  if (closing()) {
    const bool by_client = closed_by_ == Side::client;
    finish(by_client ? "client" : "server", "", true, !by_client && side == Side::backend);
    return;
  }
  // What TLS complains of stands for itself; a socket's error needs to be told of what.
  const bool of_tls = !error.empty() && stream(side).error_code() == EPROTO;
  std::string text(of_tls ? std::string_view() : what);
  text += error;
  finish(side == Side::client ? "client" : "server", text, true, side == Side::backend);
}

/// How long the client is to be kept, its backend being gone; not 0: it lingers from now on.
io::Milliseconds RelaySession::hold() noexcept {
  if (!spreads()) return io::Milliseconds(0);
  unsigned char random = 0;
  if (::getrandom(&random, sizeof random, GRND_NONBLOCK) < 0) random = 50;
  const auto within =
      std::chrono::ceil<std::chrono::seconds>(settings_->login_proxy_max_disconnect_delay);
  const io::TimePoint now = relay_.loop_.now();
  const auto wait = record_->on_disconnect(now, within, io::Milliseconds(random % 100));
  if (wait.count() <= 0) return wait;
  --record_->sessions;
  ++record_->lingering;
  lingering_ = true;
  last_io_ = now + wait;
  return wait;
}

/// What a client says to a backend that is gone.
void RelaySession::discard() noexcept {
  const io::IoResult got = client_->read(relay_.buffer_->data(), Relay::kBufferBytes);
  if (got.status == io::IoStatus::closed || got.status == io::IoStatus::error) end();
}

/// Says how the session ended, and ends it, unless the client is to learn of it later.
/// @param spread  it is the backend that is gone, or is left
void RelaySession::finish(std::string_view who, std::string_view error, bool with_counters,
                          bool spread) {
  POSTERN_CHECK(!ended_ && !lingering_);
  std::string message = fmt::format("Disconnected by {}", who);
  if (!error.empty()) message += fmt::format(": {}", error);
  if (with_counters) {
    TransferFacts facts;
    facts.idle_seconds = static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::seconds>(relay_.loop_.now() - last_io_).count());
    facts.in = up_.written;
    facts.out = down_.written;
    facts.buffered = down_.waiting();
    facts.client_blocked = !down_.clear();
    facts.server_blocked = !up_.clear();
    message += " (" + transfer_text(facts) + ")";
  }
  const io::Milliseconds wait = spread ? hold() : io::Milliseconds(0);
  if (lingering_) message += fmt::format(" - disconnecting client in {}ms", wait.count());
  log::info("{}{}", proxy_prefix(text(Text::user), dest_),
            session_line(*settings_, message, text(Text::elements)));
  if (closing()) --relay_.closing_;
  if (up_.pipe) give_back_pipe(up_);
  if (down_.pipe) give_back_pipe(down_);
  up_.pending.clear();
  down_.pending.clear();
  backend_->close();
  if (!lingering_) return end();
  client_->want(true, false);
  relay_.arm_linger(last_io_);
}

void RelaySession::end() noexcept {
  ended_ = true;
  leave_record();
  client_->close();
  backend_->close();
  relay_.remove(*this);
}

}  // namespace postern::login
