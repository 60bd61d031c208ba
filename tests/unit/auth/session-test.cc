// The auth-client and auth-master sessions where the recordings do not reach.
#include <algorithm>

#include "auth/guess-keys.h"
#include "fixture.h"
#include "lib/text.h"

namespace postern::auth {
namespace {

using std::chrono::seconds;

std::string plain(const std::string& user, const std::string& password,
                  const std::string& authzid = {}) {
  return base64_encode(authzid + std::string(1, '\0') + user + std::string(1, '\0') + password);
}

class AuthServer : public ::testing::Test {
 protected:
  void start(const std::string& users, Keys settings = {}, std::vector<Keys> more = {}) {
    TestConfig config;
    config.settings = {{"auth_verbose", "yes"}, {"auth_mechanisms", "plain login"}};
    for (auto& s : settings) config.settings.push_back(s);
    config.passdbs = {
        {{"driver", "passwd-file"}, {"passwd_file_path", dir_.write("users", users)}}};
    for (Keys& keys : more) config.passdbs.push_back(keys);
    config.userdbs = {{{"driver", "static"}, {"args", "uid=500 gid=500 home=/home/%u"}}};
    start(config);
  }
  void start(const TestConfig& config) {
    master_.reset();
    client_.reset();
    server_ = std::make_unique<Server>(config);
    client_ = server_->client(true);
    client_->feed("VERSION\t1\t2\nCPID\t77\n");
    cookie_ = client_->cookie();
    take_lines(*client_);
  }
  void auth(unsigned id, const std::string& user, const std::string& password,
            const std::string& more = {}) {
    client_->feed("AUTH\t" + std::to_string(id) + "\tPLAIN\tservice=imap\trip=192.0.2.9" + more +
                  "\tresp=" + plain(user, password) + "\n");
    server_->env.run();
  }
  std::vector<std::string> replies() {
    server_->env.run();
    return take_lines(*client_);
  }
  void open_master(MasterPeer peer) {
    master_ = std::make_unique<MasterSession>(*server_->context, std::move(peer));
    master_->feed("VERSION\t1\t1\n");
    EXPECT_EQ(take_lines(*master_), (std::vector<std::string>{"VERSION\t1\t1", "SPID\t4711"}));
  }
  std::vector<std::string> ask(const std::string& line) {
    master_->feed(line + "\n");
    server_->env.run();
    return take_lines(*master_);
  }
  bool logged(std::string_view text) const {
    return std::ranges::any_of(server_->env.lines, [&](const std::string& l) {
      return l.find(text) != std::string::npos;
    });
  }
  using Lines = std::vector<std::string>;

