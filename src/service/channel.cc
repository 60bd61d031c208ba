#include "service/channel.h"

#include <cerrno>

#include "wire/channel.h"

namespace postern::service {

void Channel::watch(io::Loop& loop, io::Callback<> on_readable) {
  on_readable_ = on_readable;
  watch_.start(loop, fd_.get(), io::Callback<unsigned>::to<&Channel::on_event>(*this));
  watch_.want(io::FdWatch::kRead | (queue_.empty() ? 0U : unsigned{io::FdWatch::kWrite}));
}

void Channel::on_event(unsigned what) noexcept {
  if ((what & io::FdWatch::kWrite) != 0) flush();
  if ((what & io::FdWatch::kRead) != 0 && is_open()) on_readable_();
}

void Channel::send(WipingBuffer packet) {
  if (!fd_) return;
  queue_.push_back(std::move(packet));
  if (queue_.size() == 1) flush();
}

void Channel::flush() noexcept {
  while (!queue_.empty()) {
    const Status sent = io::send_packet(fd_.get(), queue_.front().view());
    if (!sent.ok() && sent.error().code == EAGAIN) break;
    // Anything else: the master is gone, which the reading side notices.
    queue_.pop_front();
  }
  if (watch_.started()) {
    watch_.want(io::FdWatch::kRead | (queue_.empty() ? 0U : unsigned{io::FdWatch::kWrite}));
  }
}

Result<io::Packet> Channel::receive() {
  return io::receive_packet(fd_.get(), wire::kMaxPacket);
}

void Channel::close() noexcept {
  watch_.stop();
  fd_.reset();
  queue_.clear();
}

}  // namespace postern::service
