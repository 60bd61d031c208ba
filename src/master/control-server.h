#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "io/loop.h"
#include "io/socket.h"
#include "master/supervisor.h"
#include "wire/control.h"

/// The control socket: what posternctl asks of the master (wire/control.h). Several may ask at
/// once. One that does not finish its request or read its answer is cut off, one that leaves is
/// forgotten, and when there are too many, the one that has been idle the longest makes room.
namespace postern::master {

class ControlServer {
 public:
  static constexpr std::size_t kMaxConnections = 64;
  static constexpr std::size_t kMaxUnread = 64UL * 1024 * 1024;  // bytes of one answer not yet read
  static constexpr std::chrono::seconds kPatience{30};  // for a request's end, an answer's reading

  ControlServer(io::Loop& loop, Supervisor& supervisor, io::Milliseconds patience = kPatience);
  ~ControlServer();
  ControlServer(const ControlServer&) = delete;
  ControlServer& operator=(const ControlServer&) = delete;

  /// Listens on the supervisor's control listener; after a reload it does so by itself.
  void watch(std::shared_ptr<Listener> listener);

 private:
  class Connection;
  struct Command;
  friend class Connection;
  void on_waiting(unsigned what) noexcept;
  void on_pause_over() noexcept;
  bool make_room() noexcept;
  void drop(std::uint64_t id) noexcept;

  io::Loop& loop_;
  Supervisor& supervisor_;
  io::Milliseconds patience_;
  std::shared_ptr<Listener> listener_;
  io::FdWatch watch_;
  io::Timer pause_;  // after a failed accept: the connection that waits would wake us for ever
  std::uint64_t next_ = 0;
  std::map<std::uint64_t, std::unique_ptr<Connection>> connections_;
};

}  // namespace postern::master
