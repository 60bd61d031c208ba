#include "ctl/password-prompt.h"

#include <fmt/format.h>
#include <poll.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>

#include "lib/text.h"

namespace postern::ctl {
namespace {

constexpr std::array<int, 5> kSignals{SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP};

// Which signal came while the terminal was silent.
volatile std::sig_atomic_t caught = 0;

void on_signal(int number) {
  caught = number;
}

/// The terminal of standard input without echo, for as long as it lives. Signals are let through
/// only while somebody waits (waiting_mask()), so that none comes unseen just before a wait; they
/// do what they would have done once the echo is back.
class SilentTerminal {
 public:
  SilentTerminal() {
    caught = 0;
    sigset_t blocked;
    sigemptyset(&blocked);
    for (const int number : kSignals) sigaddset(&blocked, number);
    pthread_sigmask(SIG_BLOCK, &blocked, &mask_);
    struct sigaction action {};
    action.sa_handler = on_signal;
    sigemptyset(&action.sa_mask);
    for (std::size_t i = 0; i < kSignals.size(); ++i) sigaction(kSignals[i], &action, &old_[i]);
    if (tcgetattr(STDIN_FILENO, &before_) != 0) return;
    termios silent = before_;
    silent.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    silent_ = tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent) == 0;
    error_ = silent_ ? 0 : errno;
  }
  ~SilentTerminal() {
    if (silent_) {
      tcsetattr(STDIN_FILENO, TCSAFLUSH, &before_);
      std::fputc('\n', stderr);
    }
    for (std::size_t i = 0; i < kSignals.size(); ++i) sigaction(kSignals[i], &old_[i], nullptr);
    if (caught != 0) static_cast<void>(std::raise(static_cast<int>(caught)));
    pthread_sigmask(SIG_SETMASK, &mask_, nullptr);
  }
  SilentTerminal(const SilentTerminal&) = delete;
  SilentTerminal& operator=(const SilentTerminal&) = delete;

  bool silent() const noexcept { return silent_; }
  int error() const noexcept { return error_; }
  const sigset_t& waiting_mask() const noexcept { return mask_; }

 private:
  std::array<struct sigaction, kSignals.size()> old_{};
  sigset_t mask_{};
  termios before_{};
  bool silent_ = false;
  int error_ = ENOTTY;
};

/// @param waiting_mask  the signals that are blocked while it waits; null: it does not matter
Result<Secret> read_line(const sigset_t* waiting_mask) {
  WipingBuffer line;
  while (line.size() <= kMaxPassword) {
    pollfd input{STDIN_FILENO, POLLIN, 0};
    if (waiting_mask != nullptr && ::ppoll(&input, 1, nullptr, waiting_mask) < 0) {
      if (errno == EINTR && caught == 0) continue;
      return system_error("read the password", errno);
    }
    char* const c = line.reserve(1);  // unbuffered: no copy stays in stdio's memory
    const ssize_t n = ::read(STDIN_FILENO, c, 1);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return system_error("read the password", errno);
    if (n == 0 && line.empty()) return Error{ENODATA, "read the password: end of file"};
    if (n == 0 || *c == '\n') return Secret(std::move(line));
    line.commit(1);
  }
  return Error{E2BIG, fmt::format("read the password: longer than {} bytes", kMaxPassword)};
}

}  // namespace

Result<Secret> ask_password(const std::string& user) {
  if (isatty(STDIN_FILENO) != 1) return read_line(nullptr);
  const SilentTerminal terminal;
  if (!terminal.silent()) return system_error("switch the echo off", terminal.error());
  std::fputs(fmt::format("Password for {}: ", log_safe(user)).c_str(), stderr);
  return read_line(&terminal.waiting_mask());
}

}  // namespace postern::ctl
