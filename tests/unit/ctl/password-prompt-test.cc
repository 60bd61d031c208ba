// The prompt on a terminal of the test's own.
#include "ctl/password-prompt.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <pty.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <csignal>

#include "lib/handle.h"

namespace postern::ctl {
namespace {

/// Somebody at a terminal, in front of a process that asks.
class Terminal {
 public:
  /// @param expected  the process ends with 0 if it is told this, else with 1
  explicit Terminal(const std::string& expected) {
    int terminal = -1;
    pid_ = forkpty(&terminal, nullptr, nullptr, nullptr);
    if (pid_ == 0) {
      const auto got = ask_password("al\x1bice");
      _exit(got.ok() && got.value().reveal() == expected ? 0 : 1);
    }
    terminal_.reset(terminal);
  }
  ~Terminal() {
    if (!waited_) {
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
    }
  }
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  /// Waits until the screen shows `text`.
  bool shows(const std::string& text) {
    while (screen_.find(text) == std::string::npos) {
      pollfd p{terminal_.get(), POLLIN, 0};
      char bytes[256];
      if (poll(&p, 1, 20'000) != 1) return false;
      const ssize_t n = read(terminal_.get(), bytes, sizeof bytes);
      if (n <= 0) return false;
      screen_.append(bytes, static_cast<std::size_t>(n));
    }
    return true;
  }
  void type(std::string_view keys) const {
    ASSERT_EQ(write(terminal_.get(), keys.data(), keys.size()), static_cast<ssize_t>(keys.size()));
  }
  bool echoes() const {
    termios state{};
    EXPECT_EQ(tcgetattr(terminal_.get(), &state), 0);
    return (state.c_lflag & static_cast<tcflag_t>(ECHO)) != 0;
  }
  /// How the process ended, as wait(2) tells it.
  int end() {
    int status = -1;
    waitpid(pid_, &status, 0);
    waited_ = true;
    return status;
  }
  const std::string& screen() const { return screen_; }

 private:
  UniqueFd terminal_;
  pid_t pid_ = -1;
  bool waited_ = false;
  std::string screen_;
};

TEST(PasswordPrompt, DoesNotShowWhatIsTyped) {
  Terminal terminal("geheim;1");
  ASSERT_TRUE(terminal.shows("Password for al?ice: "));
  EXPECT_FALSE(terminal.echoes());
  terminal.type("geheim;1\n");
  EXPECT_TRUE(terminal.shows("\n"));
  EXPECT_EQ(terminal.end(), 0);
  EXPECT_TRUE(terminal.echoes());
  EXPECT_EQ(terminal.screen().find("geheim"), std::string::npos);
}

TEST(PasswordPrompt, ASignalEndsTheProgramWithTheEchoOn) {
  Terminal terminal("");
  ASSERT_TRUE(terminal.shows("Password for"));
  EXPECT_FALSE(terminal.echoes());
  terminal.type("half\x03");
  EXPECT_TRUE(terminal.shows("\n"));
  const int status = terminal.end();
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(WTERMSIG(status), SIGINT);
  EXPECT_TRUE(terminal.echoes());
}

/// The prompt's answer when standard input is a pipe with `text` in it.
Result<Secret> from_pipe(std::string_view text) {
  int ends[2];
  EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0);
  const UniqueFd read_end(ends[0]);
  UniqueFd write_end(ends[1]);
  EXPECT_EQ(write(write_end.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
  write_end.reset();
  const UniqueFd before(fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3));
  dup2(read_end.get(), STDIN_FILENO);
  auto out = ask_password("alice");
  dup2(before.get(), STDIN_FILENO);
  return out;
}

TEST(PasswordPrompt, ReadsOneLineOfAPipe) {
  EXPECT_EQ(from_pipe("one\ntwo\n").value().reveal(), "one");
  EXPECT_EQ(from_pipe("no end").value().reveal(), "no end");
  EXPECT_EQ(from_pipe("\n").value().reveal(), "");
  EXPECT_FALSE(from_pipe("").ok());
}

TEST(PasswordPrompt, RefusesWhatIsTooLong) {
  EXPECT_TRUE(from_pipe(std::string(kMaxPassword, 'x') + '\n').ok());
  const auto got = from_pipe(std::string(kMaxPassword + 1, 'x') + '\n');
  ASSERT_FALSE(got.ok());
  EXPECT_EQ(got.error().code, E2BIG);
}

}  // namespace
}  // namespace postern::ctl
