#include "io/loop.h"

#include <malloc.h>
#include <openssl/crypto.h>
#include <sysexits.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include "io/loop-impl.h"
#include "lib/check.h"
#include "lib/log.h"

namespace postern::io {
namespace {

void wiping_free(void* p) {
  if (p == nullptr) return;
  OPENSSL_cleanse(p, malloc_usable_size(p));
  std::free(p);  // NOLINT(cppcoreguidelines-owning-memory): this is libevent's allocator
}

void* wiping_realloc(void* p, std::size_t size) {
  if (p == nullptr) return std::malloc(size);  // NOLINT(cppcoreguidelines-owning-memory)
  if (size == 0) {
    wiping_free(p);
    return nullptr;
  }
  void* grown = std::malloc(size);  // NOLINT(cppcoreguidelines-owning-memory)
  if (grown == nullptr) return nullptr;
  std::memcpy(grown, p, std::min(size, malloc_usable_size(p)));
  wiping_free(p);
  return grown;
}

void on_libevent_log(int severity, const char* text) {
  switch (severity) {
    case EVENT_LOG_DEBUG:
      return;
    case EVENT_LOG_MSG:
      log::debug("libevent: {}", text);
      return;
    case EVENT_LOG_WARN:
      log::warning("libevent: {}", text);
      return;
    default:
      log::error("libevent: {}", text);
  }
}

void on_libevent_fatal(int error) {
  log::fatal(EX_SOFTWARE, "libevent: internal error {}", error);
}

EventBase make_base() {
  struct FreeConfig {
    void operator()(event_config* config) const noexcept { event_config_free(config); }
  };
  const std::unique_ptr<event_config, FreeConfig> config(event_config_new());
  POSTERN_CHECK(config != nullptr);
  // No locks (one thread), no environment, no precise timer: that would be a timerfd_settime for
  // every wait. Milliseconds from the coarse clock are enough for what we wait for.
  event_config_set_flag(config.get(), EVENT_BASE_FLAG_NOLOCK);
  event_config_set_flag(config.get(), EVENT_BASE_FLAG_IGNORE_ENV);
  for (const char* other : {"poll", "select"}) event_config_avoid_method(config.get(), other);
  EventBase base(event_base_new_with_config(config.get()));
  if (!base || std::strcmp(event_base_get_method(base.get()), "epoll") != 0) {
    log::fatal(EX_OSERR, "cannot use epoll: {}", strerrordesc_np(errno));
  }
  return base;
}

}  // namespace

void initialise() noexcept {
  static bool done = false;
  if (done) return;
  done = true;
  event_set_mem_functions(std::malloc, wiping_realloc, wiping_free);
  event_set_log_callback(on_libevent_log);
  event_set_fatal_callback(on_libevent_fatal);
  // OpenSSL writes to the socket without MSG_NOSIGNAL.
  std::signal(SIGPIPE, SIG_IGN);  // NOLINT(cert-err33-c): cannot fail for a valid number
}

// --- LoopImpl ---

LoopImpl::LoopImpl() : base_(make_base()), spare_(std::make_unique<event>()) {
  ring_.previous_ = ring_.next_ = &ring_;
}

LoopImpl::~LoopImpl() {
  destroy_retired();
  POSTERN_CHECK(ring_.next_ == &ring_);
  ring_.previous_ = ring_.next_ = nullptr;
}

TimePoint LoopImpl::now() noexcept {
  if (now_ == TimePoint{}) now_ = Clock::now();
  return now_;
}

void LoopImpl::run() noexcept {
  // A stop() before run() holds.
  while (!stopping_) run_once(true);
  stopping_ = false;
}

bool LoopImpl::has_work() const noexcept {
  return stopping_ || !deferred_calls_.empty() || ring_.next_ != &ring_ || !retired_.empty();
}

void LoopImpl::run_once(bool wait) noexcept {
  apply_dirty();
  const int flags =
      EVLOOP_ONCE | EVLOOP_NO_EXIT_ON_EMPTY | (wait && !has_work() ? 0 : EVLOOP_NONBLOCK);
  now_ = TimePoint{};
  ++turn_;
  POSTERN_CHECK(event_base_loop(base_.get(), flags) >= 0);
  end_turn();
}

void LoopImpl::end_turn() noexcept {
  make_deferred_calls();
  destroy_retired();
  call_deferred_objects();
  destroy_retired();
  log::flush();
}

void LoopImpl::make_deferred_calls() noexcept {
  if (deferred_calls_.empty()) return;
  std::vector<Callback<>> calls;
  calls.swap(deferred_calls_);
  for (const Callback<>& call : calls) call();
}

void LoopImpl::call_deferred_objects() noexcept {
  if (ring_.next_ == &ring_) return;
  // Only up to what is the last one now: who triggers again in its call has its turn later. The
  // marker is a member of the ring like any other, so anything may be cancelled meanwhile.
  Deferred marker;
  marker.loop_ = this;
  marker.trigger();
  while (ring_.next_ != &marker) {
    Deferred* first = ring_.next_;
    first->cancel();
    first->call_();
  }
  marker.cancel();
}

void LoopImpl::destroy_retired() noexcept {
  while (!retired_.empty()) {  // a destructor may retire more
    decltype(retired_) objects;
    objects.swap(retired_);
    for (const auto& [object, destroy] : objects) destroy(object);
  }
}

Loop::Loop() {
  initialise();
  impl_ = std::make_unique<LoopImpl>();
}
Loop::~Loop() = default;
void Loop::run() noexcept {
  impl_->run();
}
void Loop::run_once(bool wait) noexcept {
  impl_->run_once(wait);
}
void Loop::stop() noexcept {
  impl_->stop();
}
TimePoint Loop::now() const noexcept {
  return impl_->now();
}
std::uint64_t Loop::turn() const noexcept {
  return impl_->turn();
}
void Loop::defer(Callback<> call) {
  impl_->defer(call);
}
void Loop::after_fork() noexcept {
  impl_->after_fork();
}
void Loop::retire_raw(void* object, void (*destroy)(void*) noexcept) {
  impl_->retire(object, destroy);
}

void LoopImpl::after_fork() noexcept {
  now_ = TimePoint{};
  POSTERN_CHECK(event_reinit(base_.get()) == 0);
}

// --- Deferred ---

void Deferred::start(Loop& loop, Callback<> call) noexcept {
  cancel();
  loop_ = &loop.impl();
  call_ = call;
}

void Deferred::trigger() noexcept {
  if (triggered()) return;
  Deferred* ring = loop_->ring();
  previous_ = ring->previous_;
  next_ = ring;
  previous_->next_ = this;
  ring->previous_ = this;
}

void Deferred::cancel() noexcept {
  if (!triggered()) return;
  previous_->next_ = next_;
  next_->previous_ = previous_;
  previous_ = next_ = nullptr;
}

// --- Timer ---

struct Timer::Impl {
  event timer{};
  Callback<> on_time;

