// Replays the recorded dialogues of Dovecot's proxy with backends against ours, connection by
// connection, and cuts each of them off behind every line.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../transcript/transcript.h"
#include "imap-login/imap-dialogues.h"
#include "lib/text.h"

namespace postern::imap_login {
namespace {

using namespace postern::test;

using login::BackendTls;
using login::FailureType;
using login::Then;
using Kind = Event::Kind;

constexpr std::size_t kUncut = std::string::npos;

/// What stood in the passdb's reply, and what the recorded client and ID say of the connection.
struct Target {
  login::BackendTarget backend;
  std::string password;  // the client's own
};

std::string field(const std::string& config, std::string_view name) {
  const std::string key = " " + std::string(name) + "=";
  const std::size_t at = config.find(key);
  if (at == std::string::npos) return "";
  const std::size_t start = at + key.size();
  return config.substr(start, config.find(' ', start) - start);
}

/// The quoted value behind a key of a recorded ID.
std::string id_value(const std::string& id, std::string_view key) {
  const std::string start = "\"" + std::string(key) + "\" \"";
  const std::size_t at = id.find(start);
  if (at == std::string::npos) return "";
  const std::size_t value = at + start.size();
  return id.substr(value, id.find('"', value) - value);
}

/// All pairs of a recorded ID, in order.
using Pairs = std::vector<std::pair<std::string, std::optional<std::string>>>;
Pairs id_pairs(std::string_view id) {
  Pairs out;
  std::optional<std::string> key;
  id.remove_prefix(std::min(id.size(), id.find('(') + 1));
  while (!id.empty() && id.front() != ')') {
    std::optional<std::string> value;
    if (id.starts_with("NIL")) {
      id.remove_prefix(3);
    } else {
      value.emplace();
      std::size_t i = 1;
      for (; i < id.size() && id[i] != '"'; ++i) {
        if (id[i] == '\\') ++i;
        *value += id.at(i);
      }
      id.remove_prefix(i + 1);
    }
    if (id.starts_with(' ')) id.remove_prefix(1);
    if (key) {
      out.emplace_back(*key, std::move(value));
      key.reset();
    } else {
      key = value;
    }
  }
  return out;
}

std::uint16_t port(const std::string& text) {
  return static_cast<std::uint16_t>(decimal(text, 0, 65535).value_or(0));
}

class BackendReplay {
 public:
  BackendReplay(const Transcript& recorded, Differences& differences)
      : recorded_(recorded), differences_(differences), file_(recorded.file) {
    for (const std::string& line : recorded.configs) {
      if (line.starts_with("passdb extra fields")) config_ = line.substr(line.find("for ") + 4);
    }
    rejects_certificate_ = recorded.logged("Received invalid SSL certificate");
  }

  /// @param cut  lines of backends after which everything stops
  void run(std::size_t cut) {
    std::size_t left = cut;
    for (const Event& event : recorded_.events) {
      switch (event.kind) {
        case Kind::client:
          on_client(event.bytes);
          break;
        case Kind::accepted:
          finish_connection();
          begin_connection();
          break;
        case Kind::to_backend:
          if (dialogue_ && !ended_) recorded_commands_.push_back("P: " + event.bytes);
          break;
        case Kind::backend:
          if (!dialogue_ || ended_) break;
          if (left == 0) return;
          if (left != kUncut) --left;
          on_backend(event.bytes);
          break;
        case Kind::tls:
          if (dialogue_ && awaits_tls_ && !rejects_certificate_) {
            awaits_tls_ = false;
            act(dialogue_->on_tls_started(to_backend_));
          }
          break;
        case Kind::server:
          if (relayed_ || !dialogue_) break;
          recorded_replies_.push_back("S: " + event.bytes);
          if (event.bytes.starts_with(target_.backend.client_tag + " ")) relayed_ = true;
          break;
      }
    }
    finish_connection();
    check_replies();
    check_log();
  }

  /// Everything that was sent to backends, over all connections.
  std::vector<std::string> sent() const {
    std::vector<std::string> out = sent_;
    for (std::string& line : lines_of(to_backend_.view(), "P: ")) out.push_back(std::move(line));
    return out;
  }
  std::size_t backend_lines() const {
    return static_cast<std::size_t>(
        std::count_if(recorded_.events.begin(), recorded_.events.end(),
                      [](const Event& event) { return event.kind == Kind::backend; }));
  }

 private:
  void on_client(const std::string& line) {
    if (relayed_ && logged_in_) return;
    const auto parts = words(line, " \r\n");
    if (parts.size() < 2) return;
    if (same_text(parts[1], "CAPABILITY")) target_.backend.client_used_capability = true;
    const bool login = same_text(parts[1], "LOGIN");
    if (!login && !same_text(parts[1], "AUTHENTICATE")) return;
    target_.backend.client_tag = parts[0];
    relayed_ = false;
    if (login) {
      target_.password = parts.at(3);
    } else {
      const std::string plain(base64_decode(parts.at(3))->view());
      target_.password = plain.substr(plain.rfind('\0') + 1);
    }
  }

