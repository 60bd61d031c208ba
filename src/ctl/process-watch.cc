#include "ctl/process-watch.h"

#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>

namespace postern::ctl {
namespace {

constexpr long long kStep = 50;  // ms between two looks, without a pidfd

}  // namespace

ProcessWatch::ProcessWatch(pid_t pid) noexcept
    : pid_(pid), fd_(static_cast<int>(syscall(SYS_pidfd_open, pid, 0))) {
  gone_ = !fd_ && errno == ESRCH;
}

bool ProcessWatch::wait(UnixStream::TimePoint deadline) const noexcept {
  if (gone_) return true;
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
                          deadline - std::chrono::steady_clock::now())
                          .count();
    const auto patience = std::max<long long>(left, 0);
    if (fd_) {
      pollfd p{fd_.get(), POLLIN, 0};
      if (::poll(&p, 1, static_cast<int>(std::min<long long>(patience, 60'000))) == 1) return true;
    } else {
      // A kernel or container without pidfds.
      if (::kill(pid_, 0) != 0 && errno == ESRCH) return true;
      ::poll(nullptr, 0, static_cast<int>(std::min(patience, kStep)));
    }
    if (left <= 0) return false;
  }
}

}  // namespace postern::ctl
