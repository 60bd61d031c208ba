#include "backend-replay.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "lib/text.h"

namespace postern::test {
namespace {

using login::BackendTls;
using login::FailureType;
using login::Then;
using Kind = Event::Kind;

constexpr std::size_t kUncut = std::string::npos;

std::vector<std::string> lines_of(std::string_view bytes, const std::string& prefix) {
  std::vector<std::string> out;
  while (!bytes.empty()) {
    const std::size_t end = std::min(bytes.size(), bytes.find("\r\n"));
    out.push_back(prefix + std::string(bytes.substr(0, end)));
    bytes.remove_prefix(std::min(bytes.size(), end + 2));
  }
  return out;
}

/// What the proxy logs in front of a failure's reason.
std::string_view log_prefix(FailureType type) {
  switch (type) {
    case FailureType::remote:
    case FailureType::remote_config:
      return "Aborting due to remote server: ";
    case FailureType::protocol:
      return "Remote server sent invalid input: ";
    case FailureType::auth_replied:
    case FailureType::auth_not_replied:
    case FailureType::auth_tempfail:
      return "Login failed: ";
    case FailureType::connect:
    case FailureType::internal:
    case FailureType::internal_config:
      return "";
  }
  return "";
}

}  // namespace

std::string field(std::string_view line, std::string_view name) {
  const std::string key = " " + std::string(name) + "=";
  const std::size_t at = line.find(key);
  if (at == std::string_view::npos) return "";
  const std::string_view value = line.substr(at + key.size());
  return std::string(value.substr(0, value.find(' ')));
}

BackendReplay::BackendReplay(const Transcript& recorded, Differences& differences)
    : recorded_(recorded), differences_(differences) {
  for (const std::string& line : recorded.configs) {
    if (line.starts_with("passdb extra fields")) config_ = line.substr(line.find("for ") + 4);
  }
  rejects_certificate_ = recorded.logged("Received invalid SSL certificate");
}

void BackendReplay::run(std::size_t cut) {
  std::size_t left = cut;
  for (const Event& event : recorded_.events) {
    switch (event.kind) {
      case Kind::client:
        if (!logged_in_) on_client(event.bytes);
        break;
      case Kind::accepted:
        finish_connection();
        begin_connection();
        break;
      case Kind::to_backend:
        // What was pipelined may have been recorded behind the refusal that made it useless.
        if (dialogue_ && !logged_in_ && !replied_)
          recorded_commands_.push_back("P: " + event.bytes);
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
        if (!dialogue_ || replied_) break;
        recorded_replies_.push_back("S: " + event.bytes);
        replied_ = ends_reply(event.bytes);
        break;
    }
  }
  finish_connection();
  if (!dialogue_) return;
  check_reply();
  check_log();
}

std::vector<std::string> BackendReplay::sent() const {
  std::vector<std::string> out = sent_;
  for (std::string& line : lines_of(to_backend_.view(), "P: ")) out.push_back(std::move(line));
  return out;
}

std::size_t BackendReplay::backend_lines() const {
  return static_cast<std::size_t>(
      std::count_if(recorded_.events.begin(), recorded_.events.end(),
                    [](const Event& event) { return event.kind == Kind::backend; }));
}

std::string BackendReplay::passdb_field(std::string_view name) const {
  return field(config_, name);
}

void BackendReplay::learn_xclient(const std::string& command) {
  if (!command.starts_with("XCLIENT ")) return;
  target_.session = field(command, "SESSION");
  const auto client = IpAddress::parse(field(command, "ADDR"));
  ASSERT_TRUE(client) << command;
  target_.client = {
      *client, static_cast<std::uint16_t>(decimal(field(command, "PORT"), 0, 65535).value_or(0))};
  target_.ttl = static_cast<unsigned>(decimal(field(command, "TTL"), 0, 99).value_or(0));
}

void BackendReplay::begin_connection() {
  const std::string user = config_.substr(0, config_.find(':'));
  const std::string destuser = passdb_field("destuser");
  target_.user = destuser.empty() ? user : destuser;
  target_.master = passdb_field("master");
  const bool own = config_.find(" pass=") == std::string::npos;
  target_.password = Secret(own ? password_ : passdb_field("pass"));
  target_.mech = to_upper(passdb_field("proxy_mech"));
  target_.tls = !passdb_field("starttls").empty() ? BackendTls::starttls
                : !passdb_field("ssl").empty()    ? BackendTls::implicit
                                                  : BackendTls::none;
  target_.nopipelining = !passdb_field("proxy_nopipelining").empty();
  target_.not_trusted = !passdb_field("proxy_not_trusted").empty();
  // The recordings are Dovecot 2.3's: its keys, and its ID before STARTTLS.
  target_.id_before_starttls = true;
  target_.forward_2_3_only = true;
  target_.forward.clear();
  std::size_t at = 0;
  while ((at = config_.find(" forward_", at)) != std::string::npos) {
    const std::string name = config_.substr(at + 9, config_.find('=', at) - at - 9);
    target_.forward.emplace_back(name, passdb_field("forward_" + name));
    ++at;
  }
  for (const Event& event : recorded_.events) {
    if (event.kind == Kind::to_backend) learn(event.bytes);
  }
  dialogue_ = make(target_);
  to_backend_.clear();
  to_client_.clear();
  recorded_commands_.clear();
  ended_ = logged_in_ = awaits_tls_ = false;
}

void BackendReplay::on_backend(const std::string& line) {
  if (awaits_tls_) {
    ended_ = true;  // plaintext behind the go-ahead: the connector fails the attempt
    return;
  }
  act(dialogue_->on_line(line, to_backend_, to_client_));
  const std::string remark = dialogue_->take_remark();
  if (!remark.empty()) {
    EXPECT_TRUE(recorded_.logged(remark + ": user=") ||
                differences_.listed(recorded_.file, "LOG: " + remark))
        << remark;
  }
}

void BackendReplay::act(Then then) {
  if (then == Then::read_line) return;
  awaits_tls_ = then == Then::start_tls;
  logged_in_ = then == Then::logged_in;
  ended_ = logged_in_ || then == Then::failed;
}

void BackendReplay::finish_connection() {
  if (!dialogue_) return;
  std::vector<std::string> expected = differences_.apply(recorded_.file, recorded_commands_);
  for (const std::string& line : differences_.at_end(recorded_.file, "P: ")) {
    expected.push_back(line);
  }
  EXPECT_EQ(lines_of(to_backend_.view(), "P: "), expected);
  sent_.insert(sent_.end(), expected.begin(), expected.end());
  to_backend_.clear();
}

/// What the client gets: alerts and the success, the backend's refusal, or our own words.
void BackendReplay::check_reply() const {
  if (recorded_replies_.empty()) return;
  std::vector<std::string> said = lines_of(to_client_.view(), "S: ");
  const login::Failure& failure = dialogue_->failure();
  const bool failed = ended_ && !logged_in_ && !awaits_tls_;
  const bool config =
      failure.type == FailureType::remote_config || failure.type == FailureType::internal_config;
  if (failed && !failure.reply.empty()) {
    for (const std::string& line : lines_of(failure.reply, "S: ")) said.push_back(line);
  } else if (!logged_in_) {
    said.push_back("S: " + unavailable(failed && config));
  }
  std::vector<std::string> expected = differences_.apply(recorded_.file, recorded_replies_);
  // A client that logs in twice was refused the first time.
  if (expected.size() > said.size()) {
    expected.erase(expected.begin(), expected.end() - static_cast<std::ptrdiff_t>(said.size()));
  }
  EXPECT_EQ(said, expected);
}

void BackendReplay::check_log() const {
  for (const std::string& line : recorded_.logs) {
    const std::size_t at = line.find("state=");
    if (at == std::string::npos) continue;
    const std::string state = line.substr(at + 6, line.find_first_of(" ,", at) - at - 6);
    const auto ours = differences_.apply(recorded_.file, {"STATE: " + state});
    EXPECT_EQ("STATE: " + dialogue_->state(), ours.at(0));
  }
  if (!ended_ || logged_in_ || awaits_tls_) return;
  const login::Failure& failure = dialogue_->failure();
  const std::string text = std::string(log_prefix(failure.type)) + failure.reason;
  EXPECT_TRUE(recorded_.logged(text + ": user=") ||
              differences_.listed(recorded_.file, "LOG: " + text))
      << text;
}

namespace {

void cut_behind_every_line(const Transcript& recorded, Differences& differences,
                           MakeBackendReplay make) {
  const auto whole = make(recorded, differences);
  ASSERT_GT(whole->backend_lines(), 0U) << "nothing to replay";
  whole->run(kUncut);
  const std::vector<std::string> all = whole->sent();
  for (std::size_t cut = 0; cut < whole->backend_lines(); ++cut) {
    const auto replay = make(recorded, differences);
    replay->run(cut);
    const std::vector<std::string> sent = replay->sent();
    ASSERT_LE(sent.size(), all.size()) << cut;
    EXPECT_TRUE(std::equal(sent.begin(), sent.end(), all.begin())) << cut;
  }
}

}  // namespace

void replay_backends(std::string_view name, bool (*is_ours)(const std::string& file),
                     MakeBackendReplay make, std::size_t least) {
  Differences differences;
  std::set<std::string> left_out;
  for (const Row& row : read_table(std::string(name) + "-not-replayed.tsv")) {
    left_out.insert(row.at(0));
  }
  std::size_t replayed = 0;
  for (const std::string& file : transcripts("proxy-")) {
    if (!is_ours(file) || left_out.count(file) != 0) continue;
    SCOPED_TRACE(file);
    // A backend may go away behind any line; what was sent until then is what the recording has.
    cut_behind_every_line(read_transcript(file, false), differences, make);
    ++replayed;
  }
  EXPECT_GE(replayed, least);
  std::vector<std::string> unused;
  for (const std::string& row : differences.unused("proxy-")) {
    // Rows for what is not replayed here are for the replay over the wire.
    if (is_ours(row) && left_out.count(row.substr(0, row.find(": "))) == 0) unused.push_back(row);
  }
  EXPECT_EQ(unused, std::vector<std::string>{});
}

}  // namespace postern::test
