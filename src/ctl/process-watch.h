#pragma once

#include <sys/types.h>

#include "ctl/unix-stream.h"
#include "lib/handle.h"

namespace postern::ctl {

/// Another process, to see when it ends. Made while it runs, it is not mistaken for a later process
/// of the same number (where the kernel has pidfds).
class ProcessWatch {
 public:
  explicit ProcessWatch(pid_t pid) noexcept;
  pid_t pid() const noexcept { return pid_; }
  /// Waits for the end; false if the deadline came first.
  bool wait(UnixStream::TimePoint deadline) const noexcept;

 private:
  pid_t pid_;
  UniqueFd fd_;
  bool gone_ = false;
};

}  // namespace postern::ctl
