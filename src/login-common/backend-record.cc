#include "login-common/backend-record.h"

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <utility>

#include "lib/text.h"
#include "wire/channel.h"

namespace postern::login {
namespace {

using Kind = wire::BackendNewsKind;

constexpr std::chrono::milliseconds kDay{24 * 3600 * 1000};
constexpr std::size_t kMaxText = 200;  // bytes of a failure's text

}  // namespace

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
      return record.attempts == 0 && record.sessions == 0 && record.lingering == 0 &&
             record.health == Kind::up;
    });
  }
  BackendRecord& made = records_[backend];
  made.backend = backend;
  made.disabled = is_disabled(backend);
  return made;
}

void BackendRecords::for_each(const std::function<void(const BackendRecord&)>& visit) const {
  for (const auto& [backend, record] : records_) visit(record);
}

void BackendRecords::enter(BackendRecord& record) {
  ++record.attempts;
  ++record.fresh;
  if (record.last_success == io::TimePoint{}) {
    record.last_success = loop_.now() - std::chrono::seconds(1);
  }
  if (attempts_++ == 0) tick_.set(kSlow);
}

void BackendRecords::leave(BackendRecord& record) noexcept {
  if (--record.attempts == 0 && record.slow > 0) tell_slow(record, 0);
  if (--attempts_ == 0) tick_.cancel();
}

void BackendRecords::worked(BackendRecord& record) {
  record.last_success = loop_.now();
  if (!record.tell_success) return;
  // Once is enough: what comes of it is told to everybody.
  record.tell_success = false;
  if (record.health != Kind::full) record.health = Kind::up;
  tell(wire::kBackendWorked, record);
}

void BackendRecords::failed(BackendRecord& record, io::TimePoint began,
                            std::chrono::milliseconds patience, std::string_view text) {
  if (record.last_success > began) return;
  const auto ago = [this](io::TimePoint then) {
    const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(loop_.now() - then);
    return std::to_string(std::clamp(ms, std::chrono::milliseconds(0), kDay).count());
  };
  tell(wire::kBackendFailed, record,
       {ago(began), ago(record.last_success), std::to_string(std::min(patience, kDay).count()),
        std::string(text.substr(0, kMaxText))});
}

void BackendRecords::tell(std::string_view verb, BackendRecord& record,
                          std::vector<std::string> more) {
  if (!tell_) return;
  std::vector<std::string> fields{record.backend.ip.text(), std::to_string(record.backend.port)};
  std::move(more.begin(), more.end(), std::back_inserter(fields));
  tell_(verb, fields);
}

void BackendRecords::tell_slow(BackendRecord& record, unsigned count) {
  record.slow = count;
  tell(wire::kBackendSlow, record, {std::to_string(count)});
}

/// Of the attempts that were begun before the last tick, so many are still there at least.
void BackendRecords::on_tick() noexcept {
  for (auto& [backend, record] : records_) {
    const unsigned old = record.attempts > record.fresh ? record.attempts - record.fresh : 0;
    record.fresh = 0;
    if (old != record.slow) tell_slow(record, old);
  }
  if (attempts_ > 0) tick_.set(kSlow);
}

std::uint64_t BackendRecords::ask_probe(BackendRecord& record, std::function<void(bool)> answer) {
  const std::uint64_t id = ++last_question_;
  questions_.emplace(id, Question{record.backend, std::move(answer)});
  if (tell_) {
    tell_(wire::kBackendProbe,
          {std::to_string(id), record.backend.ip.text(), std::to_string(record.backend.port)});
  }
  return id;
}

bool BackendRecords::on_packet(std::string_view verb, const std::vector<std::string>& fields) {
  if (verb == wire::kBackends) return on_news(fields);
  return verb == wire::kProbe && on_probe(fields);
}

/// All or nothing.
bool BackendRecords::on_news(const std::vector<std::string>& fields) {
  std::vector<wire::BackendNews> all;
  for (const std::string& field : fields) {
    const auto news = wire::parse_backend_news(field);
    if (!news) return false;
    all.push_back(*news);
  }
  for (const wire::BackendNews& news : all) take(news);
  return true;
}

void BackendRecords::take(const wire::BackendNews& news) {
  if (news.kind == Kind::disabled || news.kind == Kind::enabled) return set_disabled(news);
  BackendRecord& record = get(news.backend);
  record.health = news.kind;
  record.tell_success = news.kind != Kind::up;
  record.success_known = news.last_success;
  record.no_probe_before = {};
}

void BackendRecords::set_disabled(const wire::BackendNews& news) {
  if (news.kind == Kind::disabled) {
    disabled_.insert(news.backend);
  } else {
    disabled_.erase(news.backend);
  }
  for (auto& [backend, record] : records_) record.disabled = is_disabled(backend);
}

bool BackendRecords::is_disabled(const Endpoint& backend) const {
  return disabled_.contains(backend) || disabled_.contains({backend.ip, 0});
}

bool BackendRecords::on_probe(const std::vector<std::string>& fields) {
  if (fields.size() != 3) return false;
  const auto id = decimal(fields[0], 1, UINT64_MAX);
  const auto yes = decimal(fields[1], 0, 1);
  const auto wait = decimal(fields[2], 0, 60'000);
  if (!id || !yes || !wait) return false;
  const auto found = questions_.find(*id);
  if (found == questions_.end()) return true;  // whoever asked has left
  const Question question = std::move(found->second);
  questions_.erase(found);
  if (*yes == 0) {
    get(question.backend).no_probe_before =
        loop_.now() + std::chrono::milliseconds(static_cast<std::int64_t>(*wait));
  }
  question.answer(*yes == 1);
  return true;
}

}  // namespace postern::login
