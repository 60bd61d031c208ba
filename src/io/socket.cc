#include "io/socket.h"

#include <netinet/tcp.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "lib/check.h"

namespace postern::io {
namespace {

sockaddr* generic(sockaddr_storage& address) noexcept {
  return reinterpret_cast<sockaddr*>(&address);
}

Endpoint endpoint_of(int fd, int (*get)(int, sockaddr*, socklen_t*)) {
  sockaddr_storage address{};
  socklen_t length = sizeof address;
  if (get(fd, generic(address), &length) != 0) return {};
  return Endpoint::from_sockaddr(address);
}

void set_option(int fd, int level, int option, int value) noexcept {
  // Every one of these is a wish: without it the connection works, only less well, and sockets
  // that are not TCP have none of them.
  static_cast<void>(setsockopt(fd, level, option, &value, sizeof value));
}

int get_int(unsigned value) noexcept {
  return static_cast<int>(value & 0x7fffffffU);
}

/// Network problems of one connection that accept(2) hands over before it would give the next.
bool belongs_to_a_lost_connection(int error) noexcept {
  switch (error) {
    case EINTR:
    case ECONNABORTED:
    case EPROTO:
    case ENETDOWN:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case ENETUNREACH:
    case ETIMEDOUT:
      return true;
    default:
      return false;
  }
}

}  // namespace

Result<Accepted> accept_connection(int listener) {
  // Strangers make connections and break them off: however many do, the process does other things.
  constexpr unsigned kMostLost = 16;
  for (unsigned lost = 0;; ++lost) {
    sockaddr_storage address{};
    socklen_t length = sizeof address;
    const int fd = accept4(listener, generic(address), &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) return Accepted{UniqueFd(fd), Endpoint::from_sockaddr(address)};
    if (!belongs_to_a_lost_connection(errno) || lost == kMostLost) {
      return system_error("accept", errno);
    }
  }
}

bool is_out_of_descriptors(int error) noexcept {
  return error == EMFILE || error == ENFILE;
}

void ReserveDescriptor::hold() noexcept {
  // Not another name of something open: that would not be one of the system's.
  if (!fd_) fd_.reset(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
}

unsigned ReserveDescriptor::refuse(int listener, std::string_view sentence) noexcept {
  fd_.reset();
  unsigned refused = 0;
  for (; refused < kAtOnce; ++refused) {
    const UniqueFd client(accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!client) break;
    if (sentence.empty()) continue;
    // A fresh socket's buffer takes a line; if not, the client sees just the end.
    [[maybe_unused]] const ssize_t sent =
        send(client.get(), sentence.data(), sentence.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  }
  hold();
  return refused;
}

Endpoint local_endpoint(int fd) {
  return endpoint_of(fd, &getsockname);
}
Endpoint remote_endpoint(int fd) {
  return endpoint_of(fd, &getpeername);
}

Result<PeerCredentials> peer_credentials(int fd) {
  ucred credentials{};
  socklen_t length = sizeof credentials;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &length) != 0) {
    return system_error("peer credentials", errno);
  }
  return PeerCredentials{credentials.pid, credentials.uid, credentials.gid};
}

Result<UniqueFd> connect_tcp(const Endpoint& to, const std::optional<IpAddress>& source) {
  sockaddr_storage address{};
  const socklen_t length = to.to_sockaddr(address);
  UniqueFd fd(socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return system_error("socket", errno);
  if (source) {
    // The port is chosen at connect, so that one source address serves more than 2^16 connections.
    set_option(fd.get(), IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
    sockaddr_storage local{};
    const socklen_t local_length = Endpoint{*source, 0}.to_sockaddr(local);
    if (bind(fd.get(), generic(local), local_length) != 0) {
      return system_error("bind(" + source->text() + ")", errno);
    }
  }
  if (connect(fd.get(), generic(address), length) != 0 && errno != EINPROGRESS && errno != EINTR) {
    return system_error("connect(" + to.text() + ")", errno);
  }
  return fd;
}

int connect_error(int fd) noexcept {
  int error = 0;
  socklen_t length = sizeof error;
  if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) != 0) return errno;
  return error;
}

Result<UniqueFd> connect_unix(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    return system_error("connect(" + path + ")", ENAMETOOLONG);
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return system_error("socket", errno);
  while (connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    if (errno != EINTR) return system_error("connect(" + path + ")", errno);
  }
  return fd;
}

Result<std::pair<UniqueFd, UniqueFd>> socket_pair(int type) {
  std::array<int, 2> fds{};
  if (socketpair(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds.data()) != 0) {
    return system_error("socketpair", errno);
  }
  return std::pair{UniqueFd(fds[0]), UniqueFd(fds[1])};
}

void set_nodelay(int fd) noexcept {
  set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
}

void set_keepalive(int fd, unsigned idle, unsigned interval, unsigned count) noexcept {
  if (count == 0) return;
  set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  if (idle > 0) set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, get_int(idle));
  if (interval > 0) set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, get_int(interval));
  set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, get_int(count));
}

