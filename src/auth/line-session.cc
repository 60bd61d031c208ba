#include "auth/line-session.h"

#include <algorithm>

namespace postern::auth {

void LineSession::feed(std::string_view bytes) {
  if (closing_) return;
  input_ += bytes;
  process();
}

void LineSession::process() {
  if (feeding_) return;
  feeding_ = true;
  while (!closing_ && !held_) {
    if (output_.size() > kOutputHigh) paused_ = true;
    if (paused_) break;
    const std::string_view pending = input_.view();
    const std::size_t end = pending.find('\n');
    if (std::min(end, pending.size()) > max_line_) {
      on_line_too_long();
      close();
      break;
    }
    if (end == std::string_view::npos) break;
    // A line stays where it is while it is looked at: nothing else touches the input meanwhile.
    std::string_view line = pending.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    on_line(line);
    input_.consume(end + 1);
  }
  feeding_ = false;
}

void LineSession::on_written() {
  if (!paused_ || output_.size() >= kOutputHigh / 3) return;
  paused_ = false;
  process();
}

void LineSession::close() noexcept {
  if (closing_) return;
  closing_ = true;
  if (!feeding_) wake();
}

void LineSession::hold(bool on) {
  held_ = on;
  if (!on) process();
}

void LineSession::wake() noexcept {
  if (!feeding_ && carrier_ != nullptr) carrier_->on_output();
}

}  // namespace postern::auth
