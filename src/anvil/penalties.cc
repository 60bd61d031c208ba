#include "anvil/penalties.h"

#include <algorithm>

namespace postern::anvil {

void Penalties::expire(std::int64_t now) {
  // A clock that was set back forgets nobody early.
  const auto expire_list = [this, now](ByAge& list, std::int64_t lifetime) {
    while (!list.empty() && now - list.front().penalty.last_update >= lifetime) forget_oldest(list);
  };
  expire_list(counted_, kDefaultLifetime);
  expire_list(told_, lifetime_);
  while (by_ident_.size() > most_) {
    const bool told = counted_.empty() ||
                      (!told_.empty() &&
                       told_.front().penalty.last_update <= counted_.front().penalty.last_update);
    forget_oldest(told ? told_ : counted_);
  }
}

void Penalties::forget_oldest(ByAge& list) {
  by_ident_.erase(list.front().ident);
  list.pop_front();
}

/// The record of `ident`, new if there is none, as the newest.
Penalties::Record& Penalties::touch(const std::string& ident, bool counted, std::int64_t now) {
  auto found = by_ident_.find(ident);
  if (found == by_ident_.end()) {
    told_.push_back({ident, {}, {}, {}, false});
    found = by_ident_.emplace(ident, std::prev(told_.end())).first;
  }
  Record& record = *found->second;
  ByAge& from = record.counted ? counted_ : told_;
  record.counted |= counted;
  ByAge& to = record.counted ? counted_ : told_;
  to.splice(to.end(), from, found->second);
  record.penalty.last_update = now;
  return record;
}

void Penalties::fade(Penalty& penalty, std::int64_t now) noexcept {
  // A clock that was set back fades nothing.
  const std::int64_t steps = std::max<std::int64_t>(0, (now - penalty.last) / kFade);
  const auto gone = static_cast<unsigned>(std::min<std::int64_t>(steps, penalty.value));
  penalty.value -= gone;
  penalty.last += gone * kFade;
}

bool Penalties::seen_before(Record& record, std::uint32_t checksum) noexcept {
  auto& known = record.checksums;
  const auto same = checksum == 0 ? known.end() : std::find(known.begin(), known.end(), checksum);
  if (same == known.end()) return false;
  std::rotate(known.begin(), same, same + 1);
  return true;
}

void Penalties::remember(Record& record, std::uint32_t checksum) noexcept {
  if (checksum == 0) return;
  auto& known = record.checksums;
  std::rotate(known.begin(), known.end() - 1, known.end());
  known.front() = checksum;
}

Penalties::Level Penalties::level(const std::string& ident, std::uint32_t user, std::int64_t now) {
  expire(now);
  const auto found = by_ident_.find(ident);
  if (found == by_ident_.end()) return {};
  Record& record = *found->second;
  fade(record.penalty, now);
  const unsigned address = std::min(record.penalty.value, kMaxLevel);
  const bool known =
      std::find(record.users.begin(), record.users.end(), user) != record.users.end();
  return {known ? 0 : address, address};
}

void Penalties::fail(const std::string& ident, std::uint32_t checksum, std::uint32_t user,
                     std::int64_t now) {
  Record& record = touch(ident, true, now);
  // A mail program that repeats an old password is no guesser.
  if (!seen_before(record, checksum)) {
    fade(record.penalty, now);
    record.penalty.value = std::min(record.penalty.value + 1, kMaxLevel);
    record.penalty.last = now;
    remember(record, checksum);
    std::erase(record.users, user);
  }
  expire(now);
}

void Penalties::succeed(const std::string& ident, std::uint32_t user, std::int64_t now) {
  // Nothing is held against the address: nothing is to be remembered.
  if (!by_ident_.contains(ident)) return;
  Record& record = touch(ident, false, now);
  std::erase(record.users, user);
  if (record.users.size() >= kMostUsers) record.users.erase(record.users.begin());
  record.users.push_back(user);
  expire(now);
}

Penalty Penalties::get(const std::string& ident, std::int64_t now) {
  expire(now);
  const auto found = by_ident_.find(ident);
  return found == by_ident_.end() ? Penalty{} : found->second->penalty;
}

void Penalties::set(const std::string& ident, std::uint32_t checksum, unsigned value,
                    std::int64_t now) {
  Record& record = touch(ident, false, now);
  if (seen_before(record, checksum)) {
    record.penalty.value = value > 0 ? value - 1 : 0;
  } else {
    record.penalty.value = value;
    record.penalty.last = now;
    remember(record, checksum);
    // A good login: the next guess is a new one.
    if (checksum == 0 && value == 0) record.checksums = {};
  }
  expire(now);
}

}  // namespace postern::anvil
