#pragma once

#include <string>
#include <string_view>

#include "ctl/unix-stream.h"
#include "lib/result.h"
#include "wire/auth-reply.h"

namespace postern::ctl {

/// A conversation in lines with the auth server. What goes through it is wiped.
class AuthConnection {
 public:
  using TimePoint = UnixStream::TimePoint;

  explicit AuthConnection(UnixStream stream) noexcept : stream_(std::move(stream)) {}

  Status send(std::string_view bytes, TimePoint deadline) { return stream_.write(bytes, deadline); }
  /// The next line, without LF; valid until the next call. Waits for it until the deadline.
  Result<std::string_view> line(TimePoint deadline);

 private:
  UnixStream stream_;
  WipingBuffer input_;
  std::size_t used_ = 0;  // bytes of input_ the last line may borrow
  wire::AuthReplyReader reader_;
};

}  // namespace postern::ctl
