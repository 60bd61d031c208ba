#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "lib/handle.h"

/// Pipes that splice(2) moves bytes through from socket to socket; lent to whoever moves many
/// bytes at the moment.
namespace postern::login {

class PipePool {
 public:
  /// Pipes in existence at most, lent ones included.
  static constexpr std::size_t kMaxPipes = 64;
  /// Kept when nobody uses them.
  static constexpr std::size_t kMaxIdle = 8;
  /// Asked of the kernel; it may give less. More than the default, because every network packet
  /// takes a slot however small it is.
  static constexpr int kPipeBytes = 256 * 1024;

  struct Pipe {
    UniqueFd read_end, write_end;
    std::size_t filled = 0;  // bytes inside
  };

  /// An empty pipe; nothing if there are too many or descriptors are short.
  std::unique_ptr<Pipe> take() noexcept;
  /// Takes it back. One that is not empty is closed.
  void give_back(std::unique_ptr<Pipe> pipe) noexcept;
  std::size_t lent() const noexcept { return lent_; }

 private:
  std::vector<std::unique_ptr<Pipe>> idle_;
  std::size_t lent_ = 0;
};

}  // namespace postern::login
