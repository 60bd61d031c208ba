#include "log/output.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <syslog.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstring>
#include <ctime>

namespace postern::log {
namespace {

std::string format_time(const std::string& format, std::int64_t time) {
  if (format.empty()) return {};
  const auto seconds = static_cast<time_t>(time);
  tm broken{};
  localtime_r(&seconds, &broken);
  std::array<char, 256> text{};
  // 0 is also the length of an empty text; both are written as nothing. The format is the
  // operator's own (log_timestamp).
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
  const std::size_t length = strftime(text.data(), text.size(), format.c_str(), &broken);
#pragma GCC diagnostic pop
  return {text.data(), length};
}

int priority_of(Level level) noexcept {
  switch (level) {
    case Level::debug:
      return LOG_DEBUG;
    case Level::info:
      return LOG_INFO;
    case Level::warning:
      return LOG_WARNING;
    case Level::error:
      return LOG_ERR;
    case Level::fatal:
    case Level::panic:
      return LOG_CRIT;
  }
  return LOG_ERR;
}

std::string dropped_text(std::uint64_t count) {
  return fmt::format("{} lines dropped: the log could not be written", count);
}

}  // namespace

std::string line_text(const Entry& entry, bool brief) {
  std::string out = entry.prefix;
  if (!out.empty()) out += ": ";
  if (!brief || entry.level > Level::info) out.append(level_name(entry.level)).append(": ");
  return out += entry.text;
}

// --- FileOutput ---

void FileOutput::set_file(UniqueFd fd) {
  if (fd_ && !pending_.empty()) static_cast<void>(flush().ok());  // the old file's own lines
  struct stat status {};
  regular_ = fstat(fd.get(), &status) == 0 && S_ISREG(status.st_mode);
  fd_ = std::move(fd);
  written_ = 0;
  failing_ = false;
}

bool FileOutput::is_same_file(int fd) const noexcept {
  struct stat mine {};
  struct stat other {};
  return fd_ && fstat(fd_.get(), &mine) == 0 && fstat(fd, &other) == 0 &&
         mine.st_dev == other.st_dev && mine.st_ino == other.st_ino;
}

void FileOutput::append(const Entry& entry) {
  if (entry.time != stamp_time_) {
    stamp_time_ = entry.time;
    stamp_ = format_time(timestamp_, entry.time);
  }
  pending_ += stamp_;
  pending_ += line_text(entry, false);
  pending_ += '\n';
}

void FileOutput::flush_dropped(std::int64_t time) {
  if (dropped_ == 0) return;
  const std::uint64_t count = std::exchange(dropped_, 0);
  append({time, Level::error, "log", dropped_text(count)});
}

void FileOutput::add(const Entry& entry) {
  if (pending_.size() + entry.text.size() > kMaxPending) {
    dropped_++;
    return;
  }
  flush_dropped(entry.time);
  append(entry);
}

/// As write(2), but never waits: not even for a terminal or pipe whose other holders would be
/// surprised if it became non-blocking.
ssize_t FileOutput::write_some(std::string_view bytes) noexcept {
  if (!regular_) {
    pollfd p{fd_.get(), POLLOUT, 0};
    if (::poll(&p, 1, 0) != 1) {
      errno = EAGAIN;
      return -1;
    }
    bytes = bytes.substr(0, PIPE_BUF);  // so much is free, poll(2) says
  }
  return ::write(fd_.get(), bytes.data(), bytes.size());
}

Status FileOutput::flush() {
  if (!fd_) return Done{};
  std::size_t done = written_;
  int error = 0;
  while (done < pending_.size()) {
    const ssize_t n = write_some(std::string_view(pending_).substr(done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      error = errno;
      break;
    }
    done += static_cast<std::size_t>(n);
  }
  const std::size_t last_end = done == 0 ? std::string::npos : pending_.rfind('\n', done - 1);
  const std::size_t whole = last_end == std::string::npos ? 0 : last_end + 1;
  pending_.erase(0, whole);
  written_ = done - whole;
  if (error == 0) {
    failing_ = false;
    return Done{};
  }
  if (error == EAGAIN || std::exchange(failing_, true)) return Done{};
  return system_error("cannot write the log", error);
}

// --- SyslogOutput ---

void SyslogOutput::add(const Entry& entry) {
  if (pending_.size() >= kMaxPending) {
    dropped_++;
    return;
  }
  const auto line = [this](const Entry& e) {
    return fmt::format("<{}>{}{}: {}", facility_ | priority_of(e.level),
                       format_time("%b %e %H:%M:%S ", e.time), ident_, line_text(e, true));
  };
  if (dropped_ > 0) {
    const std::uint64_t count = std::exchange(dropped_, 0);
    pending_.push_back(line({entry.time, Level::error, "log", dropped_text(count)}));
  }
  pending_.push_back(line(entry));
}

bool SyslogOutput::connect() noexcept {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket_.size() >= sizeof address.sun_path) {
    errno = ENAMETOOLONG;
    return false;
  }
  std::memcpy(address.sun_path, socket_.data(), socket_.size());
  UniqueFd fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return false;
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return false;
  }
  fd_ = std::move(fd);
  return true;
}

Status SyslogOutput::flush() {
  std::size_t done = 0;
  int error = 0;
  bool reconnected = false;
  while (done < pending_.size()) {
    if (!fd_ && !connect()) {
      error = errno;
      break;
    }
    const std::string& line = pending_[done];
    const ssize_t n = ::send(fd_.get(), line.data(), line.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n >= 0) {
      done++;
      continue;
    }
    error = errno;
    if (error == EINTR) continue;
    if (error == EMSGSIZE) {
      pending_[done].resize(line.size() / 2);  // the daemon's bound, not ours
      continue;
    }
    if (error == EAGAIN || error == ENOBUFS || std::exchange(reconnected, true)) break;
    fd_.reset();  // the daemon was restarted: its socket is another one now
  }
  pending_.erase(pending_.begin(), pending_.begin() + static_cast<std::ptrdiff_t>(done));
  if (pending_.empty()) {
    failing_ = false;
    return Done{};
  }
  if (error == EAGAIN || error == ENOBUFS || std::exchange(failing_, true)) return Done{};
  return system_error("cannot send to syslog", error);
}

}  // namespace postern::log
