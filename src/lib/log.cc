#include "lib/log.h"

#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstring>

#include "lib/check.h"
#include "lib/log-fork.h"
#include "lib/result.h"

namespace postern {

Error system_error(std::string what, int errnum) {
  what += ": ";
  std::array<char, 128> text{};
  what += strerror_r(errnum, text.data(), text.size());  // the GNU one: returns the text
  return Error{errnum, std::move(what)};
}

void check_failed(const char* file, int line, const char* condition) noexcept {
  log::write(log::Level::panic,
             fmt::format("file {}: line {}: assertion failed: ({})", file, line, condition));
  log::flush();
  std::abort();
}

namespace log {
namespace {

constexpr std::size_t kRingBytes = 64UL * 1024;

struct Writer {
  std::string name;
  std::string pending;  // whole lines, not yet written
  std::string pid;      // as the lines have it; empty: not known yet
  std::uint64_t dropped = 0;
  bool to_log_process = false;
  bool debug = false;
};

Writer& writer() {
  static Writer instance;
  return instance;
}

void append_line(Writer& w, Level level, std::string_view text) {
  if (w.to_log_process) {
    w.pending += '\001';
    w.pending += static_cast<char>(level);
    if (w.pid.empty()) w.pid = std::to_string(getpid());
    w.pending += w.pid;
    w.pending += ' ';
  } else {
    if (!w.name.empty()) w.pending.append(w.name).append(": ");
    w.pending.append(level_name(level)).append(": ");
  }
  const auto is_control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; };
  while (!text.empty()) {
    const auto bad = std::find_if(text.begin(), text.end(), is_control);
    w.pending.append(text.begin(), bad);
    text.remove_prefix(static_cast<std::size_t>(bad - text.begin()));
    if (text.empty()) break;
    w.pending += fmt::format("\\x{:02x}", static_cast<unsigned char>(text.front()));
    text.remove_prefix(1);
  }
  w.pending += '\n';
}

/// The longest run of whole lines that one pipe write passes on in one piece (PIPE_BUF), or the
/// first line if that alone is longer.
std::size_t next_piece(std::string_view pending) noexcept {
  if (pending.size() <= PIPE_BUF) return pending.size();
  const std::size_t end = pending.rfind('\n', PIPE_BUF - 1);
  if (end != std::string_view::npos) return end + 1;
  return pending.find('\n') + 1;
}

}  // namespace

std::string_view level_name(Level level) noexcept {
  switch (level) {
    case Level::debug:
      return "Debug";
    case Level::info:
      return "Info";
    case Level::warning:
      return "Warning";
    case Level::error:
      return "Error";
    case Level::fatal:
      return "Fatal";
    case Level::panic:
      return "Panic";
  }
  return "Error";
}

void open(std::string_view name, bool to_log_process) {
  static const int registered = pthread_atfork(nullptr, nullptr, &after_fork);
  static_cast<void>(registered);  // out of memory: only a fork(3) in the master would notice
  Writer& w = writer();
  w.name = name;
  w.to_log_process = to_log_process;
  if (to_log_process) {
    const int flags = fcntl(STDERR_FILENO, F_GETFL);
    if (flags >= 0) fcntl(STDERR_FILENO, F_SETFL, flags | O_NONBLOCK);
  }
}

void write(Level level, std::string_view text) {
  Writer& w = writer();
  if (w.pending.size() + text.size() > kRingBytes) {
    flush();
    if (w.pending.size() + text.size() > kRingBytes) {
      w.dropped++;
      return;
    }
  }
  if (w.dropped > 0) {
    append_line(w, Level::warning,
                fmt::format("{} lines dropped: the log was too slow", w.dropped));
    w.dropped = 0;
  }
  append_line(w, level, text);
  if (!w.to_log_process || level >= Level::fatal) flush();
}

void flush() noexcept {
  Writer& w = writer();
  std::size_t done = 0;
  while (done < w.pending.size()) {
    const std::size_t piece = next_piece(std::string_view(w.pending).substr(done));
    const ssize_t n = ::write(STDERR_FILENO, w.pending.data() + done, piece);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) break;  // the ring keeps the rest
    if (n < 0) {                          // nobody reads any more; there is nowhere to say so
      done = w.pending.size();
      break;
    }
    done += static_cast<std::size_t>(n);
  }
  w.pending.erase(0, done);
}

void after_fork() noexcept {
  writer().pid.clear();
}

void set_debug(bool on) noexcept {
  writer().debug = on;
}
bool debug_enabled() noexcept {
  return writer().debug;
}

}  // namespace log
}  // namespace postern
