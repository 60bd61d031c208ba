#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "auth/environment.h"
#include "lib/ip.h"
#include "lib/result.h"

namespace postern::auth {

/// What DNS said of backends' names a moment ago: a login does not wait for a name that the last
/// one asked for, and name servers that are down do not take the backends with them. What the
/// resolver passes on has no time to live, so answers are believed for less than any sensible one.
/// No I/O.
class HostCache {
 public:
  using Addresses = std::vector<IpAddress>;
  static constexpr std::chrono::seconds kFresh{10};   // an answer is believed
  static constexpr std::chrono::seconds kFailure{2};  // so is a failure
  static constexpr std::chrono::hours kStale{24};     // an answer stands in for a failure
  static constexpr std::size_t kMost = 4096;          // names

  /// What is known of a name; nothing: ask. While DNS is down nobody waits for it again.
  /// @param refresh  set if it is to be asked beside that, and learn() told
  std::optional<Result<Addresses>> find(const std::string& name, TimePoint now, bool& refresh);
  /// Takes in what DNS said.
  /// @param stale  set if the result is an earlier answer, because DNS cannot say now
  /// @return what to go by
  Result<Addresses> learn(const std::string& name, Result<Addresses> answer, TimePoint now,
                          bool& stale);

 private:
  struct Entry {
    Addresses addresses;
    TimePoint answered{};
    std::optional<Error> failure;  // the last question's
    TimePoint failed{};
    bool is_stale(TimePoint now) const noexcept {
      return addresses.empty() || now - answered >= kStale;
    }
  };
  std::unordered_map<std::string, Entry> entries_;
};

}  // namespace postern::auth
