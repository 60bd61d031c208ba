#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <utility>

/// Who is connected how often. Pure state, the clock is the caller's.
namespace postern::anvil {

using TimePoint = std::chrono::steady_clock::time_point;
/// A process's connection to anvil: the owner of what comes over it.
using Channel = std::uint64_t;

/// Counts by ident ("imap/192.0.2.1/eve": service, address, user). An entry belongs to the channel
/// that made it: no other can remove it, and it goes with the channel. The session's name is the
/// owner's to choose; Dovecot's programs use their pid, but nothing here believes that it is one.
class ConnectCounts {
 public:
  /// @param most         entries there may be
  /// @param most_of_one  entries of one channel
  explicit ConnectCounts(std::size_t most = 1'000'000, std::size_t most_of_one = 200'000)
      : most_(most), most_of_one_(most_of_one) {}

  /// One more session of `ident`, or the confirmation of what was reserved.
  /// @return false if there are too many entries already; nothing is counted then
  bool connect(Channel channel, const std::string& session, const std::string& ident);
  /// One less. False if this channel has no such entry.
  bool disconnect(Channel channel, const std::string& session, const std::string& ident);
  unsigned lookup(const std::string& ident) const;

  struct Reservation {
    bool granted = false;
    unsigned count = 0;  // with this one, if it is granted
  };
  /// Counts at once if that leaves the count at `limit` or below (0: no limit), so that a burst of
  /// logins cannot pass it. connect() confirms it; if that does not come within kConfirm it is
  /// taken back. Nothing changes if the session is counted already.
  Reservation reserve(Channel channel, const std::string& session, const std::string& ident,
                      unsigned limit, TimePoint now);
  static constexpr std::chrono::seconds kConfirm{30};

  /// The channel has ended.
  void drop(Channel channel);
  /// Takes back what was not confirmed in time; call it before asking.
  void expire(TimePoint now);
  /// When expire() has something to do; TimePoint::max(): never.
  TimePoint next_expiry() const noexcept;

  std::size_t entries() const noexcept { return entries_; }
  /// Calls `visit(ident, channel, session, count)` for every entry, by ident.
  template <class Visit>
  void for_each(Visit visit) const {
    for (const auto& [ident, holders] : idents_) {
      for (const auto& [key, holder] : holders.by_session) {
        visit(ident, key.first, key.second, holder.count);
      }
    }
  }

 private:
  struct Holder {
    unsigned count = 0;
    TimePoint reserved_until{};  // the epoch: confirmed
  };
  using SessionKey = std::pair<Channel, std::string>;
  struct Holders {
    unsigned count = 0;  // the sum
    std::map<SessionKey, Holder> by_session;
  };
  struct Deadline {
    TimePoint time;
    Channel channel;
    std::string session;
    std::string ident;
  };

  bool has_room(Channel channel) const;
  Holder* find(Channel channel, const std::string& session, const std::string& ident);
  void add(Channel channel, const std::string& session, const std::string& ident,
           TimePoint reserved_until);
  void remove(Channel channel, const std::string& session, const std::string& ident,
              unsigned count);

  std::size_t most_;
  std::size_t most_of_one_;
  std::map<std::string, Holders> idents_;
  std::map<Channel, std::set<std::pair<std::string, std::string>>> channels_;  // ident, session
  std::deque<Deadline> deadlines_;                                             // in order of time
  std::size_t entries_ = 0;
};

}  // namespace postern::anvil
