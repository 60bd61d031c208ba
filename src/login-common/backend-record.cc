#include "login-common/backend-record.h"

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

BackendRecord& BackendRecords::get(const Endpoint& backend) {
  const auto found = records_.find(backend);
  if (found != records_.end()) return found->second;
  if (records_.size() >= kMaxIdle) {
    std::erase_if(records_, [](const auto& entry) {
      return entry.second.attempts == 0 && entry.second.sessions == 0;
    });
  }
  return records_[backend];
}

}  // namespace postern::login
