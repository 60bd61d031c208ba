#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "io/loop-impl.h"
#include "io/loop.h"
#include "lib/check.h"
#include "lib/log.h"

namespace postern::io {

struct FdWatch::Impl {
  LoopImpl* loop = nullptr;
  FdWatch* owner = nullptr;
  Callback<unsigned> on_ready;
  std::unique_ptr<event> registered;  // what the kernel has been told is `flags`
  int fd = -1;
  short flags = 0;
  bool dirty = false;
  bool unread = false;  // bytes wait that nobody wants: level-triggered reading would spin

  void apply() noexcept;
  void unregister() noexcept;
  void mark_dirty() {
    if (!dirty) loop->add_dirty(this);
  }
  short needed() const noexcept;
  unsigned ready(short what) noexcept;
  bool is_broken() const noexcept;
  static void call(evutil_socket_t fd, short what, void* self) noexcept;
};

namespace {

constexpr short kReading = EV_READ | EV_CLOSED | EV_PERSIST;

}  // namespace

/// What the kernel must watch for what the owner wants.
///
/// libevent reports EPOLLERR as reading and writing, never as EV_CLOSED, so EV_CLOSED never stands
/// alone: a reset connection would wake the loop for ever and call nobody.
short FdWatch::Impl::needed() const noexcept {
  const unsigned wanted = owner->wanted_;
  const short writing = (wanted & kWrite) != 0 ? EV_WRITE | EV_PERSIST : 0;
  if ((wanted & kRead) != 0) return static_cast<short>(kReading | writing);
  if ((wanted & kHangUp) != 0) {
    if (!unread) return static_cast<short>(kReading | writing);
    if (writing != 0) return static_cast<short>(EV_CLOSED | writing);
    return kReading | EV_ET;
  }
  // Nobody reads: whoever was registered for it stays so until something comes.
  const bool lazily = !unread && (flags & EV_READ) != 0 && (flags & EV_ET) == 0;
  return static_cast<short>((lazily ? kReading : 0) | writing);
}

void FdWatch::Impl::unregister() noexcept {
  if (flags == 0) return;
  event_del(registered.get());
  flags = 0;
}

void FdWatch::Impl::apply() noexcept {
  if ((owner->wanted_ & kRead) != 0) unread = false;
  const short now = needed();
  if (now == flags) return;
  if (now == 0) {
    unregister();
    return;
  }
  // libevent refuses edge- and level-triggered events of one descriptor side by side.
  if (((now ^ flags) & EV_ET) != 0) unregister();
  if (!registered) registered = std::make_unique<event>();
  // The new interest first, then the old one goes: one EPOLL_CTL_MOD, where the other order would
  // be a DEL and an ADD.
  std::unique_ptr<event>& spare = loop->spare();
  POSTERN_CHECK(event_assign(spare.get(), loop->base(), fd, now, &Impl::call, this) == 0);
  if (event_add(spare.get(), nullptr) != 0) {
    // Out of memory or of epoll's quota of watches: the owner's deadline will end this connection.
    log::error("cannot watch a descriptor: {}", strerrordesc_np(errno));
    return;
  }
  if (flags != 0) event_del(registered.get());
  registered.swap(spare);
  flags = now;
}

/// True if the connection has ended or failed, whatever waits to be read.
bool FdWatch::Impl::is_broken() const noexcept {
  pollfd p{fd, POLLRDHUP, 0};
  return ::poll(&p, 1, 0) == 1 && (p.revents & (POLLHUP | POLLERR | POLLRDHUP)) != 0;
}

unsigned FdWatch::Impl::ready(short what) noexcept {
  const unsigned wanted = owner->wanted_;
  unsigned out = 0;
  if ((what & EV_WRITE) != 0) out |= wanted & kWrite;
  if ((what & (EV_READ | EV_CLOSED)) == 0) return out;
  if ((wanted & kRead) != 0) out |= kRead;
  if ((wanted & kHangUp) != 0) {
    if ((what & EV_CLOSED) != 0 || is_broken()) return out | kHangUp;
  }
  if ((wanted & kRead) == 0) {
    unread = true;
    mark_dirty();
  }
  return out;
}

void FdWatch::Impl::call(evutil_socket_t, short what, void* self) noexcept {
  auto* impl = static_cast<Impl*>(self);
  const unsigned ready = impl->ready(what);
  if (ready != 0) impl->on_ready(ready);
}

FdWatch::~FdWatch() {
  stop();
}

void FdWatch::start(Loop& loop, int fd, Callback<unsigned> on_ready) {
  stop();
  impl_ = new Impl;  // NOLINT(cppcoreguidelines-owning-memory): stop() deletes it
  impl_->loop = &loop.impl();
  impl_->owner = this;
  impl_->fd = fd;
  impl_->on_ready = on_ready;
}

void FdWatch::rebind(Callback<unsigned> on_ready) noexcept {
  if (impl_ != nullptr) impl_->on_ready = on_ready;
}

void FdWatch::want(unsigned what) noexcept {
  POSTERN_CHECK(impl_ != nullptr);
  if (what == wanted_) return;
  wanted_ = what;
  impl_->mark_dirty();
}

void FdWatch::stop() noexcept {
  if (impl_ == nullptr) return;
  impl_->unregister();
  if (impl_->dirty) impl_->loop->remove_dirty(impl_);
  delete impl_;
  impl_ = nullptr;
  wanted_ = 0;
}

void LoopImpl::add_dirty(FdWatch::Impl* watch) {
  watch->dirty = true;
  dirty_.push_back(watch);
}

void LoopImpl::remove_dirty(FdWatch::Impl* watch) noexcept {
  // Mostly it is a recent one.
  const auto found = std::find(dirty_.rbegin(), dirty_.rend(), watch);
  if (found == dirty_.rend()) return;
  *found = dirty_.back();
  dirty_.pop_back();
}

void LoopImpl::apply_dirty() noexcept {
  for (FdWatch::Impl* watch : dirty_) {
    watch->dirty = false;
    watch->apply();
  }
  dirty_.clear();
}

}  // namespace postern::io
