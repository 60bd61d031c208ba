#include "auth/client-session.h"

#include <algorithm>
#include <array>

#include "auth/guess-keys.h"
#include "auth/reply.h"
#include "lib/text.h"
#include "wire/tab-line.h"

namespace postern::auth {
namespace {

constexpr std::chrono::seconds kRequestTimeout{150};
constexpr Milliseconds kSweep{5000};
/// Postfix takes an auth server that is silent for 10 s for dead.
constexpr Milliseconds kMaxSmtpWait{8000};

/// Seconds to wait for a penalty (Dovecot's steps).
unsigned penalty_seconds(unsigned penalty) noexcept {
  constexpr std::array<unsigned, 4> kSteps{0, 4, 8, 15};
  return kSteps[std::min<std::size_t>(penalty, kSteps.size() - 1)];
}

/// A line that nobody expected, for the log: only its beginning, as what follows may be a password
/// in any dress.
std::string unexpected(std::string_view line) {
  return log_safe(line.substr(0, line.find_first_of("\t ")), 32);
}

}  // namespace

ClientSession::ClientSession(ServerContext& server, bool login)
    : LineSession(wire::kMaxAuthLine),
      server_(server),
      environment_(server.environment()),
      login_(login),
      connection_(server.next_connection()),
      cookie_(ServerContext::random_hex(16)) {
  // The order matters: Postfix and Exim take a SPID without a MECH before it for the wrong socket.
  wire::TabLine(output(), "VERSION").add(1).add(2).end();
  for (const sasl::ServerMechRow* row : server.mechs()) {
    wire::TabLine line(output(), "MECH");
    line.add(row->name);
    if (!row->flags.empty()) line.flag(row->flags);
    line.end();
  }
  wire::TabLine(output(), "SPID").add(server.pid()).end();
  wire::TabLine(output(), "CUID").add(connection_).end();
  wire::TabLine(output(), "COOKIE").add(cookie_).end();
  wire::TabLine(output(), "DONE").end();
}

ClientSession::~ClientSession() {
  if (pid_ != 0) server_.remove_login_client(pid_, *this);
  if (sweep_timer_ != 0) environment_.cancel(sweep_timer_);
  for (auto& [id, exchange] : exchanges_) {
    if (exchange.timer != 0) environment_.cancel(exchange.timer);
    exchange.request->abandon();
    environment_.retire(std::move(exchange.request));
  }
}

void ClientSession::on_peer_gone() {
  const auto pending = std::ranges::count_if(
      exchanges_, [](const auto& e) { return e.second.phase != Phase::finished; });
  if (pending == 0) return;
  environment_.log(
      log::Level::error,
      fmt::format("auth client {} disconnected with {} pending requests: EOF", pid_, pending));
}

void ClientSession::protocol_error(std::string_view text) {
  environment_.log(log::Level::error, text);
  close();
}

void ClientSession::on_line_too_long() {
  environment_.log(log::Level::error, fmt::format("BUG: Auth client {} sent us more than {} bytes",
                                                  pid_, wire::kMaxAuthLine));
}

void ClientSession::debug_out(std::size_t from) {
  if (!server_.settings().auth_debug) return;
  environment_.log(log::Level::debug,
                   "client passdb out: " + hide_passwords(output().view().substr(from)));
}

void ClientSession::on_line(std::string_view line) {
  if (state_ != State::ready) return on_handshake(line);
  const std::size_t tab = std::min(line.find('\t'), line.size());
  const std::string_view command = line.substr(0, tab);
  const std::string_view args = line.substr(std::min(line.size(), tab + 1));
  if (server_.settings().auth_debug) {
    std::string shown = unexpected(line);
    if (command == "AUTH" || command == "CANCEL") shown = hide_passwords(line);
    if (const auto more = wire::parse_auth_continue(args); more && command == "CONT")
      shown = fmt::format("CONT\t{}\t<hidden>", more->id);
    environment_.log(log::Level::debug, "client in: " + shown);
  }
  if (command == "AUTH") return on_auth(args);
  if (command == "CONT") return on_continue(args);
  if (command == "CANCEL") return on_cancel(args);
  protocol_error("BUG: Authentication client sent unknown command: " + unexpected(line));
}

void ClientSession::on_handshake(std::string_view line) {
  if (state_ == State::handshake_version) {
    const auto version =
        line.starts_with("VERSION\t") ? wire::parse_auth_version(line.substr(8)) : std::nullopt;
    if (!version) {
      return protocol_error("Authentication client sent invalid VERSION line: " + unexpected(line));
    }
    if (version->major != 1) {
      return protocol_error(
          "Authentication client not compatible with this server (mixed old and new binaries?)");
    }
    minor_ = version->minor;
    state_ = State::handshake_cpid;
    return;
  }
  if (!line.starts_with("CPID\t")) {
    return protocol_error("BUG: Authentication client sent unknown handshake command: " +
                          unexpected(line));
  }
  const auto pid = decimal(line.substr(5), 0, UINT32_MAX);
  if (!pid) return protocol_error("BUG: Authentication client sent invalid CPID");
  if (*pid == 0) return protocol_error("BUG: Authentication client said it's PID 0");
  if (login_) {
    const auto number = static_cast<std::uint32_t>(*pid);
    if (!server_.add_login_client(number, *this)) {
      return protocol_error(
          fmt::format("BUG: Authentication client gave a PID {} of existing connection", number));
    }
    pid_ = number;
  }
  state_ = State::ready;
  if (server_.settings().auth_debug) {
    environment_.log(log::Level::debug, fmt::format("auth client connected (pid={})", *pid));
  }
}

void ClientSession::on_auth(std::string_view args) {
  auto parsed = wire::parse_auth_command(args);
  if (!parsed.ok()) {
    std::string_view what = "sent broken AUTH request";
    if (parsed.error().code == static_cast<int>(wire::AuthLineError::no_service))
      what = "didn't specify service in request";
    if (parsed.error().code == static_cast<int>(wire::AuthLineError::after_resp))
      what = "sent AUTH parameters after 'resp'";
    return protocol_error(fmt::format("BUG: Authentication client {} {}", pid_, what));
  }
  wire::AuthCommand& command = parsed.value();
  if (exchanges_.contains(command.id)) {
    return protocol_error(
        fmt::format("BUG: Authentication client {} sent a duplicate ID {}", pid_, command.id));
  }
  if (exchanges_.size() >= kMaxInFlight) return fail_now(command.id, "temp_fail", {});
  const auto row =
      std::ranges::find(server_.mechs(), command.mech, [](const auto* r) { return r->name; });
  if (row == server_.mechs().end()) {
    environment_.log(
        log::Level::error,
        fmt::format(
            "BUG: Authentication client {} requested unsupported authentication mechanism {}", pid_,
            log_safe(command.mech, 32)));
    return fail_now(command.id, {}, {});
  }

  Exchange& exchange = exchanges_[command.id];
  exchange.id = command.id;
  exchange.row = *row;
  exchange.mech = (*row)->make({server_.pid(), connection_, server_.started()});
  exchange.began = environment_.now();
  exchange.deadline = exchange.began + kRequestTimeout;
  const std::string service = command.properties.service;
  Request::Owner& owner = *this;
  exchange.request = std::make_unique<Request>(
      server_.request_context(service), std::move(command.properties), command.mech, pid_, owner);
  exchange.request->tag = command.id;
  const std::string_view problem = exchange.request->certificate_problem();
  if (!problem.empty()) {
    exchange.request->log_info(exchange.request->mech_prefix(), problem);
    exchange.request->log_failure(problem);
    forget(command.id);
    return fail_now(command.id, {}, problem);
  }
  // Before minor version 2 an empty response meant that there is none.
  if (command.has_resp && (minor_ >= 2 || !command.resp.empty())) {
    if (command.resp != "=") {
      auto decoded = base64_decode(command.resp);
      if (!decoded) {
        exchange.request->log_info(exchange.request->mech_prefix(),
                                   "Invalid base64 data in initial response");
        forget(command.id);
        return fail_now(command.id, "invalid_base64", "Invalid base64 data in initial response");
      }
      exchange.first = Secret(std::move(*decoded));
    }
    exchange.has_first = true;
  }
  if (!exchange.has_first) return step(exchange, std::nullopt);
  const Secret first = std::move(exchange.first);
  step(exchange, first.reveal());
}

void ClientSession::on_continue(std::string_view args) {
  const auto parsed = wire::parse_auth_continue(args);
  if (!parsed) return protocol_error("BUG: Authentication client sent broken CONT request");
  const auto it = exchanges_.find(parsed->id);
  if (it == exchanges_.end() || it->second.phase == Phase::failed ||
      it->second.phase == Phase::finished) {
    return fail_now(parsed->id, {}, "Authentication request timed out");
  }
  Exchange& exchange = it->second;
  if (exchange.phase != Phase::client) {
    forget(parsed->id);
    return fail_now(parsed->id, {}, "Unexpected continuation");
  }
  exchange.deadline = environment_.now() + kRequestTimeout;
  auto decoded = base64_decode(parsed->data);
  if (!decoded) {
    exchange.request->log_info(exchange.request->mech_prefix(),
                               "Invalid base64 data in continued response");
    forget(parsed->id);
    return fail_now(parsed->id, "invalid_base64", "Invalid base64 data in continued response");
  }
  const Secret response(std::move(*decoded));
  step(exchange, response.reveal());
}

void ClientSession::on_cancel(std::string_view args) {
  const auto id = wire::parse_auth_id(args);
  if (!id) return protocol_error("BUG: Authentication client sent broken CANCEL request");
  forget(*id);
}

void ClientSession::step(Exchange& exchange, std::optional<std::string_view> response) {
  Request& request = *exchange.request;
  exchange.phase = Phase::lookup;
  if (response && !exchange.row->nul_allowed && response->find('\0') != std::string_view::npos) {
    request.log_info(request.mech_prefix(), "NUL byte in the response");
    return fail(exchange, PassdbResult::mismatch);
  }
  WipingBuffer challenge;
  switch (exchange.mech->step(response, exchange.credentials, challenge)) {
    case sasl::ServerStep::challenge:
      return send_continue(exchange, challenge.view());
    case sasl::ServerStep::name: {
      const std::string problem = request.set_username(exchange.credentials.authcid, true);
      if (problem.empty()) return send_continue(exchange, challenge.view());
      request.log_info(request.mech_prefix(), problem);
      return fail(exchange, PassdbResult::unknown);
    }
    case sasl::ServerStep::verify:
      return verify(exchange);
    case sasl::ServerStep::invalid:
      request.log_info(request.mech_prefix(), "invalid input");
      return fail(exchange, PassdbResult::mismatch);
  }
}

void ClientSession::verify(Exchange& exchange) {
  Request& request = *exchange.request;
  sasl::Credentials& credentials = exchange.credentials;
  std::string problem;
  if (exchange.row->external && request.certificate_name().empty()) {
    problem = "username not known";
  } else if (!request.has_user()) {
    problem = request.set_username(credentials.authcid, true);
  }
  if (problem.empty() && !credentials.authzid.empty()) {
    problem = request.set_login_username(credentials.authzid);
    if (!problem.empty()) problem = "login user: " + problem;
  }
  if (problem.empty() && credentials.password.reveal().find_first_of(
                             std::string_view("\0\r\n", 3)) != std::string_view::npos) {
    problem = "Attempted login with password having illegal chars";
  }
  if (!problem.empty()) {
    request.log_info(request.mech_prefix(), problem);
    return fail(exchange, PassdbResult::unknown);
  }
  exchange.mech.reset();
  arm_sweep();
  wait_for_penalty(exchange);
}

/// Earlier failures from its address make a login wait before anybody looks whether it is right.
void ClientSession::wait_for_penalty(Exchange& exchange) {
  const wire::AuthProperties& properties = exchange.request->properties();
  if (!environment_.counts_penalties() || properties.no_penalty || !properties.rip) {
    return check(exchange);
  }
  exchange.asked = exchange.request->user();
  if (environment_.known_without_penalty(properties.rip)) return check(exchange);
  exchange.phase = Phase::penalty;
  exchange.timer = environment_.penalty(
      properties.rip, user_key(exchange.asked),
      [this, id = exchange.id](PenaltyLevels levels) { on_penalty(id, levels); });
}

void ClientSession::on_penalty(std::uint32_t id, PenaltyLevels levels) {
  Exchange& exchange = exchanges_.at(id);
  exchange.timer = 0;
  exchange.penalised = levels.address > 0;
  Milliseconds most = std::chrono::seconds(penalty_seconds(levels.address));
  if (minor_ < 2 && exchange.request->properties().service == "smtp") {
    most = std::min(most, kMaxSmtpWait - exchange.request->settings().auth_failure_delay);
  }
  most = std::max(most, Milliseconds(0));
  const Milliseconds wait =
      std::min<Milliseconds>(most, std::chrono::seconds(penalty_seconds(levels.user)));
  exchange.spared = most - wait;
  if (wait <= Milliseconds(0)) return check(exchange);
  exchange.waited = wait;
  exchange.timer = environment_.after(wait, [this, id] {
    Exchange& waited = exchanges_.at(id);
    waited.timer = 0;
    check(waited);
  });
}

void ClientSession::check(Exchange& exchange) {
  Request& request = *exchange.request;
  sasl::Credentials& credentials = exchange.credentials;
  exchange.phase = Phase::lookup;
  if (credentials.proof) return request.prove(std::move(credentials.proof), login_);
  request.authenticate(std::move(credentials.password), login_);
}

void ClientSession::send_continue(Exchange& exchange, std::string_view challenge) {
  exchange.phase = Phase::client;
  WipingBuffer encoded;
  base64_encode(challenge, encoded);
  wire::TabLine(output(), "CONT").add(exchange.id).add(encoded.view()).end();
  arm_sweep();
  wake();
}

ClientSession::Exchange* ClientSession::find(const Request& request) noexcept {
  const auto it = exchanges_.find(static_cast<std::uint32_t>(request.tag));
  return it == exchanges_.end() ? nullptr : &it->second;
}

void ClientSession::on_passdb_done(Request& request, PassdbResult result) {
  Exchange* exchange = find(request);
  if (exchange == nullptr) return;
  if (result != PassdbResult::ok) return fail(*exchange, result);
  if (exchange->penalised) {
    environment_.forgive(request.properties().rip, user_key(exchange->asked));
  }
  const std::size_t from = output().size();
  write_ok(output(), exchange->id, request, login_);
  debug_out(from);
  const bool kept = login_ && !request.fields().has("proxy") && !request.fields().has("nologin");
  if (kept) {
    exchange->phase = Phase::finished;
    exchange->deadline = environment_.now() + kRequestTimeout;
  } else {
    forget(exchange->id);
  }
  wake();
}

void ClientSession::on_userdb_done(Request& /*request*/, UserdbResult /*result*/) {}

void ClientSession::fail(Exchange& exchange, PassdbResult result) {
  const bool internal = result == PassdbResult::internal;
  const wire::AuthProperties& properties = exchange.request->properties();
  const bool no_delay = exchange.request->no_delay();
  if (!internal && !no_delay && environment_.counts_penalties() && !properties.no_penalty &&
      properties.rip) {
    const Request& request = *exchange.request;
    environment_.raise_penalty(
        properties.rip,
        request.has_password() ? guess_key(request.user(), request.password().reveal()) : 0,
        exchange.asked.empty() ? 0 : user_key(exchange.asked));
  }
  exchange.request->log_failure(result);
  exchange.phase = Phase::failed;
  failures_[exchange.id] = result;
  Milliseconds wait = no_delay ? Milliseconds(0) : failure_wait(exchange, internal);
  // Who is known at a penalised address is served at once, but only if he is right: else the clock
  // would tell who has logged in from there, and so who exists.
  wait = std::max(wait, Milliseconds(0)) + exchange.spared;
  if (wait <= Milliseconds(0)) return send_failure(exchange.id);
  exchange.timer = environment_.after(wait, [this, id = exchange.id] {
    exchanges_.at(id).timer = 0;
    send_failure(id);
  });
}

/// Counted from the beginning of the request, so that quick and slow failures look alike; a little
/// different each time, so that they cannot be counted.
Milliseconds ClientSession::failure_wait(const Exchange& exchange, bool internal) {
  const config::AuthSettings& settings = exchange.request->settings();
  const Milliseconds base =
      internal ? settings.auth_internal_failure_delay : settings.auth_failure_delay;
  if (base.count() <= 0) return Milliseconds(0);
  const auto percent = static_cast<std::int64_t>(internal ? 50 + environment_.random(101)
                                                          : 85 + environment_.random(31));
  Milliseconds wait = base * percent / 100;
  if (minor_ < 2 && exchange.request->properties().service == "smtp")
    wait = std::min(wait, kMaxSmtpWait);
  Milliseconds spent =
      std::chrono::duration_cast<Milliseconds>(environment_.now() - exchange.began);
  // What the penalty took is on top.
  spent -= std::min(spent, exchange.waited);
  return wait - spent;
}

void ClientSession::send_failure(std::uint32_t id) {
  const Exchange& exchange = exchanges_.at(id);
  const PassdbResult result = failures_.at(id);
  const std::size_t from = output().size();
  write_fail(output(), id, *exchange.request, fail_code(*exchange.request, result),
             result == PassdbResult::expired ? "Password expired" : "");
  debug_out(from);
  forget(id);
  wake();
}

void ClientSession::fail_now(std::uint32_t id, std::string_view code, std::string_view reason) {
  const std::size_t from = output().size();
  wire::TabLine line(output(), "FAIL");
  line.add(id);
  if (!code.empty()) line.key("code", code);
  if (!reason.empty()) line.key("reason", reason);
  line.end();
  debug_out(from);
  wake();
}

void ClientSession::forget(std::uint32_t id) {
  const auto it = exchanges_.find(id);
  if (it == exchanges_.end()) return;
  if (it->second.timer != 0) environment_.cancel(it->second.timer);
  it->second.request->abandon();
  environment_.retire(std::move(it->second.request));
  exchanges_.erase(it);
  failures_.erase(id);
}

std::unique_ptr<Request> ClientSession::take_finished(std::uint32_t id, bool& unfinished) {
  unfinished = false;
  const auto it = exchanges_.find(id);
  if (it == exchanges_.end()) return nullptr;
  if (it->second.phase != Phase::finished) {
    unfinished = true;
    return nullptr;
  }
  std::unique_ptr<Request> out = std::move(it->second.request);
  exchanges_.erase(it);
  return out;
}

void ClientSession::arm_sweep() {
  if (sweep_timer_ != 0) return;
  sweep_timer_ = environment_.after(kSweep, [this] {
    sweep_timer_ = 0;
    sweep();
  });
}

/// Requests nobody goes on with.
void ClientSession::sweep() {
  const TimePoint now = environment_.now();
  std::vector<std::uint32_t> late;
  for (const auto& [id, exchange] : exchanges_) {
    if (exchange.deadline <= now && exchange.phase != Phase::failed) late.push_back(id);
  }
  for (const std::uint32_t id : late) {
    const Exchange& exchange = exchanges_.at(id);
    const Request& request = *exchange.request;
    const Phase phase = exchange.phase;
    if (phase == Phase::client) {
      request.log_info(
          request.mech_prefix(),
          "Request timed out waiting for client to continue authentication (150 secs)");
    } else {
      request.log_error(request.mech_prefix(),
                        fmt::format("Request {}.{} timed out after 150 secs, state={}", pid_, id,
                                    phase == Phase::finished ? 3 : 2));
    }
    forget(id);
    if (phase == Phase::lookup || phase == Phase::penalty) fail_now(id, "temp_fail", {});
  }
  if (!exchanges_.empty()) arm_sweep();
}

}  // namespace postern::auth
