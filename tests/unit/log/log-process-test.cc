#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <string>

#include "config/snapshot.h"
#include "io/socket.h"

/// The log process, started as the master starts it.
namespace postern::log {
namespace {

class LogProcess : public ::testing::Test {
 protected:
  UniqueFd channel;
  UniqueFd file;
  pid_t pid = -1;

  void start(const std::string& info_path = {}) {
    config::Snapshot snapshot;
    snapshot.service.name = "log";
    snapshot.service.type = config::ServiceType::log;
    config::SettingsBlock global;
    global.settings.push_back({"log_path", config::Value("/var/log/file")});
    if (!info_path.empty()) global.settings.push_back({"info_log_path", config::Value(info_path)});
    global.settings.push_back({"log_timestamp", config::Value("")});
    snapshot.blocks.push_back(std::move(global));
    const WipingBuffer bytes = snapshot.serialize();
    const UniqueFd settings(memfd_create("settings", MFD_CLOEXEC));
    ASSERT_EQ(write(settings.get(), bytes.view().data(), bytes.size()),
              static_cast<ssize_t>(bytes.size()));
    auto ends = io::socket_pair(SOCK_SEQPACKET);
    ASSERT_TRUE(ends.ok());
    pid = fork();
    if (pid == 0) {
      const int theirs = fcntl(ends.value().second.get(), F_DUPFD_CLOEXEC, 100);
      const int memory = fcntl(settings.get(), F_DUPFD_CLOEXEC, 100);
      dup2(theirs, 3);
      dup2(memory, 4);
      execl(POSTERN_LOG_PROCESS, "log", static_cast<char*>(nullptr));
      _exit(99);
    }
    channel = std::move(ends.value().first);
    ASSERT_EQ(receive(), "ready");
    file.reset(memfd_create("log", MFD_CLOEXEC));
    for (const char* level : {"error", "info", "debug"}) give_file(level, file.get());
  }
  void TearDown() override {
    if (pid <= 0) return;
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
  }
  void send(std::string_view packet, int fd = -1) {
    ASSERT_TRUE(io::send_packet(channel.get(), packet, fd).ok());
  }
  void give_file(const std::string& level, int fd) { send("file\t" + level, fd); }
  UniqueFd give_pipe(const std::string& prefix) {
    int ends[2];
    EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0);
    const UniqueFd read_end(ends[0]);
    send("pipe\t" + prefix, read_end.get());
    return UniqueFd(ends[1]);
  }
  std::string receive() const {
    pollfd p{channel.get(), POLLIN, 0};
    if (poll(&p, 1, 5000) != 1) return "(nothing)";
    auto packet = io::receive_packet(channel.get(), 65536);
    return packet.ok() ? std::string(packet.value().bytes.view()) : "(end)";
  }
  static void say(const UniqueFd& fd, std::string_view text) {
    ASSERT_EQ(write(fd.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }
  static std::string content(int fd) {
    std::string out(65536, '\0');
    const ssize_t n = pread(fd, out.data(), out.size(), 0);
    out.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
    return out;
  }
  /// The file's content once it holds `text`.
  static std::string wait_for(int fd, const std::string& text) {
    for (int i = 0; i < 300; i++) {
      const std::string now = content(fd);
      if (now.find(text) != std::string::npos) return now;
      usleep(10'000);
    }
    return content(fd);
  }
  int end() {
    for (int i = 0; i < 500; i++) {
      int status = 0;
      if (waitpid(pid, &status, WNOHANG) == pid) {
        pid = -1;
        return status;
      }
      usleep(10'000);
    }
    return 1000;
  }
};

TEST_F(LogProcess, WritesEverybodysLinesUnderTheirChannelsName) {
  start();
  const UniqueFd login = give_pipe("imap-login");
  const UniqueFd auth = give_pipe("auth");
  say(login, "\001\0021 Login: user=<u>\n");
  wait_for(file.get(), "Login");
  say(auth, "\001\0042 auth: Info: forged\x1b\n");
  EXPECT_EQ(wait_for(file.get(), "forged"),
            "imap-login: Info: Login: user=<u>\nauth: Error: auth: Info: forged\\x1b\n");
}

TEST_F(LogProcess, HalfALineIsWrittenAfterAWhile) {
  start();
  const UniqueFd login = give_pipe("imap-login");
  say(login, "Segmentation fau");
  EXPECT_EQ(wait_for(file.get(), "fau"), "imap-login: Error: Segmentation fau\n");
}

TEST_F(LogProcess, LastWordsComeWithTheEndOfThePipe) {
  start();
  UniqueFd login = give_pipe("imap-login");
  say(login, "\001\0021 last");
  login.reset();
  EXPECT_EQ(wait_for(file.get(), "last"), "imap-login: Info: last\n");
}

TEST_F(LogProcess, NewFilesAreUsedFromTheNextLineOn) {
  start();
  const UniqueFd login = give_pipe("imap-login");
  say(login, "\001\0021 old\n");
  wait_for(file.get(), "old");
  const UniqueFd rotated(memfd_create("log2", MFD_CLOEXEC));
  for (const char* level : {"error", "info", "debug"}) give_file(level, rotated.get());
  send("call\t1\tlog-errors");
  EXPECT_EQ(receive(), "done\t1\t0") << "an answer: the files have been taken";
  say(login, "\001\0021 new\n");
  EXPECT_EQ(wait_for(rotated.get(), "new"), "imap-login: Info: new\n");
  EXPECT_EQ(content(file.get()), "imap-login: Info: old\n");
}

TEST_F(LogProcess, LevelsGoToTheirOwnFiles) {
  start("/var/log/info");
  const UniqueFd info(memfd_create("info", MFD_CLOEXEC));
  give_file("info", info.get());
  give_file("debug", info.get());
  const UniqueFd login = give_pipe("imap-login");
  say(login, "\001\0041 bad\n\001\0021 good\n\001\0011 detail\n");
  EXPECT_EQ(wait_for(info.get(), "detail"), "imap-login: Info: good\nimap-login: Debug: detail\n");
  EXPECT_EQ(wait_for(file.get(), "bad"), "imap-login: Error: bad\n");
}

TEST_F(LogProcess, RemembersWarningsAndErrors) {
  start();
  const UniqueFd login = give_pipe("imap-login");
  say(login, "\001\0021 fine\n\001\0031 hm\n\001\0041 bad\n");
  wait_for(file.get(), "bad");
  send("call\t7\tlog-errors");
  const std::string first = receive();
  EXPECT_TRUE(first.starts_with("row\t7\ttime=")) << first;
  EXPECT_TRUE(first.ends_with("\tlevel=warning\tprefix=imap-login\ttext=hm")) << first;
  EXPECT_TRUE(receive().ends_with("\tlevel=error\tprefix=imap-login\ttext=bad"));
  EXPECT_EQ(receive(), "done\t7\t0");
  send("call\t8\tlog-errors\t99999999999");
  EXPECT_EQ(receive(), "done\t8\t0");
  send("call\t9\tlog-errors\tyesterday");
  EXPECT_EQ(receive(), "done\t9\t64\tnot a time");
}

TEST_F(LogProcess, GoesOnWithoutTheMasterUntilTheLastPipeEnds) {
  start();
  UniqueFd login = give_pipe("imap-login");
  send("call\t1\tlog-errors");
  EXPECT_EQ(receive(), "done\t1\t0");
  channel.reset();
  say(login, "\001\0021 a session lives on\n");
  EXPECT_NE(wait_for(file.get(), "lives on").find("a session lives on"), std::string::npos);
  login.reset();
  EXPECT_EQ(end(), 0);
}

TEST_F(LogProcess, StopWritesWhatIsInThePipesFirst) {
  start();
  const UniqueFd login = give_pipe("imap-login");
  send("call\t1\tlog-errors");
  EXPECT_EQ(receive(), "done\t1\t0");
  kill(pid, SIGSTOP);
  for (int i = 0; i < 1000; i++) say(login, "\001\0021 line " + std::to_string(i) + "\n");
  send("stop");
  kill(pid, SIGCONT);
  EXPECT_EQ(end(), 0);
  EXPECT_TRUE(content(file.get()).ends_with("imap-login: Info: line 999\n"));
}

TEST_F(LogProcess, WrongPacketsOfTheMastersAreFatal) {
  for (const char* packet : {"pipe\tx", "file\terror", "pipe", "nonsense"}) {
    SCOPED_TRACE(packet);
    start();
    send(packet);
    EXPECT_NE(end(), 0);
  }
}

}  // namespace
}  // namespace postern::log
