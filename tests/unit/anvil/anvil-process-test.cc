#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <string>

#include "config/snapshot.h"
#include "io/socket.h"

/// The anvil process, started as the master starts it.
namespace postern::anvil {
namespace {

class AnvilProcess : public ::testing::Test {
 protected:
  std::string path;
  UniqueFd channel;
  UniqueFd log;
  pid_t pid = -1;

  void SetUp() override {
    char name[] = "/tmp/postern-anvil-XXXXXX";
    path = std::string(mkdtemp(name)) + "/anvil";
    const UniqueFd listener(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    ASSERT_EQ(bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    ASSERT_EQ(listen(listener.get(), 10), 0);
    config::Snapshot snapshot;
    snapshot.service.name = "anvil";
    snapshot.service.type = config::ServiceType::anvil;
    snapshot.service.client_limit = 100;
    config::SocketInfo info;
    info.kind = config::ListenerSettings::Kind::unix_socket;
    info.name = "anvil";
    info.path = path;
    snapshot.listeners = {info};
    const WipingBuffer bytes = snapshot.serialize();
    const UniqueFd settings(memfd_create("settings", MFD_CLOEXEC));
    ASSERT_EQ(write(settings.get(), bytes.view().data(), bytes.size()),
              static_cast<ssize_t>(bytes.size()));
    auto ends = io::socket_pair(SOCK_SEQPACKET);
    ASSERT_TRUE(ends.ok());
    int log_ends[2];
    ASSERT_EQ(pipe2(log_ends, O_CLOEXEC), 0);
    log.reset(log_ends[0]);
    const UniqueFd log_write(log_ends[1]);
    pid = fork();
    if (pid == 0) {
      const int fds[4] = {log_write.get(), ends.value().second.get(), settings.get(),
                          listener.get()};
      int high[4];
      for (int i = 0; i < 4; i++) high[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 100);
      for (int i = 0; i < 4; i++) dup2(high[i], i + 2);
      execl(POSTERN_ANVIL_PROCESS, "anvil", static_cast<char*>(nullptr));
      _exit(99);
    }
    channel = std::move(ends.value().first);
    ASSERT_TRUE(wait_for(channel.get()));
  }
  void TearDown() override {
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
    unlink(path.c_str());
    rmdir(path.substr(0, path.rfind('/')).c_str());
  }
  static bool wait_for(int fd) {
    pollfd p{fd, POLLIN, 0};
    return poll(&p, 1, 5000) == 1;
  }
  UniqueFd connect() {
    auto fd = io::connect_unix(path);
    EXPECT_TRUE(fd.ok());
    say(fd.value(), "VERSION\tanvil\t1\t0\n");
    return std::move(fd.value());
  }
  static void say(const UniqueFd& fd, std::string_view text) {
    ASSERT_EQ(write(fd.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }
  /// As many bytes as are expected, or what came until the end.
  static std::string hear(const UniqueFd& fd, std::size_t size) {
    std::string out;
    while (out.size() < size && wait_for(fd.get())) {
      char room[65536];
      const ssize_t n = read(fd.get(), room, std::min(sizeof room, size - out.size()));
      if (n <= 0) return out + "(end)";
      out.append(room, static_cast<std::size_t>(n));
    }
    return out;
  }
  static std::string ask(const UniqueFd& fd, const std::string& line, std::size_t size) {
    say(fd, line + "\n");
    return hear(fd, size);
  }
};

TEST_F(AnvilProcess, AnswersInOrderWhatCameInOnePiece) {
  const UniqueFd a = connect();
  say(a, "CONNECT\t1\tx\nLOOKUP\tx\nPENALTY-INC\tip\t5\t3\nLOOK");
  say(a, "UP\tx\n");
  EXPECT_EQ(hear(a, 4), "1\n1\n");
  EXPECT_EQ(ask(a, "PENALTY-GET\tip", 3), "3 1");
}

TEST_F(AnvilProcess, EntriesEndWithTheirConnection) {
  UniqueFd a = connect();
  const UniqueFd b = connect();
  EXPECT_EQ(ask(a, "CONNECT\t1\tx\nLOOKUP\tx", 2), "1\n");
  EXPECT_EQ(ask(b, "LOOKUP\tx", 2), "1\n");
  a.reset();
  for (int i = 0; i < 100; i++) {
    const std::string count = ask(b, "LOOKUP\tx", 2);
    if (count == "0\n") return;
    usleep(10'000);
  }
  FAIL() << "still counted";
}

TEST_F(AnvilProcess, AMistakeEndsOnlyThatConnection) {
  const UniqueFd a = connect();
  const UniqueFd b = connect();
  EXPECT_EQ(ask(a, "NONSENSE", 1), "(end)");
  EXPECT_EQ(ask(b, "LOOKUP\tx", 2), "0\n");
  const UniqueFd c = connect();
  say(c, std::string(2000, 'x'));
  EXPECT_EQ(hear(c, 1), "(end)");
  char text[4096];
  const ssize_t n = read(log.get(), text, sizeof text);
  const std::string lines(text, n > 0 ? static_cast<std::size_t>(n) : 0);
  EXPECT_NE(lines.find("Anvil client input error: Unknown command: NONSENSE"), std::string::npos);
}

TEST_F(AnvilProcess, ClientThatDoesNotReadIsNotReadEither) {
  const UniqueFd a = connect();
  const UniqueFd b = connect();
  std::string many;
  for (int i = 0; i < 1000; i++) many += "LOOKUP\tx\n";
  std::size_t sent = 0;
  // Until its questions pile up in the socket: the answers have nowhere to go.
  for (int refused = 0; refused < 200 && sent < 50UL << 20U;) {
    const ssize_t n = send(a.get(), many.data(), many.size(), MSG_DONTWAIT);
    if (n > 0) sent += static_cast<std::size_t>(n);
    refused = n > 0 ? 0 : refused + 1;
    if (n <= 0) usleep(1000);
  }
  EXPECT_EQ(ask(b, "LOOKUP\tx", 2), "0\n") << "others are served";
  EXPECT_LT(sent, 50UL << 20U) << "the questions were taken without end";
}

TEST_F(AnvilProcess, TellsTheMasterThePenalties) {
  const UniqueFd a = connect();
  EXPECT_EQ(ask(a, "PENALTY-INC\t192.0.2.1\t5\t3\nLOOKUP\tx", 2), "0\n");
  ASSERT_TRUE(io::send_packet(channel.get(), "call\t4\tpenalty").ok());
  std::string row;
  while (wait_for(channel.get())) {
    auto packet = io::receive_packet(channel.get(), 65536);
    ASSERT_TRUE(packet.ok());
    const std::string text(packet.value().bytes.view());
    if (text.starts_with("row")) row = text;
    if (text.starts_with("done")) break;
  }
  EXPECT_TRUE(row.starts_with("row\t4\tident=192.0.2.1\tvalue=3\tlast=")) << row;
}

}  // namespace
}  // namespace postern::anvil
