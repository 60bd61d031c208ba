#include "master/spawn.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "lib/handle.h"
#include "scratch.h"

namespace postern::master {
namespace {

/// Runs a shell script as a child of the master would run; gives what it wrote to descriptor 2.
class Shell {
 public:
  Shell() {
    int ends[2];
    EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0);
    out_.reset(ends[0]);
    in_.reset(ends[1]);
    null_.reset(open("/dev/null", O_RDWR | O_CLOEXEC));
    request.service = "test";
    request.directory = "/";
    request.environment = child_environment();
    request.log_fd = in_.get();
    request.channel_fd = request.settings_fd = null_.get();
  }
  std::string run(const std::string& script) {
    request.arguments = {"/bin/sh", "-c", script};
    return wait_for(spawn(request));
  }
  std::string wait_for(const Result<pid_t>& pid) {
    EXPECT_TRUE(pid.ok());
    if (!pid.ok()) return pid.error().text;
    in_.reset();
    std::string text;
    char buffer[4096];
    ssize_t got = 0;
    while ((got = read(out_.get(), buffer, sizeof buffer)) > 0) {
      text.append(buffer, static_cast<std::size_t>(got));
    }
    waitpid(pid.value(), &status, 0);
    return text;
  }
  SpawnRequest request;
  int status = 0;

 private:
  UniqueFd out_;
  UniqueFd in_;
  UniqueFd null_;
};

std::string line_of(const std::string& text, const std::string& key) {
  const std::size_t begin = text.find(key);
  if (begin == std::string::npos) return "(no " + key + ")";
  const std::size_t value = text.find_first_not_of(" \t", begin + key.size());
  return text.substr(value, text.find('\n', begin) - value);
}

TEST(Spawn, AChildHasTheDescriptorsItIsGivenAndNoOthers) {
  Shell shell;
  const UniqueFd one(open("/etc/passwd", O_RDONLY | O_CLOEXEC));
  const UniqueFd two(open("/etc/group", O_RDONLY | O_CLOEXEC));
  const UniqueFd forgotten(open("/etc/hosts", O_RDONLY));
  shell.request.listener_fds = {two.get(), one.get(), two.get()};
  shell.request.settings_fd = one.get();
  const std::string text = shell.run(
      "for f in 0 1 3 4 5 6 7; do l=$(readlink /proc/$$/fd/$f); echo $l >&2; done;"
      "l=$(readlink /proc/$$/fd/*); echo all $l >&2");
  EXPECT_EQ(text.substr(0, text.find("all")),
            "/dev/null\n/dev/null\n/dev/null\n/etc/passwd\n/etc/group\n/etc/passwd\n/etc/group\n");
  EXPECT_EQ(text.find("hosts"), std::string::npos) << text;
}

TEST(Spawn, TheEnvironmentIsCleared) {
  setenv("POSTERN_TEST_SECRET", "hunter2", 1);
  setenv("TZ", "Europe/Berlin", 1);
  Shell shell;
  const std::string text = shell.run("env >&2");
  EXPECT_EQ(text.find("hunter2"), std::string::npos);
  EXPECT_NE(text.find("TZ=Europe/Berlin\n"), std::string::npos);
  EXPECT_NE(text.find("PATH="), std::string::npos);
  unsetenv("TZ");
}

TEST(Spawn, LimitsAreSet) {
  Shell shell;
  shell.request.max_files = 123;
  const std::string text = shell.run("exec cat /proc/self/limits /proc/self/status >&2");
  EXPECT_EQ(line_of(text, "Max open files").substr(0, 3), "123");
  EXPECT_EQ(line_of(text, "Max core file size").substr(0, 1), "0");
  EXPECT_EQ(line_of(text, "NoNewPrivs:"), "1");
  EXPECT_EQ(line_of(text, "SigBlk:"), "0000000000000000");
}

TEST(Spawn, AProgramThatIsNotThereIsTheChildsErrorLine) {
  Shell shell;
  shell.request.arguments = {"/no/such/program"};
  const auto pid = spawn(shell.request);
  ASSERT_TRUE(pid.ok());
  const std::string text = shell.wait_for(pid);
  EXPECT_EQ(text, "\001\005" + std::to_string(pid.value()) +
                      " master: service(test): execve: No such file or directory\n");
  EXPECT_EQ(WEXITSTATUS(shell.status), 84);
}

TEST(Spawn, AsRootTheChildHasLeftEveryPrivilegeBehindBeforeExec) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root";
  const auto identity = find_identity("nobody", "", {"daemon"});
  ASSERT_TRUE(identity.ok()) << identity.error().text;
  Shell shell;
  shell.request.identity = identity.value();
  const std::string text = shell.run("cat /proc/$$/status >&2");
  const std::string uid = std::to_string(identity.value().uid);
  EXPECT_EQ(line_of(text, "Uid:"), uid + "\t" + uid + "\t" + uid + "\t" + uid);
  for (const char* set : {"CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"}) {
    EXPECT_EQ(line_of(text, set), "0000000000000000") << set;
  }
  EXPECT_EQ(identity.value().groups.size(), 2u);
  EXPECT_EQ(line_of(text, "Groups:").find("0 "), std::string::npos) << line_of(text, "Groups:");
}

TEST(Spawn, AProcessThatIsToBeConfinedKeepsTheOneCapabilityForIt) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root";
  Shell shell;
  shell.request.identity = find_identity("nobody", "", {}).value();
  shell.request.confine = true;
  const std::string text = shell.run("cat /proc/$$/status >&2");
  for (const char* set : {"CapInh:", "CapPrm:", "CapEff:", "CapAmb:"}) {
    EXPECT_EQ(line_of(text, set), "0000000000040000") << set;
  }
  EXPECT_EQ(line_of(text, "CapBnd:"), "0000000000000000");
}

TEST(Spawn, AProcessThatMayNotForkCannot) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root";
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "the leak check at exit forks";
#else
  Shell shell;
  shell.request.identity = find_identity("nobody", "", {}).value();
  shell.request.may_fork = false;
  EXPECT_NE(shell.run("(/bin/true) ; exit 0").find("fork"), std::string::npos);
#endif
}

TEST(FindIdentity, NamesWhatIsMissing) {
  EXPECT_EQ(find_identity("no-such-user", "", {}).error().text, "no such user: no-such-user");
  EXPECT_EQ(find_identity("root", "no-such-group", {}).error().text,
            "no such group: no-such-group");
  EXPECT_EQ(find_identity("", "", {}).value().uid, 0u);
  EXPECT_EQ(find_identity("12345", "54321", {}).value(), (Identity{12345, 54321, {54321}}));
}

}  // namespace
}  // namespace postern::master
