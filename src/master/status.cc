#include "master/status.h"

#include "master/usage.h"

#include <algorithm>
#include <chrono>
#include <ctime>

namespace postern::master {
namespace {

bool wanted(const std::vector<std::string>& names, const std::string& name) {
  return names.empty() || std::find(names.begin(), names.end(), name) != names.end();
}

/// A time of the steady clock as the wall clock would have shown it.
std::string unix_time(const std::optional<TimePoint>& when) {
  if (!when) return "0";
  const auto ago = std::chrono::duration_cast<std::chrono::seconds>(io::Clock::now() - *when);
  return std::to_string(std::time(nullptr) - ago.count());
}

std::string number(std::uint64_t value) {
  return std::to_string(value);
}

}  // namespace

void service_rows(Supervisor& supervisor, const std::vector<std::string>& names,
                  const std::function<void(const wire::ControlFields&)>& emit) {
  supervisor.for_each_service([&](const ServiceRun& run, unsigned generation) {
    if (!wanted(names, run.name())) return;
    const ServiceMachine& machine = run.machine();
    const Usage usage = usage_of(machine.processes(), machine.limits());
    const auto throttle = std::chrono::duration_cast<std::chrono::seconds>(machine.throttle());
    emit({{"name", run.name()},
          {"generation", number(generation)},
          {"state", machine.draining() ? "draining" : "running"},
          {"process_count", number(machine.processes().size())},
          {"process_avail", number(machine.with_room())},
          {"process_limit", number(machine.limits().process_limit)},
          {"client_limit", number(machine.limits().client_limit)},
          {"clients", number(usage.clients)},
          {"relaying", number(usage.relaying)},
          {"max_sessions", number(usage.max_sessions)},
          {"used_percent", number(usage.percent())},
          {"throttle_secs", std::to_string(throttle.count())},
          {"failures", number(machine.failures())},
          {"process_total", number(machine.starts())}});
  });
}

void process_rows(Supervisor& supervisor, const std::vector<std::string>& names,
                  const std::function<void(const wire::ControlFields&)>& emit) {
  supervisor.for_each_service([&](ServiceRun& run, unsigned generation) {
    if (!wanted(names, run.name())) return;
    for (const auto& [id, record] : run.machine().processes()) {
      const Child* child = run.find(id);
      const std::string state =
          record.is_template ? "template" : std::string(phase_name(record.phase));
      emit({{"name", run.name()},
            {"pid", std::to_string(child != nullptr ? child->pid() : record.pid)},
            {"generation", number(generation)},
            {"state", state},
            {"available_count", number(record.available)},
            {"clients", number(record.clients)},
            {"relaying", number(record.relaying)},
            {"started", unix_time(record.started)},
            {"idle_start", unix_time(record.idle_since)},
            {"last_status_update", unix_time(record.last_status)},
            {"last_kill_sent", unix_time(record.killed)}});
    }
  });
}

void certificate_rows(Supervisor& supervisor,
                      const std::function<void(const wire::ControlFields&)>& emit) {
  const auto iso = [](std::chrono::system_clock::time_point time) {
    std::string text = utc_text(time).substr(0, 19);
    if (text.size() > 10) text[10] = 'T';
    return text + 'Z';
  };
  const auto now = std::chrono::system_clock::now();
  const auto ahead = supervisor.configuration().master().ssl_expiry_warning;
  std::vector<CertificateRow> rows = supervisor.certificates();
  std::stable_sort(rows.begin(), rows.end(),
                   [](const auto& a, const auto& b) { return a.not_after < b.not_after; });
  for (const CertificateRow& row : rows) {
    const auto left = std::chrono::duration_cast<std::chrono::hours>(row.not_after - now);
    std::string names;
    for (const std::string& name : row.names) names.append(names.empty() ? "" : " ").append(name);
    const char* state = row.not_after <= now          ? "expired"
                        : row.not_before > now        ? "not-yet"
                        : row.not_after - now < ahead ? "expires"
                                                      : "valid";
    emit({{"names", names},
          {"state", state},
          {"days", std::to_string(row.not_after <= now ? 0 : left.count() / 24)},
          {"not_after", iso(row.not_after)},
          {"not_before", iso(row.not_before)},
          {"key", row.key},
          {"issuer", row.issuer},
          {"filter", row.where},
          {"file", row.file}});
  }
}

}  // namespace postern::master
