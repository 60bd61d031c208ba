#include "ctl/unix-stream.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "io/socket.h"

namespace postern::ctl {
namespace {

constexpr std::size_t kReadSize = 16UL * 1024;  // bytes
constexpr int kBusyAttempts = 20;               // of 100 ms, while the server's queue is full

}  // namespace

Result<UnixStream> UnixStream::connect(const std::string& path) {
  for (int attempt = 1;; ++attempt) {
    auto fd = io::connect_unix(path);
    if (fd.ok()) return UnixStream(std::move(fd).value());
    if (fd.error().code != EAGAIN || attempt == kBusyAttempts) return fd.error();
    ::poll(nullptr, 0, 100);
  }
}

Status UnixStream::wait(short events, TimePoint deadline) const {
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        deadline - std::chrono::steady_clock::now());
    if (left.count() <= 0) return system_error("no answer", ETIMEDOUT);
    pollfd p{fd_.get(), events, 0};
    const int ready = ::poll(&p, 1, static_cast<int>(std::min<long long>(left.count(), 60'000)));
    if (ready > 0) return Done{};
    if (ready < 0 && errno != EINTR) return system_error("poll", errno);
  }
}

Status UnixStream::write(std::string_view bytes, TimePoint deadline) {
  while (!bytes.empty()) {
    const ssize_t n = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n > 0) {
      bytes.remove_prefix(static_cast<std::size_t>(n));
      continue;
    }
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno != EAGAIN) return system_error("write", errno);
    if (auto ready = wait(POLLOUT, deadline); !ready.ok()) return ready;
  }
  return Done{};
}

Status UnixStream::read(WipingBuffer& out, TimePoint deadline) {
  for (;;) {
    const ssize_t n = ::recv(fd_.get(), out.reserve(kReadSize), kReadSize, 0);
    if (n > 0) {
      out.commit(static_cast<std::size_t>(n));
      return Done{};
    }
    if (n == 0) return Error{ENOTCONN, "the connection was closed"};
    if (errno == EINTR) continue;
    if (errno != EAGAIN) return system_error("read", errno);
    if (auto ready = wait(POLLIN, deadline); !ready.ok()) return ready;
  }
}

}  // namespace postern::ctl
