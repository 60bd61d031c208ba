#include "auth/loop-environment.h"

#include <stdlib.h>

#include <ctime>

#include "lib/text.h"

namespace postern::auth {

LoopEnvironment::LoopEnvironment(service::Service& service)
    : loop_(service.loop()),
      resolver_(loop_),
      links_(service),
      pool_(*this, links_, 1),
      anvil_(service) {
  links_.set_pool(pool_);
}

LoopEnvironment::~LoopEnvironment() = default;

TimePoint LoopEnvironment::now() const noexcept {
  return loop_.now();
}
std::int64_t LoopEnvironment::unix_time() const noexcept {
  return std::time(nullptr);
}
std::uint32_t LoopEnvironment::random(std::uint32_t below) noexcept {
  return ::arc4random_uniform(below);
}

std::uint64_t LoopEnvironment::after(Milliseconds wait, std::function<void()> call) {
  auto entry = std::make_unique<Timeout>();
  entry->owner = this;
  entry->id = (++next_timer_ << kKindBits) | timer;
  entry->call = std::move(call);
  entry->timer.start(loop_, io::Callback<>::to<&Timeout::on_time>(*entry));
  entry->timer.set(wait);
  const std::uint64_t id = entry->id;
  timeouts_.emplace(id, std::move(entry));
  return id;
}

void LoopEnvironment::on_timeout(std::uint64_t id) noexcept {
  const auto it = timeouts_.find(id);
  if (it == timeouts_.end()) return;
  std::unique_ptr<Timeout> entry = std::move(it->second);
  timeouts_.erase(it);
  const std::function<void()> call = std::move(entry->call);
  loop_.retire(std::move(entry));
  call();
}

std::uint64_t LoopEnvironment::verify(HashJob job, std::function<void(VerifyResult)> call) {
  return (pool_.verify(std::move(job), std::move(call)) << kKindBits) | hash;
}

std::uint64_t LoopEnvironment::resolve(const std::string& name, Milliseconds timeout,
                                       std::function<void(Result<std::vector<IpAddress>>)> call) {
  const std::string key = to_lower(name);
  bool refresh = false;
  if (const auto known = hosts_.find(key, now(), refresh)) {
    if (refresh) {
      resolver_.resolve(name, timeout, [this, key](Result<std::vector<IpAddress>> answer) {
        static_cast<void>(learn(key, std::move(answer)).ok());
      });
    }
    return after(Milliseconds(0), [call = std::move(call), answer = *known] { call(answer); });
  }
  const std::uint64_t id = resolver_.resolve(
      name, timeout, [this, key, call = std::move(call)](Result<std::vector<IpAddress>> answer) {
        call(learn(key, std::move(answer)));
      });
  return (id << kKindBits) | resolution;
}

Result<std::vector<IpAddress>> LoopEnvironment::learn(const std::string& key,
                                                      Result<std::vector<IpAddress>> answer) {
  const std::string why = answer.ok() ? std::string() : answer.error().text;
  bool stale = false;
  auto told = hosts_.learn(key, std::move(answer), now(), stale);
  if (stale) log::warning("{}; going on with what was known", why);
  return told;
}

bool LoopEnvironment::counts_penalties() const noexcept {
  return anvil_.connected();
}

std::uint64_t LoopEnvironment::penalty(const IpAddress& ip, std::uint32_t user,
                                       std::function<void(PenaltyLevels)> call) {
  return (anvil_.penalty(ip, user, std::move(call)) << kKindBits) | penalty_question;
}

bool LoopEnvironment::known_without_penalty(const IpAddress& ip) const {
  return anvil_.known_clean(ip);
}

void LoopEnvironment::raise_penalty(const IpAddress& ip, std::uint32_t checksum,
                                    std::uint32_t user) {
  anvil_.raise(ip, checksum, user);
}

void LoopEnvironment::forgive(const IpAddress& ip, std::uint32_t user) {
  anvil_.forgive(ip, user);
}

void LoopEnvironment::cancel(std::uint64_t id) noexcept {
  switch (static_cast<Kind>(id & ((1U << kKindBits) - 1))) {
    case timer: {
      const auto it = timeouts_.find(id);
      if (it == timeouts_.end()) return;
      it->second->timer.cancel();
      loop_.retire(std::move(it->second));
      timeouts_.erase(it);
      return;
    }
    case hash:
      return pool_.cancel(id >> kKindBits);
    case resolution:
      return resolver_.cancel(id >> kKindBits);
    case penalty_question:
      return anvil_.cancel(id >> kKindBits);
  }
}

void LoopEnvironment::log(log::Level level, std::string_view text) {
  log::write(level, text);
}

void LoopEnvironment::retire(std::unique_ptr<Retirable> object) {
  loop_.retire(std::move(object));
}

}  // namespace postern::auth
