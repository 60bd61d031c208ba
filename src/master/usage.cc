#include "master/usage.h"

#include <fmt/format.h>

#include <algorithm>

namespace postern::master {
namespace {

constexpr std::uint64_t kLeastRoom = 10;  // below, one more client is a tenth of everything

unsigned percent_of(std::uint64_t used, std::uint64_t of) noexcept {
  return of == 0 ? 0 : static_cast<unsigned>(std::min<std::uint64_t>(used * 100 / of, 999));
}

bool is_high(std::uint64_t used, std::uint64_t of) noexcept {
  return of >= kLeastRoom && percent_of(used, of) >= kWarnPercent;
}

}  // namespace

unsigned Usage::percent() const noexcept {
  return std::max({percent_of(clients, client_slots), percent_of(sessions, max_sessions),
                   percent_of(processes, process_slots)});
}

Usage usage_of(const std::map<ProcessId, ProcessRecord>& processes, const ServiceLimits& limits) {
  Usage out;
  const unsigned each = limits.service_count == 0
                            ? limits.client_limit
                            : std::min(limits.client_limit, limits.service_count);
  out.client_slots = std::uint64_t{limits.process_limit} * each;
  out.max_sessions = limits.max_sessions;
  out.process_slots = std::uint64_t{limits.process_limit} + limits.relay_limit;
  for (const auto& [id, process] : processes) {
    out.clients += process.clients;
    out.relaying += process.relaying;
    if (!process.is_template) ++out.processes;
  }
  out.sessions = out.clients + out.relaying;
  return out;
}

std::string usage_warning(const Usage& usage, const ServiceLimits& limits) {
  const auto line = [&limits](std::string_view what, std::uint64_t used, std::uint64_t of,
                              const std::string& which) {
    return fmt::format("service({}): {}% of its room for {} is used ({} of {}; {})", limits.name,
                       percent_of(used, of), what, used, of, which);
  };
  if (is_high(usage.clients, usage.client_slots)) {
    return line("clients", usage.clients, usage.client_slots,
                fmt::format("process_limit={}, client_limit={}", limits.process_limit,
                            usage.client_slots / std::max(limits.process_limit, 1U)));
  }
  if (is_high(usage.sessions, usage.max_sessions)) {
    return line("sessions", usage.sessions, usage.max_sessions,
                fmt::format("max_sessions={}", usage.max_sessions));
  }
  if (is_high(usage.processes, usage.process_slots)) {
    return line("processes", usage.processes, usage.process_slots,
                fmt::format("process_limit={}, and {} that only relay", limits.process_limit,
                            limits.relay_limit));
  }
  return {};
}

}  // namespace postern::master
