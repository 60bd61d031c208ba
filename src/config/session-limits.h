#pragma once

#include <cstdint>

#include "config/settings.h"

/// From the one number an operator has in mind, the sessions a login service is to hold, to the
/// limits of its processes.
namespace postern::config {

/// What one process may use here.
struct HostFacts {
  unsigned processors = 1;
  std::uint64_t descriptors = 1024;  // of one process at most
};
HostFacts host_facts();

inline constexpr std::uint64_t kMostDescriptors = 65536;      // a login process never asks for more
inline constexpr std::uint64_t kOwnDescriptors = 64;          // of a process, for its own use
inline constexpr std::uint64_t kSessionBytes = 128UL * 1024;  // address space of a session
inline constexpr std::uint64_t kProcessBytes = 64UL * 1024 * 1024;  // and of a process without any

/// Fills in the limits of a service that are still 0, and raises vsz_limit if it is not 0, so that
/// `service.max_sessions` sessions fit, each logged in or not:
///   service_count = 1   process_limit = max_sessions, client_limit = 1
///   otherwise           process_limit = as many as there are processors, or more if that leaves
///                       one process more sessions than it has descriptors for (two each);
///                       client_limit = max_sessions / process_limit, rounded up
/// What is set already stays and counts in what follows from it. Nothing happens if max_sessions
/// is 0.
/// @param own_memory  vsz_limit was set by hand
void apply_max_sessions(ServiceSettings& service, const HostFacts& host, bool own_memory);

}  // namespace postern::config
