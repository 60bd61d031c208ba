#include "login-common/client.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <string>
#include <utility>
#include <vector>

#include "io/socket.h"
#include "login-common/client-table.h"
#include "proxy-fixture.h"
#include "test-certificate.h"

namespace postern::login {
namespace {

/// Lines of one word: AUTH, TLS, QUIT; anything else is said back.
class LineDialogue final : public ClientDialogue {
 public:
  void greet(WipingBuffer& out) override { out += "hello\n"; }
  Step consume(std::string_view input, WipingBuffer& out) override {
    const std::size_t end = input.find('\n');
    if (end == std::string_view::npos) return {0, Wish::need_more};
    const std::string_view line = input.substr(0, end);
    if (response_) {
      response_ = false;
      if (line == "*") return {end + 1, Wish::cancel};
      said_ = Secret(line);
      return {end + 1, Wish::respond};
    }
    if (line.starts_with("AUTH ")) {
      request_ = {};
      request_.mech = line.substr(5);
      request_.initial.emplace("AGEAYg==");
      return {end + 1, Wish::authenticate};
    }
    if (line == "TLS") {
      out += "go\n";
      return {end + 1, Wish::start_tls};
    }
    if (line == "QUIT") return {end + 1, Wish::close};
    out.append("echo ").append(line).append("\n");
    return {end + 1, Wish::next};
  }
  AuthRequest take_request() override { return std::move(request_); }
  Secret take_response() override { return std::move(said_); }
  Forwarded take_forwarded() override { return {}; }
  std::string take_id_log() override { return {}; }
  std::string close_reason() const override { return "Aborted login by logging out"; }
  void challenge(std::string_view base64, WipingBuffer& out) override {
    response_ = true;
    out.append("+ ").append(base64).append("\n");
  }
  void failed(const AuthResult& result, WipingBuffer& out) override {
    out.append("failed ").append(std::to_string(static_cast<int>(result.outcome))).append("\n");
  }
  void tls_started(WipingBuffer& /*out*/) override {}
  void bye(Bye /*kind*/, std::string_view text, WipingBuffer& out) override {
    out.append("bye ").append(text).append("\n");
  }
  void waiting_for_auth(WipingBuffer& out) override { out += "waiting\n"; }
  std::size_t input_limit() const override { return 100; }
  void input_full(WipingBuffer& out) override { out += "full\n"; }

