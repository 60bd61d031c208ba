#include "anvil/penalties.h"

#include <algorithm>

namespace postern::anvil {

void Penalties::expire(std::int64_t now) {
  while (!by_age_.empty()) {
    const Record& oldest = by_age_.front();
    // A clock that was set back forgets nobody early.
    const bool old = now - oldest.penalty.last_update >= lifetime_;
    if (!old && by_age_.size() <= most_) return;
    by_ident_.erase(oldest.ident);
    by_age_.pop_front();
  }
}

Penalty Penalties::get(const std::string& ident, std::int64_t now) {
  expire(now);
  const auto found = by_ident_.find(ident);
  return found == by_ident_.end() ? Penalty{} : found->second->penalty;
}

void Penalties::set(const std::string& ident, std::uint32_t checksum, unsigned value,
                    std::int64_t now) {
  auto found = by_ident_.find(ident);
  if (found == by_ident_.end()) {
    by_age_.push_back({ident, {}, {}});
    found = by_ident_.emplace(ident, std::prev(by_age_.end())).first;
  } else {
    by_age_.splice(by_age_.end(), by_age_, found->second);
  }
  Record& record = *found->second;
  record.penalty.last_update = now;
  auto& known = record.checksums;
  const auto same = checksum == 0 ? known.end() : std::find(known.begin(), known.end(), checksum);
  if (same != known.end()) {
    record.penalty.value = value > 0 ? value - 1 : 0;
    std::rotate(known.begin(), same, same + 1);
  } else {
    record.penalty.value = value;
    record.penalty.last = now;
    if (checksum != 0) {
      std::rotate(known.begin(), known.end() - 1, known.end());
      known.front() = checksum;
    } else if (value == 0) {
      known = {};  // a good login: the next guess is a new one
    }
  }
  expire(now);
}

}  // namespace postern::anvil
