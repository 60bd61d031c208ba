#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "ctl/unix-stream.h"
#include "wire/control.h"

namespace postern::ctl {

/// What the master answered.
struct Answer {
  std::vector<wire::ControlFields> rows;
  wire::ControlEnd end;
};

/// A connection to the master's control socket; one request at a time.
class ControlClient {
 public:
  /// @param path  of the socket
  static Result<ControlClient> connect(const std::string& path);

  /// Asks and waits for the end of the answer.
  /// @param patience  how long the master may say nothing
  /// @return an Error if the connection breaks or does not speak the protocol
  Result<Answer> ask(const wire::ControlRequest& request, std::chrono::milliseconds patience);

 private:
  explicit ControlClient(UnixStream stream) noexcept : stream_(std::move(stream)) {}
  Result<std::string> read_line(std::chrono::milliseconds patience);

  UnixStream stream_;
  WipingBuffer input_;
};

}  // namespace postern::ctl
