#include "auth/hash-pool.h"

#include <algorithm>

#include "auth/worker-protocol.h"

namespace postern::auth {
namespace {

constexpr Milliseconds kTick{1000};
constexpr std::chrono::seconds kWarningInterval{300};
constexpr std::chrono::minutes kIdleLimit{5};
constexpr unsigned kHopeless = 3;  // failed connects in a row without any worker

}  // namespace

HashPool::HashPool(Environment& environment, Workers& workers, unsigned max_workers)
    : environment_(environment), workers_(workers), max_workers_(std::max(1U, max_workers)) {}

HashPool::~HashPool() {
  if (tick_timer_ != 0) environment_.cancel(tick_timer_);
  if (dispatch_timer_ != 0) environment_.cancel(dispatch_timer_);
}

std::uint64_t HashPool::verify(HashJob job, std::function<void(VerifyResult)> call) {
  Job entry;
  entry.id = ++next_id_;
  entry.what = std::move(job);
  entry.call = std::move(call);
  entry.since = environment_.now();
  const std::uint64_t id = entry.id;
  if (waiting_ >= kMaxQueued) {
    // Refused like everything else: not before this returns.
    refused_.push_back(std::move(entry));
    if (dispatch_timer_ == 0) {
      dispatch_timer_ = environment_.after(Milliseconds(0), [this] {
        dispatch_timer_ = 0;
        std::vector<Job> refused;
        refused.swap(refused_);
        for (const Job& each : refused) {
          if (each.call) each.call({Verdict::failed, "too many requests wait for auth-workers"});
        }
      });
    }
    return id;
  }
  std::deque<Job>& own = queue_[entry.what.client];
  if (own.empty()) turns_.push_back(entry.what.client);
  own.push_back(std::move(entry));
  waiting_++;
  arm_tick();
  dispatch();
  return id;
}

void HashPool::cancel(std::uint64_t id) noexcept {
  for (Job& job : refused_) {
    if (job.id == id) job.call = nullptr;
  }
  for (auto& [client, jobs] : queue_) {
    for (Job& job : jobs) {
      if (job.id == id) job.call = nullptr;
    }
  }
  for (auto& [number, worker] : workers_by_id_) {
    if (worker.busy && worker.job.id == id) worker.job.call = nullptr;
  }
}

/// The next job of the address whose turn it is. Cancelled ones are dropped on the way.
HashPool::Job HashPool::take_next() {
  while (!turns_.empty()) {
    std::string client = std::move(turns_.front());
    turns_.pop_front();
    const auto it = queue_.find(client);
    if (it == queue_.end()) continue;
    std::deque<Job>& jobs = it->second;
    while (!jobs.empty() && !jobs.front().call) {
      jobs.pop_front();
      waiting_--;
    }
    if (jobs.empty()) {
      queue_.erase(it);
      continue;
    }
    Job job = std::move(jobs.front());
    jobs.pop_front();
    waiting_--;
    if (jobs.empty())
      queue_.erase(it);
    else
      turns_.push_back(std::move(client));
    return job;
  }
  return {};
}

void HashPool::dispatch() {
  for (auto& [id, worker] : workers_by_id_) {
    if (waiting_ == 0) return;
    if (!worker.greeted || worker.busy) continue;
    Job job = take_next();
    if (!job.call) return;
    give(id, worker, std::move(job));
  }
  if (waiting_ == 0 || environment_.now() < retry_at_) return;
  // As many more as jobs wait, up to the limit.
  while (connecting_ < waiting_ && workers_by_id_.size() + connecting_ < max_workers_) {
    connecting_++;
    workers_.connect();
  }
}

void HashPool::give(std::uint64_t id, Worker& worker, Job job) {
  worker.busy = true;
  worker.job = std::move(job);
  worker.job.since = environment_.now();
  WipingBuffer line;
  write_worker_request(line, worker.job.id, worker.job.what);
  worker.job.what.password.clear();
  worker.job.what.stored.clear();
  workers_.send(id, line.view());
}

void HashPool::on_connected(std::uint64_t worker) {
  if (connecting_ > 0) connecting_--;
  failed_connects_ = 0;
  workers_by_id_[worker].idle_since = environment_.now();
  workers_.send(worker, worker_greeting());
}

void HashPool::on_connect_failed(std::string_view text) {
  if (connecting_ > 0) connecting_--;
  failed_connects_++;
  retry_at_ = environment_.now() + std::chrono::seconds(1);
  if (failed_connects_ == 1) {
    environment_.log(log::Level::error,
                     fmt::format("auth: cannot connect to auth-worker: {}", text));
  }
  if (workers_by_id_.empty() && connecting_ == 0 && failed_connects_ >= kHopeless) {
    failed_connects_ = 0;
    fail_queue("no auth-worker can be reached");
  }
}

void HashPool::on_line(std::uint64_t worker, std::string_view line) {
  const auto it = workers_by_id_.find(worker);
  if (it == workers_by_id_.end()) return;
  Worker& w = it->second;
  if (!w.greeted) {
    if (std::string(line) + "\n" != worker_greeting())
      return lose(worker, "auth-worker is of another version");
    w.greeted = true;
    return dispatch();
  }
  auto reply = parse_worker_reply(line);
  if (!reply || !w.busy || reply->id != w.job.id)
    return lose(worker, "BUG: auth-worker sent something unexpected");
  finish(w, std::move(reply->result));
  dispatch();
}

void HashPool::finish(Worker& worker, VerifyResult result) {
  const Job job = std::move(worker.job);
  worker.job = {};
  worker.busy = false;
  worker.idle_since = environment_.now();
  if (job.call) job.call(std::move(result));
}

void HashPool::lose(std::uint64_t worker, std::string_view why) {
  environment_.log(log::Level::error, why);
  workers_.drop(worker);
  on_closed(worker);
}

void HashPool::on_closed(std::uint64_t worker) {
  const auto it = workers_by_id_.find(worker);
  if (it == workers_by_id_.end()) return;
  Worker gone = std::move(it->second);
  workers_by_id_.erase(it);
  if (!gone.greeted) retry_at_ = environment_.now() + std::chrono::seconds(1);
  if (gone.busy) finish(gone, {Verdict::failed, "the auth-worker went away"});
  dispatch();
}

void HashPool::fail_queue(std::string_view text) {
  while (waiting_ > 0) {
    Job job = take_next();
    if (!job.call) break;
    job.call({Verdict::failed, std::string(text)});
  }
}

void HashPool::arm_tick() {
  if (tick_timer_ != 0) return;
  tick_timer_ = environment_.after(kTick, [this] {
    tick_timer_ = 0;
    tick();
  });
}

void HashPool::tick() {
  const TimePoint now = environment_.now();
  // Workers that have not answered.
  std::vector<std::uint64_t> late;
  std::vector<std::uint64_t> idle;
  for (const auto& [id, worker] : workers_by_id_) {
    if (worker.busy && now - worker.job.since >= kLookupLimit) late.push_back(id);
    if (!worker.busy && now - worker.idle_since >= kIdleLimit) idle.push_back(id);
  }
  for (const std::uint64_t id : late) lose(id, "Aborted request: auth-worker did not answer");
  // One is kept for the next login.
  while (!idle.empty() && workers_by_id_.size() > 1) {
    workers_.drop(idle.back());
    workers_by_id_.erase(idle.back());
    idle.pop_back();
  }
  // Jobs that waited too long. In each address's queue the oldest is first.
  std::vector<std::function<void(VerifyResult)>> aborted;
  TimePoint oldest = now;
  for (auto& [client, jobs] : queue_) {
    while (!jobs.empty() && (now - jobs.front().since >= kQueueLimit || !jobs.front().call)) {
      if (jobs.front().call) aborted.push_back(std::move(jobs.front().call));
      jobs.pop_front();
      waiting_--;
    }
    if (!jobs.empty()) oldest = std::min(oldest, jobs.front().since);
  }
  std::erase_if(queue_, [](const auto& entry) { return entry.second.empty(); });
  for (const auto& call : aborted) call({Verdict::failed, "no auth-worker was free in time"});
  if (now - oldest >= kQueueWarning && (!ever_warned_ || now - warned_ >= kWarningInterval)) {
    ever_warned_ = true;
    warned_ = now;
    environment_.log(
        log::Level::error,
        fmt::format(
            "Auth request was queued for {} seconds, {} left in queue (see auth_worker_max_count)",
            std::chrono::duration_cast<std::chrono::seconds>(now - oldest).count(), waiting_));
  }
  dispatch();
  const bool busy =
      std::ranges::any_of(workers_by_id_, [](const auto& w) { return w.second.busy; });
  if (waiting_ > 0 || busy || workers_by_id_.size() > 1) arm_tick();
}

}  // namespace postern::auth
