// Replays the recorded dialogues of clients with Dovecot's imap-login against ours: whole, byte by
// byte, and cut off at every byte.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "../transcript/transcript.h"
#include "config/settings.h"
#include "imap-login/imap-dialogues.h"
#include "lib/text.h"
#include "wire/tab-line.h"

namespace postern::imap_login {
namespace {

using namespace postern::test;

using login::AuthResult;
using login::Outcome;
using login::Wish;

constexpr std::size_t kUncut = std::string::npos;

/// What is said by the driver's timers and not by the dialogue, and how.
const std::map<std::string, login::ClientDialogue::Bye> kDriverTexts{
    {"* BYE Disconnected for inactivity.", login::ClientDialogue::Bye::timeout},
    {"* BYE Disconnected for inactivity during authentication.",
     login::ClientDialogue::Bye::timeout},
    {"* BYE Connection queue full", login::ClientDialogue::Bye::resource},
    {"* BYE Shutting down", login::ClientDialogue::Bye::shutdown}};

const std::map<std::string, Outcome> kOutcomes{{"wrong_credentials", Outcome::wrong_credentials},
                                               {"login_disabled", Outcome::login_disabled},
                                               {"referral", Outcome::referral},
                                               {"temp_fail", Outcome::temp_fail},
                                               {"proxy_unavailable", Outcome::proxy_unavailable},
                                               {"userip_limit", Outcome::userip_limit},
                                               {"handoff_failed", Outcome::handoff_failed}};

AuthResult outcome(Outcome what) {
  AuthResult out;
  out.outcome = what;
  return out;
}

/// Plays the login process around the dialogue, with verdicts taken from the recording.
class Replay {
 public:
  Replay(const Transcript& recorded, Differences& differences)
      : recorded_(recorded), file_(recorded.file) {
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
    for (const Row& row : read_table("imap-outcomes.tsv")) {
      if (row.at(0) == file_) outcomes_[row.at(1)] = row;
    }
  }

  /// @param piece  bytes offered at a time
  /// @param cut    client bytes after which the client is gone
  void run(std::size_t piece, std::size_t cut) {
    dialogue_ = make_imap_client_dialogue(context_);
    const bool greets = !expected_.empty() && expected_[0].starts_with("* OK [CAPABILITY");
    bool greeted = false;
    bool dropped_header = false;
    std::size_t left = cut;
    for (const Event& event : recorded_.events) {
      if (ended_) break;
      const bool header = is_proxied() && !dropped_header && event.kind == Event::Kind::client;
      if (header) {
        dropped_header = true;  // the PROXY header is not the dialogue's
        continue;
      }
      if (greets && !greeted && event.kind != Event::Kind::tls) {
        greeted = true;
        dialogue_->greet(output_);
      }
      switch (event.kind) {
        case Event::Kind::client: {
          const std::size_t n = std::min(left, event.bytes.size());
          feed(std::string_view(event.bytes).substr(0, n), piece);
          if (left != kUncut) left -= n;
          if (left == 0) return;
          break;
        }
        case Event::Kind::server:
          say(event.bytes);
          break;
        case Event::Kind::tls:
          start_tls();
          break;
        case Event::Kind::to_backend:
        case Event::Kind::backend:
        case Event::Kind::accepted:
          break;
      }
    }
  }

