#include "config/session-limits.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>

namespace postern::config {
namespace {

constexpr std::uint64_t divide_up(std::uint64_t n, std::uint64_t by) noexcept {
  return (n + by - 1) / by;
}

}  // namespace

HostFacts host_facts() {
  HostFacts out;
  const long processors = ::sysconf(_SC_NPROCESSORS_ONLN);
  if (processors > 0) out.processors = static_cast<unsigned>(processors);
  rlimit limit{};
  // The master raises the soft limit to the hard one.
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    out.descriptors = std::min<std::uint64_t>(limit.rlim_max, kMostDescriptors);
  }
  return out;
}

void apply_max_sessions(ServiceSettings& service, const HostFacts& host, bool own_memory) {
  const std::uint64_t sessions = service.max_sessions;
  if (sessions == 0) return;
  // A session that is proxied has two sockets.
  std::uint64_t each =
      host.descriptors > kOwnDescriptors + 2 ? (host.descriptors - kOwnDescriptors) / 2 : 1;
  if (service.client_limit > 0) each = std::min<std::uint64_t>(each, service.client_limit);
  if (service.service_count > 0) each = std::min<std::uint64_t>(each, service.service_count);
  if (service.process_limit == 0) {
    std::uint64_t processes = divide_up(sessions, each);
    processes = std::max<std::uint64_t>(processes, service.process_min_avail);
    processes =
        std::max<std::uint64_t>(processes, std::min<std::uint64_t>(host.processors, sessions));
    service.process_limit = static_cast<unsigned>(processes);
  }
  if (service.client_limit == 0) {
    service.client_limit = static_cast<unsigned>(divide_up(sessions, service.process_limit));
  }
  if (own_memory || service.vsz_limit == 0) return;
  const std::uint64_t most = service.service_count == 1 ? 1 : service.client_limit;
  service.vsz_limit = std::max(service.vsz_limit, kProcessBytes + most * kSessionBytes);
}

}  // namespace postern::config
