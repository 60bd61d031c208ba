#pragma once

#include <functional>
#include <string_view>

#include "io/loop.h"
#include "io/socket.h"
#include "io/stream.h"
#include "lib/handle.h"
#include "lib/secret.h"

namespace postern::io {

/// A connection to another process of ours, in lines.
class LineStream {
 public:
  /// What its owner is told. In either call the owner may retire it.
  class Owner {
   public:
    virtual void on_line(LineStream& stream, std::string_view line) = 0;
    /// End of file, an error or a line over `max_line`.
    virtual void on_closed(LineStream& stream) = 0;

   protected:
    ~Owner() = default;
  };

  LineStream(Loop& loop, UniqueFd fd, std::size_t max_line, Owner& owner);
  LineStream(const LineStream&) = delete;
  LineStream& operator=(const LineStream&) = delete;

  /// Queues bytes; they are written at the end of this turn.
  void send(std::string_view bytes);
  /// No more calls to the owner.
  void close() noexcept;
  std::uint64_t number = 0;  // the owner's

 private:
  void on_event(unsigned event) noexcept;
  void flush() noexcept;
  bool process();

  Deferred flush_;  // goes with the object, so that it never comes after it
  Stream stream_;
  std::size_t max_line_;
  Owner* owner_;
  WipingBuffer input_, output_;
};

}  // namespace postern::io
