#pragma once

#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "auth/anvil-client.h"
#include "auth/environment.h"
#include "auth/hash-pool.h"
#include "auth/host-cache.h"
#include "auth/worker-links.h"
#include "io/loop.h"
#include "io/resolver.h"
#include "service/service.h"

namespace postern::auth {

/// The event loop's world: timers, the pool of workers, the resolver, anvil, the log.
class LoopEnvironment final : public Environment {
 public:
  explicit LoopEnvironment(service::Service& service);
  ~LoopEnvironment() override;

  TimePoint now() const noexcept override;
  std::int64_t unix_time() const noexcept override;
  std::uint32_t random(std::uint32_t below) noexcept override;
  std::uint64_t after(Milliseconds wait, std::function<void()> call) override;
  std::uint64_t verify(HashJob job, std::function<void(VerifyResult)> call) override;
  std::uint64_t resolve(const std::string& name, Milliseconds timeout,
                        std::function<void(Result<std::vector<IpAddress>>)> call) override;
  bool counts_penalties() const noexcept override;
  std::uint64_t penalty(const IpAddress& ip, std::uint32_t user,
                        std::function<void(PenaltyLevels)> call) override;
  bool known_without_penalty(const IpAddress& ip) const override;
  void raise_penalty(const IpAddress& ip, std::uint32_t checksum, std::uint32_t user) override;
  void forgive(const IpAddress& ip, std::uint32_t user) override;
  void cancel(std::uint64_t id) noexcept override;
  void log(log::Level level, std::string_view text) override;
  void retire(std::unique_ptr<Retirable> object) override;

  void set_max_workers(unsigned max_workers) noexcept { pool_.set_max_workers(max_workers); }
  /// Connects to anvil; without it there are no penalties.
  void start_penalties() { anvil_.start(); }

 private:
  /// A number's lowest bits say what it is of.
  enum Kind : std::uint64_t { timer = 0, hash = 1, resolution = 2, penalty_question = 3 };
  static constexpr unsigned kKindBits = 2;

  struct Timeout {
    LoopEnvironment* owner = nullptr;
    std::uint64_t id = 0;
    std::function<void()> call;
    io::Timer timer;
    void on_time() noexcept { owner->on_timeout(id); }
  };
  void on_timeout(std::uint64_t id) noexcept;
  Result<std::vector<IpAddress>> learn(const std::string& key,
                                       Result<std::vector<IpAddress>> answer);

  io::Loop& loop_;
  std::uint64_t next_timer_ = 0;
  std::unordered_map<std::uint64_t, std::unique_ptr<Timeout>> timeouts_;
  io::Resolver resolver_;
  HostCache hosts_;
  WorkerLinks links_;
  HashPool pool_;
  AnvilClient anvil_;
};

}  // namespace postern::auth
