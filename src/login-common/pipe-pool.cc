#include "login-common/pipe-pool.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <utility>

namespace postern::login {

std::unique_ptr<PipePool::Pipe> PipePool::take() noexcept {
  if (!idle_.empty()) {
    std::unique_ptr<Pipe> pipe = std::move(idle_.back());
    idle_.pop_back();
    ++lent_;
    return pipe;
  }
  if (lent_ >= kMaxPipes) return nullptr;
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) != 0) return nullptr;
  auto pipe = std::make_unique<Pipe>();
  pipe->read_end.reset(ends[0]);
  pipe->write_end.reset(ends[1]);
  // Past the user's share of pipe memory it keeps its size, which works too.
  static_cast<void>(::fcntl(ends[1], F_SETPIPE_SZ, kPipeBytes));
  ++lent_;
  return pipe;
}

void PipePool::give_back(std::unique_ptr<Pipe> pipe) noexcept {
  if (!pipe) return;
  --lent_;
  if (pipe->filled == 0 && idle_.size() < kMaxIdle) idle_.push_back(std::move(pipe));
}

}  // namespace postern::login
