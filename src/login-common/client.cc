#include "login-common/client.h"

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "config/variables.h"
#include "lib/log.h"
#include "lib/text.h"

namespace postern::login {

using namespace std::chrono_literals;
using Bye = ClientDialogue::Bye;

namespace {

constexpr std::size_t kMaxName = 255;  // of a server name

/// Nothing may follow STARTTLS before the handshake (RFC 3501 section 6.2.1), and what does is not
/// to be run as if it came over TLS (CVE-2011-0411). A client in a hurry may have sent its hello
/// along, though: a TLS record of type handshake goes to TLS, which Dovecot gives everything to.
bool may_be_hello(std::string_view bytes) noexcept {
  constexpr std::string_view kHandshake = "\x16\x03";
  return bytes.substr(0, kHandshake.size()) == kHandshake.substr(0, bytes.size());
}

/// login_greeting, expanded.
std::string greeting_text(const config::LoginSettings& settings, std::string_view service,
                          const Endpoint& local, const Endpoint& remote,
                          std::string_view local_name) {
  using config::LoginVariable;
  if (settings.login_greeting.find('%') == std::string::npos) return settings.login_greeting;
  const auto made =
      config::Template::compile(settings.login_greeting, config::login_greeting_variables());
  if (!made.ok()) return settings.login_greeting;  // refused when the configuration was loaded
  std::string value;
  std::string out;
  made.value().expand(
      [&](const config::VariableRef& ref) -> std::optional<std::string_view> {
        const auto variable = ref.as<LoginVariable>();
        if (variable == LoginVariable::local_ip) return value = local.ip.text();
        if (variable == LoginVariable::remote_ip) return value = remote.ip.text();
        if (variable == LoginVariable::pid) return value = fmt::to_string(::getpid());
        if (variable == LoginVariable::service) return service;
        if (variable == LoginVariable::local_name) return value = log_safe(local_name, kMaxName);
        return std::nullopt;
      },
      out);
  return out;
}

}  // namespace

Client::Client(ClientShared& shared, ClientOwner& owner, const config::SocketInfo& listener,
               UniqueFd fd, const Endpoint& remote, const Endpoint& local)
    : shared_(shared),
      owner_(owner),
      listener_(listener),
      stream_(std::make_unique<io::Stream>()),
      remote_(remote),
      local_(local),
      real_remote_(remote),
      real_local_(local),
      seen_remote_(remote.ip),
      seen_local_(local.ip),
      connected_(shared.loop.now()) {
  select_settings();
  stream_->open(shared_.loop, std::move(fd), io::Callback<unsigned>::to<&Client::on_event>(*this));
  timer_.start(shared_.loop, io::Callback<>::to<&Client::on_time>(*this));
  deadline_ = connected_ + settings_->login_timeout;
  judge_addresses(false);
  context_.mechanisms = &shared_.auth.mechanisms();
  dialogue_ = shared_.protocol.make_client_dialogue(context_);
}

Client::~Client() {
  uncount();
  if (auth_id_ != 0) shared_.auth.cancel(auth_id_);
  attempt_.reset();  // its last words are about members declared behind it
}

void Client::select_settings() {
  settings_ = shared_.config.select(shared_.protocol.name, seen_local_, seen_remote_, local_name_);
  context_.settings = settings_.get();
  context_.host_name = settings_->hostname.empty() ? shared_.full_host_name : settings_->hostname;
}

/// What follows from where the client comes from. Decided before its first byte: nothing that it
/// says of itself changes it.
/// @param by_balancer  the addresses are not those of the socket: that they are equal says nothing
void Client::judge_addresses(bool by_balancer) {
  Security& security = context_.security;
  security.trusted = any_contains(settings_->login_trusted_networks, seen_remote_);
  security.secured = security.ssl_secured || security.trusted ||
                     (!by_balancer && seen_remote_ && seen_remote_ == seen_local_);
}

void Client::start() {
  if (listener_.haproxy) {
    wait_for_header();
  } else {
    ask_access();
  }
  settle();
}

/// Before anything is said to it: the programs of login_access_sockets.
void Client::ask_access() {
  if (shared_.access_sockets.empty()) return begin();
  state_ = State::access;
  access_ = std::make_unique<AccessLookup>(
      shared_.loop, shared_.connect_access, shared_.access_sockets, shared_.protocol.name,
      stream_->fd(), [this](const AccessLookup::Verdict& verdict) { on_access(verdict); });
  access_->start();
}

void Client::on_access(const AccessLookup::Verdict& verdict) {
  access_.reset();
  if (verdict.granted) {
    begin();
  } else {
    refuse_access(verdict.level, verdict.line);
  }
  settle();
}

/// It is closed without a word, and this is its line.
void Client::refuse_access(log::Level level, std::string_view line) {
  if (any_contains(settings_->login_healthcheck_networks, seen_remote_)) level = log::Level::debug;
  if (level != log::Level::debug || log::debug_enabled()) {
    log::write(level, fmt::format("{} (rip={})", line, remote_.ip.text()));
  }
  logged_ = true;
  close("Access refused");
}

/// Who the client is has been settled; now it is its turn.
void Client::begin() {
  const unsigned most = settings_->login_max_connections_per_ip;
  // A trusted hop has many clients behind its one address.
  if (most == 0 || shared_.counts == nullptr || context_.security.trusted || !seen_remote_) {
    return admit(true);
  }
  state_ = State::admission;
  count_id_ = shared_.counts->reserve(seen_remote_, most, [this](bool granted) {
    admit(granted);
    settle();
  });
}

/// @param granted  false: it is heard out as far as it takes to be told so in its own protocol
void Client::admit(bool granted) {
  refused_ = !granted;
  if (refused_) deadline_ = shared_.loop.now() + kRefusalTimeout;
  if (listener_.ssl) {
    state_ = State::handshake;
    begin_tls();
  } else {
    greet();
  }
}

/// Sends the greeting, or waits for auth to say what it offers.
void Client::greet() {
  if (refused_) return refuse_address();
  if (!shared_.auth.ready()) {
    state_ = State::greeting;
    notice_at_ = connected_ + kGreetingNotice;
    return;
  }
  notice_at_ = {};
  facts_.greeted = true;
  context_.greeting =
      greeting_text(*settings_, shared_.protocol.name, local_, remote_, local_name_);
  make_challenge();
  state_ = State::command;
  dialogue_->greet(out_);
}

void Client::refuse_address() {
  dialogue_->bye(Bye::resource, settings_->login_reject_message, out_);
  const io::TimePoint now = shared_.loop.now();
  if (!shared_.refusal_lines.allow(now)) logged_ = true;
  if (const unsigned left_out = logged_ ? 0 : shared_.refusal_lines.take_left_out(); left_out > 0) {
    log::warning("{} more clients had too many connections from their address", left_out);
  }
  facts_.greeted = true;  // it has not waited for auth
  close(fmt::format("Too many connections from this address (login_max_connections_per_ip={})",
                    settings_->login_max_connections_per_ip));
}

void Client::on_auth_ready() {
  if (state_ != State::greeting) return;
  greet();
  settle();
}

void Client::begin_tls() {
  // A certificate may have been renewed since it came.
  select_settings();
  auto context = shared_.tls.get(settings_);
  if (!context.ok()) {
    log_line(log::Level::error, "Failed to initialize SSL server context: " + context.error().text);
    // A client that has begun TLS cannot read a word of plaintext.
    constexpr std::string_view kText = "TLS initialization failed.";
    if (state_ != State::handshake) dialogue_->bye(Bye::internal, kText, out_);
    close(kText);
    return;
  }
  tls_handshaking_ = true;
  handshake_deadline_ = shared_.loop.now() + shared_.handshake_timeout;
  stream_->start_tls_server(std::move(context).value(),
                            io::Stream::ChooseContext::to<&Client::on_server_name>(*this),
                            input_.view(), listener_.name);
  input_.clear();
}

void Client::on_server_name(std::string_view name,
                            std::shared_ptr<io::TlsContext>& context) noexcept {
  local_name_ = to_lower(name.substr(0, kMaxName));
  const std::shared_ptr<const config::LoginSettings> before = settings_;
  if (shared_.config.depends_on_local_name()) select_settings();
  // A [local_name] section with a certificate of its own goes before ssl_cert_dir.
  if (settings_ == before || settings_->ssl_cert == before->ssl_cert) {
    if (auto named = shared_.tls.named(settings_, local_name_)) {
      context = std::move(named);
      return;
    }
  }
  if (settings_ == before) return;
  auto chosen = shared_.tls.get(settings_);
  if (chosen.ok()) context = std::move(chosen).value();
}

void Client::tls_started() {
  tls_handshaking_ = false;
  context_.security.tls = context_.security.ssl_secured = context_.security.secured = true;
  certificate_ = stream_->client_certificate();
  if (certificate_.state == io::ClientCertificate::State::invalid &&
      (settings_->auth_verbose || settings_->auth_debug)) {
    log_line(log::Level::info, "Invalid client certificate: " + certificate_.problem);
  }
  opening_ = {};
  if (state_ == State::handshake) return greet();
  state_ = State::command;
  dialogue_->tls_started(out_);
}

void Client::on_event(unsigned events) noexcept {
  if (state_ == State::ended) return;
  if ((events & io::Stream::kTlsFailed) != 0) {
    tls_error_ = stream_->error();
    out_.clear();
    blocked_ = false;
    close(tls_error_ == "Connection closed" ? tls_error_ : "Connection closed: " + tls_error_);
  } else {
    if ((events & io::Stream::kTlsStarted) != 0) tls_started();
    if ((events & io::Stream::kWritable) != 0) {
      blocked_ = false;
      if (flush() && state_ != State::starttls) process({});
    }
    if ((events & io::Stream::kReadable) != 0 && !blocked_ && state_ != State::ended) read();
    if ((events & io::Stream::kHungUp) != 0 && state_ < State::closing) {
      if (stream_->tls() && tls_error_.empty()) tls_error_ = "Connection closed";
      out_.clear();
      blocked_ = false;
      // A guesser that does not wait for the answer has guessed all the same: auth is heard first,
      // and the log says what it said (recorded: imap-auth-fail-disconnect).
      gone_ = state_ == State::auth;
      if (state_ == State::access) {
        refuse_access(log::Level::error, access_->line("Client disconnected during lookup"));
      }
      if (!gone_) close("Connection closed");
    } else if ((events & io::Stream::kHungUp) != 0) {
      out_.clear();  // nobody reads the last words
      blocked_ = false;
    }
  }
  settle();
}

void Client::read() {
  if (state_ == State::proxy_header) return read_header();
  if (state_ != State::command && state_ != State::response) return;
  auto& buffer = shared_.read_buffer;
  const io::IoResult result = stream_->read(buffer.data(), buffer.size());
  switch (result.status) {
    case io::IoStatus::again:
      return;
    case io::IoStatus::ok:
      process({buffer.data(), result.bytes});
      OPENSSL_cleanse(buffer.data(), result.bytes);
      return;
    case io::IoStatus::closed:
      if (stream_->tls()) tls_error_ = "Connection closed";
      out_.clear();
      close("Connection closed");
      return;
    case io::IoStatus::error:
      tls_error_ = stream_->tls() ? stream_->error() : std::string();
      out_.clear();
      close("Connection closed: " + stream_->error());
      return;
  }
}

/// Offers the dialogue what was kept and `bytes` behind it, and keeps what it leaves.
void Client::process(std::string_view bytes) {
  if (speaks_another_protocol(bytes)) return;
  if (state_ != State::command && state_ != State::response) {
    input_.append(bytes);
    return;
  }
  if (input_.empty()) {
    const std::size_t taken = run_commands(bytes);
    input_.append(bytes.substr(taken));
  } else {
    input_.append(bytes);
    input_.consume(run_commands(input_.view()));
  }
  if (state_ >= State::closing) input_.clear();
}

/// What no client of ours begins with ends the connection, without a word that nobody would
/// understand. Commands of other protocols are the dialogue's business.
bool Client::speaks_another_protocol(std::string_view bytes) {
  using Kind = wire::Opening::Kind;
  if (opening_.kind() != Kind::undecided) return false;
  switch (opening_.add(bytes)) {
    case Kind::undecided:
    case Kind::client:
      return false;
    case Kind::proxy_header:
      close(listener_.haproxy ? "Second PROXY header"
                              : "PROXY header on a listener without haproxy = yes");
      return true;
    case Kind::tls:
      close("TLS handshake where none is expected");
      return true;
    case Kind::binary:
      close("Binary input");
      return true;
  }
  return false;
}

/// @return how many of `bytes` are used up
std::size_t Client::run_commands(std::string_view bytes) {
  std::size_t taken = 0;
  while (state_ == State::command || state_ == State::response) {
    // A client that sends commands and reads no replies gets no further.
    if (out_.size() >= kMaxOutput && !flush()) return taken;
    const Step step = dialogue_->consume(bytes.substr(taken), out_);
    taken += step.consumed;
    if (step.wish == Wish::need_more) {
      if (bytes.size() - taken > dialogue_->input_limit()) {
        dialogue_->input_full(out_);
        close("Input buffer full");
        return bytes.size();
      }
      return taken;
    }
    if (!obey(step.wish, bytes.substr(taken))) return bytes.size();
    // Only a wish that is met at once goes on without another byte.
    if (step.wish == Wish::next && step.consumed == 0 && taken == bytes.size()) return taken;
  }
  return taken;
}

/// @param rest  what was received behind the command
/// @return false if `rest` is not to be used any more
bool Client::obey(Wish wish, std::string_view rest) {
  switch (wish) {
    case Wish::need_more:
    case Wish::next:
      return true;
    case Wish::start_tls:
      if (!may_be_hello(rest) || rest.size() > io::Stream::kMaxReceived) {
        close("Plaintext input after STARTTLS");
        return false;
      }
      state_ = State::starttls;  // what is left is kept for the handshake
      return true;
    case Wish::authenticate:
      authenticate();
      return true;
    case Wish::respond: {
      const Secret response = dialogue_->take_response();
      state_ = State::auth;
      facts_.pending = EndFacts::Pending::auth_server;
      auth_started_ = shared_.loop.now();
      notice_at_ = auth_started_ + kAuthNotice;
      shared_.auth.respond(auth_id_, response);
      return true;
    }
    case Wish::cancel: {
      shared_.auth.cancel(std::exchange(auth_id_, 0));
      AuthResult result;
      result.outcome = dialogue_->cancel_outcome();
      local_failure(result, dialogue_->cancel_outcome() == Outcome::invalid_base64
                                ? "Invalid base64 in response"
                                : dialogue_->cancel_text());
      return true;
    }
    case Wish::forwarded:
      apply_forwarded();
      return true;
    case Wish::log_id:
      log_line(log::Level::info, dialogue_->take_id_log());
      return true;
    case Wish::close:
      if (std::string mech = dialogue_->facts().mech; !mech.empty()) mech_ = std::move(mech);
      close(dialogue_->close_reason());
      return false;
  }
  return true;
}

void Client::apply_forwarded() {
  Forwarded said = dialogue_->take_forwarded();
  if (!context_.security.trusted) return;  // the dialogue knows; it must not depend on it
  if (said.client_ip) remote_.ip = *said.client_ip;
  if (said.client_port) remote_.port = *said.client_port;
  if (said.local_ip) local_.ip = *said.local_ip;
  if (said.local_port) local_.port = *said.local_port;
  if (said.session) session_ = std::move(*said.session);
  if (said.ttl) ttl_ = said.ttl;
  if (said.local_name) local_name_ = std::move(*said.local_name);
  if (said.client_tls) client_tls_ = said.client_tls;
  if (!said.fields.empty()) forward_ = std::move(said.fields);  // it may be said again without
}

/// Writes what has gathered; true once nothing is left of it.
bool Client::flush() {
  if (blocked_) return false;
  if (out_.empty()) return true;
  const io::IoResult result = stream_->write(out_.view());
  if (result.status == io::IoStatus::ok) {
    sent_ += result.bytes;
    out_.consume(result.bytes);
    if (out_.empty()) return true;
  } else if (result.status != io::IoStatus::again) {
    const std::string error = stream_->error();
    if (stream_->tls()) tls_error_ = error;
    out_.clear();
    close(error.empty() ? "Connection closed" : "Connection closed: " + error);
    return false;
  }
  blocked_ = true;
  return false;
}

/// The end of a wake-up: one write, then what is to be waited for.
void Client::settle() {
  if (state_ == State::ended) return;
  if (tls_handshaking_ && state_ != State::closing) {
    arm_timer();
    return;
  }
  const bool clear = flush();
  if (state_ == State::closing && (clear || (!blocked_ && out_.empty()))) {
    end();
    return;
  }
  if (state_ == State::starttls && clear) {
    begin_tls();
    if (state_ == State::closing) return settle();
    arm_timer();
    return;
  }
  const bool reading = !blocked_ && (state_ == State::command || state_ == State::response ||
                                     state_ == State::proxy_header);
  stream_->want(reading, blocked_);
  stream_->want_hang_up(!reading && !gone_);
  arm_timer();
}

void Client::arm_timer() {
  const io::TimePoint now = shared_.loop.now();
  io::TimePoint due = deadline_;
  if (notice_at_ != io::TimePoint{}) due = std::min(due, notice_at_);
  if (tls_handshaking_) due = std::min(due, handshake_deadline_);
  const auto wait = std::chrono::ceil<io::Milliseconds>(due - now);
  timer_.set(std::max(wait, io::Milliseconds(0)));
}

void Client::on_time() noexcept {
  const io::TimePoint now = shared_.loop.now();
  if (state_ == State::closing) return end();  // it does not take its last words
  if (notice_at_ != io::TimePoint{} && now >= notice_at_) notice();
  if (tls_handshaking_ && now >= handshake_deadline_) {
    close("Inactivity");  // inside a handshake no word can be said
    return settle();
  }
  if (now < deadline_) return settle();
  switch (state_) {
    case State::proxy_header:
      header_late();
      break;
    case State::access:
    case State::admission:
    case State::handshake:
    case State::starttls:
      close("Inactivity");
      break;
    case State::greeting:
    case State::command:
      say_bye(Bye::timeout, "Disconnected for inactivity.", "Inactivity");
      break;
    case State::auth:
    case State::response:
      say_bye(Bye::timeout, "Disconnected for inactivity during authentication.",
              "Inactivity during authentication");
      break;
    case State::proxying: {
      const std::string reason =
          fmt::format("Logging in timed out (state={}, duration={}s)",
                      attempt_ ? attempt_->state() : "none", seconds_since(connected_));
      say_bye(Bye::timeout, "Timeout while finishing login.", reason);
      break;
    }
    case State::closing:
    case State::ended:
      return;
  }
  settle();
}

/// Auth has kept the client waiting for long: say so, once for each wait.
void Client::notice() {
  notice_at_ = {};
  if (state_ == State::greeting) {
    log_line(log::Level::warning,
             "Auth process not responding, delayed sending initial response (greeting)");
  } else if (state_ != State::auth) {
    return;
  }
  dialogue_->waiting_for_auth(out_);
}

void Client::disconnect(Bye kind, std::string_view text, std::string_view reason) {
  if (state_ >= State::closing) return;
  if (kind == Bye::shutdown) facts_.ending = EndFacts::Ending::shutdown;
  if (kind == Bye::resource) facts_.ending = EndFacts::Ending::full;
  // Neither inside a handshake nor before the one that a client begins with can a word be said.
  const bool expects_tls = state_ == State::starttls || (listener_.ssl && !context_.security.tls);
  if (tls_handshaking_ || expects_tls) {
    close(reason);
  } else {
    say_bye(kind, text, reason);
  }
  settle();
}

void Client::kick(std::string_view reason) {
  if (state_ != State::proxying || !attempt_) return disconnect(Bye::shutdown, reason, reason);
  // Half relayed already: it ends as a relayed session does, without a word to the client.
  close_reason_ = reason;
  log_end(attempt_->log_prefix(), "Disconnected by proxy: ");
  close(reason);
  settle();
}

/// Tells the client why it is closed.
void Client::say_bye(Bye kind, std::string_view text, std::string_view reason) {
  const std::string logged(shared_.protocol.logs_client_text ? text : reason);
  close(logged);
  dialogue_->bye(kind, text, out_);
}

/// The end is decided: nothing is read any more, what gathered in out_ still leaves.
void Client::close(std::string_view reason, bool with_remark) {
  if (state_ >= State::closing) return;
  close_reason_ = reason;
  const std::string_view command = dialogue_->unfinished_command();
  if (!command.empty()) close_reason_ += fmt::format(" (unfinished {} command)", command);
  with_remark_ = with_remark;
  log_end();
  if (auth_id_ != 0) shared_.auth.cancel(std::exchange(auth_id_, 0));
  uncount();
  access_.reset();
  attempt_.reset();
  tls_handshaking_ = false;
  state_ = State::closing;
  notice_at_ = {};
  deadline_ = shared_.loop.now() + kCloseTimeout;
  input_.clear();
}

/// It does not wait for its login any more.
void Client::uncount() noexcept {
  if (count_id_ != 0) shared_.counts->release(std::exchange(count_id_, 0));
}

void Client::end() {
  if (state_ == State::ended) return;
  state_ = State::ended;
  timer_.cancel();
  if (stream_) stream_->close();
  uncount();
  owner_.on_client_end(*this);
}

}  // namespace postern::login
