#pragma once

#include <cstddef>
#include <cstdint>

#include "io/loop.h"
#include "io/socket.h"
#include "lib/handle.h"

/// Accepting on one listener.
namespace postern::service {

class Acceptor {
 public:
  class Owner {
   public:
    virtual ~Owner() = default;
    /// False: no more connections for now; the owner calls watch(false), or close().
    virtual bool may_accept() noexcept = 0;
    virtual void on_connection(std::size_t index, io::Accepted connection) noexcept = 0;
    /// accept() failed for want of descriptors or memory, for many connections that were lost
    /// before it, or for a reason nobody foresaw.
    virtual void on_accept_failed(const Error& error) noexcept = 0;
  };

  Acceptor(Owner& owner, std::size_t index, UniqueFd fd)
      : owner_(owner), index_(index), fd_(std::move(fd)) {}

  /// Whether to accept at all.
  void watch(io::Loop& loop, bool on);
  void close() noexcept;
  int fd() const noexcept { return fd_.get(); }

 private:
  void on_ready(unsigned what) noexcept;

  static constexpr unsigned kMaxBurst = 16;

  Owner& owner_;
  io::Loop* loop_ = nullptr;
  std::size_t index_;
  UniqueFd fd_;
  io::FdWatch watch_;
  std::uint64_t last_turn_ = UINT64_MAX - 1;  // nobody has come yet
  unsigned burst_ = 1;
};

}  // namespace postern::service
