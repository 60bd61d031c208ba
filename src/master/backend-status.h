#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string_view>
#include <vector>

#include "lib/ip.h"
#include "master/backend-health.h"
#include "master/child-message.h"
#include "wire/control.h"

/// What posternctl's `proxy status` shows: what login processes have to do with each backend, added
/// up, beside what the master knows of it.
namespace postern::master {

class BackendStatus {
 public:
  static constexpr std::size_t kMost = 2 * BackendHealth::kMost;  // backends counted

  /// One row of a login process of `protocol`. One that is wrong is left out: whoever sends it can
  /// mislead about its own numbers only.
  void add(std::string_view protocol, const RowMessage& row);
  /// @param only  these addresses; empty: all
  /// @param emit  called for each backend, by protocol, address and port
  void rows(const BackendHealth& health, Moment at, const std::vector<Network>& only,
            const std::function<void(const wire::ControlFields&)>& emit) const;

 private:
  struct Sums {
    std::uint64_t pending = 0, sessions = 0, logins = 0;
  };
  std::map<BackendKey, Sums> sums_;
};

}  // namespace postern::master
