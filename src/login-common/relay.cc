#include "login-common/relay.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "lib/check.h"
#include "login-common/relay-session.h"

namespace postern::login {
namespace {

constexpr io::Milliseconds kSweep{15'000};        // while there are sessions
constexpr io::Milliseconds kClosingSweep{1'000};  // while any is half closed
constexpr io::Milliseconds kShortest{250};        // for a short idle limit

}  // namespace

Relay::Relay(io::Loop& loop, std::string_view service)
    : loop_(loop),
      service_(service),
      buffer_(std::make_unique<std::array<char, kBufferBytes>>()),
      refresh_notes_(loop),
      sweep_every_(kSweep) {
  timer_.start(loop_, io::Callback<>::to<&Relay::on_sweep>(*this));
  linger_timer_.start(loop_, io::Callback<>::to<&Relay::on_linger>(*this));
}

Relay::~Relay() = default;

void Relay::start(RelayStart start) {
  POSTERN_CHECK(start.client && start.backend && start.settings);
  const io::Milliseconds idle = start.settings->proxy_idle_timeout;
  if (idle.count() > 0) sweep_every_ = std::min(sweep_every_, std::max(idle / 4, kShortest));
  const std::uint64_t id = next_id_++;
  if (start.refresh > 0) {
    refresh_notes_.add(id, start.identity.user, start.refresh,
                       start.settings->login_proxy_notify_path);
  }
  sessions_.push_back(
      std::make_unique<RelaySession>(*this, std::move(start), id, sessions_.size()));
  RelaySession& session = *sessions_.back();
  arm_sweep();
  session.begin();  // may remove it again
  if (changed_) changed_();
}

void Relay::remove(RelaySession& session) {
  const std::size_t at = session.index();
  POSTERN_CHECK(at < sessions_.size() && sessions_[at].get() == &session);
  refresh_notes_.remove(session.id());
  if (at + 1 != sessions_.size()) {
    std::swap(sessions_[at], sessions_.back());
    sessions_[at]->set_index(at);
  }
  std::unique_ptr<RelaySession> gone = std::move(sessions_.back());
  sessions_.pop_back();
  loop_.retire(std::move(gone));
  if (changed_) changed_();
}

std::size_t Relay::waiting() const noexcept {
  std::size_t out = 0;
  for (const auto& session : sessions_) out += session->waiting();
  return out;
}

void Relay::for_each(const std::function<void(const SessionRow&)>& visit) const {
  for (const auto& session : sessions_) {
    if (!session->lingering()) visit(session->row());
  }
}

unsigned Relay::kick(const std::function<bool(const SessionRow&)>& match, std::string_view reason,
                     bool spread) {
  unsigned kicked = 0;
  // Backwards: removal moves the last one into the gap, and that one has been looked at.
  for (std::size_t i = sessions_.size(); i-- > 0;) {
    if (i >= sessions_.size() || !match(sessions_[i]->row())) continue;
    if (!sessions_[i]->lingering()) ++kicked;
    sessions_[i]->kick(reason, spread);
  }
  return kicked;
}

void Relay::sweep() noexcept {
  const io::TimePoint now = loop_.now();
  for (std::size_t i = sessions_.size(); i-- > 0;) {
    if (i < sessions_.size()) sessions_[i]->sweep(now);
  }
}

/// Ends the sessions whose clients have waited long enough.
void Relay::on_linger() noexcept {
  const io::TimePoint now = loop_.now();
  for (std::size_t i = sessions_.size(); i-- > 0;) {
    if (i < sessions_.size() && sessions_[i]->lingering() && sessions_[i]->due() <= now) {
      sessions_[i]->end();
    }
  }
  for (const auto& session : sessions_) {
    if (session->lingering()) arm_linger(session->due());
  }
}

void Relay::arm_linger(io::TimePoint due) noexcept {
  if (linger_timer_.armed() && next_linger_ <= due) return;
  next_linger_ = due;
  const auto wait = std::chrono::ceil<io::Milliseconds>(due - loop_.now());
  linger_timer_.set(std::max(wait, io::Milliseconds(0)));
}

void Relay::on_sweep() noexcept {
  sweeping_fast_ = false;
  sweep();
  arm_sweep();
}

void Relay::arm_sweep() noexcept {
  if (sessions_.empty()) return;
  const bool fast = closing_ > 0 && kClosingSweep < sweep_every_;
  if (timer_.armed() && (!fast || sweeping_fast_)) return;
  sweeping_fast_ = fast;
  timer_.set(fast ? kClosingSweep : sweep_every_);
}

}  // namespace postern::login
