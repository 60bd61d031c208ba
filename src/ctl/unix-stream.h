#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "lib/handle.h"
#include "lib/result.h"
#include "lib/secret.h"

namespace postern::ctl {

/// A connection to a process of this host, for a program with one thing to do: calls wait, but
/// never past the deadline (Error ETIMEDOUT).
class UnixStream {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  /// @return an Error with the errno of connect(2)
  static Result<UnixStream> connect(const std::string& path);

  /// @param deadline  for all of it
  Status write(std::string_view bytes, TimePoint deadline);
  /// Appends what is there to `out`, at least one byte. End of file is an Error ENOTCONN.
  Status read(WipingBuffer& out, TimePoint deadline);

 private:
  explicit UnixStream(UniqueFd fd) noexcept : fd_(std::move(fd)) {}
  Status wait(short events, TimePoint deadline) const;

  UniqueFd fd_;
};

}  // namespace postern::ctl
