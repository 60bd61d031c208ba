#include "client-replay.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "lib/text.h"
#include "wire/tab-line.h"

namespace postern::test {
namespace {

using login::AuthResult;
using login::Outcome;
using login::Wish;
using Bye = login::ClientDialogue::Bye;

/// What is said by the driver and not by the dialogue, and how.
const std::map<std::string_view, Bye> kPartings{
    {"Disconnected for inactivity.", Bye::timeout},
    {"Disconnected for inactivity during authentication.", Bye::timeout},
    {"Connection queue full", Bye::resource},
    {"Auth process broken", Bye::shutdown},
    {"Shutting down", Bye::shutdown}};

const std::map<std::string, Outcome> kOutcomes{{"wrong_credentials", Outcome::wrong_credentials},
                                               {"login_disabled", Outcome::login_disabled},
                                               {"referral", Outcome::referral},
                                               {"temp_fail", Outcome::temp_fail},
                                               {"proxy_unavailable", Outcome::proxy_unavailable},
                                               {"userip_limit", Outcome::userip_limit},
                                               {"handoff_failed", Outcome::handoff_failed}};

const std::map<std::string, Outcome> kCodes{
    {"authz_fail", Outcome::authz_failed},
    {"temp_fail", Outcome::temp_fail},
    {"user_disabled", Outcome::user_disabled},
    {"pass_expired", Outcome::pass_expired},
    {"invalid_base64", Outcome::invalid_base64},
    {"auth_mech_invalid", Outcome::mech_invalid},
    {"auth_mech_ssl_required", Outcome::mech_plaintext_refused},
    {"anonymous_denied", Outcome::anonymous_denied}};

AuthResult outcome(Outcome what) {
  AuthResult out;
  out.outcome = what;
  out.mech = "PLAIN";
  return out;
}

/// A row: file, number, outcome [, text [, referral host, user]].
AuthResult from_table(const Row& row) {
  AuthResult out = outcome(kOutcomes.at(row.at(2)));
  if (row.size() > 3) out.text = row.at(3);
  out.has_reason = out.outcome == Outcome::wrong_credentials && !out.text.empty();
  if (row.size() > 5) {
    out.referral_host = row.at(4);
    out.user = row.at(5);
  }
  return out;
}

/// The text of a temporary failure has the host's name and the time in it.
std::string temporary_failure(const std::string& line) {
  const std::size_t at = line.find("Temporary authentication failure.");
  if (at == std::string::npos) return "";
  return line.substr(at, std::min(line.size(), line.find('"', at)) - at);
}

std::set<std::string> not_replayed(std::string_view name) {
  std::set<std::string> out;
  for (const Row& row : read_table(std::string(name) + "-not-replayed.tsv")) out.insert(row.at(0));
  return out;
}

void check_log(const Transcript& recorded, const ClientReplay& replay, Differences& differences) {
  if (replay.close_reason()) {
    const std::string reason = "Disconnected: " + *replay.close_reason();
    EXPECT_TRUE(recorded.logged(reason + " (") ||
                differences.listed(recorded.file, "LOG: " + reason))
        << reason;
  }
  for (const std::string& remark : replay.remarks()) {
    EXPECT_TRUE(recorded.logged(remark + ": user=") || recorded.logged(remark + " | user=") ||
                differences.listed(recorded.file, "LOG: " + remark))
        << remark;
  }
  std::optional<IpAddress> client;
  std::optional<std::string> session;
  for (const login::Forwarded& forwarded : replay.forwarded()) {
    if (forwarded.client_ip) client = forwarded.client_ip;
    if (forwarded.session) session = forwarded.session;
  }
  if (client) {
    EXPECT_TRUE(recorded.logged("rip=" + client->text() + ","));
  }
  if (session) {
    EXPECT_TRUE(recorded.logged("session=<" + *session + ">"));
  }
}

/// The client goes away behind every byte: what was said until then is a start of what is said
/// when it stays.
void cut_everywhere(const RecordedProtocol& protocol, const Transcript& recorded,
                    Differences& differences, const std::vector<std::string>& requests) {
  const std::size_t size = ClientReplay(protocol, recorded, differences).client_bytes();
  const std::size_t stride = size > 3000 ? 97 : 1;
  for (std::size_t cut = 0; cut < size; cut += stride) {
    ClientReplay replay(protocol, recorded, differences);
    replay.run(kUncut, cut);
    const std::vector<std::string> said = replay.output();
    const std::vector<std::string>& all = replay.all_expected();
    ASSERT_LE(said.size(), all.size()) << cut;
    ASSERT_TRUE(std::equal(said.begin(), said.end(), all.begin())) << cut;
    ASSERT_LE(replay.requests().size(), requests.size()) << cut;
    ASSERT_TRUE(std::equal(replay.requests().begin(), replay.requests().end(), requests.begin()))
        << cut;
  }
}

}  // namespace

ClientReplay::ClientReplay(const RecordedProtocol& protocol, const Transcript& recorded,
                           Differences& differences)
    : protocol_(protocol), recorded_(recorded), file_(recorded.file) {
  configure();
  std::vector<std::string> lines;
  for (const Event& event : recorded.events) {
    if (event.kind == Event::Kind::server) lines.push_back("S: " + event.bytes);
  }
  for (const std::string& line : differences.apply(file_, lines)) {
    expected_.push_back(line.substr(3));
  }
  for (const std::string& line : differences.at_end(file_, "S: ")) {
    expected_.push_back(line.substr(3));
  }
  for (const Row& row : read_table(std::string(protocol.name) + "-outcomes.tsv")) {
    if (row.at(0) == file_) outcomes_[decimal(row.at(1), 1, 99).value_or(0)] = row;
  }
}

void ClientReplay::run(std::size_t piece, std::size_t cut) {
  dialogue_ = protocol_.make(context_);
  const bool greets = !expected_.empty() && expected_[0].starts_with(protocol_.greeting_starts);
  bool greeted = false;
  bool dropped_header = !is_proxied();
  std::size_t left = cut;
  for (const Event& event : recorded_.events) {
    if (ended_) break;
    // The PROXY header is not the dialogue's.
    if (event.kind == Event::Kind::client && !std::exchange(dropped_header, true)) continue;
    if (greets && !greeted && event.kind != Event::Kind::tls) {
      greeted = true;
      dialogue_->greet(output_);
    }
    if (event.kind == Event::Kind::client) {
      const std::size_t n = std::min(left, event.bytes.size());
      feed(std::string_view(event.bytes).substr(0, n), piece);
      if (left != kUncut) left -= n;
      if (left == 0) return;
    } else if (event.kind == Event::Kind::server) {
      say(event.bytes);
    } else if (event.kind == Event::Kind::tls) {
      start_tls();
    }
  }
}

std::vector<std::string> ClientReplay::output() const {
  std::vector<std::string> out;
  std::string_view rest = output_.view();
  while (!rest.empty()) {
    const std::size_t end = rest.find("\r\n");
    if (end == std::string_view::npos) {
      out.emplace_back("(no line end) " + std::string(rest));
      break;
    }
    out.emplace_back(rest.substr(0, end));
    rest.remove_prefix(end + 2);
  }
  return out;
}

std::vector<std::string> ClientReplay::expected() const {
  const std::size_t n = std::min(said_until_, expected_.size());
  return {expected_.begin(), expected_.begin() + static_cast<std::ptrdiff_t>(n)};
}

std::size_t ClientReplay::client_bytes() const {
  std::size_t n = 0;
  bool skip = is_proxied();
  for (const Event& event : recorded_.events) {
    if (event.kind != Event::Kind::client) continue;
    if (!std::exchange(skip, false)) n += event.bytes.size();
  }
  return n;
}

bool ClientReplay::is_proxied() const {
  return file_.starts_with(std::string(protocol_.name) + "-haproxy");
}

void ClientReplay::configure() {
  std::vector<const char*> names{"ssl", "disable_plaintext_auth", "auth_verbose"};
  names.insert(names.end(), protocol_.settings.begin(), protocol_.settings.end());
  for (const char* name : names) {
    const auto value = recorded_.setting(name);
    if (!value) continue;
    const auto assigned = config::assign(settings_, name, config::Value(*value));
    ASSERT_TRUE(assigned.ok() && assigned.value()) << name << "=" << *value;
  }
  offer_mechanisms();
  context_.settings = &settings_;
  context_.mechanisms = &mechanisms_;
  const std::string source = std::string(
      words(recorded_.server.substr(recorded_.server.find("client source ") + 14), " ,").at(0));
  login::Security& security = context_.security;
  const std::string listener = "listener \"" + std::string(protocol_.tls_listener) + "\"";
  security.tls =
      recorded_.server.find(listener) != std::string::npos || file_.ends_with("-haproxy-imaps.txt");
  security.ssl_secured = security.tls || file_.ends_with("-haproxy-v2-ssl.txt") ||
                         file_.ends_with("-haproxy-v2-starttls.txt");
  // Behind a PROXY header the addresses are others, and equal ones mean nothing.
  security.trusted =
      !is_proxied() &&
      (source == "127.0.0.3" || recorded_.configs.at(0).find("," + source) != std::string::npos);
  security.secured =
      security.ssl_secured || security.trusted || (!is_proxied() && source == "127.0.0.1");
  std::vector<std::string> said;
  for (const Event& event : recorded_.events) {
    if (event.kind == Event::Kind::server) said.push_back(event.bytes);
  }
  if (!said.empty()) protocol_.read_greeting(said, context_, settings_);
  if (security.tls) follow_name();
}

/// Settings follow the name that the client asked for.
void ClientReplay::follow_name() {
  if (auto greeting = recorded_.setting_of_name("login_greeting")) context_.greeting = *greeting;
  for (const char* name : protocol_.settings) {
    const auto value = recorded_.setting_of_name(name);
    if (!value) continue;
    const auto assigned = config::assign(settings_, name, config::Value(*value));
    ASSERT_TRUE(assigned.ok() && assigned.value()) << name << "=" << *value;
  }
}

void ClientReplay::offer_mechanisms() {
  std::string offered = recorded_.setting("auth_mechanisms").value_or("plain");
  if (recorded_.configs.at(0).find("scripted auth server") != std::string::npos) {
    offered = "plain cram-md5 anonymous";
  }
  for (const std::string_view word : words(offered)) {
    login::Mechanism mechanism;
    mechanism.name = to_upper(word);
    mechanism.plaintext = word == "plain" || word == "login";
    mechanism.private_use = word == "apop";
    mechanism.anonymous = word == "anonymous";
    mechanisms_.push_back(mechanism);
  }
}

void ClientReplay::say(const std::string& line) {
  const std::string_view text = protocol_.parting_text(line);
  const auto found = kPartings.find(text);
  if (found == kPartings.end()) return;
  dialogue_->bye(found->second, text, output_);
  ended_ = true;
}

void ClientReplay::start_tls() {
  if (!awaits_tls_) return;
  awaits_tls_ = false;
  context_.security.tls = context_.security.ssl_secured = context_.security.secured = true;
  follow_name();
  dialogue_->tls_started(output_);
}

void ClientReplay::feed(std::string_view bytes, std::size_t piece) {
  if (awaits_tls_) ended_ = true;  // plaintext where a handshake has to be
  while (!bytes.empty() && !ended_) {
    const std::size_t n = std::min(piece, bytes.size());
    input_.append(bytes.substr(0, n));
    bytes.remove_prefix(n);
    consume();
    if (awaits_tls_ && !(input_.empty() && bytes.empty())) ended_ = true;
  }
}

void ClientReplay::consume() {
  while (!ended_ && !awaits_tls_) {
    const login::Step step = dialogue_->consume(input_.view(), output_);
    ASSERT_LE(step.consumed, input_.size());
    input_.consume(step.consumed);
    if (step.wish == Wish::need_more) {
      // It keeps what it has: nothing may be left that it will not take.
      ASSERT_TRUE(input_.empty());
      return;
    }
    act(step.wish);
  }
}

void ClientReplay::act(Wish wish) {
  switch (wish) {
    case Wish::need_more:
    case Wish::next:
      return;
    case Wish::start_tls:
      awaits_tls_ = true;
      return;
    case Wish::authenticate:
      return authenticate();
    case Wish::respond: {
      const Secret response = dialogue_->take_response();
      requests_.push_back("response " + std::string(response.reveal()));
      ASSERT_TRUE(is_base64(response.reveal()));
      return verdict();
    }
    case Wish::cancel:
      return dialogue_->failed(outcome(dialogue_->cancel_outcome()), output_);
    case Wish::forwarded:
      forwarded_.push_back(dialogue_->take_forwarded());
      return;
    case Wish::log_id:
      remarks_.push_back(dialogue_->take_id_log());
      return;
    case Wish::close:
      close_reason_ = dialogue_->close_reason();
      ended_ = true;
      return;
  }
}

void ClientReplay::authenticate() {
  const login::AuthRequest request = dialogue_->take_request();
  requests_.push_back(request.mech + " " + request.user + " " +
                      (request.initial ? std::string(request.initial->reveal()) : "-"));
  const auto refused = check(request);
  if (refused) return dialogue_->failed(*refused, output_);
  attempt_ = attempts_++;
  check_initial(request);
  verdict();
}

/// The checks a login process makes before it asks auth, in their order.
std::optional<AuthResult> ClientReplay::check(const login::AuthRequest& request) {
  const login::Security& security = context_.security;
  const bool required = settings_.ssl == config::Ssl::required && !security.secured;
  const bool no_plaintext = settings_.disable_plaintext_auth && !security.secured;
  if (request.plaintext_command && (required || no_plaintext)) {
    return outcome(Outcome::plaintext_refused);
  }
  if (required) return outcome(Outcome::tls_required);
  const auto mechanism = std::find_if(
      mechanisms_.begin(), mechanisms_.end(),
      [&request](const login::Mechanism& offered) { return offered.name == request.mech; });
  if (mechanism == mechanisms_.end() || (mechanism->private_use && !request.uses_challenge) ||
      (mechanism->anonymous && protocol_.refuse_anonymous)) {
    return outcome(Outcome::mech_invalid);
  }
  if (mechanism->plaintext && no_plaintext) return outcome(Outcome::mech_plaintext_refused);
  if (request.invalid_initial) {
    ++attempts_;  // Dovecot asked auth
    return outcome(Outcome::invalid_base64);
  }
  return std::nullopt;
}

/// The initial response must be the one that Dovecot sent on.
void ClientReplay::check_initial(const login::AuthRequest& request) {
  const auto line = auth_line(recorded_.auth_requests, "AUTH");
  if (!line || !request.initial) return;
  EXPECT_TRUE(line->ends_with("resp=" + std::string(request.initial->reveal()))) << *line;
}

/// Of the current attempt: what was sent for it first, or the last answer to it.
std::optional<std::string> ClientReplay::auth_line(const std::vector<std::string>& lines,
                                                   std::string_view verb) const {
  std::vector<std::string> ids;
  for (const std::string& line : recorded_.auth_requests) {
    if (line.starts_with("AUTH\t")) ids.emplace_back(wire::split_tabs(line).at(1));
  }
  if (attempt_ >= ids.size()) return std::nullopt;
  std::optional<std::string> out;
  for (const std::string& line : lines) {
    const auto fields = wire::split_tabs(line);
    if (fields.at(1) == ids[attempt_] && (verb.empty() || fields.at(0) == verb)) out = line;
  }
  return out;
}

void ClientReplay::verdict() {
  const std::size_t said = output().size();
  const std::string next = said < expected_.size() ? expected_[said] : "(end)";
  if (next.starts_with(protocol_.challenge_starts) && next != protocol_.not_a_challenge) {
    return dialogue_->challenge(protocol_.challenge(next), output_);
  }
  const auto listed = outcomes_.find(attempts_);
  facts_ = dialogue_->facts();
  const bool ok = protocol_.succeeds(next, facts_);
  if (listed == outcomes_.end() && (ok || next == "(end)")) {
    // From here on the mail service or a backend speaks, or the client has left.
    if (ok) {
      said_until_ = said;
      success_ = next;
    }
    ended_ = true;
    return;
  }
  const AuthResult result =
      listed == outcomes_.end() ? from_auth(next) : from_table(listed->second);
  dialogue_->failed(result, output_);
  ended_ = result.outcome == Outcome::userip_limit || result.outcome == Outcome::handoff_failed;
}

/// What the login process makes of auth's reply; without one, a plain failure.
AuthResult ClientReplay::from_auth(const std::string& next) const {
  AuthResult out = outcome(Outcome::wrong_credentials);
  const auto reply = auth_line(recorded_.auth_replies, "");
  if (!reply) return out;
  std::map<std::string, std::string> fields;
  const auto split = wire::split_tabs(*reply);
  for (std::size_t i = 2; i < split.size(); ++i) {
    const std::size_t equals = std::min(split[i].size(), split[i].find('='));
    fields[std::string(split[i].substr(0, equals))] =
        split[i].substr(std::min(split[i].size(), equals + 1));
  }
  if (fields.count("reason") != 0) {
    out.text = fields["reason"];
    out.has_reason = true;
  }
  if (split.at(0) == "OK") {
    if (fields.count("proxy") != 0) return outcome(Outcome::proxy_unavailable);
    out.outcome = fields.count("host") != 0 ? Outcome::referral : Outcome::login_disabled;
    out.referral_host = fields["host"];
    out.referral_port = static_cast<std::uint16_t>(decimal(fields["port"], 1, 65535).value_or(0));
    out.user = fields.count("destuser") != 0 ? fields["destuser"] : fields["user"];
    return out;
  }
  const auto code = kCodes.find(fields["code"]);
  if (code != kCodes.end()) out.outcome = code->second;
  if (out.outcome == Outcome::temp_fail) out.text = temporary_failure(next);
  // Where auth has decided, its words are about itself (the driver sees to it).
  const bool by_auth = out.outcome == Outcome::mech_invalid ||
                       out.outcome == Outcome::mech_plaintext_refused ||
                       out.outcome == Outcome::invalid_base64;
  if (by_auth && out.text.empty()) out.text = "Authentication failed.";
  return out;
}

void replay_clients(const RecordedProtocol& protocol) {
  Differences differences;
  const std::string prefix = std::string(protocol.name) + "-";
  const std::set<std::string> left_out = not_replayed(protocol.name);
  std::size_t replayed = 0;
  for (const std::string& file : transcripts(prefix)) {
    if (left_out.count(file) != 0) continue;
    SCOPED_TRACE(file);
    const Transcript recorded = read_transcript(file, true);
    ++replayed;
    std::vector<std::string> requests;
    for (const std::size_t piece : {kUncut, std::size_t{1}, std::size_t{7}}) {
      SCOPED_TRACE(piece);
      ClientReplay replay(protocol, recorded, differences);
      replay.run(piece, kUncut);
      EXPECT_EQ(replay.output(), replay.expected());
      check_log(recorded, replay, differences);
      if (protocol.check != nullptr) protocol.check(recorded, replay);
      requests = replay.requests();
    }
    if (testing::Test::HasFailure()) continue;
    cut_everywhere(protocol, recorded, differences, requests);
  }
  EXPECT_GE(replayed, protocol.least);
  for (const std::string& row : differences.unused(prefix)) {
    EXPECT_NE(left_out.count(row.substr(0, row.find(": "))), 0U) << row << " is not needed";
  }
}

void check_left_out(std::string_view name) {
  std::vector<std::string> files = transcripts(std::string(name) + "-");
  for (std::string& file : transcripts("proxy-")) files.push_back(std::move(file));
  for (const Row& row : read_table(std::string(name) + "-not-replayed.tsv")) {
    SCOPED_TRACE(row.at(0));
    ASSERT_EQ(row.size(), 2U);
    EXPECT_NE(std::find(files.begin(), files.end(), row.at(0)), files.end());
    EXPECT_FALSE(row.at(1).empty());
  }
}

}  // namespace postern::test
