#include "login-common/proxy-attempt.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <utility>

#include "lib/check.h"
#include "lib/log.h"
#include "lib/text.h"

namespace postern::login {
namespace {

/// What stands before the reason of a failure in the log (spec: "Failure types").
std::string_view failure_prefix(FailureType type) noexcept {
  switch (type) {
    case FailureType::internal:
      return "Aborting due to internal error: ";
    case FailureType::remote:
    case FailureType::remote_config:
      return "Aborting due to remote server: ";
    case FailureType::protocol:
      return "Remote server sent invalid input: ";
    case FailureType::connect:
    case FailureType::internal_config:
    case FailureType::auth_replied:
    case FailureType::auth_not_replied:
    case FailureType::auth_tempfail:
      return "";
  }
  return "";
}

bool is_auth(FailureType type) noexcept {
  return type == FailureType::auth_replied || type == FailureType::auth_not_replied ||
         type == FailureType::auth_tempfail;
}

Outcome outcome_of(FailureType type) noexcept {
  switch (type) {
    case FailureType::connect:
    case FailureType::internal:
    case FailureType::remote:
    case FailureType::protocol:
      return Outcome::proxy_unavailable;
    case FailureType::internal_config:
    case FailureType::remote_config:
      return Outcome::proxy_misconfigured;
    case FailureType::auth_replied:
    case FailureType::auth_not_replied:
      return Outcome::wrong_credentials;
    case FailureType::auth_tempfail:
      return Outcome::temp_fail;
  }
  return Outcome::proxy_unavailable;
}

constexpr std::string_view kUnavailable = "Account is temporarily unavailable.";

}  // namespace

Attempt::Attempt(ProxyCoreImpl& core, ProxyClient client, std::function<void(ProxyVerdict)> done)
    : core_(core), client_(std::move(client)), done_(std::move(done)), started_(core.loop().now()) {
  POSTERN_CHECK(client_.settings != nullptr && done_);
  if (client_.connected == io::TimePoint{}) client_.connected = started_;
  timer_.start(core_.loop(), io::Callback<>::to<&Attempt::on_timer>(*this));
}

Attempt::~Attempt() {
  if (phase_ != Phase::over && phase_ != Phase::reporting && log::debug_enabled()) {
    log_line(log::Level::debug, proxy_prefix(user_, backend()),
             "Failed to connect to " + backend().ip.text());
  }
  leave_record();
  drop_connection();
}

void Attempt::begin(ProxyFields fields) {
  in_begin_ = true;
  user_ = fields.user;
  std::vector<Remark> remarks;
  Result<Destination> read =
      read_destination(std::move(fields), client_, core_.protocol(), remarks);
  for (const Remark& remark : remarks) log_line(remark.level, "", remark.text);
  const Status checked = read.ok() ? core_.guard().check(read.value(), client_) : read.error();
  if (!checked.ok()) {
    // These are said without the words that usually stand before an internal error.
    log_line(log::Level::error, proxy_prefix(user_), checked.error().text);
    failure_ = Failure{static_cast<FailureType>(checked.error().code), checked.error().text, {}};
    timer_.set(io::Milliseconds(0));
  } else {
    destination_ = std::move(read).value();
    deadline_ = started_ + destination_->timeout;
    connect();
  }
  in_begin_ = false;
}

std::string Attempt::state() const {
  switch (phase_) {
    case Phase::reporting:
      return "failed";
    case Phase::asking:
    case Phase::connecting:
      return "connecting";
    case Phase::pausing:
      return "reconnecting";
    case Phase::tls:
    case Phase::dialogue:
      return dialogue_ ? dialogue_->state() : "connecting";
    case Phase::over:
      return failure_ ? "failed" : "logged in";
  }
  return "";
}

std::string Attempt::dest_user() const {
  return destination_ ? destination_->target.user : std::string();
}

std::string Attempt::log_prefix() const {
  return destination_ ? proxy_prefix(user_, backend()) : proxy_prefix(user_);
}

void Attempt::on_timer() noexcept {
  switch (phase_) {
    case Phase::reporting:
      report();
      return;
    case Phase::pausing:
      ++reconnects_;
      address_ = 0;
      connect();
      return;
    case Phase::asking:
      on_probe(true);
      return;
    case Phase::connecting:
    case Phase::tls:
    case Phase::dialogue:
      if (!connected()) {
        connect_failed(ETIMEDOUT);
      } else {
        fail(FailureType::connect,
             fmt::format("Login timed out in state={} ({})", dialogue_->state(), where_text()));
      }
      return;
    case Phase::over:
      return;
  }
}

void Attempt::on_stream(unsigned events) noexcept {
  if (!stream_ || phase_ == Phase::over) return;
  if ((events & io::Stream::kTlsFailed) != 0) return on_tls_failed();
  if ((events & io::Stream::kTlsStarted) != 0) return on_tls_started();
  if ((events & io::Stream::kWritable) != 0) {
    if (phase_ == Phase::connecting) return on_connect_writable();
    flush();
    if (!stream_ || phase_ == Phase::over || phase_ == Phase::reporting) return;
  }
  if ((events & io::Stream::kReadable) != 0) on_readable();
}

void Attempt::on_readable() {
  auto& scratch = core_.scratch();
  const io::IoResult got = stream_->read(scratch.data(), scratch.size());
  switch (got.status) {
    case io::IoStatus::again:
      return;
    case io::IoStatus::ok:
      break;
    case io::IoStatus::closed:
      disconnected("Connection closed");
      return;
    case io::IoStatus::error: {
      // Nobody waited for the end of connect(): what it came to is read here.
      const int error = stream_->error_code();
      if (phase_ == Phase::connecting && error != ECONNRESET && error != EPIPE) {
        connect_failed(error);
        return;
      }
      disconnected(error == EPROTO
                       ? stream_->error()
                       : fmt::format("read(size={}) failed: {}", scratch.size(), stream_->error()));
      return;
    }
  }
  if (phase_ == Phase::connecting) {
    phase_ = Phase::dialogue;
    record_->on_connected();
    arm_connect_timer();
  }
  bytes_ += got.bytes;
  input_.append({scratch.data(), got.bytes});
  if (raw_log_) raw_log_->in({scratch.data(), got.bytes});
  read_lines();
}

void Attempt::read_lines() {
  constexpr std::size_t npos = std::string_view::npos;
  std::size_t end = 0;
  while ((end = input_.view().find('\n')) != npos) {
    std::string_view line = input_.view().substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.size() > BackendDialogue::kMaxLine) break;
    if (++lines_ > BackendDialogue::kMaxLines) {
      fail(FailureType::protocol, "Too many input lines");
      return;
    }
    // An answer that was there before the question is none (CVE-2011-0411 and its like).
    const bool early = early_ > 0;
    const std::string early_line = early ? log_safe_line(line) : std::string();
    early_ -= std::min(early_, end + 1);
    const std::size_t unsent = output_.size();
    const Then then = dialogue_->on_line(line, output_, to_client_);
    const bool wrote = output_.size() > unsent;
    if (wrote && raw_log_) raw_log_->out_commands(output_.view().substr(unsent));
    input_.consume(end + 1);
    if (const std::string remark = dialogue_->take_remark(); !remark.empty()) {
      log_line(log::Level::error, proxy_prefix(user_, backend()), remark);
    }
    if (early && then != Then::failed && (wrote || then != Then::read_line)) {
      fail(FailureType::protocol, "Answer before the command: " + early_line);
      return;
    }
    const bool untimely = !asked_ || !dialogue_->answers_are_tagged();
    if (then != Then::failed && wrote && untimely && !input_.empty()) {
      fail(
          FailureType::protocol,
          fmt::format("Answer before the {}command: {}", asked_ ? "" : "first ",
                      log_safe_line(input_.view().substr(0, input_.view().find_first_of("\r\n")))));
      return;
    }
    if (wrote) {
      asked_ = true;
      early_ = input_.size();
    }
    if (!follow(then)) return;
  }
  // The CR of a line whose LF is still to come may be one more.
  const bool long_line = input_.size() > BackendDialogue::kMaxLine + 1 || end != npos;
  if (long_line || bytes_ > BackendDialogue::kMaxBytes) {
    fail(FailureType::protocol, long_line ? "Too long input line" : "Too much input");
    return;
  }
  flush();
}

