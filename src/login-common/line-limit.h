#pragma once

#include <chrono>

#include "io/loop.h"

/// How often a line that strangers can cause at will is logged. A value.
namespace postern::login {

class LineLimit {
 public:
  static constexpr unsigned kBurst = 10;  // lines
  static constexpr std::chrono::seconds kPeriod{1};

  /// True if one more line may be written at `now`; else it is counted.
  bool allow(io::TimePoint now) noexcept {
    if (now - begun_ >= kPeriod) {
      begun_ = now;
      written_ = 0;
    }
    if (written_ >= kBurst) {
      ++left_out_;
      return false;
    }
    ++written_;
    return true;
  }
  /// How many were not written since it was last asked.
  unsigned take_left_out() noexcept {
    const unsigned out = left_out_;
    left_out_ = 0;
    return out;
  }

 private:
  io::TimePoint begun_{};
  unsigned written_ = 0;
  unsigned left_out_ = 0;
};

}  // namespace postern::login
