#include "master/child.h"

#include <sys/socket.h>

#include <cerrno>
#include <utility>

#include "io/socket.h"
#include "lib/check.h"
#include "lib/log.h"
#include "wire/channel.h"
#include "wire/tab-line.h"

namespace postern::master {

Child::Child(io::Loop& loop, Owner& owner, ProcessId id, pid_t pid, UniqueFd channel)
    : loop_(loop), owner_(owner), id_(id), pid_(pid), channel_(std::move(channel)) {
  // Who speaks is what the kernel says, not what is said.
  const int on = 1;
  POSTERN_CHECK(setsockopt(channel_.get(), SOL_SOCKET, SO_PASSCRED, &on, sizeof on) == 0);
  watch_.start(loop_, channel_.get(), io::Callback<unsigned>::to<&Child::on_event>(*this));
  watch_.want(io::FdWatch::kRead);
}

void Child::send(std::string_view verb, const std::vector<std::string_view>& fields, UniqueFd fd) {
  if (!channel_) return;
  Outgoing packet;
  packet.bytes += verb;
  for (const std::string_view field : fields) {
    packet.bytes += '\t';
    wire::tab_escape(field, packet.bytes);
  }
  if (packet.bytes.size() > wire::kMaxPacket) {
    // The child would end at it.
    log::error("BUG: a message {} of {} bytes was not sent to child {}", verb, packet.bytes.size(),
               pid_);
    return;
  }
  packet.fd = std::move(fd);
  queue_.push_back(std::move(packet));
  flush();
}

void Child::flush() noexcept {
  while (channel_ && !queue_.empty()) {
    const Outgoing& first = queue_.front();
    const Status sent = io::send_packet(channel_.get(), first.bytes.view(), first.fd.get());
    if (sent.ok()) {
      queue_.pop_front();
      continue;
    }
    if (sent.error().code == EAGAIN || sent.error().code == ENOBUFS) break;
    // The child is going; its channel's end is read like everything else it said before.
    queue_.clear();
  }
  if (!channel_) return;
  if (queue_.size() > kMaxQueued) {
    end_channel("it does not read its control channel");
    return;
  }
  watch_.want(io::FdWatch::kRead | (queue_.empty() ? 0U : io::FdWatch::kWrite));
}

/// One packet; false when there is nothing more, or nobody to tell.
bool Child::read_one() noexcept {
  if (!channel_) return false;
  auto packet = io::receive_packet(channel_.get(), wire::kMaxPacket);
  if (!packet.ok()) {
    if (packet.error().code == EAGAIN) return false;
    end_channel(packet.error().code == ENOTCONN || packet.error().code == ECONNRESET
                    ? std::string_view{}
                    : std::string_view(packet.error().text));
    return false;
  }
  if (pid_ == 0) pid_ = packet.value().pid;
  auto message = parse_child_message(packet.value().bytes.view());
  if (!message.ok()) {
    end_channel(message.error().text);
    return false;
  }
  owner_.on_child_message(*this, std::move(message).value());
  return true;
}

void Child::drain_channel() noexcept {
  while (read_one()) {
  }
}

void Child::on_event(unsigned what) noexcept {
  if ((what & io::FdWatch::kWrite) != 0) flush();
  if ((what & io::FdWatch::kRead) == 0) return;
  // A bound per turn: one child cannot keep the master from the others.
  for (int i = 0; i < 64 && read_one(); i++) {
  }
}

void Child::end_channel(std::string_view why) noexcept {
  watch_.stop();
  channel_.reset();
  queue_.clear();
  owner_.on_channel_end(*this, why);
}

}  // namespace postern::master
