#include "io/line-stream.h"

#include <algorithm>

namespace postern::io {

LineStream::LineStream(Loop& loop, UniqueFd fd, std::size_t max_line, Owner& owner)
    : max_line_(max_line), owner_(&owner) {
  flush_.start(loop, Callback<>::to<&LineStream::flush>(*this));
  stream_.open(loop, std::move(fd), Callback<unsigned>::to<&LineStream::on_event>(*this));
  stream_.want(true, false);
}

void LineStream::send(std::string_view bytes) {
  output_ += bytes;
  if (owner_ == nullptr) return;
  flush_.trigger();
}

void LineStream::close() noexcept {
  owner_ = nullptr;
  stream_.want(false, false);
  stream_.close();
}

void LineStream::flush() noexcept {
  if (owner_ == nullptr) return;
  while (!output_.empty()) {
    const IoResult result = stream_.write(output_.view());
    if (result.status == IoStatus::ok) {
      output_.consume(result.bytes);
      continue;
    }
    if (result.status == IoStatus::again) break;
    return owner_->on_closed(*this);
  }
  stream_.want(true, !output_.empty());
}

/// False: the owner was told of the end, or ended it.
bool LineStream::process() {
  while (owner_ != nullptr) {
    const std::size_t end = input_.view().find('\n');
    if (std::min(end, input_.size()) > max_line_) {
      owner_->on_closed(*this);
      return false;
    }
    if (end == std::string_view::npos) return true;
    const WipingBuffer line(input_.view().substr(0, end));
    input_.consume(end + 1);
    owner_->on_line(*this, line.view());
  }
  return false;
}

void LineStream::on_event(unsigned event) noexcept {
  if ((event & Stream::kWritable) != 0) flush();
  if ((event & Stream::kReadable) == 0) return;
  while (owner_ != nullptr) {
    constexpr std::size_t kChunk = 8192;
    const IoResult result = stream_.read(input_.reserve(kChunk), kChunk);
    if (result.status == IoStatus::again) return;
    if (result.status != IoStatus::ok) {
      owner_->on_closed(*this);
      return;
    }
    input_.commit(result.bytes);
    if (!process()) return;
    if (result.bytes < kChunk) return;
  }
}

}  // namespace postern::io
