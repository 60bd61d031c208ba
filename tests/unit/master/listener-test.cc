#include "master/listener.h"

#include <gtest/gtest.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <fstream>

#include "scratch.h"

namespace postern::master {
namespace {

ListenerSpec unix_spec(const std::string& path, mode_t mode = 0600) {
  ListenerSpec out;
  out.is_unix = true;
  out.path = path;
  out.mode = mode;
  return out;
}

ListenerSpec tcp_spec(const char* ip, std::uint16_t port = 0) {
  ListenerSpec out;
  out.endpoint.ip = *IpAddress::parse(ip);
  out.endpoint.port = port;
  return out;
}

int connect_unix(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const void* to = &address;
  if (connect(fd, static_cast<const sockaddr*>(to), sizeof address) != 0) {
    close(fd);
    return -1;
  }
  return fd;
}

Endpoint bound_to(const Listener& listener) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  void* to = &address;
  getsockname(listener.fd(), static_cast<sockaddr*>(to), &size);
  return Endpoint::from_sockaddr(address);
}

int connect_tcp(const Endpoint& endpoint) {
  sockaddr_storage address{};
  const socklen_t size = endpoint.to_sockaddr(address);
  const int fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const void* to = &address;
  if (connect(fd, static_cast<const sockaddr*>(to), size) != 0) {
    close(fd);
    return -1;
  }
  return fd;
}

int option(int fd, int level, int name) {
  int value = -1;
  socklen_t size = sizeof value;
  getsockopt(fd, level, name, &value, &size);
  return value;
}

mode_t mode_of(const std::string& path) {
  struct stat found {};
  return lstat(path.c_str(), &found) == 0 ? found.st_mode & 07777 : 0;
}

TEST(Listener, AcceptedSocketsInheritWhatEveryConnectionNeeds) {
  auto opened = Listener::open(tcp_spec("127.0.0.1"));
  ASSERT_TRUE(opened.ok()) << opened.error().text;
  const Listener& listener = *opened.value();
  const UniqueFd client(connect_tcp(bound_to(listener)));
  ASSERT_TRUE(client);
  const UniqueFd server(accept(listener.fd(), nullptr, nullptr));
  ASSERT_TRUE(server);
  EXPECT_EQ(option(server.get(), IPPROTO_TCP, TCP_NODELAY), 1);
  EXPECT_EQ(option(server.get(), SOL_SOCKET, SO_KEEPALIVE), 1);
}

TEST(Listener, TellsHowManyWait) {
  auto opened = Listener::open(tcp_spec("127.0.0.1"));
  ASSERT_TRUE(opened.ok());
  std::vector<UniqueFd> clients;
  for (int i = 0; i < 3; ++i) clients.emplace_back(connect_tcp(bound_to(*opened.value())));
  EXPECT_EQ(opened.value()->backlog(), 3u);
}

TEST(Listener, ASecondOneOnTheSameAddressIsAnError) {
  auto first = Listener::open(tcp_spec("127.0.0.1"));
  ASSERT_TRUE(first.ok());
  const auto second = Listener::open(tcp_spec("127.0.0.1", bound_to(*first.value()).port));
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().code, EADDRINUSE);
}

TEST(Listener, IPv6WildcardLeavesIPv4ToOthers) {
  auto six = Listener::open(tcp_spec("::"));
  if (!six.ok()) GTEST_SKIP() << "no IPv6 here: " << six.error().text;
  const auto four = Listener::open(tcp_spec("0.0.0.0", bound_to(*six.value()).port));
  EXPECT_TRUE(four.ok()) << four.error().text;
}

TEST(Listener, UnixSocketHasItsModeAndGoesWithTheListener) {
  const Scratch scratch;
  const std::string path = scratch / "login/deep/sock";
  for (const mode_t mode : {0600U, 0666U, 0620U}) {
    auto opened = Listener::open(unix_spec(path, mode));
    ASSERT_TRUE(opened.ok()) << opened.error().text;
    EXPECT_EQ(mode_of(path), mode);
    EXPECT_TRUE(UniqueFd(connect_unix(path)));
  }
  EXPECT_NE(access(path.c_str(), F_OK), 0);
}

TEST(Listener, AStaleSocketIsReplacedAndALiveOneIsNot) {
  const Scratch scratch;
  const std::string path = scratch / "sock";
  {
    // Bound and closed without unlink: what a killed master leaves.
    const UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
    const void* to = &address;
    ASSERT_EQ(bind(fd.get(), static_cast<const sockaddr*>(to), sizeof address), 0);
  }
  auto first = Listener::open(unix_spec(path));
  ASSERT_TRUE(first.ok()) << first.error().text;
  const auto second = Listener::open(unix_spec(path));
  ASSERT_FALSE(second.ok());
  EXPECT_NE(second.error().text.find("Socket already exists: " + path), std::string::npos);
  EXPECT_TRUE(UniqueFd(connect_unix(path)));  // and the first still answers
}