/// Does what the dialogue says. False: read no more lines now.
bool Attempt::follow(Then then) {
  switch (then) {
    case Then::read_line:
      return true;
    case Then::start_tls:
      if (!input_.empty()) {
        fail(FailureType::protocol, "Input behind the reply to STARTTLS");
        return false;
      }
      start_tls();
      return false;
    case Then::logged_in:
      logged_in();
      return false;
    case Then::failed: {
      const Failure failure = dialogue_->failure();
      std::string reply = failure.reply;
      if (failure.type == FailureType::auth_replied && !to_client_.empty()) {
        reply.insert(0, to_client_.view());
      }
      fail(failure.type, failure.reason, std::move(reply));
      return false;
    }
  }
  return false;
}

void Attempt::flush() {
  while (!output_.empty()) {
    const io::IoResult put = stream_->write(output_.view());
    if (put.status == io::IoStatus::again) break;
    if (put.status != io::IoStatus::ok) {
      // What the backend said before it hung up explains more than that it did.
      output_.clear();
      break;
    }
    sent_ += put.bytes;
    output_.consume(put.bytes);
  }
  stream_->want(true, !output_.empty());
}

void Attempt::disconnected(const std::string& why) {
  std::string text = fmt::format(
      "Disconnected by server: {} (state={}, duration={}s", why, dialogue_->state(),
      std::chrono::duration_cast<std::chrono::seconds>(core_.loop().now() - client_.connected)
          .count());
  if (reconnects_ > 0) text += fmt::format(", {} reconnects", reconnects_);
  text += ')';
  if (!input_.empty()) {
    text += fmt::format(" - BUG: line not read: {}", log_safe_line(input_.view()));
  }
  fail(FailureType::connect, std::move(text));
}

