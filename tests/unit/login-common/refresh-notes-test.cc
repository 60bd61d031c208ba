#include "login-common/refresh-notes.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "proxy-fixture.h"

namespace postern::login {
namespace {

using test::LogCapture;
using test::run_until;

class RefreshNotesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = "/tmp/postern-notes-XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    directory_ = name;
    path_ = directory_ + "/notify";
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }
  void make_fifo() {
    ASSERT_EQ(mkfifo(path_.c_str(), 0600), 0);
    reader_.reset(::open(path_.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
    ASSERT_TRUE(reader_);
  }
  void read() {
    std::array<char, 4096> buffer{};
    const ssize_t n = ::read(reader_.get(), buffer.data(), buffer.size());
    if (n > 0) got_.append(buffer.data(), static_cast<std::size_t>(n));
  }
  bool wait_for(const std::string& text) {
    return run_until(loop_, [this, &text] {
      read();
      return got_ == text;
    });
  }

  io::Loop loop_;
  RefreshNotes notes_{loop_};
  std::string directory_, path_, got_;
  UniqueFd reader_;
};

TEST_F(RefreshNotesTest, TellsOfEachSessionAgainAndAgainUntilItEnds) {
  make_fifo();
  notes_.add(1, "jo\te", 1, path_);
  EXPECT_TRUE(wait_for("jo\001te\n"));
  EXPECT_TRUE(wait_for("jo\001te\njo\001te\n"));
  notes_.remove(1);
  notes_.add(2, "ann", 1, path_);
  EXPECT_TRUE(wait_for("jo\001te\njo\001te\nann\n"));
}

TEST_F(RefreshNotesTest, AMissingFifoIsToldOfOnce) {
  LogCapture log;
  notes_.add(1, "joe", 1, path_);
  notes_.add(2, "ann", 1, path_);
  const io::TimePoint start = loop_.now();
  EXPECT_TRUE(run_until(loop_, [&] { return loop_.now() - start > std::chrono::seconds(2); }));
  EXPECT_EQ(log.text(), "Error: open(" + path_ + ") failed: No such file or directory\n");
}

}  // namespace
}  // namespace postern::login
