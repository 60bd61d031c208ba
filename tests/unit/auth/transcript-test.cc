// Recorded conversations with Dovecot's auth server, replayed against ours: its configuration is
// read from the recording's head, its client's lines go in (whole and byte by byte), its replies
// and log lines must come out. What differs on purpose is listed with its reason.
#include <algorithm>
#include <fstream>
#include <set>

#include "fixture.h"
#include "lib/text.h"
#include "wire/tab-line.h"

namespace postern::auth {
namespace {

struct Difference {
  std::string_view recorded;  // the whole line, S: or L:
  std::string_view ours;      // empty: we say nothing
  std::string_view reason;
};

struct Case {
  std::string_view file;
  bool login = true;  // kind of the first connection's socket; later ones are auth-client sockets
  std::vector<Difference> differences{};
  std::vector<std::string_view> more_log{};  // lines we write beside the recorded ones
};

constexpr std::string_view kPrefixed = "every line names its database and user";
constexpr std::string_view kPerRequest = "a bad request fails alone, the connection stays";
constexpr std::string_view kNoDelayKept = "nodelay and reason of the failing database count";
constexpr std::string_view kEmptyPlain = "only nopassword accepts the empty password";
constexpr std::string_view kAnyByte = "passwords may hold any byte but NUL, CR and LF";
constexpr std::string_view kFirstWord = "of what is not understood only the first word is shown";

const std::vector<Case>& cases() {
  static const std::vector<Case> kCases{
      {"handshake",
       false,
       {{"FAIL\t4\tuser=nod", "FAIL\t4\tuser=nod\tnodelay\tnodelay", kNoDelayKept},
        {"auth: Info: Attempted login with password having illegal chars",
         "auth: Info: passwd-file(alice,192.0.2.23): Password mismatch", kAnyByte}}},
      {"proto-dup-id", false, {}},
      {"proto-no-service", false, {}},
      {"proto-mech-unknown", false, {{"(server closed the connection)", "FAIL\t1", kPerRequest}}},
      {"proto-after-resp", false, {}},
      {"proto-id-zero", false, {}},
      {"proto-unknown-cmd", false, {}},
      {"proto-version",
       false,
       {{"auth: Error: Authentication client sent invalid VERSION line: VERSION\t1",
         "auth: Error: Authentication client sent invalid VERSION line: VERSION", kFirstWord},
        {"auth: Error: Authentication client sent invalid VERSION line: CPID\t77",
         "auth: Error: Authentication client sent invalid VERSION line: CPID", kFirstWord},
        {"auth: Error: BUG: Authentication client sent unknown handshake command: MECH?PLAIN",
         "auth: Error: BUG: Authentication client sent unknown handshake command: MECH",
         kFirstWord}}},
      {"access-fields",
       false,
       {{"FAIL\t10\tuser=failmsg", "FAIL\t10\tuser=failmsg\treason=Try_tomorrow", kNoDelayKept}},
       {"auth: Warning: passwd-file(nologreason,203.0.113.5): field nologin is on whatever its "
        "value is; "
        "leave it out (NULL) to mean off"}},
      {"forward-fields", true, {}},
      {"nodelay-lost",
       true,
       {{"FAIL\t1\tuser=nod", "FAIL\t1\tuser=nod\tnodelay\tnodelay", kNoDelayKept},
        {"FAIL\t2\tuser=nodnet", "FAIL\t2\tuser=nodnet\tnodelay\tnodelay", kNoDelayKept}}},
      {"nodelay-kept", true, {}},
      {"multi-passdb",
       true,
       {{"auth: Info: User found from deny passdb",
         "auth: Info: passwd-file(denied,203.0.113.5): User found from deny passdb", kPrefixed}}},
      {"rules-continue-ok", true, {}},
      {"filters", true, {}},
      {"filters-same-args", true, {}},
      {"static-nopassword", true, {}},
      {"require-cert", true, {}},
      {"templates", true, {}},
      {"schemes",
       true,
       {{"OK\t11\tuser=empty", "FAIL\t11\tuser=empty", kEmptyPlain}},
       {"auth: Info: passwd-file(empty,203.0.113.5): Password mismatch"}},
      {"proxy-fields",
       true,
       {{"auth: Error: DNS lookup for no-such-host.invalid failed: Name or service not known",
         "auth: Error: auth(dnsbad,203.0.113.5,<s7>): DNS lookup for no-such-host.invalid failed: "
         "Name or service not known",
         kPrefixed},
        {"auth: Error: Invalid hostip in passdb: zzz",
         "auth: Error: auth(hostipbad,203.0.113.5,<s9>): Invalid hostip in passdb: zzz",
         kPrefixed}}},
      {"master-user", true, {}},
      {"master-user-pass", true, {}},
      {"master-user-none", true, {}},
      {"username-chars", true, {}},
      {"username-translate", true, {}},
      {"verbose-passwords-sha1", true, {}},
      {"verbose-passwords-sha1-6", true, {}},
  };
  return kCases;
}

/// The configuration in a recording's head.
struct Head {
  TestConfig config;
  std::map<std::string, std::string> files;
};

Head read_head(const std::vector<std::string>& lines, const ScratchDir& dir) {
  Head out;
  out.config.settings = {{"auth_verbose", "yes"}, {"auth_debug", "yes"}};
  std::string file;
  Keys* block = nullptr;
  bool in_config = false;
  for (const std::string& line : lines) {
    if (line.empty()) break;
    if (line.starts_with("# config ")) in_config = true;
    if (line.starts_with("# file ")) {
      file = line.substr(7, line.size() - 8);
      out.files[file];
      continue;
    }
    if (!in_config || !line.starts_with("#   ")) continue;
    const std::string text = line.substr(4);
    if (!file.empty()) {
      out.files[file] += text + "\n";
      continue;
    }
    const std::string_view trimmed = trim(text);
    if (trimmed == "passdb {")
      block = &out.config.passdbs.emplace_back();
    else if (trimmed == "userdb {")
      block = &out.config.userdbs.emplace_back();
    else if (trimmed == "}")
      block = nullptr;
    else {
      const std::size_t equals = trimmed.find('=');
      std::string key(trim(trimmed.substr(0, equals)));
      std::string value(trim(trimmed.substr(equals + 1)));
      if (key == "auth_mechanisms") {
        value = value.find("login") != std::string::npos ? "plain login" : "plain";
      }
      if (key == "auth_failure_delay" && value == "0") value = "0";
      (block != nullptr ? *block : out.config.settings).emplace_back(key, value);
    }
  }
  for (const auto& [name, text] : out.files) dir.write(name, text);
  for (std::vector<Keys>* list : {&out.config.passdbs, &out.config.userdbs}) {
    for (Keys& keys : *list) {
      const bool is_file =
          std::ranges::any_of(keys, [](const auto& k) { return k.second == "passwd-file"; });
      // `driver` comes first, so that `name` may replace it.
      for (auto& [key, value] : keys) {
        if (is_file && key == "args") value = dir.file(value);
      }
    }
  }
  return out;
}

/// Dovecot sends empty fields where hidden ones were; we do not.
std::string without_empty_fields(const std::string& line) {
  if (!line.starts_with("OK\t") && !line.starts_with("FAIL\t")) return line;
  std::string out;
  for (const std::string_view field : wire::split_tabs(line)) {
    if (field.empty()) continue;
    if (!out.empty()) out += '\t';
    out += field;
  }
  return out;
}

bool same_line(const std::string& recorded, const std::string& ours) {
  for (const std::string_view varies : {"SPID\t", "CUID\t", "COOKIE\t"}) {
    if (recorded.starts_with(varies)) return ours.starts_with(varies);
  }
  return recorded == ours;
}

class Replay {
 public:
  Replay(const Case& what, bool byte_by_byte) : case_(what), byte_by_byte_(byte_by_byte) {
    std::ifstream in(std::string(POSTERN_TRANSCRIPTS) + "/auth-" + std::string(what.file) + ".txt",
                     std::ios::binary);
    EXPECT_TRUE(in.good()) << what.file;
    for (std::string line; std::getline(in, line);) lines_.push_back(line);
    Head head = read_head(lines_, dir_);
    with_login_mech_ = std::ranges::any_of(head.config.settings, [](const auto& s) {
      return s.first == "auth_mechanisms" && s.second.find("login") != std::string::npos;
    });
    server_ = std::make_unique<Server>(head.config);
    server_->env.hosts["localhost"] = {*IpAddress::parse("127.0.0.1")};
  }

