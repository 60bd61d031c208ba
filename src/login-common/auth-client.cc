#include "login-common/auth-client.h"

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>
#include <variant>

#include "lib/log.h"
#include "wire/auth-request.h"

namespace postern::login {

using namespace std::chrono_literals;

AuthClient::AuthClient(io::Loop& loop, Connect connect, std::string name)
    : loop_(loop),
      connect_(std::move(connect)),
      name_(std::move(name)),
      alive_(std::make_shared<bool>(true)),
      buffer_{} {
  flush_.start(loop_, io::Callback<>::to<&AuthClient::on_flush>(*this));
  retry_.start(loop_, io::Callback<>::to<&AuthClient::on_retry>(*this));
  handshake_timer_.start(loop_, io::Callback<>::to<&AuthClient::on_retry>(*this));
  sweep_timer_.start(loop_, io::Callback<>::to<&AuthClient::on_sweep>(*this));
}

AuthClient::~AuthClient() {
  *alive_ = false;
  watch_.stop();
  OPENSSL_cleanse(buffer_.data(), buffer_.size());
}

void AuthClient::on_change(std::function<void()> ready, std::function<void()> broken) {
  on_ready_ = std::move(ready);
  on_broken_ = std::move(broken);
}

void AuthClient::start() {
  if (std::exchange(started_, true)) return;
  connect();
}

void AuthClient::stop() noexcept {
  if (!open_.empty()) return;
  ++generation_;  // what a connect() still brings is closed
  state_ = State::idle;
  watch_.stop();
  fd_.reset();
  out_.clear();
  retry_.cancel();
  handshake_timer_.cancel();
  flush_.cancel();
}

void AuthClient::connect() {
  state_ = State::connecting;
  const std::uint64_t generation = ++generation_;
  connect_([this, generation, alive = alive_](Result<UniqueFd> fd) {
    if (*alive && generation == generation_) on_connected(std::move(fd));
  });
  // The master may be slow to answer; asking again is the cure.
  handshake_timer_.set(kHandshakeTimeout);
}

void AuthClient::on_connected(Result<UniqueFd> fd) {
  if (!fd.ok()) {
    handshake_timer_.cancel();
    state_ = State::idle;
    if (!std::exchange(failure_logged_, true)) {
      log::error("auth-client: conn unix:{}: cannot connect: {}", name_, fd.error().text);
    }
    retry_.set(back_off_);
    back_off_ = std::min(2 * back_off_, kLastBackOff);
    return;
  }
  state_ = State::handshake;
  fd_ = std::move(fd).value();
  got_version_ = got_pid_ = false;
  offered_.clear();
  reader_.reset();
  out_.clear();
  wire::append_auth_hello(static_cast<std::uint32_t>(::getpid()), out_);
  watch_.start(loop_, fd_.get(), io::Callback<unsigned>::to<&AuthClient::on_ready>(*this));
  watch_.want(io::FdWatch::kRead);
  queue_flush();
}

/// Time to connect again, or the handshake took too long.
void AuthClient::on_retry() noexcept {
  if (state_ == State::idle) return connect();
  if (state_ == State::connecting) {
    ++generation_;
    on_connected(Error{ETIMEDOUT, "no answer in 30 seconds"});
  } else if (state_ == State::handshake) {
    drop("Timeout waiting for handshake");
  }
}

void AuthClient::on_ready(unsigned what) noexcept {
  if ((what & io::FdWatch::kWrite) != 0) write();
  if (fd_ && (what & (io::FdWatch::kRead | io::FdWatch::kHangUp)) != 0) read();
}

void AuthClient::read() {
  const ssize_t n = ::recv(fd_.get(), buffer_.data(), buffer_.size(), MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n < 0) return drop(std::generic_category().message(errno));
  if (n == 0) return drop("EOF");
  std::string_view input(buffer_.data(), static_cast<std::size_t>(n));
  const std::uint64_t generation = generation_;
  bool going_on = true;
  while (going_on) {
    const auto event = reader_.next(input);
    if (event == wire::AuthReplyReader::Event::more) break;
    if (event == wire::AuthReplyReader::Event::too_long) {
      drop("it sent a line that does not end");
      break;
    }
    // A listener may have made us close: then the rest is of no connection.
    going_on = take(reader_.line()) && generation == generation_;
  }
  OPENSSL_cleanse(buffer_.data(), static_cast<std::size_t>(n));
}

/// False once the connection is closed.
bool AuthClient::take(std::string_view line) {
  Result<wire::AuthReply> reply = wire::parse_auth_reply(line);
  if (!reply.ok()) {
    drop(fmt::format("it sent what is not the protocol: {}", reply.error().text));
    return false;
  }
  return state_ == State::ready ? handle(reply.value()) : handshake(reply.value());
}

bool AuthClient::handshake(wire::AuthReply& reply) {
  if (const auto* version = std::get_if<wire::AuthServerVersion>(&reply)) {
    got_version_ = version->major == 1;
    if (got_version_) return true;
    drop("Authentication server not compatible with this client (mixed old and new binaries?)");
    return false;
  }
  if (std::holds_alternative<wire::AuthReplyUnknown>(reply)) return true;
  if (!got_version_) {
    drop("it did not begin with VERSION");
    return false;
  }
  if (auto* mech = std::get_if<wire::AuthServerMech>(&reply)) {
    if (offered_.size() >= wire::kMaxAuthMechanisms) {
      drop("it offers too many mechanisms");
      return false;
    }
    Mechanism offered;
    offered.name = std::move(mech->name);
    offered.plaintext = mech->plaintext;
    offered.private_use = mech->private_use;
    offered.anonymous = mech->anonymous;
    offered_.push_back(std::move(offered));
    return true;
  }
  if (const auto* pid = std::get_if<wire::AuthServerPid>(&reply)) {
    server_.pid = pid->pid;
    got_pid_ = true;
    return true;
  }
  if (const auto* connection = std::get_if<wire::AuthServerCuid>(&reply)) {
    server_.connection = connection->id;
    return true;
  }
  // For handing over, which is not needed here.
  if (std::holds_alternative<wire::AuthServerCookie>(reply)) return true;
  if (std::holds_alternative<wire::AuthServerDone>(reply)) return become_ready();
  drop("it answered before the handshake was done");
  return false;
}

bool AuthClient::become_ready() {
  if (!got_pid_ || offered_.empty()) {
    drop("its handshake lacks SPID or MECH");
    return false;
  }
  handshake_timer_.cancel();
  state_ = State::ready;
  was_ready_ = true;
  failure_logged_ = false;
  back_off_ = kFirstBackOff;
  mechanisms_.swap(offered_);
  offered_.clear();
  std::vector<std::uint32_t> waiting;
  for (const auto& [id, open] : open_) {
    if (!open.unsent.empty()) waiting.push_back(id);
  }
  std::sort(waiting.begin(), waiting.end());
  for (const std::uint32_t id : waiting) {
    Open& open = open_[id];
    out_.append(open.unsent.view());
    open.unsent.clear();
  }
  if (!waiting.empty()) queue_flush();
  const std::uint64_t generation = generation_;
  if (on_ready_) on_ready_();
  return generation == generation_;
}

bool AuthClient::handle(wire::AuthReply& reply) {
  // What it says about requests we do not know is about those we cancelled.
  if (auto* more = std::get_if<wire::AuthReplyContinue>(&reply)) {
    const auto found = open_.find(more->id);
    if (found == open_.end() || !found->second.unsent.empty()) return true;
    found->second.deadline = loop_.now() + kRequestTimeout;
    found->second.listener->on_auth_continue(more->base64);
    return true;
  }
  if (auto* ok = std::get_if<wire::AuthReplyOk>(&reply)) {
    const auto found = open_.find(ok->id);
    if (found == open_.end() || !found->second.unsent.empty()) return true;
    AuthListener* const listener = found->second.listener;
    open_.erase(found);
    listener->on_auth_ok(std::move(*ok));
    return true;
  }
  if (auto* fail = std::get_if<wire::AuthReplyFail>(&reply)) {
    const auto found = open_.find(fail->id);
    if (found == open_.end() || !found->second.unsent.empty()) return true;
    if (!fail->broken.empty()) {
      log::error("auth-client: conn unix:{}: request {} failed: it answered {}", name_, fail->id,
                 fail->broken);
      release(fail->id);
    }
    AuthListener* const listener = found->second.listener;
    open_.erase(found);
    listener->on_auth_fail(std::move(*fail));
    return true;
  }
  if (std::holds_alternative<wire::AuthReplyUnknown>(reply)) return true;
  drop("it began the handshake again");
  return false;
}

Result<std::uint32_t> AuthClient::request(std::string_view mech, const wire::AuthRequestInfo& info,
                                          const std::optional<Secret>& initial,
                                          AuthListener& listener) {
  if (open_.size() >= kMaxOpen || out_.size() > kMaxUnsent) {
    return Error{EAGAIN, "Too many authentications are waiting for the auth process"};
  }
  do {
    ++last_id_;
  } while (last_id_ == 0 || open_.contains(last_id_));
  const std::uint32_t id = last_id_;
  WipingBuffer line;
  wire::append_auth_request(id, mech, info, initial, line);
  if (line.size() > wire::kMaxAuthLine) {
    return Error{EMSGSIZE, "The authentication with its forwarded fields is too long for auth"};
  }
  Open& open = open_[id];
  open.listener = &listener;
  open.started = loop_.now();
  open.deadline = open.started + kRequestTimeout;
  if (state_ == State::ready) {
    out_.append(line.view());
    queue_flush();
  } else {
    open.unsent = std::move(line);
  }
  arm_sweep();
  return id;
}

void AuthClient::respond(std::uint32_t id, const Secret& response) {
  const auto found = open_.find(id);
  if (found == open_.end() || state_ != State::ready) return;  // lost: being told
  found->second.deadline = loop_.now() + kRequestTimeout;
  wire::append_auth_continue(id, response.reveal(), out_);
  queue_flush();
}

void AuthClient::cancel(std::uint32_t id) {
  const auto found = open_.find(id);
  if (found == open_.end()) return;
  const bool sent = found->second.unsent.empty();
  open_.erase(found);
  if (sent) release(id);
}

void AuthClient::release(std::uint32_t id) {
  if (state_ != State::ready) return;
  wire::append_auth_cancel(id, out_);
  queue_flush();
}

void AuthClient::on_flush() noexcept {
  write();
}

void AuthClient::write() {
  if (!fd_ || out_.empty()) return;
  const ssize_t n = ::send(fd_.get(), out_.view().data(), out_.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  if (n < 0 && errno != EAGAIN && errno != EINTR) {
    return drop(std::generic_category().message(errno));
  }
  if (n > 0) out_.consume(static_cast<std::size_t>(n));
  if (out_.size() > kMaxUnsent) return drop("it does not read");
  watch_.want(out_.empty() ? io::FdWatch::kRead : io::FdWatch::kRead | io::FdWatch::kWrite);
}

void AuthClient::drop(std::string_view why) {
  const bool broken = !was_ready_;
  watch_.stop();
  fd_.reset();
  out_.clear();
  reader_.reset();
  handshake_timer_.cancel();
  flush_.cancel();
  state_ = State::idle;
  ++generation_;
  retry_.set(back_off_);
  back_off_ = std::min(2 * back_off_, kLastBackOff);
  fail_sent(why);
  if (broken && on_broken_) on_broken_();
}

/// Every request that auth has seen fails; what it has not seen waits for the next connection.
void AuthClient::fail_sent(std::string_view why) {
  std::vector<std::uint32_t> sent;
  io::TimePoint oldest = loop_.now();
  for (const auto& [id, open] : open_) {
    if (!open.unsent.empty()) continue;
    sent.push_back(id);
    oldest = std::min(oldest, open.started);
  }
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(loop_.now() - oldest);
  log::warning(
      "auth-client: conn unix:{}: Auth connection closed with {} pending requests (max {} secs, "
      "pid={}, {})",
      name_, sent.size(), seconds.count(), server_.pid, why);
  std::sort(sent.begin(), sent.end());
  for (const std::uint32_t id : sent) {
    const auto found = open_.find(id);
    // One listener's answer may be to cancel another's request.
    if (found == open_.end() || !found->second.unsent.empty()) continue;
    AuthListener* const listener = found->second.listener;
    open_.erase(found);
    listener->on_auth_lost();
  }
}

void AuthClient::arm_sweep() {
  if (!sweep_timer_.armed()) sweep_timer_.set(1s);
}

void AuthClient::on_sweep() noexcept {
  sweep(loop_.now());
  if (!open_.empty()) arm_sweep();
}

void AuthClient::sweep(io::TimePoint now) {
  std::vector<std::uint32_t> overdue;
  for (const auto& [id, open] : open_) {
    if (open.deadline <= now) overdue.push_back(id);
  }
  for (const std::uint32_t id : overdue) {
    const auto found = open_.find(id);
    if (found == open_.end() || found->second.deadline > now) continue;
    AuthListener* const listener = found->second.listener;
    cancel(id);
    log::warning("auth-client: conn unix:{}: request {} timed out, pid={}", name_, id, server_.pid);
    listener->on_auth_lost();
  }
}

}  // namespace postern::login
