#pragma once

#include <chrono>
#include <cstddef>
#include <set>

#include "auth/environment.h"
#include "lib/ip.h"

namespace postern::auth {

/// Addresses that had no penalty a moment ago, so that a mail client that opens five connections at
/// once costs anvil one question. Only this process raises penalties and it forgets the address
/// when it does; another auth process does so as well only around a reload, hence the short life.
class CleanAddresses {
 public:
  static constexpr std::chrono::seconds kLife{1};
  static constexpr std::size_t kMost = 4096;

  /// @param key  the address, or the network that is counted for it
  bool contains(const IpAddress& key, TimePoint now) const noexcept {
    return now - since_ < kLife && keys_.contains(key);
  }
  void add(const IpAddress& key, TimePoint now) {
    if (now - since_ >= kLife || keys_.size() >= kMost) {
      keys_.clear();
      since_ = now;
    }
    keys_.insert(key);
  }
  void remove(const IpAddress& key) noexcept { keys_.erase(key); }

 private:
  std::set<IpAddress> keys_;
  TimePoint since_{};  // of the oldest: all are forgotten together
};

}  // namespace postern::auth
