#include "log/output.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <ctime>
#include <string>

namespace postern::log {
namespace {

constexpr std::int64_t kTime = 1'795'244'445;

Entry entry(Level level, const std::string& text) {
  return {kTime, level, "imap-login", text};
}

std::string content(int fd) {
  std::string out(1 << 20, '\0');
  const ssize_t n = pread(fd, out.data(), out.size(), 0);
  out.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
  return out;
}

UniqueFd memory_file() {
  return UniqueFd(memfd_create("log", MFD_CLOEXEC | MFD_ALLOW_SEALING));
}

class OutputTest : public ::testing::Test {
 protected:
  void SetUp() override {
    setenv("TZ", "UTC", 1);
    tzset();
  }
};

TEST_F(OutputTest, WritesDovecotsLines) {
  const UniqueFd file = memory_file();
  FileOutput output("%b %d %H:%M:%S ");
  output.set_file(UniqueFd(dup(file.get())));
  output.add(entry(Level::info, "Login: user=<u>"));
  output.add(entry(Level::panic, "file x.cc: line 1"));
  EXPECT_EQ(content(file.get()), "") << "one write a turn";
  EXPECT_TRUE(output.flush().ok());
  EXPECT_EQ(content(file.get()),
            "Nov 21 07:00:45 imap-login: Info: Login: user=<u>\n"
            "Nov 21 07:00:45 imap-login: Panic: file x.cc: line 1\n");
}

TEST_F(OutputTest, LinesWaitForTheFirstFileAndFollowTheNext) {
  const UniqueFd one = memory_file();
  const UniqueFd two = memory_file();
  FileOutput output("");
  output.add(entry(Level::info, "early"));
  EXPECT_TRUE(output.flush().ok());
  output.set_file(UniqueFd(dup(one.get())));
  EXPECT_TRUE(output.flush().ok());
  output.add(entry(Level::info, "before the change"));
  output.set_file(UniqueFd(dup(two.get())));
  output.add(entry(Level::info, "after"));
  EXPECT_TRUE(output.flush().ok());
  EXPECT_EQ(content(one.get()), "imap-login: Info: early\nimap-login: Info: before the change\n");
  EXPECT_EQ(content(two.get()), "imap-login: Info: after\n");
  EXPECT_TRUE(output.is_same_file(two.get()));
  EXPECT_FALSE(output.is_same_file(one.get()));
}

TEST_F(OutputTest, FullDiskIsSaidOnceAndCounted) {
  const UniqueFd full(::open("/dev/full", O_WRONLY | O_CLOEXEC));
  FileOutput output("");
  output.set_file(UniqueFd(dup(full.get())));
  output.add(entry(Level::info, "x"));
  const Status first = output.flush();
  ASSERT_FALSE(first.ok());
  EXPECT_EQ(first.error().text, "cannot write the log: No space left on device");
  EXPECT_TRUE(output.flush().ok()) << "said already";
  EXPECT_TRUE(output.has_backlog());
  const std::string line(10'000, 'y');
  for (int i = 0; i < 200; i++) output.add(entry(Level::info, line));
  const UniqueFd file = memory_file();
  output.set_file(UniqueFd(dup(file.get())));
  output.add(entry(Level::info, "again"));
  EXPECT_TRUE(output.flush().ok());
  const std::string text = content(file.get());
  EXPECT_NE(text.find("log: Error: "), std::string::npos);
  EXPECT_NE(text.find(" lines dropped: the log could not be written\n"), std::string::npos);
  EXPECT_TRUE(text.ends_with("imap-login: Info: again\n"));
}

TEST_F(OutputTest, HalfAWrittenLineIsContinuedWhereItStopped) {
  const UniqueFd file = memory_file();
  FileOutput output("");
  output.set_file(UniqueFd(dup(file.get())));
  const auto old_action = std::signal(SIGXFSZ, SIG_IGN);
  rlimit old{};
  getrlimit(RLIMIT_FSIZE, &old);
  const rlimit small{10, old.rlim_max};
  setrlimit(RLIMIT_FSIZE, &small);
  output.add(entry(Level::info, "one line"));
  const Status status = output.flush();
  setrlimit(RLIMIT_FSIZE, &old);
  std::signal(SIGXFSZ, old_action);
  EXPECT_FALSE(status.ok());
  EXPECT_EQ(content(file.get()), "imap-login");
  EXPECT_TRUE(output.flush().ok());
  EXPECT_EQ(content(file.get()), "imap-login: Info: one line\n");
}

TEST_F(OutputTest, HalfAWrittenLineIsWholeInTheNextFile_T_FAT_06) {
  const UniqueFd file = memory_file();
  const UniqueFd next = memory_file();
  FileOutput output("");
  output.set_file(UniqueFd(dup(file.get())));
  const auto old_action = std::signal(SIGXFSZ, SIG_IGN);
  rlimit old{};
  getrlimit(RLIMIT_FSIZE, &old);
  const rlimit small{40, old.rlim_max};
  setrlimit(RLIMIT_FSIZE, &small);
  output.add(entry(Level::info, "one line"));
  output.add(entry(Level::info, "two lines"));
  const Status status = output.flush();
  setrlimit(RLIMIT_FSIZE, &old);
  std::signal(SIGXFSZ, old_action);
  EXPECT_FALSE(status.ok());
  EXPECT_EQ(content(file.get()), "imap-login: Info: one line\nimap-login: I");
  EXPECT_EQ(ftruncate(file.get(), 0), 0);
  // The last file is full to the end.
  ASSERT_EQ(fcntl(file.get(), F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW), 0);
  output.set_file(UniqueFd(dup(next.get())));
  EXPECT_TRUE(output.flush().ok());
  EXPECT_EQ(content(next.get()), "imap-login: Info: two lines\n");
  EXPECT_FALSE(output.has_backlog());
}

TEST_F(OutputTest, PipeThatNobodyReadsIsNotWaitedFor) {
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);  // blocking, as a stderr is
  const UniqueFd read_end(ends[0]);
  FileOutput output("");
  output.set_file(UniqueFd(ends[1]));
  const std::string line(1000, 'z');
  for (int i = 0; i < 500; i++) output.add(entry(Level::info, line));
  EXPECT_TRUE(output.flush().ok()) << "a reader that is slow is no error";
  EXPECT_TRUE(output.has_backlog());
  std::string got;
  char room[65536];
  while (got.size() < 500 * 1000) {
    const ssize_t n = read(read_end.get(), room, sizeof room);
    ASSERT_GT(n, 0);
    got.append(room, static_cast<std::size_t>(n));
    EXPECT_TRUE(output.flush().ok());
    if (!output.has_backlog() && got.size() >= 500 * (line.size() + 19)) break;
  }
  EXPECT_EQ(std::count(got.begin(), got.end(), '\n'), 500);
}

class SyslogTest : public OutputTest {
 protected:
  std::string path;
  UniqueFd daemon;

