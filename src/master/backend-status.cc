#include "master/backend-status.h"

#include <optional>
#include <string>

#include "lib/text.h"

namespace postern::master {

void BackendStatus::add(std::string_view protocol, const RowMessage& row) {
  const auto number = [&row](std::string_view name, std::uint64_t max) {
    return decimal(wire::control_field(row.fields, name), 0, max);
  };
  const auto ip = IpAddress::parse(wire::control_field(row.fields, "address"));
  const auto port = number("port", 65535);
  const auto pending = number("pending", UINT32_MAX);
  const auto sessions = number("sessions", UINT32_MAX);
  const auto logins = number("logins", INT64_MAX);
  if (!ip || !port || *port == 0 || !pending || !sessions || !logins) return;
  const BackendKey key{std::string(protocol), {*ip, static_cast<std::uint16_t>(*port)}};
  if (sums_.size() >= kMost && !sums_.contains(key)) return;
  Sums& sums = sums_[key];
  sums.pending += *pending;
  sums.sessions += *sessions;
  sums.logins += *logins;
}

void BackendStatus::rows(const BackendHealth& health, Moment at, const std::vector<Network>& only,
                         const std::function<void(const wire::ControlFields&)>& emit) const {
  std::map<BackendKey, BackendHealth::Row> all;
  for (BackendHealth::Row& row : health.rows(at)) all.emplace(row.key, std::move(row));
  for (const auto& [key, sums] : sums_) {
    if (!all.contains(key)) all.emplace(key, health.row(key, at));
  }
  const auto time = [](std::int64_t seconds) {
    return seconds > 0 ? std::to_string(seconds) : std::string();
  };
  for (const auto& [key, row] : all) {
    if (!only.empty() && !any_contains(only, key.backend.ip)) continue;
    // What is disabled and otherwise unknown has a row of its own, of every protocol.
    if (key.protocol.empty() && row.state != "disabled") continue;
    const auto found = sums_.find(key);
    const Sums sums = found == sums_.end() ? Sums{} : found->second;
    emit({{"address", key.backend.ip.text()},
          {"port", key.backend.port == 0 ? "*" : std::to_string(key.backend.port)},
          {"protocol", key.protocol.empty() ? "*" : key.protocol},
          {"state", row.state},
          {"since", time(row.since)},
          {"failures", std::to_string(row.failures)},
          {"pending", std::to_string(sums.pending)},
          {"sessions", std::to_string(sums.sessions)},
          {"logins", std::to_string(sums.logins)},
          {"failed", time(row.failed_at)},
          {"error", row.error}});
  }
}

}  // namespace postern::master
