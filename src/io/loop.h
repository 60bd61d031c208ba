#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <type_traits>
#include <utility>

/// The event loop of a process: one thread, libevent inside and nowhere else.
namespace postern::io {

using Clock = std::chrono::steady_clock;
using TimePoint = Clock::time_point;
using Milliseconds = std::chrono::milliseconds;

/// A member function with its object, as small as two pointers: what an event calls. The object
/// must outlive the watch, timer or request it is bound to.
template <class... Args>
class Callback {
 public:
  Callback() = default;
  template <auto Method, class T>
  static Callback to(T& object) noexcept {
    Callback out;
    out.object_ = &object;
    out.call_ = [](void* self, Args... args) noexcept {
      (static_cast<T*>(self)->*Method)(std::forward<Args>(args)...);
    };
    return out;
  }
  void operator()(Args... args) const noexcept { call_(object_, std::forward<Args>(args)...); }
  explicit operator bool() const noexcept { return call_ != nullptr; }

 private:
  void* object_ = nullptr;
  void (*call_)(void*, Args...) noexcept = nullptr;
};

class LoopImpl;

/// Once per process, before any other call to libevent: memory that libevent gives back is wiped
/// (it holds what passed through its buffers), and SIGPIPE is ignored. Loop's constructor calls it;
/// calling it again does nothing.
void initialise() noexcept;

/// One per process, made first and destroyed last. Neither copies nor moves.
class Loop {
 public:
  /// Ends the process (fatal) if the kernel gives no epoll.
  Loop();
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  /// Runs until stop(). At the end of every turn: defer()red calls, then what was retired is
  /// destroyed, then Deferred objects that are left are called (and what they retire destroyed),
  /// then log::flush().
  void run() noexcept;
  /// One turn; waits for something to happen if `wait`. For tests.
  void run_once(bool wait) noexcept;
  /// Makes run() return at the end of this turn.
  void stop() noexcept;

  /// The time this turn began, no system call.
  TimePoint now() const noexcept;

  /// How many turns there have been.
  std::uint64_t turn() const noexcept;

  /// Destroys `object` at the end of this turn, so that it may end in the middle of its own
  /// callback. After the call, return.
  template <class T>
  void retire(std::unique_ptr<T> object) {
    // NOLINTNEXTLINE(cppcoreguidelines-owning-memory): the loop owns it now
    retire_raw(object.release(), [](void* p) noexcept { delete static_cast<T*>(p); });
  }
  /// Calls `call` once at the end of this turn (before the retired are destroyed).
  void defer(Callback<> call);

  /// After fork(2), in the child, before any other use.
  void after_fork() noexcept;

  LoopImpl& impl() noexcept { return *impl_; }

 private:
  void retire_raw(void* object, void (*destroy)(void*) noexcept);
  std::unique_ptr<LoopImpl> impl_;
};

/// Readiness of one descriptor, level-triggered. The descriptor must stay open until the watch is
/// stopped or destroyed; after stop() it may be closed or given to another process at once.
///
/// Changes are gathered and told to the kernel at the end of the turn, and only those that matter:
/// interest in reading or in the hang-up is the same to the kernel, and who stops reading stays
/// registered until something arrives that nobody wants. So a conversation that turns reading off
/// and on costs no system call. (libevent's own changelist would do the first half, but it tells
/// the kernel of a removal too late for a descriptor that is passed on: the kernel would report it
/// for ever.)
class FdWatch {
 public:
  // Bits, not states. NOLINTNEXTLINE(readability-identifier-naming)
  enum What : unsigned { kNothing = 0, kRead = 1, kWrite = 2, kHangUp = 4 };

  FdWatch() = default;
  ~FdWatch();
  FdWatch(const FdWatch&) = delete;
  FdWatch& operator=(const FdWatch&) = delete;

  /// @param on_ready  called with the kinds that are ready, of those asked for
  void start(Loop& loop, int fd, Callback<unsigned> on_ready);
  /// Asks for exactly these kinds (kRead | kWrite | kHangUp: the peer is gone, without reading).
  void want(unsigned what) noexcept;
  unsigned wanted() const noexcept { return wanted_; }
  void stop() noexcept;
  bool started() const noexcept { return impl_ != nullptr; }
  /// Another callback: what happens next is told there.
  void rebind(Callback<unsigned> on_ready) noexcept;

 private:
  friend class LoopImpl;
  struct Impl;
  Impl* impl_ = nullptr;
  unsigned wanted_ = 0;
};

/// A call at the end of the turn that can be taken back: Loop::defer() for objects that may end
/// before. Destroying it cancels.
class Deferred {
 public:
  Deferred() = default;
  ~Deferred() { cancel(); }
  Deferred(const Deferred&) = delete;
  Deferred& operator=(const Deferred&) = delete;

  void start(Loop& loop, Callback<> call) noexcept;  // binds it; does not trigger
  /// Calls once at the end of this turn, however often it is triggered until then; what is
  /// triggered during that end is called at the end of the next turn, which does not wait.
  void trigger() noexcept;
  void cancel() noexcept;
  bool triggered() const noexcept { return previous_ != nullptr; }

 private:
  friend class LoopImpl;
  LoopImpl* loop_ = nullptr;
  Callback<> call_;
  Deferred* previous_ = nullptr;  // a ring through the loop's own node
  Deferred* next_ = nullptr;
};

/// A one-shot timer; set() again re-arms it.
class Timer {
 public:
  Timer() = default;
  ~Timer();
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  void start(Loop& loop, Callback<> on_time) noexcept;  // binds it; does not arm
  void set(Milliseconds after) noexcept;
  void cancel() noexcept;
  bool armed() const noexcept;

 private:
  struct Impl;
  Impl* impl_ = nullptr;
};

/// A signal, delivered as an event of the loop.
class SignalWatch {
 public:
  SignalWatch() = default;
  ~SignalWatch();
  SignalWatch(const SignalWatch&) = delete;
  SignalWatch& operator=(const SignalWatch&) = delete;
  void start(Loop& loop, int signal_number, Callback<int> on_signal);

 private:
  struct Impl;
  Impl* impl_ = nullptr;
};

}  // namespace postern::io
