#include "master/backend-health.h"

#include <algorithm>
#include <cerrno>

#include "lib/log.h"
#include "lib/text.h"

namespace postern::master {
namespace {

using std::chrono::milliseconds;
using Kind = wire::BackendNewsKind;

}  // namespace

wire::BackendNews BackendHealth::news_of(const BackendKey& key, const Entry& entry) {
  wire::BackendNews out{key.backend, Kind::up, entry.since, entry.last_success};
  if (entry.state == State::down) {
    out.kind = Kind::down;
  } else if (entry.full) {
    out.kind = Kind::full;
  } else if (entry.state == State::failing) {
    out.kind = Kind::failing;
  }
  return out;
}

BackendHealth::Entry* BackendHealth::find(const BackendKey& key) {
  const auto found = entries_.find(key);
  return found == entries_.end() ? nullptr : &found->second;
}

/// A new entry, in which nothing has happened; null if there have been too many this second.
BackendHealth::Entry* BackendHealth::make(const BackendKey& key, Moment at) {
  if (at.now - second_ >= std::chrono::seconds(1)) {
    second_ = at.now;
    told_ = 0;
  }
  if (told_ >= kNewsPerSecond) return nullptr;
  ++told_;
  if (Entry* known = find(key)) return known;
  if (entries_.size() >= kMost) make_room();
  Entry& entry = entries_[key];
  entry.changed = at.now;
  return &entry;
}

/// Forgets the one of which nothing was heard for longest, of those that work if there are any.
void BackendHealth::make_room() {
  const auto oldest =
      std::min_element(entries_.begin(), entries_.end(), [](const auto& a, const auto& b) {
        const auto rank = [](const Entry& entry) {
          return std::pair(entry.state != State::up || entry.full, entry.changed);
        };
        return rank(a.second) < rank(b.second);
      });
  Entry& entry = oldest->second;
  const bool told = news_of(oldest->first, entry).kind != Kind::up;
  entry.state = State::up;
  entry.full = false;
  if (told) tell(oldest->first, entry);
  entries_.erase(oldest);
}

void BackendHealth::on_failed(const BackendKey& key, const BackendFailure& failure, Moment at) {
  Entry* entry = find(key);
  if (entry == nullptr || entry->state == State::up) entry = make(key, at);
  if (entry == nullptr) return;
  entry->failed_at = at.unix_time;
  entry->error = log_safe_line(failure.text, kMaxText);
  entry->probing = false;
  const auto success =
      at.unix_time -
      std::chrono::duration_cast<std::chrono::seconds>(failure.since_success).count();
  entry->last_success = std::max(entry->last_success, success);
  if (entry->worked != io::TimePoint{} && at.now - entry->worked < kTrust) return;
  if (entry->failures == 0) entry->row_began = at.now - failure.took;
  entry->failures = std::min(entry->failures + 1, 1'000'000U);
  if (entry->state == State::down) return;
  const bool too_many = limit_ > 0 && entry->failures >= limit_;
  const bool too_long =
      failure.patience.count() > 0 && at.now - entry->row_began > failure.patience;
  if (too_many || too_long) return go_down(key, *entry, at);
  if (entry->state == State::failing) return;
  entry->state = State::failing;
  entry->changed = at.now;
  tell(key, *entry);
}

void BackendHealth::go_down(const BackendKey& key, Entry& entry, Moment at) {
  entry.state = State::down;
  entry.since = at.unix_time;
  entry.changed = at.now;
  entry.next_probe = at.now;
  log::warning("{} backend {} is down after {} failures in a row: {}", key.protocol,
               key.backend.text(), entry.failures, entry.error);
  tell(key, entry);
}

void BackendHealth::on_worked(const BackendKey& key, Moment at) {
  Entry* entry = find(key);
  if (entry == nullptr) return;
  entry->worked = at.now;
  entry->last_success = at.unix_time;
  entry->failures = 0;
  entry->probing = false;
  if (entry->state == State::up) return;
  if (entry->state == State::down) {
    log::info("{} backend {} works again after {} secs", key.protocol, key.backend.text(),
              at.unix_time - entry->since);
    entry->since = at.unix_time;
  }
  entry->state = State::up;
  entry->changed = at.now;
  tell(key, *entry);
}

bool BackendHealth::may_probe(const BackendKey& key, Moment at, milliseconds& wait) {
  wait = milliseconds(0);
  Entry* entry = find(key);
  if (entry == nullptr || entry->state != State::down) return true;
  if (at.now < entry->next_probe) {
    wait = std::chrono::ceil<milliseconds>(entry->next_probe - at.now);
    return false;
  }
  entry->next_probe = at.now + kProbeEvery;
  entry->probing = true;
  return true;
}

void BackendHealth::on_slow(const void* process, const BackendKey& key, unsigned count,
                            unsigned limit, Moment at) {
  Entry* entry = find(key);
  if (entry == nullptr && count > 0) entry = make(key, at);
  if (entry == nullptr) return;
  std::erase_if(entry->slow, [process](const Slow& slow) { return slow.process == process; });
  if (count > 0) entry->slow.push_back({process, count, limit});
  weigh(key, *entry, at);
}

void BackendHealth::on_process_gone(const void* process, Moment at) {
  for (auto& [key, entry] : entries_) {
    const auto gone =
        std::erase_if(entry.slow, [process](const Slow& slow) { return slow.process == process; });
    if (gone > 0) weigh(key, entry, at);
  }
}

/// Do too many wait? It takes a quarter less to let others come again.
void BackendHealth::weigh(const BackendKey& key, Entry& entry, Moment at) {
  std::uint64_t sum = 0;
  std::uint64_t limit = 0;
  for (const Slow& slow : entry.slow) {
    sum += slow.count;
    limit = std::max<std::uint64_t>(limit, slow.limit);
  }
  const bool full = limit > 0 && (entry.full ? sum * 4 >= limit * 3 : sum >= limit);
  if (full == entry.full) return;
  entry.full = full;
  entry.changed = at.now;
  if (full) {
    log::warning("{} logins wait for {} backend {}: no more for now", sum, key.protocol,
                 key.backend.text());
  }
  if (entry.state != State::down) tell(key, entry);
}

Status BackendHealth::disable(const Endpoint& backend, Moment at) {
  if (disabled_.contains(backend)) return Done{};
  if (disabled_.size() >= kMostDisabled) return Error{ENOSPC, "too many backends are disabled"};
  disabled_.emplace(backend, at.unix_time);
  tell_({}, {backend, Kind::disabled, at.unix_time, 0});
  return Done{};
}

bool BackendHealth::enable(const Endpoint& backend, Moment at) {
  if (disabled_.erase(backend) == 0) return false;
  tell_({}, {backend, Kind::enabled, at.unix_time, 0});
  return true;
}

bool BackendHealth::is_disabled(const Endpoint& backend) const {
  return disabled_.contains(backend) || disabled_.contains({backend.ip, 0});
}

std::vector<wire::BackendNews> BackendHealth::news(std::string_view protocol) const {
  std::vector<wire::BackendNews> out;
  for (const auto& [backend, since] : disabled_) {
    out.push_back({backend, Kind::disabled, since, 0});
  }
  for (const auto& [key, entry] : entries_) {
    if (key.protocol != protocol) continue;
    const wire::BackendNews one = news_of(key, entry);
    if (one.kind != Kind::up) out.push_back(one);
  }
  return out;
}

BackendHealth::Row BackendHealth::row_of(const BackendKey& key, const Entry& entry,
                                         Moment at) const {
  Row out{key, "up", entry.since, entry.failures, entry.failed_at, entry.error};
  if (entry.state == State::down) {
    // An answer that never came is no probe for ever.
    out.state = entry.probing && at.now < entry.next_probe ? "probing" : "down";
  } else if (entry.full) {
    out.state = "full";
  }
  for (const Endpoint& by : {key.backend, Endpoint{key.backend.ip, 0}}) {
    const auto found = disabled_.find(by);
    if (found == disabled_.end()) continue;
    out.state = "disabled";
    out.since = found->second;
    break;
  }
  return out;
}

std::vector<BackendHealth::Row> BackendHealth::rows(Moment at) const {
  std::vector<Row> out;
  std::set<Endpoint> shown;
  for (const auto& [key, entry] : entries_) {
    out.push_back(row_of(key, entry, at));
    shown.insert(key.backend);
    shown.insert({key.backend.ip, 0});
  }
  for (const auto& [backend, since] : disabled_) {
    if (!shown.contains(backend)) out.push_back(row_of({"", backend}, {}, at));
  }
  return out;
}

BackendHealth::Row BackendHealth::row(const BackendKey& key, Moment at) const {
  return row_of(key, {}, at);
}

}  // namespace postern::master