  void run() {
    std::vector<std::string> expected_log;
    for (const std::string& line : lines_) {
      if (line.starts_with("S: VERSION")) connect();
      if (line.starts_with("S: "))
        expect(line.substr(3));
      else if (line.starts_with("C: "))
        send(line.substr(3));
      else if (line == "# (server closed the connection)")
        expect_closed();
      else if (line.starts_with("L: ") && line.find(": Debug: ") == std::string::npos) {
        const std::string wanted = ours(line.substr(3));
        if (!wanted.empty()) expected_log.push_back(wanted);
      }
    }
    session_.reset();
    server_->env.run();
    std::vector<std::string> log;
    for (const std::string& line : server_->env.lines) {
      if (line.starts_with("Debug: ")) continue;
      const std::string text = "auth: " + line;
      if (std::ranges::find(case_.more_log, text) != case_.more_log.end()) continue;
      // This one has no prefix in the recordings (kPrefixed).
      const std::size_t master = text.find("): Master user logging in as ");
      log.push_back(master == std::string::npos ? text : "auth: Info: " + text.substr(master + 3));
    }
    EXPECT_EQ(log, expected_log);
    for (const Difference& d : case_.differences) {
      EXPECT_TRUE(used_.contains(d.recorded)) << "a difference that no line has: " << d.recorded;
    }
  }

