#include "master/run-directory.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>

#include "scratch.h"

namespace postern::master {
namespace {

constexpr auto kNoGroup = static_cast<gid_t>(-1);

std::string content(const std::string& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

TEST(RunDirectory, MakesWhatTheProcessesNeed) {
  const Scratch scratch;
  const std::string base = scratch / "a/b/run";
  const mode_t before = umask(0077);
  const Status made = prepare_run_directory(base, kNoGroup);
  umask(before);
  ASSERT_TRUE(made.ok()) << made.error().text;
  struct stat found {};
  ASSERT_EQ(stat(base.c_str(), &found), 0);
  EXPECT_EQ(found.st_mode & 07777, 0755u);
  ASSERT_EQ(stat((base + "/internal").c_str(), &found), 0);
  EXPECT_EQ(found.st_mode & 07777, 0700U);
  ASSERT_EQ(stat((base + "/empty").c_str(), &found), 0);
  EXPECT_EQ(found.st_mode & 07777, 0755u);
  ASSERT_EQ(stat((base + "/login").c_str(), &found), 0);
  EXPECT_EQ(found.st_mode & 07777, 0750u);
  EXPECT_TRUE(prepare_run_directory(base, kNoGroup).ok());  // again
}

TEST(RunDirectory, RefusesOneThatOthersMayWriteTo) {
  const Scratch scratch;
  const std::string base = scratch / "run";
  ASSERT_TRUE(prepare_run_directory(base, kNoGroup).ok());
  chmod(base.c_str(), 0777);
  EXPECT_FALSE(prepare_run_directory(base, kNoGroup).ok());
}

TEST(RunDirectory, RefusesOneWhoseParentOthersMayWriteTo_T_LOC_02) {
  const Scratch scratch;
  std::filesystem::create_directory(scratch / "open");
  chmod((scratch / "open").c_str(), 0777);
  EXPECT_FALSE(prepare_run_directory(scratch / "open/run", kNoGroup).ok());
}

TEST(RunDirectory, RefusesASymbolicLink_T_LOC_02) {
  const Scratch scratch;
  std::filesystem::create_directory(scratch / "elsewhere");
  std::filesystem::create_symlink(scratch / "elsewhere", scratch / "run");
  EXPECT_FALSE(prepare_run_directory(scratch / "run", kNoGroup).ok());
}

TEST(RunDirectory, RefusesARelativePath) {
  EXPECT_FALSE(prepare_run_directory("run/postern", kNoGroup).ok());
}

TEST(PidFile, OnlyOneMasterAtATime) {
  const Scratch scratch;
  const std::string path = scratch / "master.pid";
  auto first = PidFile::lock(path);
  ASSERT_TRUE(first.ok()) << first.error().text;
  EXPECT_FALSE(first.value().was_left());
  ASSERT_TRUE(first.value().write_pid().ok());
  EXPECT_EQ(content(path), std::to_string(getpid()) + "\n");
  const auto second = PidFile::lock(path);
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().code, EWOULDBLOCK);
  EXPECT_EQ(second.error().text, "Postern is already running with PID " + std::to_string(getpid()) +
                                     " (read from " + path + ")");
}

TEST(PidFile, AFileWithoutItsMasterIsStaleWhateverNumberIsInIt) {
  const Scratch scratch;
  const std::string path = scratch / "master.pid";
  std::ofstream(path) << "1\n";
  auto lock = PidFile::lock(path);
  ASSERT_TRUE(lock.ok()) << lock.error().text;
  EXPECT_TRUE(lock.value().was_left());
  ASSERT_TRUE(lock.value().write_pid().ok());
  EXPECT_EQ(content(path), std::to_string(getpid()) + "\n");
}

TEST(PidFile, GoesWithItsOwner) {
  const Scratch scratch;
  const std::string path = scratch / "master.pid";
  { ASSERT_TRUE(PidFile::lock(path).ok()); }
  EXPECT_NE(access(path.c_str(), F_OK), 0);
}

}  // namespace
}  // namespace postern::master
