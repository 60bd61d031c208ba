#include "anvil/connect-counts.h"

namespace postern::anvil {

ConnectCounts::Holder* ConnectCounts::find(Channel channel, const std::string& session,
                                           const std::string& ident) {
  const auto holders = idents_.find(ident);
  if (holders == idents_.end()) return nullptr;
  const auto holder = holders->second.by_session.find({channel, session});
  return holder == holders->second.by_session.end() ? nullptr : &holder->second;
}

bool ConnectCounts::has_room(Channel channel) const {
  const auto own = channels_.find(channel);
  return entries_ < most_ && (own == channels_.end() || own->second.size() < most_of_one_);
}

void ConnectCounts::add(Channel channel, const std::string& session, const std::string& ident,
                        TimePoint reserved_until) {
  Holders& holders = idents_[ident];
  holders.count++;
  const auto [entry, added] = holders.by_session.try_emplace({channel, session});
  if (added) {
    entries_++;
    channels_[channel].emplace(ident, session);
    entry->second.reserved_until = reserved_until;
  }
  entry->second.count++;
}

/// Takes `count` off an entry that exists.
void ConnectCounts::remove(Channel channel, const std::string& session, const std::string& ident,
                           unsigned count) {
  const auto holders = idents_.find(ident);
  const auto holder = holders->second.by_session.find({channel, session});
  holders->second.count -= count;
  holder->second.count -= count;
  if (holder->second.count > 0) return;
  holders->second.by_session.erase(holder);
  entries_--;
  const auto own = channels_.find(channel);
  own->second.erase({ident, session});
  if (own->second.empty()) channels_.erase(own);
  if (holders->second.by_session.empty()) idents_.erase(holders);
}

bool ConnectCounts::connect(Channel channel, const std::string& session, const std::string& ident) {
  Holder* holder = find(channel, session, ident);
  if (holder != nullptr && holder->reserved_until != TimePoint{}) {
    holder->reserved_until = TimePoint{};
    return true;
  }
  if (holder == nullptr && !has_room(channel)) return false;
  add(channel, session, ident, TimePoint{});
  return true;
}

bool ConnectCounts::disconnect(Channel channel, const std::string& session,
                               const std::string& ident) {
  if (find(channel, session, ident) == nullptr) return false;
  // The caller's strings may be the entry's own.
  remove(channel, std::string(session), std::string(ident), 1);
  return true;
}

unsigned ConnectCounts::lookup(const std::string& ident) const {
  const auto holders = idents_.find(ident);
  return holders == idents_.end() ? 0 : holders->second.count;
}

ConnectCounts::Reservation ConnectCounts::reserve(Channel channel, const std::string& session,
                                                  const std::string& ident, unsigned limit,
                                                  TimePoint now) {
  const unsigned count = lookup(ident);
  if (find(channel, session, ident) != nullptr) return {true, count};
  if ((limit > 0 && count >= limit) || !has_room(channel)) return {false, count};
  const TimePoint until = now + kConfirm;
  add(channel, session, ident, until);
  deadlines_.push_back({until, channel, session, ident});
  return {true, count + 1};
}

void ConnectCounts::drop(Channel channel) {
  const auto own = channels_.find(channel);
  if (own == channels_.end()) return;
  const auto entries = own->second;  // remove() changes it
  for (const auto& [ident, session] : entries) {
    remove(channel, session, ident, find(channel, session, ident)->count);
  }
}

void ConnectCounts::expire(TimePoint now) {
  while (!deadlines_.empty() && deadlines_.front().time <= now) {
    const Deadline due = std::move(deadlines_.front());
    deadlines_.pop_front();
    // It may have been confirmed, gone, or been reserved anew since.
    const Holder* holder = find(due.channel, due.session, due.ident);
    if (holder == nullptr || holder->reserved_until != due.time) continue;
    remove(due.channel, due.session, due.ident, holder->count);
  }
}

TimePoint ConnectCounts::next_expiry() const noexcept {
  return deadlines_.empty() ? TimePoint::max() : deadlines_.front().time;
}

}  // namespace postern::anvil
