#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <string>
#include <vector>

#include "config/snapshot.h"
#include "io/socket.h"
#include "lib/handle.h"

/// The master's part towards one child, for tests: starts it and talks to it in packets.
namespace postern::service {

inline bool wait_readable(int fd, int milliseconds = 5000) {
  pollfd p{fd, POLLIN, 0};
  return poll(&p, 1, milliseconds) == 1;
}

/// A connection to the child's listener.
class TestClient {
 public:
  explicit TestClient(const Endpoint& to) {
    auto made = io::connect_tcp(to, {});
    EXPECT_TRUE(made.ok());
    if (made.ok()) fd_ = std::move(made.value());
  }
  void say(const std::string& line) {
    const std::string bytes = line + "\n";
    EXPECT_EQ(write(fd_.get(), bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
  }
  /// The next line without its end; "(end)" at the end, "(nothing)" if none comes.
  std::string hear(int milliseconds = 5000) {
    std::string line;
    while (true) {
      if (!wait_readable(fd_.get(), milliseconds)) return "(nothing)";
      char c = 0;
      if (read(fd_.get(), &c, 1) != 1) return "(end)";
      if (c == '\n') return line;
      line += c;
    }
  }
  std::string ask(const std::string& line) {
    say(line);
    return hear();
  }
  void close() { fd_.reset(); }

 private:
  UniqueFd fd_;
};

/// The master's end of a process's channel.
class TestChannel {
 public:
  explicit TestChannel(UniqueFd fd = {}) : fd_(std::move(fd)) {}
  void send(std::string_view packet, int pass_fd = -1) {
    EXPECT_TRUE(io::send_packet(fd_.get(), packet, pass_fd).ok());
  }
  /// The next packet; "(end)", "(nothing)". TABs show as '|'.
  std::string receive(int milliseconds = 5000) {
    if (!wait_readable(fd_.get(), milliseconds)) return "(nothing)";
    auto packet = io::receive_packet(fd_.get(), 65536);
    if (!packet.ok()) return "(end)";
    std::string out(packet.value().bytes.view());
    for (char& c : out) c = c == '\t' ? '|' : c;
    return out;
  }
  void close() { fd_.reset(); }

 private:
  UniqueFd fd_;
};

class FakeMaster : public ::testing::Test {
 protected:
  config::Snapshot snapshot;
  TestChannel channel;
  Endpoint listening;
  pid_t pid = -1;
  UniqueFd log;
  rlim_t max_files = 0;  // of the child; 0: ours

  void SetUp() override {
    snapshot.service.name = "echo";
    snapshot.service.client_limit = 2;
  }
  void TearDown() override {
    if (pid > 0) {
      kill(pid, SIGKILL);
      waitpid(pid, nullptr, 0);
    }
  }

  static std::pair<UniqueFd, UniqueFd> channel_pair() {
    auto ends = io::socket_pair(SOCK_SEQPACKET);
    EXPECT_TRUE(ends.ok());
    return std::move(ends.value());
  }

  void start(const std::vector<std::string>& more_arguments = {}, bool with_listener = true,
             bool with_settings = true) {
    UniqueFd listener;
    if (with_listener) {
      listener.reset(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
      sockaddr_storage address{};
      const socklen_t length = Endpoint{*IpAddress::parse("127.0.0.1"), 0}.to_sockaddr(address);
      ASSERT_EQ(bind(listener.get(), reinterpret_cast<sockaddr*>(&address), length), 0);
      ASSERT_EQ(listen(listener.get(), 100), 0);
      listening = io::local_endpoint(listener.get());
      config::SocketInfo info;
      info.name = "echo";
      info.endpoint = listening;
      snapshot.listeners = {info};
    }
    const UniqueFd settings(memfd_create("settings", MFD_CLOEXEC));
    const WipingBuffer bytes = snapshot.serialize();
    if (with_settings) {
      ASSERT_EQ(write(settings.get(), bytes.view().data(), bytes.size()),
                static_cast<ssize_t>(bytes.size()));
    }
    auto [ours, theirs] = channel_pair();
    channel = TestChannel(std::move(ours));
    int log_ends[2];
    ASSERT_EQ(pipe2(log_ends, O_CLOEXEC), 0);
    log.reset(log_ends[0]);
    const UniqueFd log_write(log_ends[1]);
    std::vector<int> fds{log_write.get(), theirs.get(), settings.get()};
    if (listener) fds.push_back(listener.get());
    pid = exec_with(fds, more_arguments);
  }

  /// What the log pipe holds now.
  std::string log_text(int milliseconds = 2000) {
    std::string out;
    if (!wait_readable(log.get(), milliseconds)) return out;
    char room[65536];
    const ssize_t n = read(log.get(), room, sizeof room);
    out.assign(room, n > 0 ? static_cast<std::size_t>(n) : 0);
    return out;
  }

  /// The exit status of `process`, -signal, or 1000 if it does not end.
  static int end_of(pid_t process) {
    for (int i = 0; i < 1000; i++) {
      int status = 0;
      if (waitpid(process, &status, WNOHANG) == process) {
        return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
      }
      usleep(10'000);
    }
    return 1000;
  }
  int end() {
    const int status = end_of(pid);
    if (status != 1000) pid = -1;
    return status;
  }

 private:
  /// `fds` become 2, 3, 4 …
  pid_t exec_with(const std::vector<int>& fds, const std::vector<std::string>& arguments) const {
    std::vector<char*> argv{const_cast<char*>(POSTERN_ECHO_PROCESS)};
    for (const std::string& a : arguments) argv.push_back(const_cast<char*>(a.c_str()));
    argv.push_back(nullptr);
    const pid_t child = fork();
    if (child != 0) return child;
    std::vector<int> high;
    for (const int fd : fds) high.push_back(fcntl(fd, F_DUPFD_CLOEXEC, 100));
    for (std::size_t i = 0; i < high.size(); i++) dup2(high[i], static_cast<int>(i) + 2);
    const rlimit limit{max_files, max_files};
    if (max_files > 0) setrlimit(RLIMIT_NOFILE, &limit);
    execv(argv[0], argv.data());
    _exit(99);
  }
};

}  // namespace postern::service