  void SetUp() override {
    OutputTest::SetUp();
    char name[] = "/tmp/postern-syslog-XXXXXX";
    path = std::string(mkdtemp(name)) + "/log";
  }
  void TearDown() override {
    unlink(path.c_str());
    rmdir(path.substr(0, path.rfind('/')).c_str());
  }
  void listen() {
    unlink(path.c_str());
    daemon.reset(socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    ASSERT_EQ(bind(daemon.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  }
  std::string receive() {
    char room[9000];
    const ssize_t n = recv(daemon.get(), room, sizeof room, 0);
    return n < 0 ? "(nothing)" : std::string(room, static_cast<std::size_t>(n));
  }
};

TEST_F(SyslogTest, SendsPriorityTimeNameAndLine) {
  listen();
  SyslogOutput output(LOG_MAIL, "postern", path);
  output.add(entry(Level::info, "Login: user=<u>"));
  output.add(entry(Level::error, "bad"));
  output.add(entry(Level::panic, "worse"));
  output.add(entry(Level::debug, "detail"));
  EXPECT_TRUE(output.flush().ok());
  EXPECT_EQ(receive(), "<22>Nov 21 07:00:45 postern: imap-login: Login: user=<u>");
  EXPECT_EQ(receive(), "<19>Nov 21 07:00:45 postern: imap-login: Error: bad");
  EXPECT_EQ(receive(), "<18>Nov 21 07:00:45 postern: imap-login: Panic: worse");
  EXPECT_EQ(receive(), "<23>Nov 21 07:00:45 postern: imap-login: detail");
}

TEST_F(SyslogTest, DaemonThatRestartsIsFoundAgain) {
  SyslogOutput output(LOG_MAIL, "postern", path);
  output.add(entry(Level::info, "before it is there"));
  EXPECT_FALSE(output.flush().ok());
  EXPECT_TRUE(output.flush().ok()) << "said already";
  EXPECT_TRUE(output.has_backlog());
  listen();
  EXPECT_TRUE(output.flush().ok());
  EXPECT_FALSE(output.has_backlog());
  EXPECT_NE(receive().find("before it is there"), std::string::npos);
  listen();  // another socket
  output.add(entry(Level::info, "after"));
  EXPECT_TRUE(output.flush().ok());
  EXPECT_NE(receive().find("after"), std::string::npos);
}

TEST_F(SyslogTest, DaemonThatDoesNotReadIsNotWaitedFor) {
  listen();
  SyslogOutput output(LOG_MAIL, "postern", path);
  for (int i = 0; i < 10'000; i++) output.add(entry(Level::info, std::to_string(i)));
  EXPECT_TRUE(output.flush().ok());
  EXPECT_TRUE(output.has_backlog());
  while (receive() != "(nothing)") EXPECT_TRUE(output.flush().ok());
  output.add(entry(Level::info, "the last"));
  EXPECT_TRUE(output.flush().ok());
  EXPECT_NE(receive().find("lines dropped"), std::string::npos);
  EXPECT_NE(receive().find("the last"), std::string::npos);
}

}  // namespace
}  // namespace postern::log
