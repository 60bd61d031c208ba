#pragma once

#include <deque>
#include <string_view>

#include "io/loop.h"
#include "io/socket.h"
#include "lib/handle.h"
#include "lib/result.h"
#include "lib/secret.h"

/// The child's end of the control channel: packets out as the master takes them, packets in.
namespace postern::service {

class Channel {
 public:
  /// Takes over the socket; nothing is watched before watch().
  void open(UniqueFd fd) noexcept { fd_ = std::move(fd); }
  bool is_open() const noexcept { return static_cast<bool>(fd_); }
  int fd() const noexcept { return fd_.get(); }

  /// @param on_readable  called while there is something to receive()
  void watch(io::Loop& loop, io::Callback<> on_readable);
  /// Queues one packet, sends what goes. A master that is gone takes nothing more; receive() tells.
  void send(WipingBuffer packet);
  /// The next packet. EAGAIN: none; ENOTCONN: the master is gone.
  Result<io::Packet> receive();
  void close() noexcept;

 private:
  void on_event(unsigned what) noexcept;
  void flush() noexcept;

  UniqueFd fd_;
  io::FdWatch watch_;
  io::Callback<> on_readable_;
  std::deque<WipingBuffer> queue_;
};

}  // namespace postern::service