void Attempt::logged_in() {
  if (destination_->target.tls != BackendTls::none && !stream_->tls()) {
    fail(FailureType::internal, "Login without the TLS that was asked for");
    return;
  }
  timer_.cancel();
  stream_->want(false, false);
  core_.records().worked(*record_);
  ++record_->logins;
  phase_ = Phase::over;
  dialogue_.reset();
  output_.clear();
  destination_->target.password.clear();
  ProxyVerdict verdict;
  verdict.logged_in = true;
  verdict.has_reply = true;
  verdict.reply = std::move(to_client_);
  const auto done = std::exchange(done_, nullptr);
  done(std::move(verdict));  // may destroy this
}

void Attempt::relay(std::unique_ptr<io::Stream> client, WipingBuffer client_input,
                    WipingBuffer to_client, std::uint64_t sent_to_client) {
  POSTERN_CHECK(phase_ == Phase::over && !failure_ && stream_);
  const auto took =
      std::chrono::duration_cast<io::Milliseconds>(core_.loop().now() - started_).count();
  RelayStart start;
  start.identity.user = user_;
  start.identity.rip = client_.remote.ip.text();
  start.identity.lip = client_.local.ip.text();
  start.identity.session = client_.session;
  start.identity.secured = client_.secured;
  start.identity.dest_user = destination_->target.user;
  start.identity.backend = backend();
  if (client_.log_elements) start.identity.elements = client_.log_elements();
  if (destination_->target.tls != BackendTls::none && !checks_certificate() &&
      destination_->tls_pins.empty()) {
    log::info("{}{}", proxy_prefix(user_, backend()),
              session_line(*client_.settings, "The backend's certificate is not checked",
                           start.identity.elements));
  }
  log::info(
      "{}{}", proxy_prefix(user_, backend()),
      session_line(*client_.settings,
                   started_text(started_facts(), static_cast<std::uint64_t>(took), reconnects_),
                   start.identity.elements));
  start.record = record_;
  start.raw_log = std::move(raw_log_);
  start.refresh = destination_->refresh;
  start.settings = client_.settings;
  start.client = std::move(client);
  start.backend = std::move(stream_);
  start.to_client = std::move(to_client);
  start.to_client.append(input_.view());
  input_.clear();
  start.to_backend = std::move(client_input);
  start.sent_to_client = sent_to_client;
  start.sent_to_backend = sent_;
  core_.relay().start(std::move(start));
  leave_record();
}