void set_unsent_limit(int fd, unsigned bytes) noexcept {
  set_option(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, get_int(bytes));
}

void set_user_timeout(int fd, unsigned milliseconds) noexcept {
  set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, get_int(milliseconds));
}

namespace {

// Room for one descriptor and the credentials; the kernel closes descriptors that find no room.
union Control {
  cmsghdr alignment;
  std::array<char, CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(ucred))> bytes;
};

void take_control(msghdr& message, Packet& packet) {
  for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
    if (c->cmsg_level != SOL_SOCKET) continue;
    if (c->cmsg_type == SCM_RIGHTS) {
      // Alignment leaves room for a second one, which is nobody's.
      const std::size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
      for (std::size_t i = 0; i < count; i++) {
        int fd = -1;
        std::memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof fd);
        UniqueFd owned(fd);
        if (!packet.fd) packet.fd = std::move(owned);
      }
    } else if (c->cmsg_type == SCM_CREDENTIALS && c->cmsg_len == CMSG_LEN(sizeof(ucred))) {
      ucred credentials{};
      std::memcpy(&credentials, CMSG_DATA(c), sizeof credentials);
      packet.pid = credentials.pid;
    }
  }
}

}  // namespace

Result<Packet> receive_packet(int fd, std::size_t limit) {
  // One buffer for the process: most packets are tiny and `limit` is not. Wiped after use.
  static WipingBuffer room;
  POSTERN_CHECK(limit > 0);
  Packet packet;
  iovec vector{room.reserve(limit), limit};
  Control control{};
  msghdr message{};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  message.msg_control = control.bytes.data();
  message.msg_controllen = control.bytes.size();
  ssize_t n = 0;
  do {
    n = recvmsg(fd, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  } while (n < 0 && errno == EINTR);
  if (n < 0) return system_error("recvmsg", errno);
  take_control(message, packet);
  const auto size = static_cast<std::size_t>(n);
  if (size > 0) {
    packet.bytes.append(std::string_view(static_cast<const char*>(vector.iov_base), size));
    explicit_bzero(vector.iov_base, size);
  }
  if ((message.msg_flags & MSG_TRUNC) != 0) return system_error("recvmsg", EMSGSIZE);
  // The protocol has no empty packets, so nothing is the end.
  if (size == 0 && !packet.fd) return system_error("recvmsg", ENOTCONN);
  return packet;
}

Status send_packet(int fd, std::string_view bytes, int pass_fd) {
  POSTERN_CHECK(!bytes.empty());
  iovec vector{const_cast<char*>(bytes.data()), bytes.size()};
  union {
    cmsghdr alignment;
    std::array<char, CMSG_SPACE(sizeof(int))> bytes;
  } control{};
  msghdr message{};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  if (pass_fd >= 0) {
    message.msg_control = control.bytes.data();
    message.msg_controllen = control.bytes.size();
    cmsghdr* c = CMSG_FIRSTHDR(&message);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(c), &pass_fd, sizeof pass_fd);
  }
  ssize_t n = 0;
  do {
    n = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  } while (n < 0 && errno == EINTR);
  if (n < 0) return system_error("sendmsg", errno);
  return Done{};
}

}  // namespace postern::io
