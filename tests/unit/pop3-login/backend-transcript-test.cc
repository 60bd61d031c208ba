// Replays the recorded dialogues of Dovecot's proxy with POP3 backends against ours, connection by
// connection, and cuts each of them off behind every line.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../transcript/transcript.h"
#include "lib/text.h"
#include "pop3-login/pop3-dialogues.h"

namespace postern::pop3_login {
namespace {

using namespace postern::test;
using login::BackendTls;
using login::FailureType;
using login::Then;
using Kind = Event::Kind;

constexpr std::size_t kUncut = std::string::npos;

/// The value behind ` name=`, up to the next blank.
std::string field(std::string_view line, std::string_view name) {
  const std::string key = " " + std::string(name) + "=";
  const std::size_t at = line.find(key);
  if (at == std::string_view::npos) return "";
  const std::string_view value = line.substr(at + key.size());
  return std::string(value.substr(0, value.find(' ')));
}

class BackendReplay {
 public:
  BackendReplay(const Transcript& recorded, Differences& differences)
      : recorded_(recorded), differences_(differences), file_(recorded.file) {
    for (const std::string& line : recorded.configs) {
      if (line.starts_with("passdb extra fields")) config_ = line.substr(line.find("for ") + 4);
    }
  }

  /// @param cut  lines of backends after which everything stops
  void run(std::size_t cut) {
    std::size_t left = cut;
    for (const Event& event : recorded_.events) {
      switch (event.kind) {
        case Kind::client:
          if (event.bytes.starts_with("PASS ")) {
            password_ = event.bytes.substr(5, event.bytes.size() - 7);
          }
          break;
        case Kind::accepted:
          finish_connection();
          begin_connection();
          break;
        case Kind::to_backend:
          // What was pipelined may have been recorded behind the refusal that made it useless.
          if (dialogue_ && !logged_in_) recorded_commands_.push_back("P: " + event.bytes);
          break;
        case Kind::backend:
          if (!dialogue_ || ended_) break;
          if (left == 0) return;
          if (left != kUncut) --left;
          on_backend(event.bytes);
          break;
        case Kind::tls:
          if (dialogue_ && awaits_tls_) {
            awaits_tls_ = false;
            act(dialogue_->on_tls_started(to_backend_));
          }
          break;
        case Kind::server:
          // The first line behind the connection is the verdict.
          if (dialogue_ && recorded_reply_.empty()) recorded_reply_ = "S: " + event.bytes;
          break;
      }
    }
    finish_connection();
    check_reply();
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
  void begin_connection() {
    const std::string user = config_.substr(0, config_.find(':'));
    target_.user = field(config_, "destuser").empty() ? user : field(config_, "destuser");
    target_.master = field(config_, "master");
    const bool own = config_.find(" pass=") == std::string::npos;
    target_.password = Secret(own ? password_ : field(config_, "pass"));
    target_.mech = to_upper(field(config_, "proxy_mech"));
    target_.tls = field(config_, "starttls").empty() ? BackendTls::none : BackendTls::starttls;
    target_.not_trusted = !field(config_, "proxy_not_trusted").empty();
    target_.forward_2_3_only = true;  // the recordings are Dovecot 2.3's
    target_.forward.clear();
    std::size_t at = 0;
    while ((at = config_.find(" forward_", at)) != std::string::npos) {
      const std::string name = config_.substr(at + 9, config_.find('=', at) - at - 9);
      target_.forward.emplace_back(name, field(config_, "forward_" + name));
      ++at;
    }
    for (const Event& event : recorded_.events) {
      if (event.kind == Kind::to_backend && event.bytes.starts_with("XCLIENT ")) {
        from_xclient(event.bytes);
      }
    }
    dialogue_ = make_pop3_backend_dialogue(target_);
    to_backend_.clear();
    to_client_.clear();
    recorded_commands_.clear();
    ended_ = logged_in_ = awaits_tls_ = false;
  }

  void from_xclient(const std::string& line) {
    target_.session = field(line, "SESSION");
    const auto client = IpAddress::parse(field(line, "ADDR"));
    ASSERT_TRUE(client) << line;
    target_.client = {
        *client, static_cast<std::uint16_t>(decimal(field(line, "PORT"), 0, 65535).value_or(0))};
    target_.ttl = static_cast<unsigned>(decimal(field(line, "TTL"), 0, 99).value_or(0));
  }

  void on_backend(const std::string& line) {
    act(dialogue_->on_line(line, to_backend_, to_client_));
    EXPECT_EQ(dialogue_->take_remark(), "");
  }

  void act(Then then) {
    awaits_tls_ = then == Then::start_tls;
    logged_in_ = then == Then::logged_in;
    ended_ = logged_in_ || then == Then::failed;
  }

  void finish_connection() {
    if (!dialogue_) return;
    const std::vector<std::string> expected = differences_.apply(file_, recorded_commands_);
    EXPECT_EQ(lines_of(to_backend_.view(), "P: "), expected);
    sent_.insert(sent_.end(), expected.begin(), expected.end());
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

  /// What the client gets: the success, the backend's refusal, or our own words.
  void check_reply() const {
    std::vector<std::string> said = lines_of(to_client_.view(), "S: ");
    if (!logged_in_) {
      const login::Failure& failure = dialogue_->failure();
      const bool config = ended_ && failure.type == FailureType::remote_config;
      if (!failure.reply.empty()) {
        said = lines_of(failure.reply, "S: ");
      } else {
        said.push_back(std::string("S: -ERR [SYS/") + (config ? "PERM" : "TEMP") +
                       "] Account is temporarily unavailable.");
      }
    }
    EXPECT_EQ(said, differences_.apply(file_, {recorded_reply_}));
  }

  void check_log() const {
    for (const std::string& line : recorded_.logs) {
      const std::size_t at = line.find("state=");
      if (at == std::string::npos) continue;
      const std::string state = line.substr(at + 6, line.find_first_of(" ,", at) - at - 6);
      EXPECT_EQ(dialogue_->state(), state);
    }
    if (!ended_ || logged_in_) return;
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
    EXPECT_TRUE(recorded_.logged(text + ": user=")) << text;
  }

  const Transcript& recorded_;
  Differences& differences_;
  std::string file_;
  std::string config_;
  std::string password_;
  login::BackendTarget target_;
  std::unique_ptr<login::BackendDialogue> dialogue_;
  WipingBuffer to_backend_;
  WipingBuffer to_client_;
  std::vector<std::string> recorded_commands_;
  std::string recorded_reply_;
  std::vector<std::string> sent_;
  bool ended_ = false;
  bool logged_in_ = false;
  bool awaits_tls_ = false;
};

std::vector<std::string> replayed() {
  std::set<std::string> left_out;
  for (const Row& row : read_table("pop3-not-replayed.tsv")) left_out.insert(row.at(0));
  std::vector<std::string> out;
  for (const std::string& file : transcripts("proxy-pop3-")) {
    if (left_out.count(file) == 0) out.push_back(file);
  }
  return out;
}

TEST(Pop3BackendTranscripts, AreRepeatedLineForLine) {
  Differences differences;
  for (const std::string& file : replayed()) {
    SCOPED_TRACE(file);
    const Transcript recorded = read_transcript(file, false);
    BackendReplay replay(recorded, differences);
    ASSERT_GT(replay.backend_lines(), 0U) << "nothing to replay";
    replay.run(kUncut);
  }
  EXPECT_GE(replayed().size(), 18U);
  EXPECT_EQ(differences.unused("proxy-pop3-"), std::vector<std::string>{});
}

/// A backend may go away behind any line; what was sent until then is what the recording has.
TEST(Pop3BackendTranscripts, CutBehindAnyLineSendNothingElse) {
  Differences differences;
  for (const std::string& file : replayed()) {
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
}  // namespace postern::pop3_login
