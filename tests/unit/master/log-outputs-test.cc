#include "master/log-outputs.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <iterator>

#include "scratch.h"

namespace postern::master {
namespace {

class LogOutputsTest : public testing::Test {
 protected:
  LogOutputsTest() {
    int ends[2];
    EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    read_end.reset(ends[0]);
    error_fd.reset(ends[1]);
  }
  LogOutputs open() {
    auto outputs = open_log_outputs(settings, error_fd.get());
    EXPECT_TRUE(outputs.ok()) << (outputs.ok() ? "" : outputs.error().text);
    return outputs.ok() ? std::move(outputs).value() : LogOutputs{};
  }
  static std::vector<std::string> levels(const LogOutputs& outputs) {
    std::vector<std::string> out;
    for (const auto& [level, fd] : outputs) out.push_back(level);
    return out;
  }
  static void write(const UniqueFd& fd, std::string_view text) {
    ASSERT_EQ(::write(fd.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }
  static std::string content(const std::string& path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  Scratch scratch;
  config::MasterSettings settings;
  UniqueFd read_end;
  UniqueFd error_fd;
};

TEST_F(LogOutputsTest, SyslogNeedsNoFile) {
  settings.log_path = "syslog";
  settings.info_log_path = settings.debug_log_path = "";
  EXPECT_TRUE(open().empty());
}

TEST_F(LogOutputsTest, EachLevelFallsBackToTheOneAbove) {
  settings.log_path = scratch / "error";
  settings.info_log_path = "";
  settings.debug_log_path = "";
  const LogOutputs outputs = open();
  ASSERT_EQ(levels(outputs), (std::vector<std::string>{"error", "info", "debug"}));
  for (const auto& [level, fd] : outputs) write(fd, level + '\n');
  // Every one appends: none writes over what another has written.
  EXPECT_EQ(content(scratch / "error"), "error\ninfo\ndebug\n");
}

TEST_F(LogOutputsTest, InfoIsWhereDebugFallsBackTo) {
  settings.log_path = scratch / "error";
  settings.info_log_path = scratch / "info";
  settings.debug_log_path = "";
  const LogOutputs outputs = open();
  ASSERT_EQ(outputs.size(), 3u);
  for (const auto& [level, fd] : outputs) write(fd, level + '\n');
  EXPECT_EQ(content(scratch / "error"), "error\n");
  EXPECT_EQ(content(scratch / "info"), "info\ndebug\n");
}

TEST_F(LogOutputsTest, SyslogAndFilesCanBeMixed) {
  settings.log_path = "syslog";
  settings.info_log_path = "";
  settings.debug_log_path = scratch / "debug";
  EXPECT_EQ(levels(open()), (std::vector<std::string>{"debug"}));
}

TEST_F(LogOutputsTest, StandardErrorIsTheMastersOwn) {
  settings.log_path = "/dev/stderr";
  settings.info_log_path = settings.debug_log_path = "";
  const LogOutputs outputs = open();
  ASSERT_EQ(outputs.size(), 3u);
  for (const auto& [level, fd] : outputs) {
    write(fd, "!");
    char got = 0;
    ASSERT_EQ(::read(read_end.get(), &got, 1), 1);
    EXPECT_EQ(got, '!');
    EXPECT_NE(fd.get(), error_fd.get());
  }
}

TEST_F(LogOutputsTest, FilesAreThereForTheirOwnerAloneAndNoProgramInheritsThem) {
  settings.log_path = scratch / "error";
  settings.info_log_path = "/dev/stderr";
  settings.debug_log_path = scratch / "debug";
  const mode_t before = ::umask(0);
  const LogOutputs outputs = open();
  ::umask(before);
  struct stat status {};
  for (const char* name : {"error", "debug"}) {
    ASSERT_EQ(::stat((scratch / name).c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 07777U, 0600u) << name;
  }
  for (const auto& [level, fd] : outputs) {
    EXPECT_EQ(::fcntl(fd.get(), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC) << level;
  }
}

TEST_F(LogOutputsTest, WhatWasThereBeforeStays) {
  std::ofstream(scratch / "error") << "old\n";
  settings.log_path = scratch / "error";
  settings.info_log_path = settings.debug_log_path = "";
  write(open().front().second, "new\n");
  EXPECT_EQ(content(scratch / "error"), "old\nnew\n");
}

TEST_F(LogOutputsTest, AfterTheFileWasMovedItIsMadeAnew) {
  settings.log_path = scratch / "error";
  settings.info_log_path = settings.debug_log_path = "";
  const LogOutputs first = open();
  ASSERT_EQ(::rename((scratch / "error").c_str(), (scratch / "error.1").c_str()), 0);
  write(first.front().second, "before\n");
  write(open().front().second, "after\n");
  EXPECT_EQ(content(scratch / "error.1"), "before\n");
  EXPECT_EQ(content(scratch / "error"), "after\n");
}

TEST_F(LogOutputsTest, TheErrorNamesTheFileThatCannotBeOpened) {
  settings.log_path = scratch / "error";
  settings.info_log_path = scratch / "no/such/directory";
  settings.debug_log_path = "";
  const auto outputs = open_log_outputs(settings, error_fd.get());
  ASSERT_FALSE(outputs.ok());
  EXPECT_EQ(outputs.error().code, ENOENT);
  EXPECT_NE(outputs.error().text.find("no/such/directory"), std::string::npos)
      << outputs.error().text;
}

TEST_F(LogOutputsTest, AClosedStandardErrorIsTold) {
  settings.log_path = "/dev/stderr";
  settings.info_log_path = settings.debug_log_path = "";
  const auto outputs = open_log_outputs(settings, -1);
  ASSERT_FALSE(outputs.ok());
  EXPECT_EQ(outputs.error().code, EBADF);
}

TEST_F(LogOutputsTest, StandardOutputIsItsOwn) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const UniqueFd out_end(ends[0]);
  const UniqueFd output_fd(ends[1]);
  settings.log_path = "/dev/stdout";
  settings.info_log_path = settings.debug_log_path = "";
  auto outputs = open_log_outputs(settings, error_fd.get(), output_fd.get());
  ASSERT_TRUE(outputs.ok());
  ASSERT_EQ(outputs.value().size(), 3u);
  write(outputs.value()[0].second, "!");
  char got = 0;
  ASSERT_EQ(::read(out_end.get(), &got, 1), 1);
  EXPECT_EQ(got, '!');
}

TEST_F(LogOutputsTest, KnowsWhatIsNotThereInTheBackground) {
  EXPECT_FALSE(needs_foreground(settings));
  settings.debug_log_path = "/dev/stderr";
  EXPECT_TRUE(needs_foreground(settings));
  settings.debug_log_path = "";
  settings.log_path = "/dev/stdout";
  EXPECT_TRUE(needs_foreground(settings));
  settings.info_log_path = scratch / "info";
  EXPECT_TRUE(needs_foreground(settings));
}

TEST_F(LogOutputsTest, APipeThatNobodyReadsIsAnErrorAndNotWaitedFor) {
  settings.log_path = scratch / "fifo";
  ASSERT_EQ(::mkfifo(settings.log_path.c_str(), 0600), 0);
  EXPECT_FALSE(open_log_outputs(settings, error_fd.get()).ok());
}

TEST_F(LogOutputsTest, FollowsALinkOfOursAndNotOneOfSomebodyElses_T_LOC_02) {
  settings.log_path = scratch / "link";
  const std::string file = scratch / "file";
  std::ofstream(file) << "old\n";
  ASSERT_EQ(::symlink(file.c_str(), settings.log_path.c_str()), 0);
  EXPECT_TRUE(open_log_outputs(settings, error_fd.get()).ok());
  if (::geteuid() != 0) GTEST_SKIP() << "needs root to make somebody else's";
  ASSERT_EQ(::lchown(settings.log_path.c_str(), 65534, 65534), 0);
  const auto refused = open_log_outputs(settings, error_fd.get());
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ELOOP);
}

}  // namespace
}  // namespace postern::master
