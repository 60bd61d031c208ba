#include "login-common/backend-record.h"

#include <algorithm>
#include <cstdint>

namespace postern::login {

void BackendRecord::on_start(io::TimePoint now) noexcept {
  ++attempts;
  if (last_success == io::TimePoint{}) last_success = now - std::chrono::seconds(1);
}

void BackendRecord::on_success(io::TimePoint now) noexcept {
  last_success = now;
}

void BackendRecord::on_failure(io::TimePoint now, io::TimePoint started) noexcept {
  if (last_success <= started) last_failure = now;
}

bool BackendRecord::is_down(std::chrono::milliseconds after) const noexcept {
  return after.count() > 0 && last_failure > last_success && last_failure - last_success > after &&
         attempts > 1;
}

std::chrono::milliseconds BackendRecord::on_disconnect(io::TimePoint now,
                                                       std::chrono::seconds within,
                                                       std::chrono::milliseconds jitter) noexcept {
  using std::chrono::milliseconds;
  if (disconnects == 0) disconnects_start = now + jitter;
  ++disconnects;
  const auto seconds = static_cast<std::uint64_t>(std::max<std::int64_t>(within.count(), 1));
  const std::uint64_t clients = (sessions > 0 ? sessions - 1 : 0) + std::uint64_t{disconnects};
  const std::uint64_t per_second = (clients + seconds - 1) / seconds;
  if (disconnects <= per_second && lingering == 0) return milliseconds(0);
  const auto offset = milliseconds(100 * (seconds * disconnects * 10 / clients));
  const auto wait = std::chrono::duration_cast<milliseconds>(disconnects_start + offset - now);
  return std::max(wait, milliseconds(0));
}

BackendRecord& BackendRecords::get(const Endpoint& backend) {
  const auto found = records_.find(backend);
  if (found != records_.end()) return found->second;
  if (records_.size() >= kMaxIdle) {
    std::erase_if(records_, [](const auto& entry) {
      const BackendRecord& record = entry.second;
      return record.attempts == 0 && record.sessions == 0 && record.lingering == 0;
    });
  }
  return records_[backend];
}

}  // namespace postern::login
