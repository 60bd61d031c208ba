#include "auth/host-cache.h"

#include <cerrno>
#include <utility>

namespace postern::auth {

std::optional<Result<HostCache::Addresses>> HostCache::find(const std::string& name, TimePoint now,
                                                            bool& refresh) {
  refresh = false;
  const auto it = entries_.find(name);
  if (it == entries_.end()) return std::nullopt;
  Entry& entry = it->second;
  if (!entry.failure) {
    if (now - entry.answered >= kFresh) return std::nullopt;
    return Result<Addresses>(entry.addresses);
  }
  const bool recent = now - entry.failed < kFailure;
  if (entry.is_stale(now)) {
    if (!recent) return std::nullopt;
    return Result<Addresses>(*entry.failure);
  }
  refresh = !recent;
  if (refresh) entry.failed = now;  // the next is asked after this one
  return Result<Addresses>(entry.addresses);
}

Result<HostCache::Addresses> HostCache::learn(const std::string& name, Result<Addresses> answer,
                                              TimePoint now, bool& stale) {
  stale = false;
  // Names come from the user database; whoever fills it with more than this asks DNS more often.
  if (entries_.size() >= kMost && !entries_.contains(name)) entries_.clear();
  Entry& entry = entries_[name];
  if (answer.ok()) {
    entry.addresses = answer.value();
    entry.answered = now;
    entry.failure.reset();
    return answer;
  }
  entry.failure = answer.error();
  entry.failed = now;
  // That there is no such name is an answer.
  if (answer.error().code == ENOENT || answer.error().code == EINVAL) entry.addresses.clear();
  if (entry.is_stale(now)) return answer;
  stale = true;
  return entry.addresses;
}

}  // namespace postern::auth
