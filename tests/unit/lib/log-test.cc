#include "lib/log.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <string>

#include "lib/handle.h"

namespace postern::log {
namespace {

/// Descriptor 2 as a pipe whose other end the test reads.
class Captured {
 public:
  Captured() {
    int ends[2] = {-1, -1};
    EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0);
    reader_.reset(ends[0]);
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    saved_.reset(dup(STDERR_FILENO));
    dup2(ends[1], STDERR_FILENO);
    close(ends[1]);
  }
  ~Captured() {
    flush();
    text();
    flush();
    dup2(saved_.get(), STDERR_FILENO);
    open("", false);
    set_debug(false);
  }
  Captured(const Captured&) = delete;
  Captured& operator=(const Captured&) = delete;

  /// What has come out since the last call.
  std::string text() const {
    std::string out;
    std::array<char, 65536> piece{};
    ssize_t n = 0;
    while ((n = read(reader_.get(), piece.data(), piece.size())) > 0) {
      out.append(piece.data(), static_cast<std::size_t>(n));
    }
    return out;
  }

 private:
  UniqueFd reader_, saved_;
};

TEST(Log, WritesPlainLinesToAPlainStderr) {
  const Captured captured;
  open("postern", false);
  warning("{} of {}", 1, 2);
  EXPECT_EQ(captured.text(), "postern: Warning: 1 of 2\n");
}

TEST(Log, GathersLinesForTheLogProcess) {
  const Captured captured;
  open("x", true);
  info("one");
  error("two");
  EXPECT_EQ(captured.text(), "") << "not before the turn ends";
  flush();
  const std::string pid = std::to_string(getpid());
  EXPECT_EQ(captured.text(), "\001\002" + pid + " one\n\001\004" + pid + " two\n");
}

TEST(Log, NeverLetsATextBreakTheLine) {
  const Captured captured;
  open("x", false);
  write(Level::info, std::string_view("a\nb\r\0\x01\x7f", 7));
  EXPECT_EQ(captured.text(), "x: Info: a\\x0ab\\x0d\\x00\\x01\\x7f\n");
}

TEST(Log, FormatsDebugOnlyWhenAsked) {
  const Captured captured;
  open("x", false);
  debug("hidden");
  EXPECT_EQ(captured.text(), "");
  set_debug(true);
  debug("shown");
  EXPECT_EQ(captured.text(), "x: Debug: shown\n");
}

TEST(Log, WaitsForNobodyAndCountsWhatItDrops) {
  const Captured captured;
  open("x", true);
  const std::string line(1000, 'l');
  constexpr int kLines = 500;  // half a megabyte: more than the pipe and the ring hold
  for (int i = 0; i < kLines; i++) info("{}", line);
  flush();
  std::string text = captured.text();
  flush();
  text += captured.text();
  info("after");
  flush();
  text += captured.text();
  const std::size_t count = static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
  EXPECT_LT(count, 500U);
  const std::size_t dropped = text.find(" lines dropped: the log was too slow\n");
  ASSERT_NE(dropped, std::string::npos);
  const std::size_t number = text.rfind(' ', dropped - 1) + 1;
  // Every line is there or counted; two more are the count itself and "after".
  EXPECT_EQ(std::stoul(text.substr(number, dropped - number)) + count, 500U + 2U);
  EXPECT_TRUE(text.ends_with(" after\n"));
}

TEST(Log, LevelsHaveDovecotsNames) {
  EXPECT_EQ(level_name(Level::debug), "Debug");
  EXPECT_EQ(level_name(Level::info), "Info");
  EXPECT_EQ(level_name(Level::warning), "Warning");
  EXPECT_EQ(level_name(Level::error), "Error");
  EXPECT_EQ(level_name(Level::fatal), "Fatal");
  EXPECT_EQ(level_name(Level::panic), "Panic");
}

TEST(LogDeathTest, FatalEndsTheProcessWithItsCodeAndLine) {
  EXPECT_EXIT(fatal(78, "bad {}", "thing"), testing::ExitedWithCode(78), "Fatal: bad thing");
}

}  // namespace
}  // namespace postern::log
