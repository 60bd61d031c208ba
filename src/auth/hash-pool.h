#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "auth/environment.h"

namespace postern::auth {

/// Where comparisons that take long wait for a worker. One job at a time on each worker; jobs of
/// one client address wait for each other, not everybody for them (addresses take turns). What
/// waits too long, or whose worker dies, fails as an internal failure. No I/O: workers are numbers.
class HashPool {
 public:
  /// What carries the pool's words to workers.
  class Workers {
   public:
    /// Starts to connect to one more worker: on_connected() or on_connect_failed() follows later.
    virtual void connect() = 0;
    virtual void send(std::uint64_t worker, std::string_view line) = 0;
    /// Closes the connection; on_closed() does not follow.
    virtual void drop(std::uint64_t worker) = 0;

   protected:
    ~Workers() = default;
  };

  static constexpr std::chrono::seconds kQueueWarning{3};
  static constexpr std::chrono::seconds kQueueLimit{60};
  static constexpr std::chrono::seconds kLookupLimit{60};
  static constexpr std::size_t kMaxQueued = 10'000;

  HashPool(Environment& environment, Workers& workers, unsigned max_workers);
  ~HashPool();
  void set_max_workers(unsigned max_workers) noexcept {
    max_workers_ = max_workers == 0 ? 1 : max_workers;
  }
  HashPool(const HashPool&) = delete;
  HashPool& operator=(const HashPool&) = delete;

  /// Never calls before it returns.
  std::uint64_t verify(HashJob job, std::function<void(VerifyResult)> call);
  void cancel(std::uint64_t id) noexcept;

  void on_connected(std::uint64_t worker);
  void on_connect_failed(std::string_view text);
  void on_line(std::uint64_t worker, std::string_view line);
  void on_closed(std::uint64_t worker);

  std::size_t queued() const noexcept { return waiting_; }
  std::size_t workers() const noexcept { return workers_by_id_.size(); }

 private:
  struct Job {
    std::uint64_t id = 0;
    HashJob what;
    std::function<void(VerifyResult)> call;  // empty: cancelled
    TimePoint since;                         // queued, then given to a worker
  };
  struct Worker {
    bool greeted = false;
    bool busy = false;
    Job job;
    TimePoint idle_since;
  };

  void dispatch();
  void give(std::uint64_t id, Worker& worker, Job job);
  Job take_next();
  void finish(Worker& worker, VerifyResult result);
  void fail_queue(std::string_view text);
  void lose(std::uint64_t worker, std::string_view why);
  void arm_tick();
  void tick();

  Environment& environment_;
  Workers& workers_;
  unsigned max_workers_;
  std::uint64_t next_id_ = 0;
  // Waiting jobs by client address, and the addresses in the order of their turn.
  std::map<std::string, std::deque<Job>, std::less<>> queue_;
  std::deque<std::string> turns_;
  std::size_t waiting_ = 0;
  std::vector<Job> refused_;  // the queue was full
  std::map<std::uint64_t, Worker> workers_by_id_;
  unsigned connecting_ = 0;
  unsigned failed_connects_ = 0;
  TimePoint retry_at_{};
  TimePoint warned_{};
  bool ever_warned_ = false;
  std::uint64_t tick_timer_ = 0;
  std::uint64_t dispatch_timer_ = 0;
};

}  // namespace postern::auth
