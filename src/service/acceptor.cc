#include "service/acceptor.h"

#include <algorithm>
#include <cerrno>

namespace postern::service {

void Acceptor::watch(io::Loop& loop, bool on) {
  if (!fd_) return;
  loop_ = &loop;
  if (!watch_.started()) {
    if (!on) return;
    watch_.start(loop, fd_.get(), io::Callback<unsigned>::to<&Acceptor::on_ready>(*this));
  }
  watch_.want(on ? io::FdWatch::kRead : io::FdWatch::kNothing);
}

void Acceptor::close() noexcept {
  watch_.stop();
  fd_.reset();
}

void Acceptor::on_ready(unsigned) noexcept {
  // One connection a wake-up while they come singly: asking whether there is a second would cost
  // every one of them a system call. A queue shows as readiness in the very next turn.
  const bool queue = loop_->turn() == last_turn_ + 1;
  burst_ = queue ? std::min(burst_ * 2, kMaxBurst) : 1;
  last_turn_ = loop_->turn();
  for (unsigned i = 0; i < burst_ && fd_ && owner_.may_accept(); i++) {
    auto accepted = io::accept_connection(fd_.get());
    if (!accepted.ok()) {
      // EAGAIN: another process was faster.
      if (accepted.error().code != EAGAIN) owner_.on_accept_failed(accepted.error());
      return;
    }
    owner_.on_connection(index_, std::move(accepted.value()));
  }
}

}  // namespace postern::service
