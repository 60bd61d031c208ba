#pragma once

#include <sys/types.h>

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

#include "lib/log.h"

/// Bytes of a log pipe to lines. Whoever writes them may be hostile or dying. Spec: master.md 6.1.
namespace postern::log {

/// One line, ready to be written.
struct Line {
  Level level = Level::error;
  pid_t pid = 0;     // as the line says; 0: it does not
  std::string text;  // no control bytes, valid UTF-8
};

/// `bytes` with control bytes (C0, DEL, C1) and what is not UTF-8 as `\xNN`; TAB becomes a blank.
std::string escape_line(std::string_view bytes);

/// A line is `\001` LEVEL PID SPACE TEXT LF; a level that does not exist is an error, and so is a
/// line without the mark (libc's last words, a sanitizer's report). A mark in the middle of a line
/// begins a new one: honest writers never write one there, so the process that wrote the beginning
/// is gone.
class LineReader {
 public:
  using Sink = std::function<void(Line)>;

  /// @param bytes  what was read, at most some 64 kB; joined with what an earlier call left over
  void feed(std::string_view bytes, const Sink& sink);
  /// Nothing comes any more, or has not for a while: what is left over is a line.
  void end(const Sink& sink);
  /// True if a line has begun and not ended.
  bool unfinished() const noexcept { return !rest_.empty(); }

  static constexpr std::size_t kMaxLine = 8192;  // bytes; the rest becomes "<line continued> …"

 private:
  void line(std::string_view bytes, bool ended, const Sink& sink);

  std::string rest_;
  Line continued_;  // the head of the line whose beginning is written already
  bool in_long_line_ = false;
};

}  // namespace postern::log