TEST(Listener, AFileInTheWayIsKept) {
  const Scratch scratch;
  const std::string path = scratch / "sock";
  std::ofstream(path) << "precious";
  EXPECT_FALSE(Listener::open(unix_spec(path)).ok());
  std::string content;
  std::ifstream(path) >> content;
  EXPECT_EQ(content, "precious");
}

TEST(Listener, ASocketThatReplacedOursIsNotRemoved) {
  const Scratch scratch;
  const std::string path = scratch / "sock";
  auto ours = Listener::open(unix_spec(path));
  ASSERT_TRUE(ours.ok());
  unlink(path.c_str());
  std::ofstream(path) << "somebody else's";
  ours.value().reset();
  EXPECT_EQ(access(path.c_str(), F_OK), 0);
}

TEST(OpenListeners, TakesOverByIdentity) {
  const Scratch scratch;
  const std::string kept = scratch / "kept";
  const std::string left = scratch / "left";
  const std::string fresh = scratch / "fresh";
  std::vector<std::string> errors;
  Listeners old = open_listeners({unix_spec(kept), unix_spec(left)}, {}, errors);
  ASSERT_EQ(old.size(), 2u);
  const UniqueFd waiting(connect_unix(kept));
  const Listener* const before = old.at("unix " + kept).get();

  Listeners now = open_listeners({unix_spec(kept, 0666), unix_spec(fresh)}, old, errors);
  ASSERT_EQ(now.size(), 2u);
  EXPECT_TRUE(errors.empty());
  EXPECT_EQ(now.at("unix " + kept).get(), before);
  EXPECT_EQ(mode_of(kept), 0666u);
  old.clear();
  EXPECT_NE(access(left.c_str(), F_OK), 0);
  EXPECT_TRUE(UniqueFd(accept(now.at("unix " + kept)->fd(), nullptr, nullptr)));  // was not lost
}

TEST(OpenListeners, ASocketThatWasRemovedIsMadeAgain) {
  const Scratch scratch;
  const std::string path = scratch / "sock";
  std::vector<std::string> errors;
  const Listeners old = open_listeners({unix_spec(path)}, {}, errors);
  unlink(path.c_str());
  const Listeners now = open_listeners({unix_spec(path)}, old, errors);
  EXPECT_TRUE(errors.empty());
  EXPECT_TRUE(UniqueFd(connect_unix(path)));
  // Whoever has the old one listens where nobody comes.
  EXPECT_NE(now.at("unix " + path), old.at("unix " + path));
}

TEST(Listener, ANameThatMeansAnotherFileByNowIsLeftAlone_T_LOC_02) {
  const Scratch scratch;
  const std::string path = scratch / "sock";
  const std::string victim = scratch / "victim";
  std::ofstream(victim) << "secret";
  chmod(victim.c_str(), 0600);
  auto opened = Listener::open(unix_spec(path));
  ASSERT_TRUE(opened.ok());
  unlink(path.c_str());
  ASSERT_EQ(symlink(victim.c_str(), path.c_str()), 0);
  EXPECT_FALSE(opened.value()->is_reachable());
  EXPECT_FALSE(opened.value()->adjust(unix_spec(path, 0666)).ok());
  EXPECT_EQ(mode_of(victim), 0600u);
}

TEST(Listener, AParentThatEverybodyMayWriteToIsRefusedUnlessItIsSticky_T_LOC_02) {
  const Scratch scratch;
  const std::string open_to_all = scratch / "open";
  mkdir(open_to_all.c_str(), 0700);
  chmod(open_to_all.c_str(), 0777);
  const auto refused = Listener::open(unix_spec(open_to_all + "/sock"));
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.error().text.find("can be written to by everyone"), std::string::npos);
  chmod(open_to_all.c_str(), 01777);
  EXPECT_TRUE(Listener::open(unix_spec(open_to_all + "/sock")).ok());
}

TEST(OpenListeners, OneFailureLeavesNothingNewOpen) {
  const Scratch scratch;
  const std::string good = scratch / "good";
  const std::string bad = scratch / "bad";
  std::ofstream(bad) << "a file";
  std::vector<std::string> errors;
  EXPECT_TRUE(open_listeners({unix_spec(good), unix_spec(bad)}, {}, errors).empty());
  ASSERT_EQ(errors.size(), 1u);
  EXPECT_NE(errors[0].find("not a socket"), std::string::npos);
  EXPECT_NE(access(good.c_str(), F_OK), 0);
}

}  // namespace
}  // namespace postern::master