bool Attempt::may_retry(FailureType type) const {
  switch (type) {
    case FailureType::connect:
    case FailureType::remote:
    case FailureType::protocol:
    case FailureType::auth_tempfail:
      return retry_allowed_ && reconnects_ < client_.settings->login_proxy_max_reconnects &&
             deadline_ - core_.loop().now() > kTooLate;
    case FailureType::internal:
    case FailureType::internal_config:
    case FailureType::remote_config:
    case FailureType::auth_replied:
    case FailureType::auth_not_replied:
      return false;
  }
  return false;
}

/// True if the next address is to be tried at once: nobody there has refused the user.
bool Attempt::may_move_on(FailureType type) const {
  return (type == FailureType::connect || type == FailureType::protocol) &&
         address_ + 1 < destination_->addresses.size() && deadline_ > core_.loop().now();
}

/// This connection has failed: another one, at once or after a pause, or the verdict.
void Attempt::fail(FailureType type, std::string reason, std::string reply) {
  timer_.cancel();
  if (record_ != nullptr) {
    if (is_auth(type)) core_.records().worked(*record_);
    if ((type == FailureType::connect || type == FailureType::protocol) && !local_trouble_) {
      // One that has greeted lives: that one login hung there says little about the others.
      const auto patience = bytes_ > 0 ? io::Milliseconds(0) : destination_->down_after;
      core_.records().failed(*record_, connection_started_, patience, reason);
    }
  }
  drop_connection();
  if (may_move_on(type)) {
    if (log::debug_enabled()) {
      log_line(log::Level::debug, proxy_prefix(user_, backend()),
               fmt::format("{}{} - trying the next address", failure_prefix(type), reason));
    }
    leave_record();
    ++address_;
    connect();
    return;
  }
  if (may_retry(type)) {
    if (log::debug_enabled()) {
      log_line(log::Level::debug, proxy_prefix(user_, backend()),
               fmt::format("{}{} - reconnecting (attempt #{})", failure_prefix(type), reason,
                           reconnects_ + 1));
    }
    leave_record();
    phase_ = Phase::pausing;
    timer_.set(kPause);
    return;
  }
  log_failure(type, reason);
  leave_record();
  failure_ = Failure{type, std::move(reason), std::move(reply)};
  if (in_begin_) {
    phase_ = Phase::reporting;
    timer_.set(io::Milliseconds(0));
    return;
  }
  report();
}

void Attempt::log_failure(FailureType type, const std::string& reason) const {
  const std::string prefix = proxy_prefix(user_, backend());
  if (!is_auth(type)) {
    log_line(log::Level::error, prefix, fmt::format("{}{}", failure_prefix(type), reason));
  } else if (client_.settings->auth_verbose || client_.settings->auth_debug) {
    log_line(log::Level::info, prefix,
             fmt::format("Login failed{}: {}", identity_text(started_facts()), reason));
  }
}

/// Tells the client's side how it ended. May destroy this.
void Attempt::report() {
  phase_ = Phase::over;
  if (destination_) destination_->target.password.clear();
  ProxyVerdict verdict;
  verdict.result.outcome = outcome_of(failure_->type);
  verdict.log_reason = is_auth(failure_->type) ? "proxy dest auth failed" : "internal failure";
  if (verdict.result.outcome != Outcome::wrong_credentials) verdict.result.text = kUnavailable;
  verdict.has_reply = !failure_->reply.empty();
  verdict.reply = WipingBuffer(failure_->reply);
  const auto done = std::exchange(done_, nullptr);
  done(std::move(verdict));
}

void Attempt::log_line(log::Level level, std::string_view prefix, std::string_view message) const {
  const std::string elements = client_.log_elements ? client_.log_elements() : std::string();
  log::write(level,
             fmt::format("{}{}", prefix, session_line(*client_.settings, message, elements)));
}

void Attempt::leave_record() noexcept {
  if (record_ == nullptr) return;
  if (question_ != 0) core_.records().cancel(std::exchange(question_, 0));
  core_.records().leave(*record_);
  record_ = nullptr;
}

StartedFacts Attempt::started_facts() const {
  StartedFacts facts;
  facts.host = destination_->addresses[address_].host;
  facts.ip = backend().ip;
  if (source_) facts.source = *source_;
  facts.user = user_;
  facts.dest_user = destination_->target.user;
  facts.master = destination_->target.master;
  return facts;
}

}  // namespace postern::login
