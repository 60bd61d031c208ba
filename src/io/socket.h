#pragma once

#include <sys/types.h>

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "lib/handle.h"
#include "lib/ip.h"
#include "lib/result.h"
#include "lib/secret.h"

/// Sockets: everything here is non-blocking and close-on-exec from birth. Errors are errno values.
namespace postern::io {

enum class IoStatus : std::uint8_t {
  ok,      // `bytes` were moved, at least one
  again,   // nothing now; the watch will tell
  closed,  // the peer has finished sending (read), or TLS was closed properly
  error,   // the connection is broken; see the stream's error()
};

struct IoResult {
  IoStatus status = IoStatus::again;
  std::size_t bytes = 0;
};

/// What accept(2) gave.
struct Accepted {
  UniqueFd fd;
  Endpoint remote;  // no address for a UNIX socket
};
/// Accepts one connection. An Error with EAGAIN when nobody waits; with EMFILE/ENFILE when out of
/// descriptors. A peer that left meanwhile is skipped, a few of them at most: then its own error is
/// the answer (ECONNABORTED …), and there may be more in the queue.
Result<Accepted> accept_connection(int listener);
/// The process or the system is out of descriptors.
bool is_out_of_descriptors(int error) noexcept;

/// A descriptor held so that somebody can still be told when there are no more. Copies of the
/// process have it, too.
class ReserveDescriptor {
 public:
  /// Takes it, unless it is held already or cannot be had.
  void hold() noexcept;
  /// Accepts who waits at `listener`, one after the other and at most kAtOnce; sends `sentence`,
  /// which may be empty, and closes. Never waits. Needs no other descriptor than this one.
  /// @return how many
  unsigned refuse(int listener, std::string_view sentence) noexcept;

  static constexpr unsigned kAtOnce = 64;  // clients

 private:
  UniqueFd fd_;
};
/// The address the peer connected to.
Endpoint local_endpoint(int fd);
Endpoint remote_endpoint(int fd);

/// Who is at the other end of a UNIX socket, as the kernel says (SO_PEERCRED).
struct PeerCredentials {
  pid_t pid = 0;
  uid_t uid = 0;
  gid_t gid = 0;
};
Result<PeerCredentials> peer_credentials(int fd);

/// Begins to connect; writability or hang-up tells the end, then connect_error().
/// @param source  address to bind to first; none: the kernel's choice
Result<UniqueFd> connect_tcp(const Endpoint& to, const std::optional<IpAddress>& source);
/// 0 once connected, else the errno of the failed connect.
int connect_error(int fd) noexcept;
/// Connects at once or fails (UNIX sockets do not wait); EAGAIN is a full backlog.
Result<UniqueFd> connect_unix(const std::string& path);
/// Two connected ends; SOCK_SEQPACKET or SOCK_STREAM.
Result<std::pair<UniqueFd, UniqueFd>> socket_pair(int type);

void set_nodelay(int fd) noexcept;
/// Probes: see config::TcpKeepalive; zero counts leave it off.
void set_keepalive(int fd, unsigned idle, unsigned interval, unsigned count) noexcept;
/// Bounds what the kernel queues unsent towards a peer that does not read (TCP_NOTSENT_LOWAT), in
/// bytes.
void set_unsent_limit(int fd, unsigned bytes) noexcept;
/// TCP_USER_TIMEOUT.
void set_user_timeout(int fd, unsigned milliseconds) noexcept;

/// One packet on a SOCK_SEQPACKET socket, with at most one descriptor.
struct Packet {
  WipingBuffer bytes;
  UniqueFd fd;    // none if none came
  pid_t pid = 0;  // of the sender by SCM_CREDENTIALS, 0 unless SO_PASSCRED is set
};
/// @return Error EAGAIN: nothing there; ENOTCONN: end of file; EMSGSIZE: longer than `limit`
Result<Packet> receive_packet(int fd, std::size_t limit);
/// @param pass_fd  -1: none; stays open here
/// @return Error EAGAIN: the peer's queue is full
Status send_packet(int fd, std::string_view bytes, int pass_fd = -1);

}  // namespace postern::io