  ScratchDir dir_;
  std::unique_ptr<Server> server_;
  std::unique_ptr<ClientSession> client_;
  std::unique_ptr<MasterSession> master_;
  std::string cookie_;
};

TEST_F(AuthServer, ASlowHashDelaysNobodyElse) {
  start(
      "slow:{SHA512-CRYPT}$6$abc$IdWKNKTJEb8LxY7CGg8YBXlvtfZzFw7Mp/"
      "r6niK9YB2mdvgY..TKjv1T..8RadRt2qvUHYRLr/TsVArtr91iR1\n"
      "quick:{PLAIN}secret\n");
  server_->env.hold_hashes = true;
  auth(1, "slow", "secret");
  auth(2, "quick", "secret");
  EXPECT_EQ(replies(), (Lines{"OK\t2\tuser=quick"}));
  ASSERT_EQ(server_->env.jobs.size(), 1U);
  EXPECT_EQ(server_->env.jobs[0].client, "192.0.2.9");
  server_->env.hold_hashes = false;
  auth(3, "slow", "secret");
  EXPECT_EQ(replies(), (Lines{"OK\t3\tuser=slow"}));
}

TEST_F(AuthServer, AnUnknownUserTakesAsLongAsAKnownOne_T_NET_11) {
  start(
      "slow:{SHA512-CRYPT}$6$abc$IdWKNKTJEb8LxY7CGg8YBXlvtfZzFw7Mp/"
      "r6niK9YB2mdvgY..TKjv1T..8RadRt2qvUHYRLr/TsVArtr91iR1\n");
  auth(1, "slow", "wrong");
  auth(2, "nobody", "wrong");
  EXPECT_EQ(server_->env.jobs.size(), 2U);
  server_->env.advance(seconds(3));
  EXPECT_EQ(replies(), (Lines{"FAIL\t1\tuser=slow", "FAIL\t2\tuser=nobody"}));
}

TEST_F(AuthServer, AnUnknownUserCostsTheCostliestHashInUse_T_NET_11) {
  constexpr std::string_view kSha = "{SHA512-CRYPT}$6$rounds=1000$abc$x";
  constexpr std::string_view kBcrypt =
      "{BLF-CRYPT}$2y$04$eZ4Qw3JqQCzU9e0gVuXbUuV9VbG0vQ8O1u7m8m1S2dYcVd3Zc1n5y";
  start("sha:" + std::string(kSha) + "\nbcrypt:" + std::string(kBcrypt) + "\nplain:{PLAIN}x\n");
  const auto& jobs = server_->env.jobs;
  auth(1, "sha", "wrong");
  auth(2, "nobody", "wrong");
  ASSERT_EQ(jobs.size(), 2U);
  EXPECT_EQ(jobs[1].scheme->name, "SHA512-CRYPT");
  auth(3, "bcrypt", "wrong");
  // What came last is cheaper, or none at all.
  auth(4, "sha", "wrong");
  auth(5, "plain", "wrong");
  auth(6, "nobody", "wrong");
  EXPECT_EQ(jobs.back().scheme->name, "BLF-CRYPT");
  EXPECT_EQ(jobs.back().client, "192.0.2.9") << "in the queue of its address, like any other";
}

constexpr std::string_view kCostly =
    "{BLF-CRYPT}$2y$05$eZ4Qw3JqQCzU9e0gVuXbUuV9VbG0vQ8O1u7m8m1S2dYcVd3Zc1n5y";

TEST_F(AuthServer, ARowThatCannotBeComparedIsNoMeasureForUnknownUsers_T_NET_11) {
  start("good:" + std::string(kCostly) +
        "\nshort:{BLF-CRYPT}$2y$14$abcdefgh\nhuge:{ARGON2ID}$argon2id$v=19$m=4194304,t=9,p=1$"
        "c29tZXNhbHQ$aGFzaA\nbroken:{ARGON2ID}$argon2id$v=19$m=65536,t=3,p=1$c2$aGFzaA\n"
        "tiny:{SHA512-CRYPT}$6$abc\n");
  const auto& jobs = server_->env.jobs;
  unsigned id = 0;
  for (const char* user : {"short", "huge", "broken", "tiny"}) auth(++id, user, "wrong");
  // A hash that did not run, as the password can be nobody's.
  auth(++id, "good", std::string(kMaxPassword + 1, 'x'));
  const std::size_t before = jobs.size();
  auth(++id, "nobody", "wrong");
  EXPECT_EQ(jobs.size(), before) << "nothing has run yet";
  auth(++id, "good", "wrong");
  for (const char* user : {"short", "huge", "broken", "tiny"}) auth(++id, user, "wrong");
  auth(++id, "nobody", "wrong");
  EXPECT_EQ(jobs.back().scheme->name, "BLF-CRYPT");
  EXPECT_TRUE(logged("Invalid password in passdb: BLF-CRYPT password is no hash"));
}

TEST_F(AuthServer, WhoseRowRunsNoHashCostsAsMuchAsTheOthers_T_NET_11) {
  start(
      "good:" + std::string(kCostly) + "\nlocked:{CRYPT}!" + std::string(kCostly.substr(11)) +
          "\nplain:{PLAIN}x\nnull:\nwrong:{NONE}x\nraw:{SHA.hex}zz\ncheap:{SHA512-CRYPT}$6$rounds="
          "1000$abc$x\nshort:{BLF-CRYPT}$2y$14$abcdefgh\n",
      {});
  const auto& jobs = server_->env.jobs;
  auth(1, "good", "wrong");
  ASSERT_EQ(jobs.size(), 1U);
  unsigned id = 1;
  for (const char* user : {"locked", "plain", "null", "wrong", "raw", "cheap", "short"}) {
    const std::size_t before = jobs.size();
    auth(++id, user, "wrong");
    ASSERT_GT(jobs.size(), before) << user;
    EXPECT_EQ(jobs.back().scheme->name, "BLF-CRYPT") << user;
  }
  server_->env.advance(seconds(3));
  EXPECT_EQ(replies().size(), 8U);
  const std::size_t before = jobs.size();
  auth(++id, "plain", "x");
  auth(++id, "good", "wrong");
  EXPECT_EQ(jobs.size(), before + 1) << "nothing is added to a success or to the costliest";
}

TEST_F(AuthServer, WhoIsInADenyDatabaseCostsAsMuchAsTheOthers_T_NET_11) {
  TestConfig config;
  config.passdbs = {
      {{"driver", "passwd-file"},
       {"passwd_file_path", dir_.write("deny", "out\n")},
       {"deny", "yes"}},
      {{"driver", "passwd-file"},
       {"passwd_file_path", dir_.write("users", "good:" + std::string(kCostly) + "\n")}}};
  start(config);
  const auto& jobs = server_->env.jobs;
  auth(1, "good", "wrong");
  auth(2, "out", "wrong");
  ASSERT_EQ(jobs.size(), 2U);
  EXPECT_EQ(jobs[1].scheme->name, "BLF-CRYPT");
  auth(3, "nobody", "wrong");
  EXPECT_EQ(jobs.size(), 3U) << "once, not for each database";
}

TEST_F(AuthServer, AnUnknownUserIsToldByNoWordOrClock_T_NET_11) {
  start(
      "slow:{SHA512-CRYPT}$6$abc$IdWKNKTJEb8LxY7CGg8YBXlvtfZzFw7Mp/"
      "r6niK9YB2mdvgY..TKjv1T..8RadRt2qvUHYRLr/TsVArtr91iR1\n");
  auth(1, "slow", "wrong");
  server_->env.advance(seconds(3));
  EXPECT_EQ(replies(), (Lines{"FAIL\t1\tuser=slow"}));
  // At any moment within a second, and not all at the same time: two seconds from each one's own.
  for (const int phase : {0, 1, 250, 499, 500, 501, 999}) {
    server_->env.advance(std::chrono::milliseconds(phase));
    const std::string known = std::to_string(phase * 2 + 10);
    const std::string unknown = std::to_string(phase * 2 + 11);
    auth(static_cast<unsigned>(phase * 2 + 10), "slow", "wrong");
    server_->env.advance(std::chrono::milliseconds(300));
    auth(static_cast<unsigned>(phase * 2 + 11), "none", "wrong");
    server_->env.advance(std::chrono::milliseconds(1699));
    EXPECT_TRUE(replies().empty()) << phase;
    server_->env.advance(std::chrono::milliseconds(1));
    EXPECT_EQ(replies(), (Lines{"FAIL\t" + known + "\tuser=slow"})) << phase;
    server_->env.advance(std::chrono::milliseconds(299));
    EXPECT_TRUE(replies().empty()) << phase;
    server_->env.advance(std::chrono::milliseconds(1));
    EXPECT_EQ(replies(), (Lines{"FAIL\t" + unknown + "\tuser=none"})) << phase;
  }
}

TEST_F(AuthServer, TheTimeOfTheHashIsWithinTheDelay_T_NET_11) {
  start("slow:{SHA512-CRYPT}$6$rounds=1000$abc$x\nplain:{PLAIN}x\n");
  server_->env.hash_time = std::chrono::milliseconds(700);
  auth(1, "slow", "wrong");
  auth(2, "none", "wrong");   // after the costly one was seen
  auth(3, "plain", "wrong");  // known, and costs nothing
  server_->env.advance(std::chrono::milliseconds(1999));
  EXPECT_TRUE(replies().empty());
  server_->env.advance(std::chrono::milliseconds(1));
  EXPECT_EQ(replies().size(), 3U);
}

TEST_F(AuthServer, AFailedWorkerTellsNobodyWhichUsersThereAre_T_NET_11) {
  start("slow:{SHA512-CRYPT}$6$rounds=1000$abc$x\n");
  auth(1, "slow", "wrong");
  server_->env.advance(seconds(3));
  EXPECT_EQ(replies(), (Lines{"FAIL\t1\tuser=slow"}));
  server_->env.fail_hashes = true;
  auth(2, "slow", "wrong");
  auth(3, "none", "wrong");
  server_->env.advance(seconds(3));
  EXPECT_EQ(replies(),
            (Lines{"FAIL\t2\tuser=slow\tcode=temp_fail", "FAIL\t3\tuser=none\tcode=temp_fail"}));
}

TEST_F(AuthServer, AFailedWorkerIsNeverAWrongPassword) {
  start(
      "slow:{SHA512-CRYPT}$6$abc$IdWKNKTJEb8LxY7CGg8YBXlvtfZzFw7Mp/"
      "r6niK9YB2mdvgY..TKjv1T..8RadRt2qvUHYRLr/TsVArtr91iR1\n");
  server_->env.fail_hashes = true;
  auth(1, "slow", "secret");
  server_->env.advance(seconds(3));
  EXPECT_EQ(replies(), (Lines{"FAIL\t1\tuser=slow\tcode=temp_fail"}));
}

TEST_F(AuthServer, WithoutADatabaseEveryLoginFailsAsTemporary) {
  TestConfig config;
  config.settings = {{"auth_internal_failure_delay", "0"}};
  start(config);
  EXPECT_TRUE(logged("No passdbs specified in configuration file"));
  auth(1, "a", "x");
  EXPECT_EQ(replies(), (Lines{"FAIL\t1\tuser=a\tcode=temp_fail"}));
  open_master({});
  EXPECT_EQ(ask("PASS\t1\ta\tservice=lmtp"), (Lines{"FAIL\t1"}));
}

TEST_F(AuthServer, FailuresWaitAndSuccessesDoNot) {
  start("a:{PLAIN}x\n");
  auth(1, "a", "wrong");
  EXPECT_TRUE(replies().empty());
  auth(2, "a", "x");
  EXPECT_EQ(replies(), (Lines{"OK\t2\tuser=a"}));
  server_->env.advance(Milliseconds(1600));
  EXPECT_TRUE(replies().empty());
  server_->env.advance(Milliseconds(800));
  EXPECT_EQ(replies(), (Lines{"FAIL\t1\tuser=a"}));
}

TEST_F(AuthServer, ACancelledRequestIsNeverAnsweredAndItsNumberIsFree) {
  start("a:{PLAIN}x\n");
  auth(1, "a", "wrong");
  client_->feed("CANCEL\t1\n");
  auth(1, "a", "x");
  EXPECT_EQ(replies(), (Lines{"OK\t1\tuser=a"}));
  server_->env.advance(seconds(10));
  EXPECT_TRUE(replies().empty());
}

TEST_F(AuthServer, OneContinuationTooManyFailsThatRequestOnly) {
  start("a:{PLAIN}x\n");
  server_->env.hold_hashes = true;
  start(
      "slow:{ARGON2ID}$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/"
      "uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4\n");
  server_->env.hold_hashes = true;
  auth(1, "slow", "password");
  client_->feed("CONT\t1\teA==\n");
  EXPECT_EQ(replies(), (Lines{"FAIL\t1\treason=Unexpected continuation"}));
  EXPECT_FALSE(client_->closing());
}

TEST_F(AuthServer, RequestsEndAfter150Seconds) {
  start("alice:{PLAIN}secret\n");
  client_->feed("AUTH\t1\tPLAIN\tservice=imap\trip=203.0.113.5\n");
  client_->feed("AUTH\t2\tPLAIN\tservice=imap\trip=203.0.113.5\tresp=" + plain("alice", "secret") +
                "\n");
  client_->feed("AUTH\t3\tLOGIN\tservice=imap\trip=203.0.113.5\n");
  EXPECT_EQ(replies(), (Lines{"CONT\t1\t", "OK\t2\tuser=alice", "CONT\t3\tVXNlcm5hbWU6"}));
  server_->env.advance(seconds(60));
  client_->feed("CONT\t3\tYWxpY2U=\n");
  EXPECT_EQ(replies(), (Lines{"CONT\t3\tUGFzc3dvcmQ6"}));
  server_->env.advance(seconds(96));
  EXPECT_TRUE(
      logged("Info: plain(?,203.0.113.5): Request timed out waiting for client to continue "
             "authentication (150 secs)"));
  EXPECT_TRUE(
      logged("Error: plain(alice,203.0.113.5): Request 77.2 timed out after 150 secs, state=3"));
  client_->feed("CONT\t1\t" + plain("alice", "secret") + "\n");
  EXPECT_EQ(replies(), (Lines{"FAIL\t1\treason=Authentication request timed out"}));
  client_->feed("CONT\t3\tc2VjcmV0\n");
  EXPECT_EQ(replies(), (Lines{"OK\t3\tuser=alice"}));
}

TEST_F(AuthServer, AClientThatDoesNotReadIsNotRead) {
  start("a:{PLAIN}x\n");
  std::string many;
  for (unsigned i = 1; i <= 5000; i++) many += "CONT\t" + std::to_string(i) + "\teA==\n";
  client_->feed(many);
  EXPECT_FALSE(client_->wants_input());
  EXPECT_LT(client_->output().size(), LineSession::kOutputHigh + 200);
  unsigned answers = 0;
  while (!client_->output().empty()) {
    const std::size_t chunk = std::min<std::size_t>(client_->output().size(), 1000);
    const std::string_view some = client_->output().view().substr(0, chunk);
    answers += static_cast<unsigned>(std::ranges::count(some, '\n'));
    client_->output().consume(chunk);
    client_->on_written();
  }
  EXPECT_EQ(answers, 5000U);
  EXPECT_TRUE(client_->wants_input());
}

TEST_F(AuthServer, TooManyRequestsAtATimeFailTemporarily) {
  start("a:{PLAIN}x\n");
  for (unsigned i = 1; i <= ClientSession::kMaxInFlight + 1; i++) {
    client_->feed("AUTH\t" + std::to_string(i) + "\tPLAIN\tservice=imap\n");
  }
  const Lines lines = replies();
  EXPECT_EQ(lines.back(), "FAIL\t1001\tcode=temp_fail");
}

TEST_F(AuthServer, ALineOver16KiBCloses) {
  start("a:{PLAIN}x\n");
  client_->feed("AUTH\t1\tPLAIN\tservice=imap\tresp=" + std::string(16400, 'A'));
  EXPECT_TRUE(client_->closing());
  EXPECT_TRUE(logged("BUG: Auth client 77 sent us more than 16384 bytes"));
}

TEST_F(AuthServer, TwoLoginClientsCannotShareAPid) {
  start("a:{PLAIN}x\n");
  auto second = server_->client(true);
  second->feed("VERSION\t1\t2\nCPID\t77\n");
  EXPECT_TRUE(second->closing());
  client_.reset();
  auto third = server_->client(true);
  third->feed("VERSION\t1\t2\nCPID\t77\n");
  EXPECT_FALSE(third->closing());
}

TEST_F(AuthServer, BackendPasswordsAreNotForEveryService) {
  start("a:{PLAIN}x::::::proxy=y host=192.0.2.10 pass=backendpw\n");
  auto other = server_->client(false);
  other->feed("VERSION\t1\t0\nCPID\t1\nAUTH\t1\tPLAIN\tservice=smtp\tresp=" + plain("a", "x") +
              "\n");
  EXPECT_EQ(take_lines(*other).back(), "OK\t1\tuser=a\tproxy\thost=192.0.2.10");
  auth(1, "a", "x");
  EXPECT_EQ(replies(), (Lines{"OK\t1\tuser=a\tproxy\thost=192.0.2.10\tpass=backendpw"}));
}

TEST_F(AuthServer, BadProxyFieldsAreTheOperatorsFaultNotTheUsers_T_DAT_10) {
  start(
      "port:{PLAIN}x::::::proxy=y host=192.0.2.10 port=70000\n"
      "host:{PLAIN}x::::::proxy=y host=evil/../host\n"
      "source:{PLAIN}x::::::proxy=y host=192.0.2.10 source_ip=zzz\n"
      "time:{PLAIN}x::::::proxy=y host=192.0.2.10 proxy_timeout=99999999\n",
      {{"auth_internal_failure_delay", "0"}});
  unsigned id = 0;
  for (const char* user : {"port", "host", "source", "time"}) {
    auth(++id, user, "x");
    const Lines lines = replies();
    ASSERT_EQ(lines.size(), 1U) << user;
    EXPECT_NE(lines[0].find("code=temp_fail"), std::string::npos) << lines[0];
  }
  EXPECT_TRUE(logged("Invalid port in passdb: 70000"));
}

TEST_F(AuthServer, AllAddressesOfABackendAreToldToLoginProcesses) {
  start(
      "p:{PLAIN}x::::::proxy=y host=mail.test\nself:{PLAIN}x::::::proxy_maybe=y host=mail.test\n");
  const auto ip = [](const char* text) { return *IpAddress::parse(text); };
  server_->env.hosts["mail.test"] = {ip("192.0.2.1"), ip("192.0.2.2"), ip("2001:db8::3")};
  auth(1, "p", "x");  // the fake world's random choice is the one in the middle
  EXPECT_EQ(replies(), (Lines{"OK\t1\tuser=p\tproxy\thost=mail.test\thostip=192.0.2.2\t"
                              "proxy_hosts=mail.test 0 192.0.2.2,2001:db8::3,192.0.2.1\tpass=x"}));
  auth(2, "self", "x", "\tlip=192.0.2.1\treal_lip=192.0.2.1");
  EXPECT_EQ(replies(), (Lines{"OK\t2\tuser=self"}));
  open_master({});
  EXPECT_EQ(ask("PASS\t1\tp\tservice=lmtp"),
            (Lines{"PASS\t1\tuser=p\tproxy=y\thost=mail.test\thostip=192.0.2.2"}));
  server_->env.hosts["mail.test"].resize(1);
  auth(3, "p", "x");
  EXPECT_EQ(replies(), (Lines{"OK\t3\tuser=p\tproxy\thost=mail.test\thostip=192.0.2.1\tpass=x"}));
}

TEST_F(AuthServer, AListOfHostsIsOneHostUnlessFailoverIsAllowed) {
  const std::string users =
      "p:{PLAIN}x::::::proxy=y host=[2001:db8::1]:1143*2,two.test:2143,three.test port=143\n";
  const auto ip = [](const char* text) { return *IpAddress::parse(text); };
  start(users);
  auth(1, "p", "x");
  EXPECT_EQ(replies(), (Lines{"OK\t1\tuser=p\tproxy\thost=2001:db8::1\tport=1143\tpass=x"}));
  start(users, {{"proxy_failover", "yes"}});
  server_->env.hosts["two.test"] = {ip("192.0.2.2")};
  auth(1, "p", "x");
  EXPECT_EQ(replies(),
            (Lines{"OK\t1\tuser=p\tproxy\thost=2001:db8::1\tport=1143\t"
                   "proxy_hosts=2001:db8::1 1143 2001:db8::1;two.test 2143 192.0.2.2\tpass=x"}));
  EXPECT_TRUE(logged("DNS lookup for three.test failed"));
  server_->env.hosts["three.test"] = {ip("192.0.2.3"), ip("192.0.2.4")};
  auth(2, "p", "x");
  EXPECT_EQ(replies(), (Lines{"OK\t2\tuser=p\tproxy\thost=2001:db8::1\tport=1143\t"
                              "proxy_hosts=2001:db8::1 1143 2001:db8::1;two.test 2143 192.0.2.2;"
                              "three.test 143 192.0.2.4,192.0.2.3\tpass=x"}));
}

TEST_F(AuthServer, AUserStaysWithOneHostOfAList) {
  const std::string list = " host=192.0.2.1,192.0.2.2,192.0.2.3\n";
  std::string users;
  for (const char* name : {"ann", "bob", "cid", "dot", "eva", "fay", "gus", "hal"}) {
    users.append(name).append(":{PLAIN}x::::::proxy=y").append(list);
  }
  std::vector<Lines> seen;
  for (int server = 0; server < 2; server++) {
    start(users, {{"proxy_balance", "hash"}});
    Lines hosts;
    unsigned id = 0;
    for (const char* name : {"ann", "bob", "cid", "dot", "eva", "fay", "gus", "hal", "Ann"}) {
      auth(++id, name, "x");
      const std::string reply = replies().at(0);
      hosts.push_back(reply.substr(reply.find("host="), 14));
    }
    EXPECT_EQ(hosts.front(), hosts.back()) << "capitals do not matter";
    seen.push_back(hosts);
  }
  EXPECT_EQ(seen[0], seen[1]) << "another process chooses the same";
  std::sort(seen[0].begin(), seen[0].end());
  EXPECT_GT(std::unique(seen[0].begin(), seen[0].end()) - seen[0].begin(), 1) << "not all at one";
}

TEST_F(AuthServer, OfAListTheChosenHostDecidesWhetherItIsSelf) {
  const std::string users = "p:{PLAIN}x::::::proxy_maybe=y host=192.0.2.1,192.0.2.2,192.0.2.3\n";
  start(users, {{"proxy_failover", "yes"}});
  auth(1, "p", "x", "\tlip=192.0.2.1\treal_lip=192.0.2.1");
  EXPECT_EQ(replies(), (Lines{"OK\t1\tuser=p"}));
  auth(2, "p", "x", "\tlip=192.0.2.2\treal_lip=192.0.2.2");
  EXPECT_EQ(replies(),
            (Lines{"OK\t2\tuser=p\thost=192.0.2.1\t"
                   "proxy_hosts=192.0.2.1 0 192.0.2.1;192.0.2.3 0 192.0.2.3\tproxy\tpass=x"}));
}

TEST_F(AuthServer, AHostileListIsATemporaryFailure_T_DAT_10) {
  std::string many = "h0";
  for (int i = 1; i < 17; i++) many += ",h" + std::to_string(i);
  std::string users;
  const Lines hosts{
      "a,,b", "a,",       "a:0",        "a:70000", "a*0",         "a*101", "a b",
      "[::1", "::1:143x", "/etc/hosts", many,      "[192.0.2.1]", "a*",    std::string(1025, 'a')};
  for (std::size_t i = 0; i < hosts.size(); i++) {
    if (hosts[i] == "a b") continue;  // a passwd-file has blanks between its fields
    users += fmt::format("u{}:{{PLAIN}}x::::::proxy=y host={}\n", i, hosts[i]);
  }
  start(users, {{"proxy_failover", "yes"}});
  for (unsigned i = 0; i < hosts.size(); i++) {
    if (hosts[i] == "a b") continue;
    SCOPED_TRACE(hosts[i]);
    auth(i + 1, fmt::format("u{}", i), "x");
    server_->env.advance(Milliseconds(5000));
    const Lines lines = replies();
    ASSERT_EQ(lines.size(), 1U);
    EXPECT_TRUE(lines[0].starts_with("FAIL\t")) << lines[0];
    EXPECT_NE(lines[0].find("code=temp_fail"), std::string::npos) << lines[0];
    EXPECT_EQ(lines[0].find("host="), std::string::npos) << lines[0];
  }
  EXPECT_TRUE(logged("Invalid host in passdb: a,,b"));
}

TEST_F(AuthServer, DelayUntilHoldsASuccess) {
  start("x:{PLAIN}y\n");
  const std::int64_t now = server_->env.wall;
  start("d2:{PLAIN}y::::::delay_until=" + std::to_string(now + 3) + "\n" +
            "past:{PLAIN}y::::::delay_until=" + std::to_string(now - 5) + "\n" +
            "far:{PLAIN}y::::::delay_until=" + std::to_string(now + 400) + "\n" +
            "bad:{PLAIN}y::::::delay_until=tomorrow\n" +
            "badr:{PLAIN}y::::::delay_until=" + std::to_string(now) + "+x\n",
        {{"auth_failure_delay", "0"}});
  auth(1, "d2", "y");
  EXPECT_TRUE(replies().empty());
  server_->env.advance(seconds(4));
  EXPECT_EQ(replies(), (Lines{"OK\t1\tuser=d2"}));
  auth(2, "past", "y");
  EXPECT_EQ(replies(), (Lines{"OK\t2\tuser=past"}));
  for (const char* user : {"far", "bad", "badr"}) {
    auth(3, user, "y");
    EXPECT_EQ(replies(), (Lines{std::string("FAIL\t3\tuser=") + user}));
  }
  EXPECT_TRUE(logged("is too much in the future, failing"));
  EXPECT_TRUE(logged("Invalid delay_until timestamp 'tomorrow'"));
  EXPECT_TRUE(logged("Invalid delay_until randomness number 'x'"));
}

TEST_F(AuthServer, TheFirstDatabaseDownIsTemporaryUnlessTheNextSaysYes) {
  TestConfig config;
  config.settings = {{"auth_verbose", "yes"}, {"auth_internal_failure_delay", "0"}};
  config.passdbs = {{{"driver", "sql"},
                     {"sql_driver", "sqlite"},
                     {"connect", "/nonexistent/db"},
                     {"password_query", "SELECT 1"}},
                    {{"driver", "passwd-file"},
                     {"passwd_file_path", dir_.write("users", "alice:{PLAIN}secret\n")}}};
  start(config);
  auth(1, "alice", "secret");
  EXPECT_EQ(replies(), (Lines{"OK\t1\tuser=alice"}));
  auth(2, "alice", "bad");
  EXPECT_EQ(replies(), (Lines{"FAIL\t2\tuser=alice\tcode=temp_fail"}));
  auth(3, "nosuch", "bad");
  EXPECT_EQ(replies(), (Lines{"FAIL\t3\tuser=nosuch\tcode=temp_fail"}));
}

TEST_F(AuthServer, NoForwardedFieldNamesAFieldOfAuth) {
  start("alice:{PLAIN}secret\n", {{"auth_failure_delay", "0"}});
  auth(1, "alice", "wrong",
       "\tforward_fields=nopassword\001tproxy=y\001tuserdb_uid=0\001t=x\001ta b=c");
  EXPECT_EQ(
      replies(),
      (Lines{"FAIL\t1\tuser=alice\tforward_nopassword\tforward_proxy=y\tforward_userdb_uid=0"}));
}

TEST_F(AuthServer, NoPasswordReachesTheLog) {
  start("alice:{PLAIN}secret-of-alice::::::proxy=y host=192.0.2.10 pass=backend-secret\n",
        {{"auth_debug", "yes"}, {"auth_verbose_passwords", "sha1"}});
  auth(1, "alice", "wrong-guess");
  auth(2, "alice", "secret-of-alice");
  client_->feed("AUTH\t3\tLOGIN\tservice=imap\tresp=" + base64_encode("alice") + "\nCONT\t3\t" +
                base64_encode("third-guess") + "\n");
  server_->env.advance(seconds(5));
  for (const std::string& line : server_->env.lines) {
    for (const std::string& secret :
         {std::string("secret-of-alice"), std::string("wrong-guess"), std::string("backend-secret"),
          std::string("third-guess"), base64_encode("third-guess"), plain("alice", "wrong-guess"),
          cookie_}) {
      EXPECT_EQ(line.find(secret), std::string::npos) << line;
    }
  }
  EXPECT_TRUE(
      logged("Debug: client in: AUTH\t1\tPLAIN\tservice=imap\trip=192.0.2.9\tresp=<hidden>"));
  EXPECT_TRUE(logged("pass=<hidden>"));
}

TEST_F(AuthServer, NoPasswordOfAMistakenClientReachesTheLog) {
  const std::string secret = plain("alice", "secret-of-alice");
  for (const std::string& line :
       {"AUTH\t1\tPLAIN\tservice=imap\tresp=" + secret, "VERSION\t1\t2\nAUTH\t1\tresp=" + secret,
        "VERSION\t1\t2\nCPID\t5\nauth\t1\tPLAIN\tservice=imap\tresp=" + secret,
        "VERSION\t1\t2\nCPID\t5\nAUTH PLAIN " + secret, "VERSION\t1\t2\nCPID\t5\nCONT\t" + secret,
        std::string("VERSION\t1\t2\nCPID\t5\nLOGIN alice secret-of-alice")}) {
    start("alice:{PLAIN}secret-of-alice\n", {{"auth_debug", "yes"}});
    auto session = server_->client(true);
    session->feed(line + "\n");
    EXPECT_TRUE(session->closing()) << line;
    open_master({});
    ask(line.substr(line.rfind('\n') + 1));
    ASSERT_FALSE(server_->env.lines.empty());
    for (const std::string& logged_line : server_->env.lines) {
      EXPECT_EQ(logged_line.find(secret.substr(0, 12)), std::string::npos) << logged_line;
      EXPECT_EQ(logged_line.find("secret-of-alice"), std::string::npos) << logged_line;
    }
  }
}

TEST_F(AuthServer, ACertificatesNameIsNotTheUsers) {
  start("alice:{PLAIN}a\nbob:{PLAIN}b\n");
  auth(1, "alice", "a", "\tvalid-client-cert\tcert_username=bob");
  EXPECT_EQ(replies(), (Lines{"OK\t1\tuser=alice"}));
}

TEST_F(AuthServer, ACertificatesNameIsTheUsersWhereThatIsWanted) {
  start("alice:{PLAIN}a\nbob:{PLAIN}b\n",
        {{"auth_ssl_username_from_cert", "yes"}, {"auth_failure_delay", "0"}});
  auth(1, "alice", "b", "\tvalid-client-cert\tcert_username=Bob");
  auth(2, "alice", "a", "\tvalid-client-cert\tcert_username=bob");
  EXPECT_EQ(replies(), (Lines{"OK\t1\tuser=bob\toriginal_user=alice",
                              "FAIL\t2\tuser=bob\toriginal_user=alice"}));
  auth(3, "alice", "a", "\tcert_username=bob");
  auth(4, "alice", "a");
  EXPECT_EQ(replies(), (Lines{"OK\t3\tuser=alice", "OK\t4\tuser=alice"}))
      << "who shows no valid certificate has the name of the login";
  auth(5, "alice", "a", "\tvalid-client-cert\tcert_username=b b");
  EXPECT_EQ(replies().size(), 1U);
  EXPECT_TRUE(logged("Username character disallowed by auth_username_chars: 0x20"));
}

TEST_F(AuthServer, ExternalTakesTheNameOfACertificateAndOfNothingElse_T_USR_09) {
  start("alice:::::::nopassword\nbob:{PLAIN}b\n", {{"auth_ssl_username_from_cert", "yes"},
                                                   {"auth_failure_delay", "0"},
                                                   {"auth_mechanisms", "plain external"}});
  const auto external = [this](unsigned id, const std::string& resp, const std::string& more) {
    client_->feed("AUTH\t" + std::to_string(id) + "\tEXTERNAL\tservice=imap\trip=192.0.2.9" + more +
                  "\tresp=" + resp + "\n");
    return replies();
  };
  const std::string certified = "\tvalid-client-cert\tcert_username=Alice";
  EXPECT_EQ(external(1, "=", certified), (Lines{"OK\t1\tuser=alice\toriginal_user=Alice"}));
  EXPECT_EQ(external(2, base64_encode("ALICE"), certified),
            (Lines{"OK\t2\tuser=alice\toriginal_user=Alice"}));
  EXPECT_EQ(external(3, base64_encode("bob"), certified),
            (Lines{"FAIL\t3\tuser=alice\toriginal_user=Alice"}));
  EXPECT_EQ(external(4, base64_encode("alice"), ""), (Lines{"FAIL\t4"}));
  EXPECT_TRUE(logged("external(?,192.0.2.9): username not known"));
  EXPECT_EQ(external(5, "=", "\tvalid-client-cert\tcert_username="), (Lines{"FAIL\t5"}));
  EXPECT_EQ(external(6, base64_encode(std::string("alice\0bob", 9)), certified),
            (Lines{"FAIL\t6"}));
  // A password nobody has is not an empty one.
  EXPECT_EQ(external(7, "=", "\tvalid-client-cert\tcert_username=bob"),
            (Lines{"FAIL\t7\tuser=bob"}));
}

TEST_F(AuthServer, AMasterUserIsNotTheOneWhoIsDisabled) {
  TestConfig config;
  config.settings = {{"auth_failure_delay", "0"}};
  config.passdbs = {{{"driver", "static"},
                     {"args", "password=m"},
                     {"master", "yes"},
                     {"result_success", "continue"}},
                    {{"driver", "passwd-file"},
                     {"deny", "yes"},
                     {"passwd_file_path", dir_.write("deny", "bad\n")}},
                    {{"driver", "static"}, {"name", "all"}, {"args", "password=x"}}};
  start(config);
  client_->feed("AUTH\t1\tPLAIN\tservice=imap\tresp=" + plain("boss", "m", "bad") + "\n");
  EXPECT_EQ(replies(),
            (Lines{"FAIL\t1\tuser=bad\tcode=authz_fail\toriginal_user=boss\tauth_user=boss"}));
}

TEST_F(AuthServer, AuthUserIsTheNameThatWasTyped) {
  start("alice:{PLAIN}x::::::forward_a=%{auth_user}\n");
  auth(1, "Alice", "x");
  EXPECT_EQ(replies(), (Lines{"OK\t1\tuser=alice\tforward_a=Alice\toriginal_user=Alice"}));
}

TEST_F(AuthServer, NamesAreUtf8) {
  start("g\xc3\xbcnther:{PLAIN}x\nfran\xe7ois:{PLAIN}x\n",
        {{"auth_username_chars", ""}, {"auth_failure_delay", "0"}});
  auth(1, "g\xc3\xbcnther", "x");
  auth(2, "fran\xe7ois", "x");
  EXPECT_EQ(replies(), (Lines{"OK\t1\tuser=g\xc3\xbcnther",
                              "FAIL\t2\tuser=fran\xe7ois\toriginal_user=fran\xe7ois"}));
  EXPECT_TRUE(logged("Username is not UTF-8 (username: fran?ois)"));
}

TEST_F(AuthServer, AServiceMayHaveAFailureDelayOfItsOwn) {
  TestConfig config;
  config.settings = {{"auth_failure_delay", "2s"}};
  config.protocols = {{"smtp", {{"auth_failure_delay", "5s"}}}};
  config.passdbs = {{{"driver", "static"}, {"args", "password=x"}}};
  start(config);
  client_->feed("AUTH\t1\tPLAIN\tservice=smtp\tresp=" + plain("a", "y") + "\n" +
                "AUTH\t2\tPLAIN\tservice=imap\tresp=" + plain("a", "y") + "\n");
  server_->env.advance(seconds(3));
  EXPECT_EQ(replies(), (Lines{"FAIL\t2\tuser=a"}));
  server_->env.advance(seconds(3));
  EXPECT_EQ(replies(), (Lines{"FAIL\t1\tuser=a"}));
}

TEST_F(AuthServer, PenaltiesDelayAndAreRaisedByFailures_T_NET_09) {
  start("a:{PLAIN}x\n");
  server_->env.penalties = true;
  server_->env.penalty_value = 1;
  auth(1, "a", "x");
  EXPECT_TRUE(replies().empty());
  server_->env.advance(seconds(4));
  EXPECT_EQ(replies(), (Lines{"OK\t1\tuser=a"}));
  EXPECT_TRUE(server_->env.raised.empty());
  EXPECT_EQ(server_->env.forgiven, server_->env.asked) << "for that user alone";
  auth(2, "a", "wrong");
  server_->env.advance(seconds(7));
  EXPECT_EQ(replies(), (Lines{"FAIL\t2\tuser=a"}));
  ASSERT_EQ(server_->env.raised.size(), 1U);
  EXPECT_EQ(server_->env.raised[0].user, server_->env.asked[1]);
  auth(3, "a", "x", "\tno-penalty");
  EXPECT_EQ(replies(), (Lines{"OK\t3\tuser=a"}));
  EXPECT_EQ(server_->env.forgiven.size(), 1U);
}

TEST_F(AuthServer, ThePenaltysStepsAreFourEightAndFifteenSeconds_T_NET_09) {
  start("a:{PLAIN}x\n");
  server_->env.penalties = true;
  const std::pair<unsigned, int> steps[] = {{0, 0}, {1, 4}, {2, 8}, {3, 15}, {4, 15}, {1000, 15}};
  std::uint32_t id = 0;
  for (const auto& [level, wait] : steps) {
    server_->env.penalty_value = level;
    auth(++id, "a", "x");
    server_->env.run();
    if (wait > 0) {
      server_->env.advance(seconds(wait - 1));
      EXPECT_TRUE(replies().empty()) << level;
      server_->env.advance(seconds(1));
    }
    EXPECT_EQ(replies(), (Lines{"OK\t" + std::to_string(id) + "\tuser=a"})) << level;
  }
}

TEST_F(AuthServer, WhoIsKnownAtAPenalisedAddressIsToldByNoClock_T_NET_11) {
  start("a:{PLAIN}x\nb:{PLAIN}x\nn:{PLAIN}x::::::nodelay\n");
  server_->env.penalties = true;
  server_->env.penalty_value = 3;
  server_->env.not_for = {user_key("a"), user_key("n")};
  auth(1, "a", "x");
  EXPECT_EQ(replies(), (Lines{"OK\t1\tuser=a"})) << "he is right: at once";
  EXPECT_EQ(server_->env.forgiven, (std::vector{user_key("a")})) << "and has been here lately";
  auth(2, "a", "wrong");
  auth(3, "b", "wrong");
  auth(4, "nobody", "wrong");
  server_->env.advance(std::chrono::milliseconds(16900));
  EXPECT_TRUE(replies().empty());
  server_->env.advance(std::chrono::milliseconds(200));
  Lines failed = replies();
  std::ranges::sort(failed);
  EXPECT_EQ(failed, (Lines{"FAIL\t2\tuser=a", "FAIL\t3\tuser=b", "FAIL\t4\tuser=nobody"}));
  // Without a failure delay, too.
  auth(5, "n", "wrong");
  server_->env.advance(std::chrono::milliseconds(14900));
  EXPECT_TRUE(replies().empty());
  server_->env.advance(std::chrono::milliseconds(200));
  failed = replies();
  ASSERT_EQ(failed.size(), 1U);
  EXPECT_TRUE(failed[0].starts_with("FAIL\t5\tuser=n\tnodelay")) << failed[0];
}

TEST_F(AuthServer, APenaltyIsAskedForTheUserHoweverTheNameComes_T_NET_09) {
  TestConfig config;
  config.settings = {{"auth_mechanisms", "plain login"}};
  config.passdbs = {{{"driver", "static"}, {"args", "password=x"}}};
  start(config);
  server_->env.penalties = true;
  auth(1, "a", "x");
  client_->feed("AUTH\t2\tLOGIN\tservice=imap\trip=192.0.2.1\n");
  client_->feed("CONT\t2\t" + base64_encode("a") + "\n");
  client_->feed("CONT\t2\t" + base64_encode("x") + "\n");
  auth(3, "b", "x");
  server_->env.run();
  const auto& asked = server_->env.asked;
  ASSERT_EQ(asked.size(), 3U);
  EXPECT_EQ(asked[0], asked[1]);
  EXPECT_NE(asked[0], asked[2]);
}

TEST_F(AuthServer, ARepeatedGuessHasTheSameChecksumAndAnotherOneAnother_T_NET_10) {
  start("a:{PLAIN}x\n");
  server_->env.penalties = true;
  auth(1, "a", "one");
  auth(2, "a", "one");
  auth(3, "a", "two");
  auth(4, "b", "one");
  server_->env.advance(seconds(20));
  const auto& raised = server_->env.raised;
  ASSERT_EQ(raised.size(), 4U);
  EXPECT_EQ(raised[0].checksum, raised[1].checksum);
  EXPECT_NE(raised[0].checksum, raised[2].checksum);
  EXPECT_NE(raised[0].checksum, raised[3].checksum);
}

TEST_F(AuthServer, AnAddressKnownToHaveNoPenaltyIsNotAskedAbout) {
  start("a:{PLAIN}x\n");
  server_->env.penalties = true;
  server_->env.penalty_value = 3;  // what an answer would be
  server_->env.known_clean = true;
  auth(1, "a", "x");
  EXPECT_EQ(replies(), (Lines{"OK\t1\tuser=a"}));
}

TEST_F(AuthServer, ARequestIsHandedOverOnceToWhoHasTheCookie) {
  start(
      "alice:{PLAIN}secret::::::userdb_mail=maildir:~/m "
      "forward_x=1\nnolog:{PLAIN}secret::::::nologin\n");
  auth(1, "alice", "secret", "\tsession=s1");
  auth(2, "alice", "secret");
  EXPECT_EQ(replies(), (Lines{"OK\t1\tuser=alice\tforward_x=1", "OK\t2\tuser=alice\tforward_x=1"}));
  MasterPeer peer;
  peer.pid = 900;
  open_master(peer);
  EXPECT_EQ(ask("REQUEST\t1\t77\t1\t00000000000000000000000000000000"), (Lines{"FAIL\t1"}));
  EXPECT_EQ(ask("REQUEST\t2\t1\t1\t" + cookie_), (Lines{"FAIL\t2"}));
  EXPECT_EQ(ask("REQUEST\t3\t77\t9\t" + cookie_), (Lines{"FAIL\t3"}));
  EXPECT_EQ(ask("REQUEST\t4\t77\t2\t" + cookie_ + "\tsession_pid=1"), (Lines{"FAIL\t4"}));
  const Lines good = ask("REQUEST\t5\t77\t1\t" + cookie_ + "\tsession_pid=900\trequest_auth_token");
  ASSERT_EQ(good.size(), 1U);
  EXPECT_TRUE(
      good[0].starts_with("USER\t5\talice\tmail=maildir:~/m\tuid=500\tgid=500\thome=/home/"
                          "alice\tauth_mech=PLAIN\tauth_token="))
      << good[0];
  EXPECT_EQ(good[0].size() - good[0].rfind('=') - 1, 40U);
  EXPECT_EQ(ask("REQUEST\t6\t77\t1\t" + cookie_), (Lines{"FAIL\t6"}));
  client_->feed("AUTH\t3\tPLAIN\tservice=imap\n");
  EXPECT_EQ(ask("REQUEST\t7\t77\t3\t" + cookie_), (Lines{"FAIL\t7"}));
  auth(4, "nolog", "secret");
  EXPECT_EQ(ask("REQUEST\t8\t77\t4\t" + cookie_), (Lines{"FAIL\t8"}));
  EXPECT_TRUE(
      logged("auth-master client: Master requested auth for client 77 with invalid cookie (created "
             "0 msecs ago, handshake 0 msecs ago)"));
  EXPECT_TRUE(
      logged("Session pid 1 provided by master for request 77.2 did not match peer credentials "
             "(pid=900, uid=0)"));
  client_.reset();
  EXPECT_EQ(ask("REQUEST\t9\t77\t2\t" + cookie_), (Lines{"FAIL\t9"}));
  EXPECT_TRUE(logged("Master requested auth for nonexistent client 77"));
}

TestConfig master_config(const ScratchDir& dir) {
  const std::string users =
      dir.write("users",
                "alice:{PLAIN}secret:1001:1001::/home/alice::userdb_mail=maildir:~/m proxy=y "
                "host=192.0.2.10 nologin\n"
                "bob:{SHA512}AAAA:1002:1002::/home/bob::\n"
                "temp:{PLAIN}x:1003:1003::/home/t::userdb_tempfail=y userdb_reason=later\n");
  TestConfig config;
  config.settings = {{"auth_verbose", "yes"}};
  config.passdbs = {{{"driver", "passwd-file"}, {"passwd_file_path", users}}};
  config.userdbs = {{{"driver", "passwd-file"}, {"passwd_file_path", users}}};
  return config;
}

TEST_F(AuthServer, TheMasterSocketAnswersAsRecorded) {
  start(master_config(dir_));
  open_master({});
  EXPECT_EQ(ask("USER\t1\talice\tservice=imap"),
            (Lines{"USER\t1\talice\tuid=1001\tgid=1001\thome=/home/alice\tmail=maildir:~/m"}));
  EXPECT_EQ(ask("USER\t2\tnosuch\tservice=imap"), (Lines{"NOTFOUND\t2"}));
  EXPECT_EQ(ask("USER\t3\tbad user\tservice=imap"), (Lines{"NOTFOUND\t3"}));
  EXPECT_EQ(ask("USER\t4\ttemp\tservice=imap"), (Lines{"FAIL\t4\treason=later"}));
  EXPECT_EQ(ask("PASS\t5\talice\tservice=lmtp\tlip=192.0.2.1\tlport=24"),
            (Lines{"PASS\t5\tuser=alice\tproxy=y\thost=192.0.2.10\tnologin"}));
  EXPECT_EQ(ask("PASS\t6\tnosuch\tservice=lmtp"), (Lines{"NOTFOUND\t6"}));
  EXPECT_EQ(ask("PASS\t7\tbob\tservice=lmtp"),
            (Lines{"FAIL\t7\treason=Configured passdbs don't support credentials lookups"}));
  EXPECT_EQ(ask("LIST\t8\tservice=doveadm"),
            (Lines{"LIST\t8\talice", "LIST\t8\tbob", "LIST\t8\ttemp", "DONE\t8\t"}));
  EXPECT_EQ(ask("LIST\t8\tuser=*b\tservice=doveadm"), (Lines{"LIST\t8\tbob", "DONE\t8\t"}));
  EXPECT_EQ(ask("CACHE-FLUSH\t9"), (Lines{"OK\t9\t0"}));
  EXPECT_TRUE(
      logged("Error: passwd-file(bob): Password data is not valid for scheme SHA512: Input length "
             "isn't valid (3 instead of 64)"));
  ask("USER\t11\talice");
  EXPECT_TRUE(master_->closing());
  EXPECT_TRUE(
      logged("auth-master client: BUG: Master sent USER request without service (created 0 msecs "
             "ago, handshake 0 msecs ago)"));
}

TEST_F(AuthServer, PassAnswersAsDovecotDoesWithoutAPassword) {
  start("alice:{PLAIN}secret\nbare\nbadip:{PLAIN}x::::::proxy=y host=h.test hostip=zzz\n",
        {{"auth_master_user_separator", "*"}},
        {{{"driver", "static"},
          {"args", "password=master"},
          {"master", "yes"},
          {"result_success", "continue"}}});
  open_master({});
  EXPECT_EQ(ask("PASS\t1\tbare\tservice=lmtp"), (Lines{"PASS\t1\tuser=bare"}));
  EXPECT_EQ(ask("PASS\t2\talice*boss\tservice=lmtp"), (Lines{"PASS\t2\tuser=alice"}));
  EXPECT_EQ(ask("PASS\t3\tbadip\tservice=lmtp"), (Lines{"FAIL\t3"}));
  EXPECT_EQ(ask("USER\t4\talice*boss\tservice=lmtp"), (Lines{"NOTFOUND\t4"}))
      << "userdb lookups know no master users";
}

TEST_F(AuthServer, AUserdbThatKnowsEverybodyAsksThePassdbs) {
  start("alice:{PLAIN}secret::::::userdb_mail=m forward_x=1\nbob:{SHA512}AAAA\n");
  open_master({});
  EXPECT_EQ(ask("USER\t1\talice\tservice=lmtp"),
            (Lines{"USER\t1\talice\tmail=m\tuid=500\tgid=500\thome=/home/alice"}));
  EXPECT_EQ(ask("USER\t2\tnosuch\tservice=lmtp"), (Lines{"NOTFOUND\t2"}));
  EXPECT_EQ(ask("USER\t3\tbob\tservice=lmtp"), (Lines{"FAIL\t3"}));
  EXPECT_TRUE(logged("static(bob): passdb doesn't support lookups, can't verify user's existence"));
}

TEST_F(AuthServer, StrangersOnTheUserdbSocketSeeOnlyTheirOwn) {
  start(master_config(dir_));
  MasterPeer peer;
  peer.uid = 1002;
  peer.gid = 1002;
  peer.userdb_socket = true;
  peer.mode = 0666;
  open_master(peer);
  EXPECT_EQ(ask("USER\t1\talice\tservice=x"), (Lines{"FAIL\t1"}));
  EXPECT_EQ(ask("USER\t2\tbob\tservice=x"),
            (Lines{"USER\t2\tbob\tuid=1002\tgid=1002\thome=/home/bob"}));
  EXPECT_EQ(ask("PASS\t3\tbob\tservice=x"), (Lines{"FAIL\t3"}));
  EXPECT_EQ(ask("LIST\t4\tservice=x"), (Lines{"DONE\t4\tfail"}));
  ask("CACHE-FLUSH\t5");
  EXPECT_TRUE(master_->closing());
  EXPECT_TRUE(logged("BUG: Unknown command in userdb socket: CACHE-FLUSH"));
  peer.mode = 0600;
  open_master(peer);
  EXPECT_EQ(ask("PASS\t3\tbob\tservice=x"),
            (Lines{"FAIL\t3\treason=Configured passdbs don't support credentials lookups"}));
}

TEST_F(AuthServer, ALoginClientOnTheMasterSocketIsToldSo) {
  start(master_config(dir_));
  open_master({});
  ask("CPID\t5");
  EXPECT_TRUE(master_->closing());
  EXPECT_TRUE(logged("Authentication client trying to connect to master socket"));
  MasterSession other(*server_->context, {});
  other.feed("VERSION\t2\t0\n");
  EXPECT_TRUE(other.closing());
}

TEST_F(AuthServer, DiesCleanlyAtAnyByte) {
  start("alice:{PLAIN}secret\n");
  const std::string text =
      "VERSION\t1\t2\nCPID\t5\nAUTH\t1\tLOGIN\tservice=imap\nCONT\t1\tYWxpY2U="
      "\nCONT\t1\tYmFk\nAUTH\t2\tPLAIN\tservice=imap\tresp=" +
      plain("alice", "bad") + "\nCANCEL\t2\n";
  for (std::size_t cut = 0; cut <= text.size(); cut++) {
    auto session = server_->client(true);
    session->feed(text.substr(0, cut));
    server_->env.run();
    session->on_peer_gone();
    session.reset();
    server_->env.advance(seconds(3));
  }
}

}  // namespace
}  // namespace postern::auth