  static void call(evutil_socket_t, short, void* self) noexcept {
    static_cast<Impl*>(self)->on_time();
  }
};

Timer::~Timer() {
  if (impl_ == nullptr) return;
  event_del(&impl_->timer);
  delete impl_;
}

void Timer::start(Loop& loop, Callback<> on_time) noexcept {
  if (impl_ == nullptr) {
    // Out of memory ends the process. NOLINTNEXTLINE(*-owning-memory,*-unhandled-exception-at-new)
    impl_ = new Impl;
    POSTERN_CHECK(event_assign(&impl_->timer, loop.impl().base(), -1, 0, &Impl::call, impl_) == 0);
  }
  impl_->on_time = on_time;
}

void Timer::set(Milliseconds after) noexcept {
  const auto ms = std::max<Milliseconds::rep>(0, after.count());
  timeval time{};
  time.tv_sec = static_cast<time_t>(ms / 1000);
  time.tv_usec = static_cast<suseconds_t>(ms % 1000 * 1000);
  POSTERN_CHECK(event_add(&impl_->timer, &time) == 0);
}

void Timer::cancel() noexcept {
  if (impl_ != nullptr) event_del(&impl_->timer);
}

bool Timer::armed() const noexcept {
  return impl_ != nullptr && event_pending(&impl_->timer, EV_TIMEOUT, nullptr) != 0;
}

// --- SignalWatch ---

struct SignalWatch::Impl {
  event signal{};
  Callback<int> on_signal;

  static void call(evutil_socket_t number, short, void* self) noexcept {
    static_cast<Impl*>(self)->on_signal(static_cast<int>(number));
  }
};

SignalWatch::~SignalWatch() {
  if (impl_ == nullptr) return;
  event_del(&impl_->signal);
  delete impl_;
}

void SignalWatch::start(Loop& loop, int signal_number, Callback<int> on_signal) {
  POSTERN_CHECK(impl_ == nullptr);
  impl_ = new Impl;  // NOLINT(cppcoreguidelines-owning-memory): the destructor deletes it
  impl_->on_signal = on_signal;
  POSTERN_CHECK(event_assign(&impl_->signal, loop.impl().base(), signal_number,
                             EV_SIGNAL | EV_PERSIST, &Impl::call, impl_) == 0);
  POSTERN_CHECK(event_add(&impl_->signal, nullptr) == 0);
}

}  // namespace postern::io
