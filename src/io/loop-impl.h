#pragma once

#include <event2/event.h>
#include <event2/event_struct.h>

#include <deque>
#include <memory>
#include <utility>
#include <vector>

#include "io/loop.h"
#include "lib/handle.h"

/// The inside of Loop, for the rest of this room.
namespace postern::io {

using EventBase = Handle<event_base, event_base_free>;

class LoopImpl {
 public:
  LoopImpl();
  ~LoopImpl();
  LoopImpl(const LoopImpl&) = delete;
  LoopImpl& operator=(const LoopImpl&) = delete;

  event_base* base() noexcept { return base_.get(); }
  void run() noexcept;
  void run_once(bool wait) noexcept;
  void stop() noexcept { stopping_ = true; }
  TimePoint now() noexcept;
  std::uint64_t turn() const noexcept { return turn_; }
  void after_fork() noexcept;

  void retire(void* object, void (*destroy)(void*) noexcept) {
    retired_.emplace_back(object, destroy);
  }
  void defer(Callback<> call) { deferred_calls_.push_back(call); }

  // FdWatch: those whose registration may have to change before the kernel is asked again.
  void add_dirty(FdWatch::Impl* watch);
  void remove_dirty(FdWatch::Impl* watch) noexcept;
  /// An unused event structure, to register the new interest before the old one is removed.
  std::unique_ptr<event>& spare() noexcept { return spare_; }

  Deferred* ring() noexcept { return &ring_; }

 private:
  void end_turn() noexcept;
  bool has_work() const noexcept;
  void make_deferred_calls() noexcept;
  void call_deferred_objects() noexcept;
  void apply_dirty() noexcept;
  void destroy_retired() noexcept;

  EventBase base_;
  std::unique_ptr<event> spare_;
  std::vector<FdWatch::Impl*> dirty_;
  std::vector<Callback<>> deferred_calls_;
  std::vector<std::pair<void*, void (*)(void*) noexcept>> retired_;
  Deferred ring_;  // deferred objects, oldest first
  TimePoint now_{};
  std::uint64_t turn_ = 0;
  bool stopping_ = false;
};

}  // namespace postern::io
