#pragma once

#include <cstddef>
#include <string_view>

#include "lib/secret.h"

namespace postern::auth {

/// The server's end of a conversation in lines, without I/O: bytes go in, bytes gather in output().
/// Who drives it writes them out, reads no more while wants_input() is false, and destroys it once
/// closing() is true and the output is written, or the peer is gone.
class LineSession {
 public:
  /// Whoever carries the bytes.
  class Carrier {
   public:
    /// There is output, or the session is closing: told outside of feed() only.
    virtual void on_output() noexcept = 0;

   protected:
    ~Carrier() = default;
  };

  /// Unread output beyond this stops the reading of requests until it is below a third of it.
  static constexpr std::size_t kOutputHigh = std::size_t{50} * 1024;

  explicit LineSession(std::size_t max_line) noexcept : max_line_(max_line) {}
  virtual ~LineSession() = default;
  LineSession(const LineSession&) = delete;
  LineSession& operator=(const LineSession&) = delete;

  void set_carrier(Carrier* carrier) noexcept { carrier_ = carrier; }
  void feed(std::string_view bytes);
  WipingBuffer& output() noexcept { return output_; }
  /// After output was written: goes on with lines that waited.
  void on_written();
  bool wants_input() const noexcept { return !closing_ && !paused_ && !held_; }
  bool closing() const noexcept { return closing_; }
  /// The peer is gone. Called once, before the destruction.
  virtual void on_peer_gone() {}

 protected:
  /// One line without LF (and without a CR before it).
  virtual void on_line(std::string_view line) = 0;
  virtual void on_line_too_long() = 0;
  /// No more lines are read; what is in output() is still written.
  void close() noexcept;
  /// Stops and resumes the reading of lines (LIST).
  void hold(bool on);
  /// Output was added outside of feed().
  void wake() noexcept;

 private:
  void process();

  std::size_t max_line_;
  Carrier* carrier_ = nullptr;
  WipingBuffer input_;
  WipingBuffer output_;
  bool closing_ = false;
  bool paused_ = false;
  bool held_ = false;
  bool feeding_ = false;
};

}  // namespace postern::auth
