#include "io/stream.h"

#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "io/tls-impl.h"
#include "lib/check.h"

namespace postern::io {

Stream::Stream() = default;
Stream::~Stream() {
  close();
}

void Stream::open(Loop& loop, UniqueFd fd, Callback<unsigned> on_event) {
  POSTERN_CHECK(!fd_ && fd);
  loop_ = &loop;
  fd_ = std::move(fd);
  on_event_ = on_event;
  watch_.start(loop, fd_.get(), Callback<unsigned>::to<&Stream::on_watch>(*this));
}

void Stream::rebind(Callback<unsigned> on_event) noexcept {
  on_event_ = on_event;
}

void Stream::want(bool readable, bool writable) noexcept {
  want_read_ = readable;
  want_write_ = writable;
  if (!fd_) return;
  if (tls_ && tls_->state == StreamTls::State::up && tls_->holds_bytes && readable) {
    tls_->later.trigger();
  }
  update_watch();
}

void Stream::want_hang_up(bool on) noexcept {
  want_hang_up_ = on;
  if (fd_) update_watch();
}

/// Tells the loop what the owner's wishes and TLS's needs come to.
void Stream::update_watch() noexcept {
  bool read = want_read_;
  bool write = want_write_;
  if (tls_) {
    switch (tls_->state) {
      case StreamTls::State::shaken:
      case StreamTls::State::failed:
        watch_.want(FdWatch::kNothing);
        return;
      case StreamTls::State::handshaking:
        watch_.want(tls_->wants_write ? FdWatch::kWrite : FdWatch::kRead);
        return;
      case StreamTls::State::up:
        read = (want_read_ && !tls_->read_needs_write) || (want_write_ && tls_->write_needs_read);
        write = (want_write_ && !tls_->write_needs_read) || (want_read_ && tls_->read_needs_write);
        break;
    }
  }
  watch_.want((read ? FdWatch::kRead : 0U) | (write ? FdWatch::kWrite : 0U) |
              (want_hang_up_ ? FdWatch::kHangUp : 0U));
}

void Stream::on_watch(unsigned ready) noexcept {
  if (tls_ && tls_->state == StreamTls::State::handshaking) {
    on_handshake_ready(ready);
    return;
  }
  if (tls_ && tls_->state == StreamTls::State::shaken)
    return;  // an older event: on_later() is next
  const bool readable = (ready & FdWatch::kRead) != 0;
  const bool writable = (ready & FdWatch::kWrite) != 0;
  unsigned event = (ready & FdWatch::kHangUp) != 0 ? kHungUp : 0U;
  const bool crossed_read = tls_ && tls_->read_needs_write;
  const bool crossed_write = tls_ && tls_->write_needs_read;
  if (want_read_ && (crossed_read ? writable : readable)) event |= kReadable;
  if (want_write_ && (crossed_write ? readable : writable)) event |= kWritable;
  if (tls_) {
    // They say it again if it still holds.
    if ((event & kReadable) != 0) tls_->read_needs_write = false;
    if ((event & kWritable) != 0) tls_->write_needs_read = false;
    tls_->later.cancel();  // one event a turn; if bytes are still held, a read says so
    if ((event & kReadable) == 0 && want_read_ && tls_->holds_bytes) tls_->later.trigger();
    update_watch();
  }
  if (event != 0) on_event_(event);
}

IoResult Stream::socket_result(ssize_t n) noexcept {
  if (n > 0) return {IoStatus::ok, static_cast<std::size_t>(n)};
  if (n == 0) return {IoStatus::closed, 0};
  if (errno == EAGAIN) return {IoStatus::again, 0};
  error_code_ = errno;
  error_ = strerrordesc_np(errno);
  return {IoStatus::error, 0};
}

IoResult Stream::read(char* to, std::size_t size) noexcept {
  if (tls_) return read_tls(to, size);
  ssize_t n = 0;
  do {
    n = recv(fd_.get(), to, size, 0);
  } while (n < 0 && errno == EINTR);
  return socket_result(n);
}

IoResult Stream::peek(char* to, std::size_t size) noexcept {
  POSTERN_CHECK(!tls_);
  ssize_t n = 0;
  do {
    n = recv(fd_.get(), to, size, MSG_PEEK);
  } while (n < 0 && errno == EINTR);
  return socket_result(n);
}

IoResult Stream::write(std::string_view bytes) noexcept {
  if (bytes.empty()) return {IoStatus::ok, 0};
  if (tls_) return write_tls(bytes);
  ssize_t n = 0;
  do {
    n = send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
  } while (n < 0 && errno == EINTR);
  return socket_result(n);
}

void Stream::shutdown_write() noexcept {
  if (!fd_) return;
  if (tls_ && tls_->state == StreamTls::State::up) SSL_shutdown(tls_->ssl.get());
  ::shutdown(fd_.get(), SHUT_WR);
}

void Stream::close() noexcept {
  if (!fd_) return;
  watch_.stop();  // while the descriptor is open
  if (tls_ && tls_->state == StreamTls::State::up) {
    // Says goodbye; what the socket does not take now is not waited for.
    SSL_shutdown(tls_->ssl.get());
  }
  tls_.reset();
  fd_.reset();
  want_read_ = want_write_ = want_hang_up_ = false;
}

UniqueFd Stream::release() noexcept {
  POSTERN_CHECK(!tls_);
  watch_.stop();
  want_read_ = want_write_ = want_hang_up_ = false;
  return std::move(fd_);
}

}  // namespace postern::io
