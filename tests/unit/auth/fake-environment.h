#pragma once

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "auth/environment.h"

namespace postern::auth {

/// A world whose clock is moved by hand. Comparisons and resolutions are answered by run().
class FakeEnvironment final : public Environment {
 public:
  TimePoint time{std::chrono::hours(1000)};
  std::int64_t wall = 1'700'000'000;
  std::map<std::string, std::vector<IpAddress>> hosts;
  std::vector<std::string> lines;      // "Info: text"
  std::vector<HashJob> jobs;           // all comparisons asked for
  bool hold_hashes = false;            // leave them unanswered
  bool fail_hashes = false;            // as if no worker could be reached
  Milliseconds hash_time{0};           // of each comparison
  unsigned penalty_value = 0;          // of the address
  std::vector<std::uint32_t> not_for;  // user_key() of those it is not for
  bool penalties = false;
  bool known_clean = false;
  struct Raise {
    std::uint32_t checksum = 0;
    std::uint32_t user = 0;
  };
  std::vector<Raise> raised;
  std::vector<std::uint32_t> asked, forgiven;  // user_key() of whom

  TimePoint now() const noexcept override { return time; }
  std::int64_t unix_time() const noexcept override { return wall; }
  // In the middle: ±0 % jitter for the failure delays (85+15, 50+50).
  std::uint32_t random(std::uint32_t below) noexcept override { return below / 2; }

  std::uint64_t after(Milliseconds wait, std::function<void()> call) override {
    return add(time + wait, std::move(call));
  }
  std::uint64_t verify(HashJob job, std::function<void(VerifyResult)> call) override {
    HashJob kept;
    kept.scheme = job.scheme;
    kept.client = job.client;
    jobs.push_back(std::move(kept));
    if (hold_hashes) return ++next_;
    VerifyResult result =
        fail_hashes ? VerifyResult{Verdict::failed, "no worker"}
                    : verify_password(*job.scheme, job.stored.reveal(), job.password.reveal());
    return add(time + hash_time, [call = std::move(call), result] { call(result); });
  }
  std::uint64_t resolve(const std::string& name, Milliseconds /*timeout*/,
                        std::function<void(Result<std::vector<IpAddress>>)> call) override {
    const auto it = hosts.find(name);
    if (it == hosts.end()) {
      return add(time, [call = std::move(call)] { call(Error{0, "Name or service not known"}); });
    }
    return add(time, [call = std::move(call), found = it->second] { call(found); });
  }
  bool counts_penalties() const noexcept override { return penalties; }
  std::uint64_t penalty(const IpAddress& /*ip*/, std::uint32_t user,
                        std::function<void(PenaltyLevels)> call) override {
    asked.push_back(user);
    const bool known = std::find(not_for.begin(), not_for.end(), user) != not_for.end();
    const PenaltyLevels levels{known ? 0 : penalty_value, penalty_value};
    return add(time, [call = std::move(call), levels] { call(levels); });
  }
  bool known_without_penalty(const IpAddress& /*ip*/) const override { return known_clean; }
  void raise_penalty(const IpAddress& /*ip*/, std::uint32_t checksum, std::uint32_t user) override {
    raised.push_back({checksum, user});
  }
  void forgive(const IpAddress& /*ip*/, std::uint32_t user) override { forgiven.push_back(user); }
  void cancel(std::uint64_t id) noexcept override { pending_.erase(id); }
  void log(log::Level level, std::string_view text) override {
    lines.push_back(std::string(log::level_name(level)) + ": " + std::string(text));
  }
  void retire(std::unique_ptr<Retirable> object) override { retired_.push_back(std::move(object)); }

  /// Everything that is due now, and what follows from it.
  void run() {
    while (true) {
      auto next = pending_.end();
      for (auto it = pending_.begin(); it != pending_.end(); ++it) {
        if (it->second.at <= time && (next == pending_.end() || it->second.at < next->second.at))
          next = it;
      }
      if (next == pending_.end()) break;
      const std::function<void()> call = std::move(next->second.call);
      pending_.erase(next);
      call();
    }
    retired_.clear();
  }
  void advance(Milliseconds by) {
    const TimePoint end = time + by;
    while (time < end) {
      time += std::min<TimePoint::duration>(end - time, Milliseconds(100));
      run();
    }
    wall += std::chrono::duration_cast<std::chrono::seconds>(by).count();
  }
  std::size_t waiting() const noexcept { return pending_.size(); }

 private:
  struct Pending {
    TimePoint at;
    std::function<void()> call;
  };
  std::uint64_t add(TimePoint at, std::function<void()> call) {
    pending_[++next_] = {at, std::move(call)};
    return next_;
  }
  std::map<std::uint64_t, Pending> pending_;
  std::vector<std::unique_ptr<Retirable>> retired_;
  std::uint64_t next_ = 0;
};

}  // namespace postern::auth