 private:
  AuthRequest request_;
  Secret said_;
  bool response_ = false;
};

std::string failed(Outcome outcome) {
  return "failed " + std::to_string(static_cast<int>(outcome)) + "\n";
}

constexpr Protocol kProtocol{
    .program = "test-login",
    .name = "imap",
    .port = 143,
    .ssl_port = 993,
    .make_client_dialogue = [](const ClientContext& /*context*/)
        -> std::unique_ptr<ClientDialogue> { return std::make_unique<LineDialogue>(); },
    .make_backend_dialogue = test::ToyDialogue::make,
};

config::Snapshot snapshot(const std::vector<std::pair<std::string, std::string>>& settings) {
  config::Snapshot out;
  out.blocks.emplace_back();
  for (const auto& [key, value] : settings) {
    out.blocks[0].settings.push_back({key, config::Value(value)});
  }
  return out;
}

using Given = std::vector<std::pair<std::string, std::string>>;

struct Process {
  explicit Process(const std::vector<std::pair<std::string, std::string>>& settings)
      : config(snapshot(settings)) {
    auth.on_change([this]() { table.auth_ready(); }, [this]() { table.auth_broken(); });
    answer.start(loop, io::Callback<>::to<&Process::on_answer>(*this));
    auth.start();
    test::run_dry(loop);
  }
  void on_answer() noexcept {
    auto fds = io::socket_pair(SOCK_STREAM);
    server = std::move(fds.value().first);
    pending(std::move(fds.value().second));
  }
  void auth_says(std::string_view text) {
    ASSERT_GT(::send(server.get(), text.data(), text.size(), MSG_NOSIGNAL), 0);
    test::run_dry(loop);
  }
  void auth_is_ready() {
    auth_says("VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nMECH\tAPOP\tprivate\nSPID\t1\nDONE\n");
  }
  UniqueFd connect() {
    auto fds = io::socket_pair(SOCK_STREAM);
    io::Accepted accepted;
    accepted.fd = std::move(fds.value().first);
    accepted.remote = {*IpAddress::parse(rip), 4711};
    listener.endpoint = {*IpAddress::parse("127.0.0.1"), 143};
    table.add(listener, std::move(accepted));
    test::run_dry(loop);
    return std::move(fds.value().second);
  }
  std::string hear(const UniqueFd& fd) {
    test::run_dry(loop);
    std::array<char, 65536> buffer{};
    const ssize_t n = ::recv(fd.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (n == 0) return "EOF";
    return n > 0 ? std::string(buffer.data(), static_cast<std::size_t>(n)) : std::string();
  }
  std::string talk(const UniqueFd& fd, std::string_view text) {
    EXPECT_EQ(::send(fd.get(), text.data(), text.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(text.size()));
    return hear(fd);
  }

  io::Loop loop;
  config::LoginConfig config;
  std::string rip = "127.0.0.1";  // the listener's: secured
  UniqueFd server;
  std::function<void(Result<UniqueFd>)> pending;
  io::Deferred answer;
  AuthClient auth{loop,
                  [this](std::function<void(Result<UniqueFd>)> done) {
                    pending = std::move(done);
                    answer.trigger();
                  },
                  "test"};
  std::unique_ptr<ProxyCore> proxy =
      ProxyCore::make(loop, {"imap", 143, 993, test::ToyDialogue::make}, {});
  TlsContexts tls;
  SessionIds ids;
  ClientShared shared{loop, kProtocol, config, auth, *proxy, tls, ids, "host", {}, {}};
  config::SocketInfo listener;
  ClientTable table{shared};
};

TEST(Client, IsGreetedOnceAuthIsThere) {
  Process process(Given{});
  const UniqueFd fd = process.connect();
  EXPECT_EQ(process.hear(fd), "");
  process.auth_is_ready();
  EXPECT_EQ(process.hear(fd), "hello\n");
  EXPECT_EQ(process.talk(fd, "a\nb\n"), "echo a\necho b\n");
}

TEST(Client, GoesOnWithWhatWasPipelinedBehindAFailure) {
  Process process(Given{});
  process.auth_is_ready();
  const UniqueFd fd = process.connect();
  EXPECT_EQ(process.hear(fd), "hello\n");
  EXPECT_EQ(process.talk(fd, "AUTH PLAIN\nx\n"), "");
  process.auth_says("FAIL\t1\tuser=a\n");
  EXPECT_EQ(process.hear(fd), failed(Outcome::wrong_credentials) + "echo x\n");
}

TEST(Client, IsToldOfADeadAuthAsTemporary) {
  Process process(Given{});
  process.auth_is_ready();
  const UniqueFd fd = process.connect();
  process.hear(fd);
  process.talk(fd, "AUTH PLAIN\n");
  process.server.reset();
  EXPECT_EQ(process.hear(fd), failed(Outcome::temp_fail));
}

TEST(Client, CarriesAnExchangeAndItsCancelling) {
  Process process(Given{});
  process.auth_is_ready();
  const UniqueFd fd = process.connect();
  process.hear(fd);
  process.talk(fd, "AUTH PLAIN\n");
  process.auth_says("CONT\t1\tQQ==\n");
  EXPECT_EQ(process.hear(fd), "+ QQ==\n");
  EXPECT_EQ(process.talk(fd, "*\n"), failed(Outcome::aborted));
  EXPECT_EQ(process.auth.open_requests(), 0U);
}

TEST(Client, MayNotUseAPlaintextOrPrivateMechanismUnsecured) {
  Process process(Given{});
  process.rip = "127.0.0.2";
  process.auth_is_ready();
  const UniqueFd fd = process.connect();
  process.hear(fd);
  EXPECT_EQ(process.talk(fd, "AUTH PLAIN\n"), failed(Outcome::mech_plaintext_refused));
  EXPECT_EQ(process.talk(fd, "AUTH APOP\n"), failed(Outcome::mech_invalid));
  EXPECT_EQ(process.auth.open_requests(), 0U);
}

TEST(Client, HasNothingRunThatItSentBehindStartTls) {
  Process process(Given{});
  process.auth_is_ready();
  const UniqueFd fd = process.connect();
  process.hear(fd);
  EXPECT_EQ(process.talk(fd, "TLS\nx\n"), "go\n");
  EXPECT_EQ(process.hear(fd), "EOF");
  EXPECT_TRUE(process.table.empty());
}

TEST(Client, SurvivesProxyRepliesThatMakeNoSense) {
  Process process(Given{});
  process.auth_is_ready();
  const UniqueFd fd = process.connect();
  process.hear(fd);
  unsigned id = 0;
  for (const char* fields : {"proxy", "proxy\thost=", "proxy\tpass=x", "proxy\tpass=x\thost=name",
                             "proxy\tpass=x\thost=127.0.0.1\tport=99999"}) {
    SCOPED_TRACE(fields);
    process.talk(fd, "AUTH PLAIN\n");
    process.auth_says("OK\t" + std::to_string(++id) + "\tuser=u\t" + fields + "\n");
    EXPECT_TRUE(process.hear(fd).starts_with("failed "));
  }
  EXPECT_EQ(process.talk(fd, "x\n"), "echo x\n");
}

TEST(Client, WithoutProxyIsToldThatTheLoginFailedHere) {
  Process process(Given{});
  process.auth_is_ready();
  const UniqueFd fd = process.connect();
  process.hear(fd);
  process.talk(fd, "AUTH PLAIN\n");
  process.auth_says("OK\t1\tuser=u\n");
  EXPECT_EQ(process.hear(fd), failed(Outcome::handoff_failed));
  EXPECT_EQ(process.hear(fd), "EOF");
}

TEST(Client, IsClosedAtLoginTimeout) {
  Process process(Given{{"login_timeout", "1s"}});
  process.auth_is_ready();
  const UniqueFd fd = process.connect();
  process.hear(fd);
  ASSERT_TRUE(test::run_until(process.loop, [&process]() { return process.table.empty(); }));
  EXPECT_EQ(process.hear(fd), "bye Disconnected for inactivity.\n");
}

TEST(Client, MayFailOnlySoOften) {
  Process process(Given{{"login_max_auth_attempts", "2"}});
  process.auth_is_ready();
  const UniqueFd fd = process.connect();
  process.hear(fd);
  EXPECT_EQ(process.talk(fd, "AUTH X\n"), failed(Outcome::mech_invalid));
  EXPECT_EQ(process.talk(fd, "AUTH X\n"),
            failed(Outcome::mech_invalid) + "bye Too many failed authentications\n");
}

/// The client's end, with TLS.
struct TlsPeer {
  explicit TlsPeer(io::Loop& loop, UniqueFd fd) {
    stream.open(loop, std::move(fd), io::Callback<unsigned>::to<&TlsPeer::on_event>(*this));
    io::TlsContext::ClientTrust trust;
    auto context = io::TlsContext::client(trust, {});
    EXPECT_TRUE(context.ok());
    stream.start_tls_client(std::move(context).value(), {"mail.test", io::Verify::none, {}});
  }
  void on_event(unsigned events) noexcept {
    if ((events & io::Stream::kTlsFailed) != 0) heard += "tls failed";
    if ((events & io::Stream::kTlsStarted) != 0) {
      started = true;
      stream.want(true, false);
    }
    if ((events & io::Stream::kReadable) == 0) return;
    std::array<char, 4096> buffer{};
    const io::IoResult got = stream.read(buffer.data(), buffer.size());
    if (got.status == io::IoStatus::ok) heard.append(buffer.data(), got.bytes);
    if (got.status == io::IoStatus::closed) stream.want(false, false);
  }
  io::Stream stream;
  std::string heard;
  bool started = false;
};

TEST(Client, IsGreetedInsideTlsAndBySni) {
  const test::TestCertificate pem = test::make_certificate(test::TestCertificateSpec(), nullptr);
  Process process(Given{{"ssl_cert", pem.chain}, {"ssl_key", pem.key}});
  process.auth_is_ready();
  process.rip = "127.0.0.2";
  process.listener.ssl = true;
  TlsPeer peer(process.loop, process.connect());
  ASSERT_TRUE(test::run_until(process.loop, [&peer]() { return !peer.heard.empty(); }));
  EXPECT_EQ(peer.heard, "hello\n");
  // TLS secures it: auth is asked, and told of TLS and of the name.
  EXPECT_EQ(peer.stream.write("AUTH PLAIN\n").status, io::IoStatus::ok);
  ASSERT_TRUE(
      test::run_until(process.loop, [&process]() { return process.auth.open_requests() == 1; }));
  const std::string asked = process.hear(process.server);
  EXPECT_NE(asked.find("\tsecured=tls\t"), std::string::npos);
  EXPECT_NE(asked.find("\tlocal_name=mail.test\t"), std::string::npos);
}

TEST(Client, StartsTlsWhereNothingFollowed) {
  const test::TestCertificate pem = test::make_certificate(test::TestCertificateSpec(), nullptr);
  Process process(Given{{"ssl_cert", pem.chain}, {"ssl_key", pem.key}});
  process.auth_is_ready();
  UniqueFd fd = process.connect();
  process.hear(fd);
  EXPECT_EQ(process.talk(fd, "TLS\n"), "go\n");
  TlsPeer peer(process.loop, std::move(fd));
  ASSERT_TRUE(test::run_until(process.loop, [&peer]() { return peer.started; }));
  EXPECT_EQ(peer.stream.write("x\n").status, io::IoStatus::ok);
  ASSERT_TRUE(test::run_until(process.loop, [&peer]() { return !peer.heard.empty(); }));
  EXPECT_EQ(peer.heard, "echo x\n");
}

/// A client's hello that was sent along with STARTTLS, whole or in part, is TLS's. T-TLS-01
TEST(Client, StartsTlsWithAHelloThatCameAlong) {
  const test::TestCertificate pem = test::make_certificate(test::TestCertificateSpec(), nullptr);
  for (const std::size_t along : {std::size_t{1}, std::size_t{2}, std::size_t{100}, SIZE_MAX}) {
    SCOPED_TRACE(along);
    Process process(Given{{"ssl_cert", pem.chain}, {"ssl_key", pem.key}});
    process.auth_is_ready();
    const UniqueFd fd = process.connect();
    process.hear(fd);
    // The peer's TLS is in a connection of its own, whose bytes are carried over.
    auto ends = io::socket_pair(SOCK_STREAM);
    TlsPeer peer(process.loop, std::move(ends.value().first));
    const UniqueFd wire = std::move(ends.value().second);
    const std::string hello = process.hear(wire);
    ASSERT_GT(hello.size(), 100U);
    const std::size_t first = std::min(along, hello.size());
    std::string answer = process.talk(fd, "TLS\n" + hello.substr(0, first));
    ASSERT_TRUE(answer.starts_with("go\n")) << answer;
    answer.erase(0, 3);
    if (first < hello.size()) answer += process.talk(fd, hello.substr(first));
    for (int i = 0; i < 10 && !peer.started; ++i) {
      const std::string back = answer.empty() ? std::string() : process.talk(wire, answer);
      answer = back.empty() ? process.hear(fd) : process.talk(fd, back);
    }
    ASSERT_TRUE(peer.started) << peer.heard;
    EXPECT_EQ(peer.stream.write("x\n").status, io::IoStatus::ok);
    for (int i = 0; i < 10 && peer.heard.empty(); ++i) {
      const std::string more = process.hear(wire);
      answer += more.empty() ? process.hear(fd) : process.talk(fd, more);
      if (!answer.empty()) process.talk(wire, std::exchange(answer, {}));
    }
    EXPECT_EQ(peer.heard, "echo x\n");
  }
}

TEST(Client, HasSoLongForAHandshakeAndNoLonger_T_NET_04) {
  const test::TestCertificate pem = test::make_certificate(test::TestCertificateSpec(), nullptr);
  Process process(Given{{"ssl_cert", pem.chain}, {"ssl_key", pem.key}});
  process.shared.handshake_timeout = io::Milliseconds(100);
  process.auth_is_ready();
  process.listener.ssl = true;
  const UniqueFd fd = process.connect();
  EXPECT_EQ(process.talk(fd, "\x16\x03\x01"), "");
  ASSERT_TRUE(test::run_until(process.loop, [&process]() { return process.table.empty(); }));
  EXPECT_EQ(process.hear(fd), "EOF");
}

/// Recorded: proxy-admin-list-kick, carol.
TEST(Client, KickedAtItsBackendIsLoggedAsAProxiedOne) {
  test::LogCapture log;
  Process process(Given{});
  test::ScriptedBackend backend(process.loop, {{{test::Act::send, "* OK ready\r\n"}}});
  process.auth_is_ready();
  const UniqueFd fd = process.connect();
  process.hear(fd);
  process.talk(fd, "AUTH PLAIN\n");
  const std::string port = std::to_string(backend.port());
  process.auth_says("OK\t1\tuser=carol\tproxy\tpass=x\thost=127.0.0.1\tport=" + port + "\n");
  ASSERT_TRUE(test::run_until(
      process.loop, [&backend]() { return backend.count() == 1 && !backend.last().got.empty(); }));
  const auto mask = SessionMask::parse({"user=carol"});
  EXPECT_EQ(process.table.kick(mask.value()), 1U);
  EXPECT_EQ(process.hear(fd), "EOF");
  EXPECT_NE(log.text().find("Info: proxy(carol,127.0.0.1:" + port +
                            "): Disconnected by proxy: Kicked by admin (internal failure, 1 "
                            "successful auths): user=<carol>, method=PLAIN, "),
            std::string::npos)
      << log.text();
}

/// Recorded: proxy-client-gone-during-login.
TEST(Client, GoneWhileItsBackendIsAskedIsNotAFailedLogin) {
  test::LogCapture log;
  Process process(Given{});
  test::ScriptedBackend backend(process.loop, {{{test::Act::send, "* OK ready\r\n"}}});
  process.auth_is_ready();
  UniqueFd fd = process.connect();
  process.hear(fd);
  process.talk(fd, "AUTH PLAIN\n");
  process.auth_says("OK\t1\tuser=joe\tproxy\tpass=x\thost=127.0.0.1\tport=" +
                    std::to_string(backend.port()) + "\n");
  ASSERT_TRUE(test::run_until(
      process.loop, [&backend]() { return backend.count() == 1 && !backend.last().got.empty(); }));
  fd.reset();
  ASSERT_TRUE(test::run_until(process.loop, [&process]() { return process.table.empty(); }));
  ASSERT_TRUE(test::run_until(process.loop, [&backend]() { return backend.last().eof; }));
  EXPECT_NE(log.text().find("Disconnected: Connection closed (internal failure, 1 successful "
                            "auths): user=<joe>, method=PLAIN, "),
            std::string::npos)
      << log.text();
}

TEST(Client, IsNotBlamedForTemporaryFailures) {
  Process process(Given{{"login_max_auth_attempts", "1"}});
  process.auth_is_ready();
  const UniqueFd fd = process.connect();
  process.hear(fd);
  process.talk(fd, "AUTH PLAIN\n");
  process.auth_says("FAIL\t1\tuser=a\tcode=temp_fail\n");
  EXPECT_EQ(process.hear(fd), failed(Outcome::temp_fail));
  EXPECT_EQ(process.talk(fd, "x\n"), "echo x\n");
}

TEST(ClientTable, EvictsFromWhoHoldsTheMost_T_NET_01) {
  Process process(Given{{"login_trusted_networks", "127.0.0.0/8 2001:db8::/32"}});
  process.auth_is_ready();
  process.rip = "127.0.0.5";
  const UniqueFd lonely = process.connect();
  std::vector<UniqueFd> crowd;
  for (const char* ip : {"2001:db8::1", "2001:db8::2", "2001:db8::ffff:1"}) {
    process.rip = ip;
    crowd.push_back(process.connect());
    process.hear(crowd.back());
  }
  process.hear(lonely);
  EXPECT_EQ(process.table.evictable().holder, "2001:db8::");
  EXPECT_EQ(process.table.evictable().held, 3U);
  process.table.evict(2);
  EXPECT_EQ(process.hear(crowd[0]), "bye Connection queue full\n");
  EXPECT_EQ(process.hear(crowd[1]), "bye Connection queue full\n");
  EXPECT_EQ(process.hear(crowd[2]), "");
  EXPECT_EQ(process.hear(lonely), "");
  process.table.evict(1);  // one each: the older one
  EXPECT_EQ(process.hear(lonely), "bye Connection queue full\n");
}

TEST(ClientTable, EvictsTheOldestThatAreIdle) {
  Process process(Given{});
  process.auth_is_ready();
  const UniqueFd busy = process.connect();
  const UniqueFd old = process.connect();
  const UniqueFd young = process.connect();
  process.talk(busy, "AUTH PLAIN\n");
  process.hear(old);
  process.hear(young);
  EXPECT_EQ(process.table.evictable(), (service::Evictable{2, "127.0.0.1", 2}));
  process.table.evict(1);
  EXPECT_EQ(process.hear(old), "bye Connection queue full\n");
  EXPECT_EQ(process.hear(young), "");
  EXPECT_EQ(process.table.size(), 2U);
  process.table.evict(5);
  EXPECT_EQ(process.table.size(), 1U);  // auth is busy with the other
  EXPECT_EQ(process.table.evictable(), service::Evictable{});
  // One that leaves us waiting may go, but after everybody else's idle ones.
  process.auth_says("CONT\t1\tQQ==\n");
  EXPECT_EQ(process.table.evictable(), (service::Evictable{1, "", 0}));
}

/// Who asks for TLS and then does nothing holds no slot longer than who does nothing at all.
TEST(ClientTable, EvictsWhoNeverBeginsItsHandshake_T_NET_04) {
  const test::TestCertificate pem = test::make_certificate(test::TestCertificateSpec(), nullptr);
  Process process(Given{{"ssl_cert", pem.chain}, {"ssl_key", pem.key}});
  process.auth_is_ready();
  const UniqueFd fd = process.connect();
  process.hear(fd);
  EXPECT_EQ(process.talk(fd, "TLS\n"), "go\n");
  EXPECT_EQ(process.table.evictable(), (service::Evictable{1, "127.0.0.1", 1}));
  process.table.evict(1);
  EXPECT_EQ(process.hear(fd), "EOF");
  EXPECT_TRUE(process.table.empty());
}

/// What comes before the handshake on such a listener has no words of ours either.
TEST(ClientTable, SaysNothingInTheClearWhereTlsIsExpected) {
  Process process(Given{{"haproxy_trusted_networks", "127.0.0.1"}});
  process.listener.ssl = process.listener.haproxy = true;
  const UniqueFd fd = process.connect();
  EXPECT_EQ(process.hear(fd), "");
  process.table.evict(1);
  EXPECT_EQ(process.hear(fd), "EOF");
}

TEST(ClientTable, EndsAClientThatLeavesInAnyState) {
  for (const char* text : {"", "AUTH PLA"}) {
    Process process(Given{});
    process.auth_is_ready();
    UniqueFd fd = process.connect();
    process.hear(fd);
    if (*text != '\0') process.talk(fd, text);
    fd.reset();
    ASSERT_TRUE(test::run_until(process.loop, [&process]() { return process.table.empty(); }));
    EXPECT_EQ(process.auth.open_requests(), 0U);
  }
}

/// Recorded: imap-auth-fail-disconnect. Who does not wait for the answer has tried all the same.
TEST(ClientTable, HearsAuthOutOverWhoHasLeft) {
  struct Case {
    const char* reply;
    const char* remark;
  };
  for (const Case& one :
       {Case{"FAIL\t1\tuser=a\n", "(auth failed, 1 attempts in 0 secs): user=<a>"},
        Case{"OK\t1\tuser=a\tproxy\tpass=x\thost=127.0.0.1\tport=9\n",
             "(internal failure, 1 successful auths): user=<a>"},
        Case{"CONT\t1\tQQ==\n", "(client didn't finish SASL auth, waited 0 secs): user=<>"}}) {
    SCOPED_TRACE(one.reply);
    test::LogCapture log;
    Process process(Given{});
    process.auth_is_ready();
    UniqueFd fd = process.connect();
    process.hear(fd);
    process.talk(fd, "AUTH PLAIN\nAUTH PLAIN\n");
    fd.reset();
    test::run_dry(process.loop);
    EXPECT_EQ(process.auth.open_requests(), 1U);
    process.auth_says(one.reply);
    EXPECT_TRUE(process.table.empty());
    EXPECT_EQ(process.auth.open_requests(), 0U);
    EXPECT_NE(log.text().find(std::string("Disconnected: Connection closed ") + one.remark),
              std::string::npos)
        << log.text();
  }
}

TEST(ClientTable, MakesRoomAtTheCostOfWhoHasLeft) {
  Process process(Given{});
  process.auth_is_ready();
  UniqueFd fd = process.connect();
  process.hear(fd);
  process.talk(fd, "AUTH PLAIN\n");
  process.table.evict(1);
  EXPECT_EQ(process.table.size(), 1U);
  fd.reset();
  test::run_dry(process.loop);
  process.table.evict(1);
  EXPECT_TRUE(process.table.empty());
  EXPECT_EQ(process.auth.open_requests(), 0U);
}

TEST(ClientTable, DoesNotReadFromWhoDoesNotRead) {
  Process process(Given{});
  process.auth_is_ready();
  const UniqueFd fd = process.connect();
  const std::string line = "0123456789012345678901234567890123456789\n";
  std::size_t sent = 0;
  // As much as it takes, until it takes no more for several turns.
  for (int refused = 0; refused < 5 && sent < 16UL * 1024 * 1024;) {
    const ssize_t n = ::send(fd.get(), line.data(), line.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0) {
      sent += static_cast<std::size_t>(n);
      refused = 0;
    } else {
      ++refused;
      test::run_dry(process.loop);
    }
  }
  EXPECT_LT(sent, 4UL * 1024 * 1024);
  EXPECT_EQ(process.table.size(), 1U);
}

}  // namespace
}  // namespace postern::login