  std::vector<std::string> output() const {
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
  /// What must have been said: all, or all up to where the mail service speaks.
  std::vector<std::string> expected() const {
    return {expected_.begin(), expected_.begin() + static_cast<std::ptrdiff_t>(said_until_)};
  }
  const std::vector<std::string>& all_expected() const { return expected_; }
  const std::vector<std::string>& requests() const { return requests_; }
  const std::vector<std::string>& id_logs() const { return id_logs_; }
  const std::optional<std::string>& close_reason() const { return close_reason_; }
  const std::vector<login::Forwarded>& forwarded() const { return forwarded_; }
  std::size_t client_bytes() const {
    std::size_t n = 0;
    bool skip = is_proxied();
    for (const Event& event : recorded_.events) {
      if (event.kind != Event::Kind::client) continue;
      if (!std::exchange(skip, false)) n += event.bytes.size();
    }
    return n;
  }

 private:
  bool is_proxied() const { return file_.starts_with("imap-haproxy"); }

  void configure() {
    for (const char* name : {"ssl", "disable_plaintext_auth", "imap_capability", "imap_id_send",
                             "imap_id_log", "imap_id_retain", "imap_literal_minus"}) {
      const auto value = recorded_.setting(name);
      if (!value) continue;
      const auto assigned = config::assign(settings_, name, config::Value(*value));
      ASSERT_TRUE(assigned.ok() && assigned.value()) << name << "=" << *value;
    }
    std::string mechanisms = recorded_.setting("auth_mechanisms").value_or("plain");
    if (recorded_.configs.at(0).find("scripted auth server") != std::string::npos) {
      mechanisms = "plain cram-md5 anonymous";
    }
    for (const std::string_view word : words(mechanisms)) {
      login::Mechanism mechanism;
      mechanism.name = to_upper(word);
      mechanism.plaintext = word == "plain" || word == "login";
      mechanism.private_use = word == "apop";
      mechanism.anonymous = word == "anonymous";
      mechanisms_.push_back(mechanism);
    }
    context_.settings = &settings_;
    context_.mechanisms = &mechanisms_;
    const std::string source = std::string(
        words(recorded_.server.substr(recorded_.server.find("client source ") + 14), " ,").at(0));
    login::Security& security = context_.security;
    security.tls = recorded_.server.find("listener \"imaps\"") != std::string::npos ||
                   file_ == "imap-haproxy-imaps.txt";
    security.ssl_secured = security.tls || file_ == "imap-haproxy-v2-ssl.txt" ||
                           file_ == "imap-haproxy-v2-starttls.txt";
    const std::string trusted = recorded_.setting("login_trusted_networks").value_or("127.0.0.3");
    // Behind a PROXY header the addresses are others, and equal ones mean nothing.
    security.trusted =
        !is_proxied() &&
        (source == "127.0.0.3" || recorded_.configs.at(0).find("," + source) != std::string::npos);
    security.secured =
        security.ssl_secured || security.trusted || (!is_proxied() && source == "127.0.0.1");
    for (const Event& event : recorded_.events) {
      if (event.kind != Event::Kind::server) continue;
      const std::size_t code = event.bytes.find("] ");
      if (code != std::string::npos) context_.greeting = event.bytes.substr(code + 2);
      break;
    }
  }

  void say(const std::string& line) {
    const auto found = kDriverTexts.find(line);
    if (found == kDriverTexts.end()) return;
    dialogue_->bye(found->second, std::string_view(line).substr(6), output_);
    ended_ = true;
  }

  void start_tls() {
    if (!awaits_tls_) return;
    awaits_tls_ = false;
    context_.security.tls = context_.security.ssl_secured = context_.security.secured = true;
    dialogue_->tls_started(output_);
  }

  void feed(std::string_view bytes, std::size_t piece) {
    if (awaits_tls_) ended_ = true;  // plaintext where a handshake has to be
    while (!bytes.empty() && !ended_) {
      const std::size_t n = std::min(piece, bytes.size());
      input_.append(bytes.substr(0, n));
      bytes.remove_prefix(n);
      consume();
      if (awaits_tls_ && !(input_.empty() && bytes.empty())) ended_ = true;
    }
  }

  void consume() {
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

  void act(Wish wish) {
    switch (wish) {
      case Wish::need_more:
      case Wish::next:
        return;
      case Wish::start_tls:
        awaits_tls_ = true;
        return;
      case Wish::authenticate: {
        const login::AuthRequest request = dialogue_->take_request();
        tag_ = dialogue_->facts().tag;
        requests_.push_back(request.mech + " " +
                            (request.initial ? std::string(request.initial->reveal()) : "-"));
        const auto refused = check(request);
        if (refused) return dialogue_->failed(*refused, output_);
        attempt_ = attempts_++;
        check_initial(request);
        return verdict();
      }
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
        id_logs_.push_back(dialogue_->take_id_log());
        return;
      case Wish::close:
        close_reason_ = dialogue_->close_reason();
        ended_ = true;
        return;
    }
  }

  /// The checks a login process makes before it asks auth, in their order.
  std::optional<AuthResult> check(const login::AuthRequest& request) {
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
    if (mechanism == mechanisms_.end() || mechanism->private_use) {
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
  void check_initial(const login::AuthRequest& request) {
    const auto line = auth_line(recorded_.auth_requests, "AUTH");
    if (!line || !request.initial) return;
    EXPECT_TRUE(line->ends_with("resp=" + std::string(request.initial->reveal()))) << *line;
  }

  /// Of the current attempt: what was sent for it first, or the last answer to it.
  std::optional<std::string> auth_line(const std::vector<std::string>& lines,
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

  void verdict() {
    const std::size_t said = output().size();
    const std::string next = said < expected_.size() ? expected_[said] : "(end)";
    if (next.starts_with("+ ") && next != "+ OK") {
      return dialogue_->challenge(std::string_view(next).substr(2), output_);
    }
    const auto listed = outcomes_.find(tag_);
    const bool ok = next.starts_with(tag_ + " OK ") || next.starts_with("* CAPABILITY ");
    if (listed == outcomes_.end() && ok) {
      // From here on the mail service or a backend speaks.
      said_until_ = said;
      EXPECT_EQ(dialogue_->facts().used_capability, next.starts_with("* "));
      ended_ = true;
      return;
    }
    if (listed == outcomes_.end() && next == "(end)") {
      ended_ = true;  // the client left before there was a verdict
      return;
    }
    const AuthResult result =
        listed == outcomes_.end() ? from_auth(next) : from_table(listed->second);
    dialogue_->failed(result, output_);
    ended_ = result.outcome == Outcome::userip_limit || result.outcome == Outcome::handoff_failed;
  }

  static AuthResult from_table(const Row& row) {
    AuthResult out;
    out.outcome = kOutcomes.at(row.at(2));
    out.text = row.at(3);
    out.has_reason = out.outcome == Outcome::wrong_credentials && !out.text.empty();
    if (row.size() > 5) {
      out.referral_host = row.at(4);
      out.user = row.at(5);
      out.mech = "PLAIN";
    }
    return out;
  }

  /// What the login process makes of auth's reply; without one, a plain failure.
  AuthResult from_auth(const std::string& next) const {
    AuthResult out;
    out.mech = "PLAIN";
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
    static const std::map<std::string, Outcome> kCodes{
        {"authz_fail", Outcome::authz_failed},
        {"temp_fail", Outcome::temp_fail},
        {"user_disabled", Outcome::user_disabled},
        {"pass_expired", Outcome::pass_expired},
        {"invalid_base64", Outcome::invalid_base64},
        {"auth_mech_invalid", Outcome::mech_invalid},
        {"auth_mech_ssl_required", Outcome::mech_plaintext_refused},
        {"anonymous_denied", Outcome::anonymous_denied}};
    const auto code = kCodes.find(fields["code"]);
    if (code != kCodes.end()) out.outcome = code->second;
    // The text of a temporary failure has the host's name and the time in it.
    if (out.outcome == Outcome::temp_fail) out.text = next.substr(next.find("] ") + 2);
    const bool by_auth =
        out.outcome == Outcome::mech_invalid || out.outcome == Outcome::mech_plaintext_refused;
    if (by_auth && out.text.empty()) out.text = "Authentication failed.";
    return out;
  }

  const Transcript& recorded_;
  std::string file_;
  config::LoginSettings settings_;
  std::vector<login::Mechanism> mechanisms_;
  login::ClientContext context_;
  std::vector<std::string> expected_;
  std::size_t said_until_ = kUncut;
  std::map<std::string, Row> outcomes_;
  std::unique_ptr<login::ClientDialogue> dialogue_;
  WipingBuffer input_;
  WipingBuffer output_;
  std::string tag_;
  std::size_t attempts_ = 0;
  std::size_t attempt_ = 0;
  bool ended_ = false;
  bool awaits_tls_ = false;
  std::vector<std::string> requests_;
  std::vector<std::string> id_logs_;
  std::vector<login::Forwarded> forwarded_;
  std::optional<std::string> close_reason_;

 public:
  void finish() { said_until_ = std::min(said_until_, expected_.size()); }
};

std::set<std::string> not_replayed() {
  std::set<std::string> out;
  for (const Row& row : read_table("imap-not-replayed.tsv")) out.insert(row.at(0));
  return out;
}

void check_log(const Transcript& recorded, const Replay& replay, Differences& differences) {
  if (replay.close_reason()) {
    const std::string reason = "Disconnected: " + *replay.close_reason() + " (";
    EXPECT_TRUE(recorded.logged(reason)) << reason;
  }
  for (const std::string& id : replay.id_logs()) {
    EXPECT_TRUE(recorded.logged(id + ": user=") || recorded.logged(id + " | user=") ||
                differences.listed(recorded.file, "LOG: " + id))
        << id;
  }
  EXPECT_EQ(replay.id_logs().size(), recorded.logged("ID sent: ") ? 1U : 0U);
  for (const login::Forwarded& forwarded : replay.forwarded()) {
    if (forwarded.client_ip) {
      EXPECT_TRUE(recorded.logged("rip=" + forwarded.client_ip->text() + ","));
    }
    if (forwarded.session) {
      EXPECT_TRUE(recorded.logged("session=<" + *forwarded.session + ">"));
    }
  }
  EXPECT_LE(replay.forwarded().size(), 1U);
}

TEST(ImapClientTranscripts, AreRepeatedByteForByteHoweverTheyAreCut) {
  Differences differences;
  const std::set<std::string> left_out = not_replayed();
  std::size_t replayed = 0;
  for (const std::string& file : transcripts("imap-")) {
    if (left_out.count(file) != 0) continue;
    SCOPED_TRACE(file);
    const Transcript recorded = read_transcript(file, true);
    ++replayed;
    std::vector<std::string> requests;
    for (const std::size_t piece : {kUncut, std::size_t{1}, std::size_t{7}}) {
      SCOPED_TRACE(piece);
      Replay replay(recorded, differences);
      replay.run(piece, kUncut);
      replay.finish();
      EXPECT_EQ(replay.output(), replay.expected());
      check_log(recorded, replay, differences);
      requests = replay.requests();
    }
    if (testing::Test::HasFailure()) continue;
    Replay whole(recorded, differences);
    const std::size_t size = whole.client_bytes();
    const std::size_t stride = size > 3000 ? 97 : 1;
    for (std::size_t cut = 0; cut < size; cut += stride) {
      Replay replay(recorded, differences);
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
  EXPECT_GE(replayed, 100U);
  EXPECT_EQ(differences.unused("imap-"), std::vector<std::string>{});
}

TEST(ImapTranscripts, ThatAreLeftOutAreThereAndHaveAReason) {
  std::vector<std::string> files = transcripts("imap-");
  for (std::string& file : transcripts("proxy-imap-")) files.push_back(std::move(file));
  for (const Row& row : read_table("imap-not-replayed.tsv")) {
    SCOPED_TRACE(row.at(0));
    ASSERT_EQ(row.size(), 2U);
    EXPECT_NE(std::find(files.begin(), files.end(), row.at(0)), files.end());
    EXPECT_FALSE(row.at(1).empty());
  }
}

}  // namespace
}  // namespace postern::imap_login
