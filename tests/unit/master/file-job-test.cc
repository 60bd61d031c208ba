#include "master/file-job.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <optional>
#include <string>
#include <utility>

namespace postern::master {
namespace {

constexpr io::Milliseconds kLong{20'000};

class FileJobTest : public testing::Test {
 protected:
  void TearDown() override {
    job.cancel();
    while (::waitpid(-1, nullptr, 0) > 0) {
    }
  }
  /// What is told of a job, as text: its report and the size of its store, or the error.
  void start(const FileJob::Work& work, io::Milliseconds patience = kLong) {
    const Status started = job.start(work, patience, [this](Result<FileJob::Input> result) {
      ++told;
      if (!result.ok()) {
        text = result.error().text;
        return;
      }
      text = result.value().report.view();
      auto store = io::MappedMemory::map(result.value().store.get());
      ASSERT_TRUE(store.ok()) << store.error().text;
      stored = store.value().view();
    });
    EXPECT_TRUE(started.ok()) << started.error().text;
  }
  void wait() {
    while (told == 0) loop.run_once(true);
  }

  io::Loop loop;
  FileJob job{loop};
  unsigned told = 0;
  std::string text, stored;
};

FileJob::Output hang() {
  while (true) ::pause();
}

TEST_F(FileJobTest, TellsWhatItsWorkGives) {
  const std::string large(3'000'000, 'x');
  start([&large] { return FileJob::Output{WipingBuffer(large), WipingBuffer("store")}; });
  EXPECT_EQ(told, 0U) << "in a later turn";
  wait();
  EXPECT_EQ(text, large);
  EXPECT_EQ(stored, "store");
  EXPECT_FALSE(job.running());
}

TEST_F(FileJobTest, ThatHangsIsGivenUpAndTheLoopGoesOn) {
  start(hang, io::Milliseconds{50});
  wait();
  EXPECT_EQ(text, "reading them takes too long");
  told = 0;
  start([] { return FileJob::Output{WipingBuffer("next"), {}}; });
  wait();
  EXPECT_EQ(text, "next");
  EXPECT_EQ(stored, "");
}

TEST_F(FileJobTest, ThatDiesIsToldOf) {
  start([]() -> FileJob::Output { _exit(1); });
  wait();
  EXPECT_EQ(text, "the process that reads them died");
}

TEST_F(FileJobTest, ThatIsCancelledIsKilledAndTellsNothing) {
  start(hang, io::Milliseconds{50});
  const pid_t pid = ::waitpid(-1, nullptr, WNOHANG);
  EXPECT_EQ(pid, 0) << "it runs";
  job.cancel();
  int status = 0;
  const pid_t ended = ::waitpid(-1, &status, 0);
  EXPECT_GT(ended, 0);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  EXPECT_TRUE(job.made(ended));
  EXPECT_FALSE(job.made(ended)) << "that is asked for once";
  EXPECT_FALSE(job.made(::getpid()));
  told = 0;
  start([] { return FileJob::Output{WipingBuffer("next"), {}}; });
  wait();
  EXPECT_EQ(text, "next");
  EXPECT_EQ(told, 1U);
}

/// A process that hangs in the kernel must not keep a port taken, nor a pipe open.
TEST_F(FileJobTest, HasNothingOpenOfItsMaker) {
  const UniqueFd open_here(::open("/dev/null", O_RDONLY));
  const int number = open_here.get();
  start([number] {
    const bool closed = ::fcntl(number, F_GETFD) < 0;
    return FileJob::Output{WipingBuffer(closed ? "closed" : "open"), {}};
  });
  wait();
  EXPECT_EQ(text, "closed");
}

TEST_F(FileJobTest, IsInNoGroupThatSignalsReach) {
  start([] {
    return FileJob::Output{WipingBuffer(::getsid(0) == ::getpid() ? "apart" : "with us"), {}};
  });
  wait();
  EXPECT_EQ(text, "apart");
}

}  // namespace
}  // namespace postern::master
