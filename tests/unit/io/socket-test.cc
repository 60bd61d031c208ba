#include "io/socket.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>

namespace postern::io {
namespace {

UniqueFd listen_on(const char* ip) {
  const Endpoint endpoint{*IpAddress::parse(ip), 0};
  sockaddr_storage address{};
  const socklen_t length = endpoint.to_sockaddr(address);
  UniqueFd fd(socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  EXPECT_EQ(bind(fd.get(), reinterpret_cast<sockaddr*>(&address), length), 0);
  EXPECT_EQ(listen(fd.get(), 8), 0);
  return fd;
}

bool is_set(int fd, int get, int flag) {
  return (fcntl(fd, get) & flag) != 0;
}

TEST(Socket, ConnectsAndAcceptsNonBlockingAndCloseOnExec) {
  const UniqueFd listener = listen_on("127.0.0.1");
  auto client = connect_tcp(local_endpoint(listener.get()), IpAddress::parse("127.0.0.3"));
  ASSERT_TRUE(client.ok());
  auto accepted = accept_connection(listener.get());
  ASSERT_TRUE(accepted.ok()) << accepted.error().text;
  EXPECT_EQ(accepted.value().remote.ip.text(), "127.0.0.3");
  EXPECT_EQ(accepted.value().remote, local_endpoint(client.value().get()));
  EXPECT_EQ(remote_endpoint(client.value().get()), local_endpoint(listener.get()));
  for (const int fd : {client.value().get(), accepted.value().fd.get()}) {
    EXPECT_TRUE(is_set(fd, F_GETFD, FD_CLOEXEC));
    EXPECT_TRUE(is_set(fd, F_GETFL, O_NONBLOCK));
  }
  EXPECT_EQ(connect_error(client.value().get()), 0);
}

TEST(Socket, SaysThatNobodyWaits) {
  const UniqueFd listener = listen_on("127.0.0.1");
  const auto accepted = accept_connection(listener.get());
  ASSERT_FALSE(accepted.ok());
  EXPECT_EQ(accepted.error().code, EAGAIN);
}

/// Lowers the limit of open files to what is open, until it goes.
struct NoMoreFiles {
  rlimit before{};
  NoMoreFiles() {
    const UniqueFd lowest(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    EXPECT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
    const rlimit now{static_cast<rlim_t>(lowest.get()), before.rlim_max};
    EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &now), 0);
  }
  ~NoMoreFiles() { setrlimit(RLIMIT_NOFILE, &before); }
  NoMoreFiles(const NoMoreFiles&) = delete;
  NoMoreFiles& operator=(const NoMoreFiles&) = delete;
};

std::string all_of(int fd) {
  std::string out;
  char text[100];
  ssize_t n = 0;
  while ((n = read(fd, text, sizeof text)) > 0) out.append(text, static_cast<std::size_t>(n));
  return out;
}

UniqueFd connected_to(const UniqueFd& listener) {
  auto client = connect_tcp(local_endpoint(listener.get()), {});
  EXPECT_TRUE(client.ok());
  const int flags = fcntl(client.value().get(), F_GETFL);
  EXPECT_EQ(fcntl(client.value().get(), F_SETFL, flags & ~O_NONBLOCK), 0);
  return std::move(client.value());
}

TEST(ReserveDescriptor, LetsSomebodyBeToldWhenThereAreNoneLeft_T_NET_06) {
  const UniqueFd listener = listen_on("127.0.0.1");
  const UniqueFd one = connected_to(listener);
  const UniqueFd two = connected_to(listener);
  const UniqueFd three = connected_to(listener);
  ReserveDescriptor reserve;
  reserve.hold();
  {
    const NoMoreFiles none;
    const auto accepted = accept_connection(listener.get());
    ASSERT_FALSE(accepted.ok());
    EXPECT_TRUE(is_out_of_descriptors(accepted.error().code));
    ReserveDescriptor empty;
    empty.hold();
    EXPECT_EQ(empty.refuse(listener.get(), "no\n"), 0U) << "there is none to give";
    EXPECT_EQ(reserve.refuse(listener.get(), "full\n"), 3U);
    EXPECT_EQ(reserve.refuse(listener.get(), "full\n"), 0U) << "nobody waits";
  }
  for (const UniqueFd* fd : {&one, &two, &three}) EXPECT_EQ(all_of(fd->get()), "full\n");
  const UniqueFd silent = connected_to(listener);
  {
    const NoMoreFiles none;
    EXPECT_EQ(reserve.refuse(listener.get(), ""), 1U) << "it is held again";
  }
  EXPECT_EQ(all_of(silent.get()), "");
}

TEST(Socket, RefusedConnectIsToldByConnectError) {
  UniqueFd listener = listen_on("127.0.0.1");
  const Endpoint nobody = local_endpoint(listener.get());
  listener.reset();
  const auto client = connect_tcp(nobody, {});
  // Over loopback the refusal may come at once.
  if (client.ok()) {
    EXPECT_EQ(connect_error(client.value().get()), ECONNREFUSED);
  } else {
    EXPECT_EQ(client.error().code, ECONNREFUSED);
  }
}

TEST(Socket, ConnectUnixNamesWhatIsNotThere) {
  const auto missing = connect_unix("/nonexistent/socket");
  ASSERT_FALSE(missing.ok());
  EXPECT_EQ(missing.error().code, ENOENT);
  EXPECT_NE(missing.error().text.find("/nonexistent/socket"), std::string::npos);
  EXPECT_EQ(connect_unix(std::string(200, 'x')).error().code, ENAMETOOLONG);
}

TEST(Socket, PeerCredentialsAreTheKernels) {
  auto ends = socket_pair(SOCK_STREAM);
  ASSERT_TRUE(ends.ok());
  const auto peer = peer_credentials(ends.value().first.get());
  ASSERT_TRUE(peer.ok());
  EXPECT_EQ(peer.value().pid, getpid());
  EXPECT_EQ(peer.value().uid, geteuid());
}

TEST(Packet, CarriesBytesAndADescriptor) {
  auto ends = socket_pair(SOCK_SEQPACKET);
  ASSERT_TRUE(ends.ok());
  auto& [a, b] = ends.value();
  int pipe_ends[2];
  ASSERT_EQ(pipe2(pipe_ends, O_CLOEXEC), 0);
  const UniqueFd read_end(pipe_ends[0]);
  UniqueFd write_end(pipe_ends[1]);
  ASSERT_TRUE(send_packet(a.get(), std::string_view("one\0two", 7), write_end.get()).ok());
  ASSERT_TRUE(send_packet(a.get(), "three").ok());
  write_end.reset();
  {
    auto first = receive_packet(b.get(), 100);
    ASSERT_TRUE(first.ok());
    EXPECT_EQ(first.value().bytes.view(), std::string_view("one\0two", 7));
    ASSERT_TRUE(first.value().fd);
    EXPECT_TRUE(is_set(first.value().fd.get(), F_GETFD, FD_CLOEXEC));
    ASSERT_EQ(write(first.value().fd.get(), "x", 1), 1);
  }
  char c = 0;
  EXPECT_EQ(read(read_end.get(), &c, 1), 1);
  EXPECT_EQ(read(read_end.get(), &c, 1), 0) << "the descriptor was leaked";
  auto second = receive_packet(b.get(), 100);
  ASSERT_TRUE(second.ok());
  EXPECT_EQ(second.value().bytes.view(), "three");
  EXPECT_FALSE(second.value().fd);
  EXPECT_EQ(receive_packet(b.get(), 100).error().code, EAGAIN);
  a.reset();
  EXPECT_EQ(receive_packet(b.get(), 100).error().code, ENOTCONN);
}

TEST(Packet, LongerThanTheLimitIsAnErrorAndLosesItsDescriptor) {
  auto ends = socket_pair(SOCK_SEQPACKET);
  ASSERT_TRUE(ends.ok());
  auto& [a, b] = ends.value();
  int pipe_ends[2];
  ASSERT_EQ(pipe2(pipe_ends, O_CLOEXEC), 0);
  const UniqueFd read_end(pipe_ends[0]);
  UniqueFd write_end(pipe_ends[1]);
  ASSERT_TRUE(send_packet(a.get(), std::string(101, 'x'), write_end.get()).ok());
  write_end.reset();
  EXPECT_EQ(receive_packet(b.get(), 100).error().code, EMSGSIZE);
  char c = 0;
  EXPECT_EQ(read(read_end.get(), &c, 1), 0) << "the descriptor was leaked";
}

TEST(Packet, SurplusDescriptorsAreClosed) {
  auto ends = socket_pair(SOCK_SEQPACKET);
  ASSERT_TRUE(ends.ok());
  auto& [a, b] = ends.value();
  int pipe_ends[2];
  ASSERT_EQ(pipe2(pipe_ends, O_CLOEXEC), 0);
  const UniqueFd read_end(pipe_ends[0]);
  UniqueFd write_end(pipe_ends[1]);
  // As a hostile peer may: four in one message.
  char byte = 'x';
  iovec vector{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(4 * sizeof(int))]{};
  msghdr message{};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(4 * sizeof(int));
  const int four[4] = {write_end.get(), write_end.get(), write_end.get(), write_end.get()};
  memcpy(CMSG_DATA(header), four, sizeof four);
  ASSERT_EQ(sendmsg(a.get(), &message, 0), 1);
  write_end.reset();
  {
    auto packet = receive_packet(b.get(), 100);
    ASSERT_TRUE(packet.ok());
    EXPECT_TRUE(packet.value().fd);
  }
  char c = 0;
  EXPECT_EQ(read(read_end.get(), &c, 1), 0) << "a descriptor was leaked";
}

TEST(Packet, NamesItsSenderWhenAsked) {
  auto ends = socket_pair(SOCK_SEQPACKET);
  ASSERT_TRUE(ends.ok());
  auto& [a, b] = ends.value();
  const int on = 1;
  ASSERT_EQ(setsockopt(b.get(), SOL_SOCKET, SO_PASSCRED, &on, sizeof on), 0);
  ASSERT_TRUE(send_packet(a.get(), "x", b.get()).ok());
  const auto packet = receive_packet(b.get(), 100);
  ASSERT_TRUE(packet.ok());
  EXPECT_EQ(packet.value().pid, getpid());
  EXPECT_TRUE(packet.value().fd);
}

TEST(Packet, FullQueueIsEagain) {
  auto ends = socket_pair(SOCK_SEQPACKET);
  ASSERT_TRUE(ends.ok());
  Status sent = Done{};
  for (int i = 0; i < 100'000 && sent.ok(); i++) {
    sent = send_packet(ends.value().first.get(), std::string(1000, 'x'));
  }
  ASSERT_FALSE(sent.ok());
  EXPECT_EQ(sent.error().code, EAGAIN);
}

}  // namespace
}  // namespace postern::io