 private:
  void connect() {
    if (session_) session_->on_peer_gone();
    session_ = server_->client(case_.login && connections_ == 0);
    connections_++;
    pending_ = take_lines(*session_);
  }

  std::string ours(const std::string& recorded) {
    for (const Difference& d : case_.differences) {
      if (d.recorded == recorded) {
        used_.insert(d.recorded);
        return std::string(d.ours);
      }
    }
    return recorded;
  }

  bool skipped(const std::string& line) {
    // Mechanisms we do not have.
    const auto fields = wire::split_tabs(line);
    if (line.starts_with("MECH\t"))
      return fields[1] != "PLAIN" && (fields[1] != "LOGIN" || !with_login_mech_);
    if (fields.size() > 2 && fields[0] == "AUTH" && fields[2] != "PLAIN" && fields[2] != "LOGIN" &&
        fields[2] != "FOO") {
      skipped_.insert(std::string(fields[1]));
    }
    return fields.size() > 1 && skipped_.contains(std::string(fields[1])) &&
           (fields[0] == "AUTH" || fields[0] == "CONT" || fields[0] == "OK" || fields[0] == "FAIL");
  }

  void send(const std::string& line) {
    if (skipped(line)) return;
    sent_++;
    const std::string bytes = line + "\n";
    if (byte_by_byte_) {
      for (const char c : bytes) session_->feed(std::string_view(&c, 1));
    } else {
      session_->feed(bytes);
    }
    server_->env.run();
    collect();
  }

  void collect() {
    for (std::string& line : take_lines(*session_)) pending_.push_back(std::move(line));
  }

  void expect(const std::string& recorded) {
    if (skipped(recorded)) return;
    // Recordings were made with a free-running clock; time passes until there is an answer.
    for (int i = 0; i < 40 && pending_.empty(); i++) {
      server_->env.advance(Milliseconds(100));
      collect();
    }
    const std::string wanted = without_empty_fields(ours(without_empty_fields(recorded)));
    ASSERT_FALSE(pending_.empty()) << "nothing came instead of " << wanted;
    EXPECT_TRUE(same_line(wanted, pending_.front()))
        << "recorded: " << wanted << "\nours:     " << pending_.front();
    pending_.erase(pending_.begin());
  }

  void expect_closed() {
    const std::string wanted = ours("(server closed the connection)");
    if (wanted.starts_with("(")) {
      EXPECT_TRUE(session_->closing());
      return;
    }
    EXPECT_FALSE(session_->closing());
    expect(wanted);
  }

  const Case& case_;
  bool byte_by_byte_;
  bool with_login_mech_ = false;
  ScratchDir dir_;
  std::vector<std::string> lines_;
  std::unique_ptr<Server> server_;
  std::unique_ptr<ClientSession> session_;
  std::vector<std::string> pending_;
  std::set<std::string> skipped_;
  std::set<std::string_view> used_;
  unsigned connections_ = 0;
  unsigned sent_ = 0;
};

class AuthTranscript : public ::testing::TestWithParam<std::size_t> {};

TEST_P(AuthTranscript, GivesWhatWasRecorded) {
  Replay(cases()[GetParam()], false).run();
}
TEST_P(AuthTranscript, GivesTheSameByteByByte) {
  Replay(cases()[GetParam()], true).run();
}

std::string case_name(const ::testing::TestParamInfo<std::size_t>& info) {
  std::string name(cases()[info.param].file);
  std::ranges::replace(name, '-', '_');
  return name;
}
INSTANTIATE_TEST_SUITE_P(All, AuthTranscript, ::testing::Range(std::size_t{0}, cases().size()),
                         case_name);

}  // namespace
}  // namespace postern::auth