  void begin_connection() {
    login::BackendTarget& backend = target_.backend;
    const std::string user = config_.substr(0, config_.find(':'));
    backend.user = field(config_, "destuser").empty() ? user : field(config_, "destuser");
    backend.master = field(config_, "master");
    const bool own = config_.find(" pass=") == std::string::npos;
    backend.password = Secret(own ? target_.password : field(config_, "pass"));
    backend.mech = to_upper(field(config_, "proxy_mech"));
    const bool starttls = !field(config_, "starttls").empty();
    const bool implicit = !field(config_, "ssl").empty();
    backend.tls = starttls   ? BackendTls::starttls
                  : implicit ? BackendTls::implicit
                             : BackendTls::none;
    backend.nopipelining = !field(config_, "proxy_nopipelining").empty();
    backend.not_trusted = !field(config_, "proxy_not_trusted").empty();
    // The recordings are Dovecot 2.3's: its keys, and its ID before STARTTLS.
    backend.id_before_starttls = true;
    backend.forward_2_3_only = true;
    backend.forward.clear();
    std::size_t at = 0;
    while ((at = config_.find(" forward_", at)) != std::string::npos) {
      const std::string name = config_.substr(at + 9, config_.find('=', at) - at - 9);
      backend.forward.emplace_back(name, field(config_, "forward_" + name));
      ++at;
    }
    for (const Event& event : recorded_.events) {
      if (event.kind == Kind::to_backend && event.bytes.starts_with("I ID ")) from_id(event.bytes);
    }
    dialogue_ = make_imap_backend_dialogue(backend);
    to_backend_.clear();
    to_client_.clear();
    recorded_commands_.clear();
    ended_ = logged_in_ = awaits_tls_ = false;
  }

  void from_id(const std::string& id) {
    login::BackendTarget& backend = target_.backend;
    backend.session = id_value(id, "x-session-id");
    const auto client = IpAddress::parse(id_value(id, "x-originating-ip"));
    const auto local = IpAddress::parse(id_value(id, "x-connected-ip"));
    ASSERT_TRUE(client && local) << id;
    backend.client = {*client, port(id_value(id, "x-originating-port"))};
    backend.local = {*local, port(id_value(id, "x-connected-port"))};
    backend.ttl = port(id_value(id, "x-proxy-ttl"));
    backend.client_id.clear();
    const bool from_passdb = !backend.forward.empty();
    for (const auto& [key, value] : id_pairs(id)) {
      // The client's own words (imap_id_retain), and what a trusted hop forwarded.
      if (!key.starts_with("x-")) backend.client_id.emplace_back(key, value);
      if (key.starts_with("x-forward-") && !from_passdb) {
        backend.forward.emplace_back(key.substr(10), value.value_or(""));
      }
    }
  }

  void on_backend(const std::string& line) {
    if (awaits_tls_) {
      ended_ = true;  // plaintext behind the go-ahead: the connector fails the attempt
      return;
    }
    act(dialogue_->on_line(line, to_backend_, to_client_));
    const std::string remark = dialogue_->take_remark();
    if (!remark.empty()) {
      EXPECT_TRUE(recorded_.logged(remark + ": user=") ||
                  differences_.listed(file_, "LOG: " + remark))
          << remark;
    }
  }

  void act(Then then) {
    switch (then) {
      case Then::read_line:
        return;
      case Then::start_tls:
        awaits_tls_ = true;
        return;
      case Then::logged_in:
        logged_in_ = ended_ = true;
        return;
      case Then::failed:
        ended_ = true;
        return;
    }
  }

  void finish_connection() {
    if (!dialogue_) return;
    std::vector<std::string> expected = differences_.apply(file_, recorded_commands_);
    for (const std::string& line : differences_.at_end(file_, "P: ")) expected.push_back(line);
    EXPECT_EQ(lines_of(to_backend_.view(), "P: "), expected);
    for (std::string& line : expected) sent_.push_back(std::move(line));
    to_backend_.clear();
  }

  static std::vector<std::string> lines_of(std::string_view bytes, const std::string& prefix) {
    std::vector<std::string> out;
    while (!bytes.empty()) {
      const std::size_t end = std::min(bytes.size(), bytes.find("\r\n"));
      out.push_back(prefix + std::string(bytes.substr(0, end)));
      bytes.remove_prefix(std::min(bytes.size(), end + 2));
    }
    return out;
  }

