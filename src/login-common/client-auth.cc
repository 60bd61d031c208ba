// How a client authenticates: the checks before auth is asked, and what its answers lead to.
#include <fmt/format.h>
#include <openssl/rand.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <utility>

#include "lib/text.h"
#include "login-common/client.h"

namespace postern::login {

using Bye = ClientDialogue::Bye;

namespace {

constexpr std::size_t kMaxMech = 61;

Outcome outcome_of(wire::AuthReplyFail::Code code) {
  using Code = wire::AuthReplyFail::Code;
  switch (code) {
    case Code::none:
      return Outcome::wrong_credentials;
    case Code::temp_fail:
      return Outcome::temp_fail;
    case Code::authz_fail:
      return Outcome::authz_failed;
    case Code::user_disabled:
      return Outcome::user_disabled;
    case Code::pass_expired:
      return Outcome::pass_expired;
    case Code::invalid_base64:
      return Outcome::invalid_base64;
    case Code::mech_invalid:
      return Outcome::mech_invalid;
    case Code::mech_ssl_required:
      return Outcome::mech_plaintext_refused;
    case Code::anonymous_denied:
      return Outcome::anonymous_denied;
  }
  return Outcome::wrong_credentials;
}

/// The inside of an IMAP list: "name" "x" "os" NIL.
std::string client_id_text(
    const std::vector<std::pair<std::string, std::optional<std::string>>>& id) {
  std::string out;
  const auto quote = [&out](std::string_view text) {
    out += '"';
    for (const char c : text) {
      if (c == '"' || c == '\\') out += '\\';
      out += c;
    }
    out += '"';
  };
  for (const auto& [key, value] : id) {
    if (!out.empty()) out += ' ';
    quote(key);
    out += ' ';
    if (value) {
      quote(*value);
    } else {
      out += "NIL";
    }
  }
  return out;
}

/// What the client is told must stay on its line.
std::string one_line(std::string_view text) {
  std::string out(text);
  std::replace_if(
      out.begin(), out.end(),
      [](char c) { return static_cast<unsigned char>(c) < ' ' || c == 0x7f; }, ' ');
  return out;
}

}  // namespace

/// Checks in Dovecot's order; each decides what is counted and logged (spec: order of checks).
std::optional<AuthResult> Client::refuse(const AuthRequest& request) {
  const Security& security = context_.security;
  const bool tls_required = settings_->ssl == config::Ssl::required && !security.secured;
  AuthResult result;
  if (request.plaintext_command && !security.secured &&
      (settings_->disable_plaintext_auth || tls_required)) {
    result.outcome = Outcome::plaintext_refused;
    return result;
  }
  if (tls_required) {
    result.outcome = Outcome::tls_required;
    return result;
  }
  const auto& offered = *context_.mechanisms;
  const auto mech = std::find_if(offered.begin(), offered.end(),
                                 [&request](const Mechanism& m) { return m.name == request.mech; });
  const bool usable = mech != offered.end() && (!mech->private_use || request.uses_challenge) &&
                      !(mech->anonymous && shared_.protocol.refuse_anonymous);
  if (!usable) {
    result.outcome = Outcome::mech_invalid;
    return result;
  }
  if (mech->plaintext && !security.secured && settings_->disable_plaintext_auth) {
    result.outcome = Outcome::mech_plaintext_refused;
    return result;
  }
  if (certificate_has_no_name()) {
    log_line(log::Level::error,
             "Cannot get username from certificate: Missing username in certificate");
    result.outcome = Outcome::authz_failed;
    result.has_reason = true;
    result.text = "Unable to validate certificate";
    return result;
  }
  if (request.invalid_initial) {
    result.outcome = Outcome::invalid_base64;
    result.text = "Invalid base64 data in initial response";
    return result;
  }
  return std::nullopt;
}

/// Where the name is to come from the certificate, one without is no good: the name in the login
/// would be taken instead (CVE-2019-3814).
bool Client::certificate_has_no_name() const noexcept {
  return settings_->auth_ssl_username_from_cert &&
         certificate_.state == io::ClientCertificate::State::valid && certificate_.username.empty();
}

/// In Dovecot's form, which auth checks: `<PID.CONNECTION.TIME.RANDOM@HOST>`.
void Client::make_challenge() {
  const auto& offered = *context_.mechanisms;
  if (!shared_.protocol.private_mechanisms ||
      std::none_of(offered.begin(), offered.end(),
                   [](const Mechanism& m) { return m.private_use; })) {
    return;
  }
  std::array<unsigned char, 16> random{};
  if (::RAND_bytes(random.data(), static_cast<int>(random.size())) != 1) return;
  const void* const bytes = random.data();
  challenge_server_ = shared_.auth.server();
  context_.challenge = fmt::format("<{:x}.{:x}.{:x}.{}@{}>", challenge_server_.pid,
                                   challenge_server_.connection, std::time(nullptr),
                                   base64_encode({static_cast<const char*>(bytes), random.size()}),
                                   shared_.host_name);
}

void Client::authenticate() {
  AuthRequest request = dialogue_->take_request();
  if (request.uses_challenge && shared_.auth.server() != challenge_server_) {
    return close(fmt::format("Reconnected to auth server, can't do {}", request.mech));
  }
  const io::TimePoint now = shared_.loop.now();
  if (facts_.attempts++ == 0) first_attempt_ = now;
  auth_started_ = now;
  facts_.pending = EndFacts::Pending::none;
  facts_.auth_lost = facts_.backend_refused = facts_.has_outcome = facts_.aborted = false;
  std::optional<AuthResult> refused = refuse(request);
  // A refused LOGIN does not get as far as a mechanism; its user is known once that is logged.
  const bool plaintext = refused && refused->outcome == Outcome::plaintext_refused;
  if (!plaintext) mech_ = request.mech;
  if (!refused) return send_request(request);
  if ((plaintext || refused->outcome == Outcome::tls_required) &&
      (settings_->auth_verbose || settings_->auth_debug)) {
    log_line(log::Level::info, plaintext ? "Login failed: Plaintext authentication disabled"
                                         : "Login failed: SSL required for authentication");
  }
  if (plaintext) user_ = request.user;
  std::string_view text;
  if (refused->outcome == Outcome::mech_invalid) text = "Unsupported authentication mechanism.";
  if (refused->outcome == Outcome::mech_plaintext_refused) {
    text = "Plaintext authentication disabled.";
  }
  if (refused->outcome == Outcome::invalid_base64) text = "Invalid base64 data in initial response";
  if (refused->outcome == Outcome::authz_failed) text = refused->text;
  local_failure(*refused, text);
}

void Client::send_request(AuthRequest& request) {
  const std::string client_id = client_id_text(dialogue_->facts().client_id);
  wire::AuthRequestInfo info;
  info.service = shared_.protocol.name;
  info.session = session();
  info.local = local_;
  info.remote = remote_;
  info.real_local = real_local_;
  info.real_remote = real_remote_;
  info.local_name = local_name_;
  info.secured = context_.security.secured;
  info.secured_tls = context_.security.ssl_secured;
  info.valid_client_cert = certificate_.state == io::ClientCertificate::State::valid;
  if (info.valid_client_cert) info.cert_username = certificate_.username;
  info.final_resp_ok = shared_.protocol.final_response_in_ok;
  info.client_id = client_id;
  info.forward = forward_;
  const auto asked = shared_.auth.request(request.mech, info, request.initial, *this);
  if (!asked.ok()) {
    log_line(log::Level::error, asked.error().text);
    return fail(temporary_failure());
  }
  auth_id_ = asked.value();
  state_ = State::auth;
  facts_.pending = EndFacts::Pending::auth_server;
  notice_at_ = auth_started_ + kAuthNotice;
}

/// A failure that this process decided; with auth_verbose the log says what the client is told.
void Client::local_failure(const AuthResult& result, std::string_view text) {
  if (!text.empty() && (settings_->auth_verbose || settings_->auth_debug)) {
    const std::string mech = log_safe(mech_, mech_.size() > kMaxMech + 3 ? kMaxMech : kMaxMech + 3);
    log_line(log::Level::info, fmt::format("Authenticate {} failed: {}", mech, text));
  }
  fail(result);
}

/// Tells the client and goes on with the next command.
void Client::fail(const AuthResult& result) {
  facts_.pending = EndFacts::Pending::none;
  if (result.outcome == Outcome::aborted) {
    // Dovecot's flag that a response is awaited stays set, and its remark with it.
    facts_.pending = EndFacts::Pending::client_response;
    facts_.aborted = true;
  } else if (result.outcome != Outcome::plaintext_refused &&
             result.outcome != Outcome::tls_required) {
    facts_.has_outcome = true;
    facts_.outcome = result.outcome;
  }
  notice_at_ = {};
  state_ = State::command;
  dialogue_->failed(result, out_);
  count_failure(result.outcome);
}

/// What failed for no fault of the client's is not held against it.
void Client::count_failure(Outcome outcome) {
  if (outcome == Outcome::temp_fail || outcome == Outcome::proxy_unavailable ||
      outcome == Outcome::proxy_misconfigured) {
    return;
  }
  ++failures_;
  const unsigned most = settings_->login_max_auth_attempts;
  if (most != 0 && failures_ >= most) {
    constexpr std::string_view kText = "Too many failed authentications";
    say_bye(ClientDialogue::Bye::resource, kText, kText);
    return;
  }
  if (failures_ % kReportEvery == 0) log_failures();
}

/// Failures that no "Disconnected" line would tell of, or not soon.
void Client::log_failures() {
  if (compat()) return;
  log_line(log::Level::info, fmt::format("Auth failed: {} attempts in {} secs", failures_,
                                         seconds_since(first_attempt_)));
}

AuthResult Client::temporary_failure() const {
  AuthResult result;
  result.outcome = Outcome::temp_fail;
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  ::localtime_r(&now, &local);
  std::array<char, 32> stamp{};
  const std::size_t size = std::strftime(stamp.data(), stamp.size(), "%Y-%m-%d %H:%M:%S", &local);
  result.text = fmt::format("Temporary authentication failure. [{}:{}]", shared_.host_name,
                            std::string_view(stamp.data(), size));
  return result;
}

void Client::remember_names(const std::string& user, const std::string& original,
                            const std::string& auth_user) {
  if (!user.empty()) user_ = user;
  original_user_ = original;
  auth_user_ = auth_user;
}

void Client::on_auth_continue(std::string_view base64) noexcept {
  notice_at_ = {};
  state_ = State::response;
  facts_.pending = EndFacts::Pending::client_response;
  dialogue_->challenge(base64, out_);
  resume();
}

/// What was pipelined behind is next.
void Client::resume() {
  if (gone_) {
    out_.clear();
    close("Connection closed");
  }
  process({});
  settle();
}

void Client::on_auth_fail(wire::AuthReplyFail&& reply) noexcept {
  auth_id_ = 0;
  remember_names(reply.user, reply.original_user, reply.auth_user);
  AuthResult result;
  result.outcome = outcome_of(reply.code);
  result.user = user_;
  result.mech = mech_;
  if (result.outcome == Outcome::temp_fail) {
    result.text = temporary_failure().text;
  } else if (reply.reason) {
    result.has_reason = true;
    result.text = one_line(*reply.reason);
  } else if (result.outcome == Outcome::mech_invalid ||
             result.outcome == Outcome::mech_plaintext_refused) {
    result.text = "Authentication failed.";  // the dialogue's own words are about our own checks
  }
  fail(result);
  resume();
}

void Client::on_auth_lost() noexcept {
  auth_id_ = 0;
  AuthResult result = temporary_failure();
  if (compat()) result = AuthResult{};  // Dovecot 2.3 says "wrong password"
  facts_.auth_lost = true;
  fail(result);
  resume();
}

void Client::on_auth_ok(wire::AuthReplyOk&& reply) noexcept {
  const std::uint32_t id = std::exchange(auth_id_, 0);
  notice_at_ = {};
  remember_names(reply.user, reply.original_user, reply.auth_user);
  passdb_fields_ = reply.fields;
  facts_.pending = EndFacts::Pending::none;
  facts_.has_outcome = false;
  const bool anonymous = reply.field("anonymous").has_value();
  if (anonymous && shared_.protocol.refuse_anonymous) {
    shared_.auth.release(id);
    AuthResult result;
    result.outcome = Outcome::anonymous_denied;
    fail(result);
  } else if (reply.field("nologin")) {
    ++facts_.successes;
    refuse_login(reply);
  } else if (reply.field("proxy")) {
    ++facts_.successes;
    if (!gone_) return start_proxy(std::move(reply));
  } else {
    ++facts_.successes;
    shared_.auth.release(id);  // auth keeps it for a mail process that will not ask
    no_mail_service();
  }
  resume();
}

void Client::refuse_login(const wire::AuthReplyOk& reply) {
  AuthResult result;
  result.outcome = Outcome::login_disabled;
  result.user = user_;
  result.mech = mech_;
  if (const auto host = reply.field("host"); host && !host->empty()) {
    result.outcome = Outcome::referral;
    result.referral_host = one_line(*host);
    // Recorded: imap-fail-refer.
    if (const auto there = reply.field("destuser"); there && !there->empty()) result.user = *there;
    if (const auto port = reply.field("port")) {
      const auto number = decimal(*port, 1, 65535);
      if (number) {
        result.referral_port = static_cast<std::uint16_t>(*number);
      } else {
        log_line(log::Level::error,
                 "Auth service returned invalid port number: " + log_safe(*port));
      }
    }
  }
  if (const auto reason = reply.field("reason"); reason && !reason->empty()) {
    result.has_reason = true;
    result.text = one_line(*reason);
  }
  fail(result);
}

/// A user whose mailbox is here: there is no mail service to hand the connection to.
void Client::no_mail_service() {
  log_line(log::Level::error,
           fmt::format("master({}): no mail service to hand the login to (the passdb returned no "
                       "proxy field)",
                       shared_.protocol.name));
  if (shared_.protocol.logs_client_text) {
    close("Internal login failure. Refer to server log for more information.");
  } else {
    close(fmt::format("Internal login failure (pid={} id={})", ::getpid(), facts_.attempts), false);
  }
  if (compat()) return;
  AuthResult result;
  result.outcome = Outcome::handoff_failed;
  dialogue_->failed(result, out_);
}

void Client::start_proxy(wire::AuthReplyOk&& reply) {
  state_ = State::proxying;
  auth_started_ = shared_.loop.now();
  LoginFacts facts = dialogue_->facts();
  ProxyFields fields;
  fields.user = std::move(reply.user);
  fields.fields = std::move(reply.fields);
  fields.pass = std::move(reply.pass);
  ProxyClient client;
  client.settings = settings_;
  client.protocol = shared_.protocol.name;
  client.session = session();
  client.remote = remote_;
  client.local = local_;
  client.real_remote = real_remote_;
  client.real_local = real_local_;
  client.tls = client_tls_.value_or(context_.security.ssl_secured);
  client.secured = secured_text();
  client.local_name = local_name_;
  if (ttl_) client.ttl = *ttl_;
  client.forward = forward_;
  client.client_id = std::move(facts.client_id);
  client.client_tag = std::move(facts.tag);
  client.client_used_capability = facts.used_capability;
  client.host_name = context_.host_name;
  client.helo = std::move(facts.helo);
  client.helo_protocol = std::move(facts.helo_protocol);
  client.connected = connected_;
  client.log_elements = [this]() { return elements(); };
  attempt_ = shared_.proxy.start(std::move(fields), std::move(client),
                                 [this](ProxyVerdict verdict) { on_verdict(std::move(verdict)); });
  settle();
}

void Client::on_verdict(ProxyVerdict verdict) {
  if (state_ != State::proxying) return;
  facts_.pending = EndFacts::Pending::none;
  if (verdict.logged_in) {
    // A success hides the failures before it, unless they are told now.
    if (failures_ > 0) log_failures();
    logged_ = true;
    if (const std::string replay = dialogue_->facts().replay; !replay.empty()) {
      WipingBuffer input(replay);
      input.append(input_.view());
      input_ = std::move(input);
    } else {
      out_.append(verdict.reply.view());
    }
    verdict.reply.clear();
    stream_->stop_wiping();  // the password has been wiped, mail need not be
    attempt_->relay(std::move(stream_), std::move(input_), std::move(out_), sent_);
    attempt_.reset();
    end();
    return;
  }
  attempt_.reset();
  facts_.backend_refused = verdict.log_reason == "proxy dest auth failed";
  state_ = State::command;
  if (verdict.has_reply) {
    // The dialogue goes on to the next command; what it would say has been said by the backend.
    WipingBuffer unsaid;
    dialogue_->failed(verdict.result, unsaid);
    out_.append(verdict.reply.view());
  } else {
    dialogue_->failed(verdict.result, out_);
  }
  count_failure(verdict.result.outcome);
  resume();
}

}  // namespace postern::login
