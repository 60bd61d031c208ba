#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "master/service-machine.h"

/// How much of a service's room is used, for `service status` and for a warning before it is full.
namespace postern::master {

struct Usage {
  std::uint64_t clients = 0;       // before login
  std::uint64_t client_slots = 0;  // process_limit × clients of a process
  std::uint64_t relaying = 0;      // sessions after login
  std::uint64_t sessions = 0;      // both
  std::uint64_t max_sessions = 0;  // 0: nobody said
  std::uint64_t processes = 0;
  std::uint64_t process_slots = 0;  // with those that only relay

  /// Of what is fullest, 0 to 100 and above.
  unsigned percent() const noexcept;
};

Usage usage_of(const std::map<ProcessId, ProcessRecord>& processes, const ServiceLimits& limits);

/// "service(imap-login): 82% of its room for clients is used (82 of 100; process_limit=100,
/// client_limit=1)" once 80 % of something are reached; empty below, and where there is so little
/// room that 80 % mean nothing.
std::string usage_warning(const Usage& usage, const ServiceLimits& limits);

inline constexpr unsigned kWarnPercent = 80;
inline constexpr std::chrono::minutes kWarnOfUsageEvery{1};

}  // namespace postern::master