  /// What the client gets: alerts and the success, the backend's refusal, or our own words.
  void check_replies() const {
    if (!dialogue_) return;
    std::vector<std::string> said = lines_of(to_client_.view(), "S: ");
    const std::string tag = "S: " + target_.backend.client_tag + " NO ";
    const login::Failure& failure = dialogue_->failure();
    const bool failed = ended_ && !logged_in_ && !awaits_tls_;
    const bool config =
        failure.type == FailureType::remote_config || failure.type == FailureType::internal_config;
    if (failed && !failure.reply.empty()) {
      for (const std::string& line : lines_of(failure.reply, "S: ")) said.push_back(line);
    } else if (failed && config) {
      said.push_back(tag + "[SERVERBUG] Account is temporarily unavailable.");
    } else if (!logged_in_) {
      said.push_back(tag + "[UNAVAILABLE] Account is temporarily unavailable.");
    }
    std::vector<std::string> expected = differences_.apply(file_, recorded_replies_);
    // A client that logs in twice was refused the first time.
    if (expected.size() > said.size()) {
      expected.erase(expected.begin(), expected.end() - static_cast<std::ptrdiff_t>(said.size()));
    }
    if (!recorded_replies_.empty()) {
      EXPECT_EQ(said, expected);
    }
  }

  void check_log() const {
    if (!dialogue_) return;
    for (const std::string& line : recorded_.logs) {
      const std::size_t at = line.find("state=");
      if (at == std::string::npos) continue;
      const std::string state = line.substr(at + 6, line.find_first_of(" ,", at) - at - 6);
      const auto ours = differences_.apply(file_, {"STATE: " + state});
      EXPECT_EQ("STATE: " + dialogue_->state(), ours.at(0));
    }
    if (!ended_ || logged_in_ || awaits_tls_) return;
    const login::Failure& failure = dialogue_->failure();
    std::string text;
    switch (failure.type) {
      case FailureType::remote:
      case FailureType::remote_config:
        text = "Aborting due to remote server: ";
        break;
      case FailureType::protocol:
        text = "Remote server sent invalid input: ";
        break;
      case FailureType::auth_replied:
      case FailureType::auth_not_replied:
      case FailureType::auth_tempfail:
        text = "Login failed: ";
        break;
      case FailureType::connect:
      case FailureType::internal:
      case FailureType::internal_config:
        break;
    }
    text += failure.reason;
    EXPECT_TRUE(recorded_.logged(text + ": user=") || differences_.listed(file_, "LOG: " + text))
        << text;
  }

  const Transcript& recorded_;
  Differences& differences_;
  std::string file_;
  std::string config_;
  bool rejects_certificate_ = false;
  Target target_;
  std::unique_ptr<login::BackendDialogue> dialogue_;
  WipingBuffer to_backend_;
  WipingBuffer to_client_;
  std::vector<std::string> recorded_commands_;
  std::vector<std::string> recorded_replies_;
  std::vector<std::string> sent_;
  bool ended_ = false;
  bool logged_in_ = false;
  bool awaits_tls_ = false;
  bool relayed_ = false;
};

bool is_of_another_protocol(const std::string& file) {
  return file.starts_with("proxy-pop3-");
}

/// Those of the proxy, most of which speak IMAP.
std::vector<std::string> recordings() {
  std::vector<std::string> out = transcripts("proxy-");
  out.erase(std::remove_if(out.begin(), out.end(), is_of_another_protocol), out.end());
  return out;
}

TEST(ImapBackendTranscripts, AreRepeatedLineForLine) {
  Differences differences;
  std::set<std::string> left_out;
  for (const Row& row : read_table("imap-not-replayed.tsv")) left_out.insert(row.at(0));
  std::size_t replayed = 0;
  for (const std::string& file : recordings()) {
    if (left_out.count(file) != 0) continue;
    SCOPED_TRACE(file);
    const Transcript recorded = read_transcript(file, false);
    BackendReplay replay(recorded, differences);
    EXPECT_GT(replay.backend_lines(), 0U) << "nothing to replay";
    replay.run(kUncut);
    ++replayed;
  }
  EXPECT_GE(replayed, 60U);
  std::vector<std::string> unused = differences.unused("proxy-");
  unused.erase(std::remove_if(unused.begin(), unused.end(), is_of_another_protocol), unused.end());
  EXPECT_EQ(unused, std::vector<std::string>{});
}

/// A backend may go away behind any line; what was sent until then is what the recording has.
TEST(ImapBackendTranscripts, CutBehindAnyLineSendNothingElse) {
  Differences differences;
  std::set<std::string> left_out;
  for (const Row& row : read_table("imap-not-replayed.tsv")) left_out.insert(row.at(0));
  for (const std::string& file : recordings()) {
    if (left_out.count(file) != 0) continue;
    SCOPED_TRACE(file);
    const Transcript recorded = read_transcript(file, false);
    BackendReplay whole(recorded, differences);
    whole.run(kUncut);
    const std::vector<std::string> all = whole.sent();
    for (std::size_t cut = 0; cut < whole.backend_lines(); ++cut) {
      BackendReplay replay(recorded, differences);
      replay.run(cut);
      const std::vector<std::string> sent = replay.sent();
      ASSERT_LE(sent.size(), all.size()) << cut;
      EXPECT_TRUE(std::equal(sent.begin(), sent.end(), all.begin())) << cut;
    }
  }
}

}  // namespace
}  // namespace postern::imap_login
