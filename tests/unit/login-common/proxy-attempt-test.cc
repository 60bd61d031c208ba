#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "io/tls.h"
#include "lib/log.h"
#include "login-common/proxy.h"
#include "proxy-fixture.h"
#include "test-certificate.h"

namespace postern::login {
namespace {

using test::Act;
using test::LogCapture;
using test::make_certificate;
using test::run_dry;
using test::run_until;
using test::ScriptedBackend;
using test::TestCertificate;
using test::TestCertificateSpec;
using Fields = std::vector<std::pair<std::string, std::string>>;

const char* const kPassword = "hunter2-very-secret";

const ScriptedBackend::Script kGood{
    {Act::send, "* OK ready\r\n"}, {Act::expect, "LOGIN joe "}, {Act::send, "OK in\r\n"}};

/// One login through the core.
struct Login {
  std::optional<ProxyVerdict> verdict;
  std::unique_ptr<ProxyAttempt> attempt;
  bool failed_with(Outcome outcome) const {
    return verdict && !verdict->logged_in && verdict->result.outcome == outcome;
  }
};

class ProxyLogin : public ::testing::Test {
 protected:
  ProxyLogin() : settings_(std::make_shared<config::LoginSettings>()) {
    settings_->login_proxy_max_reconnects = 0;
    settings_->login_proxy_timeout = std::chrono::seconds(15);
    core_ = ProxyCore::make(loop_, {"imap", 143, 993, &test::ToyDialogue::make}, {});
  }

  ProxyClient client() const {
    ProxyClient client;
    client.settings = settings_;
    client.protocol = "imap";
    client.session = "sess";
    client.remote = {*IpAddress::parse("198.51.100.7"), 40000};
    client.local = client.real_local = {*IpAddress::parse("192.0.2.10"), 143};
    client.log_elements = [] { return std::string("user=<joe>, session=<sess>"); };
    return client;
  }
  static Fields to(std::uint16_t port, Fields more = {}) {
    Fields fields{{"proxy", ""}, {"host", "127.0.0.1"}, {"port", std::to_string(port)}};
    fields.insert(fields.end(), more.begin(), more.end());
    return fields;
  }
  void begin(Login& login, Fields fields, std::optional<ProxyClient> from = std::nullopt) {
    ProxyFields reply;
    reply.user = "joe";
    reply.fields = std::move(fields);
    reply.pass.emplace(kPassword);
    if (!from) from = client();
    login.attempt =
        core_->start(std::move(reply), std::move(*from),
                     [&login](ProxyVerdict verdict) { login.verdict = std::move(verdict); });
    EXPECT_FALSE(login.verdict) << "done before start() returned";
  }
  /// Waits for the verdict.
  void finish(Login& login) {
    ASSERT_TRUE(run_until(loop_, [&login] { return login.verdict.has_value(); }));
  }
  void run(Login& login, Fields fields, std::optional<ProxyClient> from = std::nullopt) {
    begin(login, std::move(fields), std::move(from));
    finish(login);
  }

  io::Loop loop_;
  std::shared_ptr<config::LoginSettings> settings_;
  std::unique_ptr<ProxyCore> core_;
};

TEST_F(ProxyLogin, LogsInAndHandsOverTheReply) {
  ScriptedBackend backend(loop_, {kGood});
  Login login;
  run(login, to(backend.port()));
  EXPECT_TRUE(login.verdict->logged_in);
  EXPECT_EQ(login.verdict->reply.view(), "a OK in\r\n");
  EXPECT_EQ(backend.at(0).expected, std::string("LOGIN joe ") + kPassword + "\r\n");
}

TEST_F(ProxyLogin, BareLineFeedsAndSingleBytesAreFine) {
  ScriptedBackend backend(
      loop_,
      {{{Act::drip, "* OK ready\n"}, {Act::expect, "LOGIN"}, {Act::drip, "* note\nOK in\r\n"}}});
  Login login;
  run(login, to(backend.port()));
  ASSERT_TRUE(login.verdict->logged_in);
  EXPECT_EQ(login.verdict->reply.view(), "* note\r\na OK in\r\n");
}

TEST_F(ProxyLogin, MissingFieldsFailWithOneLineAndNoCrash) {
  for (const bool pass : {false, true}) {
    LogCapture log;
    Login login;
    ProxyFields fields;
    fields.user = "joe";
    if (pass) fields.pass.emplace("");
    login.attempt = core_->start(std::move(fields), client(), [&login](ProxyVerdict verdict) {
      login.verdict = std::move(verdict);
    });
    EXPECT_FALSE(login.verdict);
    finish(login);
    EXPECT_TRUE(login.failed_with(Outcome::proxy_unavailable));
    EXPECT_EQ(login.verdict->result.text, "Account is temporarily unavailable.");
    EXPECT_FALSE(login.verdict->has_reply);
    EXPECT_EQ(login.verdict->log_reason, "internal failure");
    const std::string what = pass ? "host not given" : "password not given";
    EXPECT_NE(log.text().find("Error: proxy(joe): " + what + ": user=<joe>, session=<sess>\n"),
              std::string::npos)
        << log.text();
  }
}

TEST_F(ProxyLogin, LoopsAndUsedUpHopsAreRefused) {
  LogCapture log;
  Login loop;
  run(loop, {{"host", "192.0.2.10"}, {"port", "143"}});
  EXPECT_TRUE(loop.failed_with(Outcome::proxy_unavailable));
  ProxyClient tired = client();
  tired.ttl = 1;
  ScriptedBackend backend(loop_, {kGood});
  Login hops;
  run(hops, to(backend.port()), tired);
  EXPECT_TRUE(hops.failed_with(Outcome::proxy_misconfigured));
  run_dry(loop_);
  EXPECT_EQ(backend.count(), 0U);
  EXPECT_NE(log.text().find("proxy(joe): Proxying loops to itself: "), std::string::npos);
  EXPECT_NE(log.text().find(fmt::format("proxy(joe,127.0.0.1:{}): Aborting due to remote server: "
                                        "TTL reached zero - proxies appear to be looping?: ",
                                        backend.port())),
            std::string::npos)
      << log.text();
}

TEST_F(ProxyLogin, RefusedConnectionSaysSo) {
  LogCapture log;
  std::uint16_t port = 0;
  {
    ScriptedBackend gone(loop_, {kGood});
    port = gone.port();
  }
  for (const char* ssl : {"no", "any-cert"}) {
    Login login;
    run(login, to(port, {{"ssl", ssl}}));
    EXPECT_TRUE(login.failed_with(Outcome::proxy_unavailable));
    EXPECT_EQ(login.verdict->log_reason, "internal failure");
  }
  const std::string line = fmt::format(
      "Error: proxy(joe,127.0.0.1:{}): connect(127.0.0.1, {}) failed: Connection refused (after 0 "
      "secs, local=127.0.0.1:",
      port, port);
  const std::size_t first = log.text().find(line);
  EXPECT_NE(first, std::string::npos) << log.text();
  EXPECT_NE(log.text().find(line, first + 1), std::string::npos) << log.text();
  EXPECT_EQ(log.text().find(kPassword), std::string::npos);
}

// T-BCK-05: a SYN nobody answers, and a backend that accepts and stays silent.
TEST_F(ProxyLogin, BlackHoleTimesOut) {
  const UniqueFd hole(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_storage address{};
  socklen_t size = Endpoint{*IpAddress::parse("127.0.0.1"), 0}.to_sockaddr(address);
  ASSERT_EQ(::bind(hole.get(), test::as_sockaddr(address), size), 0);
  ASSERT_EQ(::listen(hole.get(), 0), 0);
  const Endpoint where = io::local_endpoint(hole.get());
  // A backlog of 0 takes one; from then on SYNs are dropped.
  std::vector<UniqueFd> fill;
  for (int i = 0; i < 4; ++i) {
    Result<UniqueFd> fd = io::connect_tcp(where, std::nullopt);
    ASSERT_TRUE(fd.ok());
    fill.push_back(std::move(fd).value());
  }
  run_dry(loop_);
  LogCapture log;
  Login login;
  run(login, to(where.port, {{"proxy_timeout", "300ms"}}));
  EXPECT_TRUE(login.failed_with(Outcome::proxy_unavailable));
  EXPECT_NE(log.text().find(fmt::format("connect(127.0.0.1, {}) failed: Connection timed out "
                                        "(after 0 secs, local=127.0.0.1:",
                                        where.port)),
            std::string::npos)
      << log.text();
}

TEST_F(ProxyLogin, EveryStateCanStall) {
  struct Row {
    ScriptedBackend::Script script;
    std::string ssl, starttls, state;
  };
  const std::vector<Row> rows{
      {{}, "no", "no", "/none"},
      {{{Act::send, "* OK rea"}}, "no", "no", "/none"},
      {{{Act::send, "* OK ready\r\n"}}, "no", "no", "login/banner"},
      {{{Act::send, "* OK ready\r\n"}, {Act::expect, "LOGIN"}, {Act::send, "OK in"}},
       "no",
       "no",
       "login/banner"},
      {{{Act::send, "* OK ready\r\n"}}, "no", "any-cert", "starttls/banner"},
      {{{Act::send, "* OK ready\r\n"}, {Act::expect, "STARTTLS"}, {Act::send, "S OK\r\n"}},
       "no",
       "any-cert",
       "/starttls"},
      {{}, "any-cert", "no", "/none"},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.state + " " + row.ssl + " " + row.starttls);
    ScriptedBackend backend(loop_, {row.script});
    LogCapture log;
    Login login;
    run(login, to(backend.port(),
                  {{"proxy_timeout", "200ms"}, {"ssl", row.ssl}, {"starttls", row.starttls}}));
    EXPECT_TRUE(login.failed_with(Outcome::proxy_unavailable));
    EXPECT_NE(log.text().find("Login timed out in state=" + row.state + " (after 0 secs, local="),
              std::string::npos)
        << log.text();
  }
}

TEST_F(ProxyLogin, ClosesAtEveryByteAreOneFailureEach) {
  const std::string banner = "* OK ready\r\n";
  const std::string verdict = "OK in\r\n";
  for (std::size_t cut = 0; cut < banner.size() + verdict.size(); ++cut) {
    SCOPED_TRACE(cut);
    ScriptedBackend::Script script;
    if (cut < banner.size()) {
      script = {{Act::send, banner.substr(0, cut)}, {Act::close, ""}};
    } else {
      script = {{Act::send, banner},
                {Act::expect, "LOGIN"},
                {Act::send, verdict.substr(0, cut - banner.size())},
                {Act::close, ""}};
    }
    ScriptedBackend backend(loop_, {script});
    LogCapture log;
    Login login;
    run(login, to(backend.port()));
    EXPECT_TRUE(login.failed_with(Outcome::proxy_unavailable));
    const std::string state = cut < banner.size() ? "/none" : "login/banner";
    EXPECT_NE(log.text().find("Disconnected by server: Connection closed (state=" + state +
                              ", duration=0s)"),
              std::string::npos)
        << log.text();
  }
}

TEST_F(ProxyLogin, UnreadTextAndResetsAreTold) {
  LogCapture log;
  ScriptedBackend half(loop_, {{{Act::send, "* BYE too many"}, {Act::close, ""}}});
  Login first;
  run(first, to(half.port()));
  EXPECT_TRUE(first.failed_with(Outcome::proxy_unavailable));
  ScriptedBackend reset(loop_,
                        {{{Act::send, "* OK ready\r\n"}, {Act::expect, "L"}, {Act::reset, ""}}});
  Login second;
  run(second, to(reset.port()));
  EXPECT_TRUE(second.failed_with(Outcome::proxy_unavailable));
  EXPECT_NE(log.text().find("duration=0s) - BUG: line not read: * BYE too many: user="),
            std::string::npos)
      << log.text();
  EXPECT_NE(log.text().find("failed: Connection reset by peer (state=login/banner, duration=0s)"),
            std::string::npos)
      << log.text();
}

// T-BCK-03: whatever comes has an outcome.
TEST_F(ProxyLogin, GarbageIsInvalidInput) {
  for (const std::string& garbage :
       {std::string("* BYE go away\r\n"), std::string("220 smtp\r\n"), std::string("\r\n"),
        std::string("\0\0\0\n", 4), std::string("\x16\x03\x01\x02\n"), std::string("\n")}) {
    ScriptedBackend backend(loop_, {{{Act::send, garbage}}});
    LogCapture log;
    Login login;
    run(login, to(backend.port()));
    EXPECT_TRUE(login.failed_with(Outcome::proxy_unavailable));
    EXPECT_NE(log.text().find("Remote server sent invalid input: Invalid banner: "),
              std::string::npos)
        << log.text();
  }
}

// T-BCK-04: floods end at a bound, and what keeps within it does no harm.
TEST_F(ProxyLogin, FloodsAreCutOff) {
  constexpr std::size_t kLine = BackendDialogue::kMaxLine;
  constexpr std::size_t kLines = BackendDialogue::kMaxLines;
  constexpr std::size_t kBytes = BackendDialogue::kMaxBytes;
  const std::string banner = "* OK ready\r\n";
  const std::string success = "OK in\r\n";
  const auto lines = [](std::size_t count, std::size_t size) {
    std::string out;
    for (std::size_t i = 0; i < count; ++i) out += "* " + std::string(size - 4, 'x') + "\r\n";
    return out;
  };
  // So many bytes with the banner, in lines that are not too long.
  const auto bytes = [&](std::size_t size) {
    const std::string whole = lines(15, 4096);
    return whole + lines(1, size - banner.size() - whole.size());
  };
  struct Row {
    std::string flood, reason;  // no reason: it is none
  };
  for (const Row& row :
       {Row{std::string(100000, 'a'), "Too long input line"}, Row{lines(1, kLine + 2), ""},
        Row{lines(1, kLine + 3), "Too long input line"}, Row{lines(kLines - 2, 5), ""},
        Row{lines(kLines, 5), "Too many input lines"}, Row{bytes(kBytes), ""},
        Row{bytes(kBytes + 1), "Too much input"}}) {
    SCOPED_TRACE(row.reason + ' ' + std::to_string(row.flood.size()));
    ScriptedBackend backend(
        loop_, {{{Act::send, banner},
                 {Act::expect, "LOGIN"},
                 {Act::send, row.flood + (row.reason.empty() ? success : std::string())}}});
    LogCapture log;
    Login login;
    run(login, to(backend.port()));
    ASSERT_TRUE(login.verdict);
    EXPECT_EQ(login.verdict->logged_in, row.reason.empty());
    if (row.reason.empty()) continue;
    EXPECT_TRUE(login.failed_with(Outcome::proxy_unavailable));
    EXPECT_NE(log.text().find("Remote server sent invalid input: " + row.reason + ": user="),
              std::string::npos)
        << log.text();
  }
}

// T-BCK-01: a success line sent along with the greeting.
TEST_F(ProxyLogin, AnswersBeforeTheQuestionAreRefused) {
  ScriptedBackend backend(loop_, {{{Act::send, "* OK ready\r\nOK in\r\n"}}});
  LogCapture log;
  Login login;
  run(login, to(backend.port()));
  EXPECT_TRUE(login.failed_with(Outcome::proxy_unavailable));
  ASSERT_TRUE(run_until(loop_, [&] { return backend.at(0).eof || backend.at(0).broken; }));
  EXPECT_EQ(backend.at(0).got, "") << "the password went to a backend that lies";
  EXPECT_NE(log.text().find("Remote server sent invalid input: Answer before the first command: OK "
                            "in: user="),
            std::string::npos)
      << log.text();
}

/// Two questions, one after the other: the second's answer may not be there before it.
template <bool Tagged>
class TwoQuestions final : public BackendDialogue {
 public:
  explicit TwoQuestions(const BackendTarget& /*target*/) {}
  Then on_line(std::string_view line, WipingBuffer& out, WipingBuffer& to_client) override {
    if (line.starts_with("* ")) {
      if (line == "* OK") out += "ONE\r\n";
      return Then::read_line;
    }
    if (line == "1") {
      out += "TWO\r\n";
      return Then::read_line;
    }
    to_client += "a OK in\r\n";
    return Then::logged_in;
  }
  Then on_tls_started(WipingBuffer& /*out*/) override { return Then::read_line; }
  std::string state() const override { return "two"; }
  bool answers_are_tagged() const noexcept override { return Tagged; }
  const Failure& failure() const override { return failure_; }

 private:
  Failure failure_;
};

TEST_F(ProxyLogin, AnAnswerBeforeALaterQuestionIsRefusedToo_T_BCK_01) {
  core_ = ProxyCore::make(loop_,
                          {"imap", 143, 993,
                           [](const BackendTarget& target) -> std::unique_ptr<BackendDialogue> {
                             return std::make_unique<TwoQuestions<true>>(target);
                           }},
                          {});
  struct Case {
    ScriptedBackend::Script script;
    bool good;
  };
  const std::vector<Case> cases{
      {{{Act::send, "* OK\r\n"}, {Act::expect, "ONE"}, {Act::send, "1\r\n2\r\n"}}, false},
      // Half of it was there.
      {{{Act::send, "* OK\r\n"},
        {Act::expect, "ONE"},
        {Act::send, "1\r\n2"},
        {Act::expect, "TWO"},
        {Act::send, "\r\n"}},
       false},
      // What answers nothing may come at any time.
      {{{Act::send, "* OK\r\n"},
        {Act::expect, "ONE"},
        {Act::send, "1\r\n* note\r\n"},
        {Act::expect, "TWO"},
        {Act::send, "2\r\n"}},
       true}};
  for (const Case& one : cases) {
    LogCapture log;
    ScriptedBackend backend(loop_, {one.script});
    Login login;
    run(login, to(backend.port()));
    EXPECT_EQ(login.verdict->logged_in, one.good);
    EXPECT_EQ(log.text().find("Remote server sent invalid input: Answer before the command: 2: ") !=
                  std::string::npos,
              !one.good)
        << log.text();
  }
}

// Without tags what is there would be taken for the answer to the wrong command.
TEST_F(ProxyLogin, WithoutTagsNothingAtAllMayComeBeforeItsQuestion_T_BCK_01) {
  core_ = ProxyCore::make(loop_,
                          {"pop3", 110, 995,
                           [](const BackendTarget& target) -> std::unique_ptr<BackendDialogue> {
                             return std::make_unique<TwoQuestions<false>>(target);
                           }},
                          {});
  for (const char* early : {"* note\r\n", "2\r\n", "2", "\n"}) {
    SCOPED_TRACE(early);
    LogCapture log;
    ScriptedBackend backend(loop_, {{{Act::send, "* OK\r\n"},
                                     {Act::expect, "ONE"},
                                     {Act::send, std::string("1\r\n") + early},
                                     {Act::expect, "TWO"},
                                     {Act::send, "2\r\n"}}});
    Login login;
    run(login, to(backend.port()));
    EXPECT_FALSE(login.verdict->logged_in);
    EXPECT_NE(log.text().find("Remote server sent invalid input: Answer before the command: "),
              std::string::npos)
        << log.text();
  }
}

TEST_F(ProxyLogin, EachVerdictOfTheBackendHasItsReply) {
  settings_->auth_verbose = true;
  struct Row {
    std::string line;
    Outcome outcome;
    std::string reply, log, reason;
  };
  for (const Row& row :
       {Row{"NO [LIMIT] full", Outcome::wrong_credentials, "a NO [LIMIT] full\r\n",
            "Info: proxy(joe,127.0.0.1:{}): Login failed: [LIMIT] full: user=<joe>",
            "proxy dest auth failed"},
        Row{"TEMP later", Outcome::temp_fail, "a NO [UNAVAILABLE] later\r\n",
            "Info: proxy(joe,127.0.0.1:{}): Login failed: later: user=<joe>",
            "proxy dest auth failed"},
        Row{"REFUSED", Outcome::wrong_credentials, "",
            "Info: proxy(joe,127.0.0.1:{}): Login failed: token expired: user=<joe>",
            "proxy dest auth failed"},
        Row{"BUSY", Outcome::proxy_unavailable, "",
            "Error: proxy(joe,127.0.0.1:{}): Aborting due to remote server: not now: user=<joe>",
            "internal failure"},
        Row{"CONF", Outcome::proxy_misconfigured, "",
            "Error: proxy(joe,127.0.0.1:{}): Aborting due to remote server: cannot: user=<joe>",
            "internal failure"}}) {
    SCOPED_TRACE(row.line);
    ScriptedBackend backend(
        loop_,
        {{{Act::send, "* OK ready\r\n"}, {Act::expect, "LOGIN"}, {Act::send, row.line + "\r\n"}}});
    LogCapture log;
    Login login;
    run(login, to(backend.port()));
    EXPECT_TRUE(login.failed_with(row.outcome));
    EXPECT_EQ(login.verdict->reply.view(), row.reply);
    EXPECT_EQ(login.verdict->has_reply, !row.reply.empty());
    EXPECT_EQ(login.verdict->log_reason, row.reason);
    EXPECT_NE(log.text().find(fmt::format(fmt::runtime(row.log), backend.port())),
              std::string::npos)
        << log.text();
  }
}

TEST_F(ProxyLogin, RefusedCredentialsAreLoggedOnlyIfVerbose) {
  ScriptedBackend backend(
      loop_, {{{Act::send, "* OK ready\r\n"}, {Act::expect, "LOGIN"}, {Act::send, "NO no\r\n"}}});
  LogCapture log;
  Login login;
  run(login, to(backend.port()));
  EXPECT_EQ(log.text(), "");
}

TEST_F(ProxyLogin, DialoguesRemarksAreLogged) {
  ScriptedBackend backend(loop_, {{{Act::send, "* OK ready\r\n"},
                                   {Act::expect, "LOGIN"},
                                   {Act::send, "REMARK what\r\nOK in\r\n"}}});
  LogCapture log;
  Login login;
  run(login, to(backend.port()));
  EXPECT_TRUE(login.verdict->logged_in);
  EXPECT_NE(log.text().find("Unexpected input, ignoring: REMARK what: user=<joe>"),
            std::string::npos);
}

TEST_F(ProxyLogin, TransientTroubleIsTriedAgain) {
  settings_->login_proxy_max_reconnects = 3;
  ScriptedBackend backend(
      loop_, {{{Act::send, "* OK ready\r\n"}, {Act::expect, "LOGIN"}, {Act::send, "TEMP down\r\n"}},
              kGood});
  Login login;
  run(login, to(backend.port()));
  EXPECT_TRUE(login.verdict->logged_in);
  EXPECT_EQ(backend.count(), 2U);
}

TEST_F(ProxyLogin, NoRetryWhenTheDeadlineIsNear) {
  settings_->login_proxy_max_reconnects = 3;
  ScriptedBackend backend(loop_, {{{Act::close, ""}}});
  Login login;
  run(login, to(backend.port(), {{"proxy_timeout", "1s"}}));
  EXPECT_TRUE(login.failed_with(Outcome::proxy_unavailable));
  EXPECT_EQ(backend.count(), 1U);
}

TEST_F(ProxyLogin, TheNextAddressIsTriedAtOnce) {
  ScriptedBackend backend(loop_, {kGood});
  Login login;
  run(login, {{"host", "mail.test"},
              {"hostip", "127.0.0.2"},
              {"proxy_hosts", fmt::format("mail.test {} 127.0.0.2,127.0.0.1", backend.port())}});
  EXPECT_TRUE(login.verdict->logged_in);
}

TEST_F(ProxyLogin, TheNextHostIsTriedWhateverKeptTheFirstFromAVerdict) {
  for (const ScriptedBackend::Script& bad :
       {ScriptedBackend::Script{{Act::close, ""}},
        ScriptedBackend::Script{{Act::send, "garbage\r\n"}},
        ScriptedBackend::Script{
            {Act::send, "* OK\r\n"}, {Act::expect, "LOGIN"}, {Act::reset, ""}}}) {
    ScriptedBackend first(loop_, {bad});
    ScriptedBackend second(loop_, {kGood});
    LogCapture log;
    Login login;
    run(login, {{"host", "one"},
                {"hostip", "127.0.0.1"},
                {"proxy_hosts",
                 fmt::format("one {} 127.0.0.1;two {} 127.0.0.1", first.port(), second.port())}});
    EXPECT_TRUE(login.verdict->logged_in);
    EXPECT_EQ(first.count(), 1U);
    EXPECT_EQ(log.text(), "") << "nothing has failed for the client";
  }
}

TEST_F(ProxyLogin, ARefusalIsNotTakenToTheNextHost) {
  ScriptedBackend first(
      loop_, {{{Act::send, "* OK\r\n"}, {Act::expect, "LOGIN"}, {Act::send, "NO wrong\r\n"}}});
  ScriptedBackend second(loop_, {kGood});
  Login login;
  run(login, {{"host", "one"},
              {"hostip", "127.0.0.1"},
              {"proxy_hosts",
               fmt::format("one {} 127.0.0.1;two {} 127.0.0.1", first.port(), second.port())}});
  EXPECT_TRUE(login.failed_with(Outcome::wrong_credentials));
  EXPECT_EQ(second.count(), 0U);
}

TEST_F(ProxyLogin, SourceAddressIsBound) {
  ScriptedBackend backend(loop_, {kGood});
  Login login;
  run(login, to(backend.port(), {{"source_ip", "127.0.0.7"}}));
  ASSERT_TRUE(login.verdict->logged_in);
  EXPECT_EQ(io::remote_endpoint(backend.at(0).stream.fd()).ip.text(), "127.0.0.7");
  settings_->login_source_ips = {"127.0.0.9"};
  Login other;
  run(other, to(backend.port()));
  EXPECT_EQ(io::remote_endpoint(backend.at(1).stream.fd()).ip.text(), "127.0.0.9");
  settings_->login_source_ips = {"192.0.2.1"};
  LogCapture log;
  Login bad;
  run(bad, to(backend.port()));
  EXPECT_TRUE(bad.failed_with(Outcome::proxy_unavailable));
  EXPECT_NE(log.text().find("failed: Cannot assign requested address (after 0 secs, "
                            "local=192.0.2.1)"),
            std::string::npos)
      << log.text();
}

TEST_F(ProxyLogin, DestroyedAttemptsLetTheBackendGo) {
  ScriptedBackend backend(loop_, {{{Act::send, "* OK ready\r\n"}, {Act::expect, "LOGIN"}}});
  Login login;
  begin(login, to(backend.port()));
  ASSERT_TRUE(run_until(loop_, [&] { return backend.count() == 1 && backend.at(0).step == 2; }));
  EXPECT_EQ(login.attempt->state(), "login/banner");
  LogCapture log;
  login.attempt.reset();
  ASSERT_TRUE(run_until(loop_, [&] { return backend.at(0).eof; }));
  EXPECT_FALSE(login.verdict);
  EXPECT_EQ(log.text(), "");
}

TEST_F(ProxyLogin, MayBeDestroyedByItsOwnVerdict) {
  ScriptedBackend good(loop_, {kGood});
  ScriptedBackend bad(loop_, {{{Act::send, "BAD\r\n"}}});
  for (const Fields& fields : {to(good.port()), to(bad.port()), Fields{}}) {
    std::unique_ptr<ProxyAttempt> attempt;
    bool told = false;
    ProxyFields reply;
    reply.user = "joe";
    reply.fields = fields;
    reply.pass.emplace(kPassword);
    attempt = core_->start(std::move(reply), client(), [&](ProxyVerdict) {
      told = true;
      attempt.reset();
    });
    ASSERT_TRUE(run_until(loop_, [&] { return told; }));
    run_dry(loop_);
  }
}

/// The master's end of the breaker, as far as a test says.
class ProxyHealth : public ProxyLogin {
 protected:
  ProxyHealth() {
    core_->use_master([this](std::string_view verb, const std::vector<std::string>& fields) {
      said_.emplace_back(verb);
      last_ = fields;
      if (verb == "backend-probe" && answer_probes_) {
        // As the real one, not before the question has been put.
        probes_.push_back(fields.at(0));
        answer_.trigger();
      }
    });
    answer_.start(loop_, io::Callback<>::to<&ProxyHealth::on_answer>(*this));
  }
  void on_answer() noexcept {
    for (const std::string& id : std::exchange(probes_, {})) {
      EXPECT_TRUE(core_->on_packet("probe", {id, grant_ ? "1" : "0", grant_ ? "0" : "900"}));
    }
  }
  void news(std::uint16_t port, const std::string& kind) {
    const auto success = std::to_string(std::time(nullptr) - 45);
    ASSERT_TRUE(core_->on_packet(
        "backends", {fmt::format("127.0.0.1 {} {} 1764000000 {}", port, kind, success)}));
  }
  /// Two hosts of the same address.
  static Fields both(const ScriptedBackend& one, const ScriptedBackend& two) {
    return {
        {"host", "one"},
        {"hostip", "127.0.0.1"},
        {"proxy_hosts", fmt::format("one {} 127.0.0.1;two {} 127.0.0.1", one.port(), two.port())}};
  }
  using Words = std::vector<std::string>;

  bool answer_probes_ = true;
  bool grant_ = false;
  Words said_, last_, probes_;
  io::Deferred answer_;
};

TEST_F(ProxyHealth, ALoginThatWorksSaysNothingToTheMaster) {
  ScriptedBackend backend(loop_, {kGood});
  Login login;
  run(login, to(backend.port()));
  EXPECT_TRUE(login.verdict->logged_in);
  login.attempt.reset();
  EXPECT_EQ(said_, Words{});
}

TEST_F(ProxyHealth, WhatComesToNoVerdictIsToldAndARefusalIsNot) {
  struct Row {
    ScriptedBackend::Script script;
    bool told;
    std::string patience;
  };
  const std::vector<Row> rows{
      {{{Act::close, ""}}, true, "30000"},
      {{{Act::send, "nonsense\r\n"}}, true, "0"},
      {{{Act::send, "* OK\r\n"}, {Act::expect, "LOGIN"}, {Act::close, ""}}, true, "0"},
      {{{Act::send, "* OK\r\n"}, {Act::expect, "LOGIN"}, {Act::send, "NO wrong\r\n"}}, false, ""},
      {{{Act::send, "* OK\r\n"}, {Act::expect, "LOGIN"}, {Act::send, "TEMP later\r\n"}}, false, ""},
      {{{Act::send, "* OK\r\n"}, {Act::expect, "LOGIN"}, {Act::send, "CONF\r\n"}}, false, ""},
  };
  for (const Row& row : rows) {
    ScriptedBackend backend(loop_, {row.script});
    Login login;
    run(login, to(backend.port()));
    EXPECT_EQ(said_, row.told ? Words{"backend-failed"} : Words{});
    if (row.told) {
      EXPECT_EQ(last_.at(1), std::to_string(backend.port()));
      EXPECT_EQ(last_.at(4), row.patience);
      EXPECT_EQ(last_.at(5).find(kPassword), std::string::npos);
    }
    said_.clear();
  }
}

// T-BCK-05: while it is down one login probes and the others fail at once.
TEST_F(ProxyHealth, ADeadBackendCostsLaterLoginsNothing_T_BCK_05) {
  settings_->login_proxy_max_reconnects = 3;
  ScriptedBackend backend(loop_, {kGood});
  news(backend.port(), "down");
  LogCapture log;
  Login refused;
  run(refused, to(backend.port()));
  EXPECT_TRUE(refused.failed_with(Outcome::proxy_unavailable));
  Login again;  // nobody is asked before there is another probe
  run(again, to(backend.port()));
  EXPECT_TRUE(again.failed_with(Outcome::proxy_unavailable));
  EXPECT_EQ(said_, (Words{"backend-probe"}));
  EXPECT_EQ(backend.count(), 0U);
  const std::string text = log.text();
  const std::size_t at = text.find("): Host has been down for 45 secs (last success was ");
  EXPECT_TRUE(at != std::string::npos ||
              text.find("): Host has been down for 46 secs") != std::string::npos)
      << text;
  grant_ = true;
  news(backend.port(), "down");
  Login probe;
  run(probe, to(backend.port()));
  EXPECT_TRUE(probe.verdict->logged_in);
  EXPECT_EQ(said_, (Words{"backend-probe", "backend-probe", "backend-worked"}));
  Login after;
  run(after, to(backend.port()));
  EXPECT_TRUE(after.verdict->logged_in);
  EXPECT_EQ(said_.size(), 3U);
}

TEST_F(ProxyHealth, WhoTriedBeforeItWentDownWaitsForItsReturn) {
  settings_->login_proxy_max_reconnects = 3;
  ScriptedBackend backend(loop_, {{{Act::close, ""}}, kGood});
  Login login;
  begin(login, to(backend.port()));
  ASSERT_TRUE(run_until(loop_, [this] { return !said_.empty(); }));
  news(backend.port(), "down");
  ASSERT_TRUE(run_until(loop_, [this] { return said_.size() == 2; }));
  EXPECT_EQ(said_, (Words{"backend-failed", "backend-probe"})) << "refused, and it waits again";
  run_dry(loop_);
  EXPECT_FALSE(login.verdict);
  news(backend.port(), "up");
  finish(login);
  EXPECT_TRUE(login.verdict->logged_in);
  EXPECT_EQ(backend.count(), 2U);
}

TEST_F(ProxyHealth, WithoutAMasterThatAnswersALoginTries) {
  answer_probes_ = false;
  ScriptedBackend backend(loop_, {kGood});
  news(backend.port(), "down");
  Login login;
  run(login, to(backend.port()));
  EXPECT_TRUE(login.verdict->logged_in);
}

TEST_F(ProxyHealth, MayBeDestroyedWhileItAsks) {
  ScriptedBackend backend(loop_, {kGood});
  news(backend.port(), "down");
  Login login;
  begin(login, to(backend.port()));
  EXPECT_EQ(login.attempt->state(), "connecting");
  login.attempt.reset();
  run_dry(loop_);
  EXPECT_FALSE(login.verdict);
}

TEST_F(ProxyHealth, HealthyHostsComeFirstAndTheOneThatIsDownIsProbed) {
  ScriptedBackend one(loop_, {kGood});
  ScriptedBackend two(loop_, {kGood});
  for (const char* kind : {"down", "full", "disabled"}) {
    SCOPED_TRACE(kind);
    news(one.port(), kind);
    const std::size_t before = two.count();
    Login login;
    run(login, both(one, two));
    EXPECT_TRUE(login.verdict->logged_in);
    EXPECT_EQ(one.count(), 0U);
    EXPECT_EQ(two.count(), before + 1);
  }
  news(one.port(), "enabled");
  news(one.port(), "down");
  grant_ = true;
  Login probe;
  run(probe, both(one, two));
  EXPECT_TRUE(probe.verdict->logged_in);
  EXPECT_EQ(one.count(), 1U);
}

TEST_F(ProxyHealth, WhatIsDisabledIsSaidAndNotTried) {
  ScriptedBackend backend(loop_, {kGood});
  news(backend.port(), "disabled");
  LogCapture log;
  Login login;
  run(login, to(backend.port()));
  EXPECT_TRUE(login.failed_with(Outcome::proxy_unavailable));
  EXPECT_EQ(backend.count(), 0U);
  EXPECT_EQ(said_, Words{}) << "no failure of the backend's";
  EXPECT_NE(log.text().find("): Host is disabled (posternctl proxy disable): user=<joe>"),
            std::string::npos)
      << log.text();
}

/// T-BCK-06: those who wait for one backend leave room for the others.
TEST_F(ProxyHealth, OnlySoManyMayWaitForOneBackend_T_BCK_06) {
  settings_->proxy_max_pending = 2;
  ScriptedBackend silent(loop_, {{}});
  ScriptedBackend good(loop_, {kGood});
  Login first;
  Login second;
  begin(first, to(silent.port()));
  begin(second, to(silent.port()));
  LogCapture log;
  Login third;
  run(third, to(silent.port()));
  EXPECT_TRUE(third.failed_with(Outcome::proxy_unavailable));
  EXPECT_NE(log.text().find("): Too many logins wait for this host: user=<joe>"), std::string::npos)
      << log.text();
  Login other;
  run(other, to(good.port()));
  EXPECT_TRUE(other.verdict->logged_in);
  EXPECT_FALSE(first.verdict || second.verdict);
  second.attempt.reset();
  Login fourth;
  begin(fourth, to(silent.port()));
  run_dry(loop_);
  EXPECT_FALSE(fourth.verdict) << "one has left, so one may come";
  EXPECT_EQ(said_, Words{});
}

// Out of ports or descriptors: every backend would seem down, and none is.
TEST_F(ProxyHealth, WhatWeLackIsNotTheBackendsFault_T_BCK_06) {
  ScriptedBackend backend(loop_, {kGood});
  settings_->login_source_ips = {"192.0.2.1"};
  Login first;
  run(first, to(backend.port()));
  EXPECT_TRUE(first.failed_with(Outcome::proxy_unavailable));
  EXPECT_EQ(said_, Words{});
}

struct Deaf {
  void on_event(unsigned /*events*/) noexcept {}
};

// T-BCK-09: nothing a backend says ends the sessions of others.
TEST_F(ProxyLogin, HostileBackendsHurtNobodyElse) {
  constexpr unsigned kSessions = 20;
  ScriptedBackend good(loop_, {kGood});
  Deaf deaf;
  std::vector<UniqueFd> far_ends;
  LogCapture log;
  for (unsigned i = 0; i < kSessions; ++i) {
    Login login;
    run(login, to(good.port()));
    ASSERT_TRUE(login.verdict->logged_in);
    auto ends = io::socket_pair(SOCK_STREAM);
    ASSERT_TRUE(ends.ok());
    auto near = std::make_unique<io::Stream>();
    near->open(loop_, std::move(ends.value().first),
               io::Callback<unsigned>::to<&Deaf::on_event>(deaf));
    far_ends.push_back(std::move(ends.value().second));
    login.attempt->relay(std::move(near), {}, std::move(login.verdict->reply), 0);
  }
  EXPECT_EQ(core_->relaying(), kSessions);
  for (const ScriptedBackend::Script& script :
       {ScriptedBackend::Script{{Act::send, std::string(70000, 'x')}},
        ScriptedBackend::Script{{Act::send, "* OK\r\nOK\r\n"}},
        ScriptedBackend::Script{{Act::send, "* OK\r\n"}, {Act::expect, ""}, {Act::reset, ""}},
        ScriptedBackend::Script{
            {Act::send, "* OK\r\n"}, {Act::expect, ""}, {Act::send, std::string("\0\r\n", 3)}},
        ScriptedBackend::Script{{Act::close, ""}}}) {
    ScriptedBackend bad(loop_, {script});
    Login login;
    run(login, to(bad.port()));
    EXPECT_FALSE(login.verdict->logged_in);
  }
  run_dry(loop_);
  EXPECT_EQ(core_->relaying(), kSessions);
  EXPECT_NE(log.text().find("Started proxying to <127.0.0.1> ("), std::string::npos);
  EXPECT_EQ(log.text().find("Info: Disconnected"), std::string::npos) << log.text();
}

TEST_F(ProxyLogin, AProxyHeaderComesBeforeEverythingElse) {
  ScriptedBackend backend(loop_, {{{Act::expect, "PROXY TCP4 198.51.100.7 192.0.2.10 40000 143"},
                                   {Act::send, "* OK ready\r\n"},
                                   {Act::expect, "LOGIN joe "},
                                   {Act::send, "OK in\r\n"}}});
  Login login;
  run(login, to(backend.port(), {{"proxy_protocol", "v1"}}));
  EXPECT_TRUE(login.verdict->logged_in);
}

TEST_F(ProxyLogin, AProxyHeaderComesBeforeTls) {
  // Not told of it, this backend takes it for a broken handshake.
  ScriptedBackend backend(loop_, {{}});
  Login login;
  begin(login, to(backend.port(), {{"proxy_protocol", "v2"}, {"ssl", "any-cert"}}));
  const std::string signature("\r\n\r\n\0\r\nQUIT\n\x21\x11", 14);
  const std::size_t header = 16 + 12 + 3 + 4;  // addresses and the session's id
  ASSERT_TRUE(
      run_until(loop_, [&] { return backend.count() == 1 && backend.at(0).got.size() > header; }));
  EXPECT_TRUE(backend.at(0).got.starts_with(signature));
  EXPECT_EQ(backend.at(0).got.substr(header - 4, 5), "sess\x16");  // TLS handshake
}

TEST_F(ProxyLogin, ARawLogHasBothSidesWithoutThePassword_T_DAT_09) {
  std::string directory = "/tmp/postern-rawlog-XXXXXX";
  ASSERT_NE(mkdtemp(directory.data()), nullptr);
  settings_->login_proxy_rawlog_dir = directory;
  ScriptedBackend backend(loop_, {kGood});
  Login login;
  run(login, to(backend.port()));
  EXPECT_TRUE(login.verdict->logged_in);
  std::string in;
  std::string out;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    std::ifstream file(entry.path());
    (entry.path().extension() == ".in" ? in : out).assign(std::istreambuf_iterator<char>(file), {});
  }
  std::filesystem::remove_all(directory);
  EXPECT_NE(in.find(" * OK ready\r\n"), std::string::npos) << in;
  EXPECT_NE(in.find(" OK in\r\n"), std::string::npos) << in;
  EXPECT_TRUE(out.ends_with(" LOGIN <23 octets>\r\n")) << out;
}

TEST_F(ProxyLogin, ARawLogShowsCommandsBehindAProxyHeader) {
  std::string directory = "/tmp/postern-rawlog-XXXXXX";
  ASSERT_NE(mkdtemp(directory.data()), nullptr);
  settings_->login_proxy_rawlog_dir = directory;
  ScriptedBackend backend(loop_, {{{Act::send, "* OK ready\r\n"}}});
  Login login;
  begin(login, to(backend.port(), {{"proxy_protocol", "v2"}}));
  ASSERT_TRUE(run_until(loop_, [&] {
    return backend.count() == 1 && backend.at(0).got.find("LOGIN joe") != std::string::npos;
  }));
  std::string out;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    std::ifstream file(entry.path());
    if (entry.path().extension() == ".out") out.assign(std::istreambuf_iterator<char>(file), {});
  }
  std::filesystem::remove_all(directory);
  EXPECT_NE(out.find("QUIT\n"), std::string::npos) << "the header's signature";
  EXPECT_TRUE(out.ends_with("LOGIN <23 octets>\r\n")) << out;
}

TEST_F(ProxyLogin, WithoutARawLogItGoesOn) {
  settings_->login_proxy_rawlog_dir = "/nowhere/at/all";
  ScriptedBackend backend(loop_, {kGood});
  LogCapture log;
  Login login;
  run(login, to(backend.port()));
  EXPECT_TRUE(login.verdict->logged_in);
  EXPECT_NE(log.text().find("Error: proxy(joe,127.0.0.1:"), std::string::npos);
  EXPECT_NE(log.text().find("No such file or directory"), std::string::npos) << log.text();
}

class ProxyTls : public ProxyLogin {
 protected:
  void trust(const TestCertificate& ca) {
    settings_->ssl_client_ca_file.path = "ca.pem";
    settings_->ssl_client_ca_file.content = std::make_shared<const Secret>(ca.chain);
  }
  static std::shared_ptr<io::TlsContext> server(const TestCertificate& certificate) {
    auto context =
        io::TlsContext::server({{certificate.chain, certificate.key, {}}}, io::TlsParameters{});
    EXPECT_TRUE(context.ok()) << context.error().text;
    return context.ok() ? context.value() : nullptr;
  }
  Fields secure(std::uint16_t port, const std::string& field, const std::string& value,
                const std::string& host = "mail.test") {
    return {
        {"host", host}, {"hostip", "127.0.0.1"}, {"port", std::to_string(port)}, {field, value}};
  }
  static KeyPin pin_of(const TestCertificate& certificate) {
    const Handle<BIO, BIO_free_all> bio(BIO_new_mem_buf(certificate.chain.data(), -1));
    const Handle<X509, X509_free> x509(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
    unsigned char* der = nullptr;
    const int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x509.get()), &der);
    KeyPin out;
    EVP_Digest(der, static_cast<std::size_t>(size), out.digest.data(), nullptr, EVP_sha256(),
               nullptr);
    OPENSSL_free(der);
    return out;
  }
  static ScriptedBackend::Script script_for(const std::string& field) {
    if (field == "ssl") return kGood;
    return {{Act::send, "* OK ready\r\n"}, {Act::expect, "STARTTLS"},   {Act::send, "S OK\r\n"},
            {Act::start_tls, ""},          {Act::expect, "LOGIN joe "}, {Act::send, "OK in\r\n"}};
  }

  const TestCertificate ca_ = make_certificate(TestCertificateSpec::ca("ca"), nullptr);
};

// T-TLS-04
TEST_F(ProxyTls, CertificatesAreJudgedByChainNameTimeAndPurpose) {
  settings_->login_proxy_max_reconnects = 3;
  trust(ca_);
  const TestCertificate other = make_certificate(TestCertificateSpec::ca("evil"), nullptr);
  struct Row {
    const char* what;
    TestCertificate certificate;
    std::string host, value;
    bool good;
    std::string log;
  };
  const auto made = [&](const TestCertificateSpec& spec) { return make_certificate(spec, &ca_); };
  const std::vector<Row> rows{
      {"good", made(TestCertificateSpec("DNS:mail.test")), "mail.test", "yes", true, ""},
      {"good address", made(TestCertificateSpec("IP:127.0.0.1")), "127.0.0.1", "yes", true, ""},
      {"wrong name", made(TestCertificateSpec("DNS:other.test")), "mail.test", "yes", false,
       "SSL certificate doesn't match expected host name mail.test"},
      {"address is no name", made(TestCertificateSpec("DNS:127.0.0.1")), "127.0.0.1", "yes", false,
       "SSL certificate doesn't match expected host name 127.0.0.1"},
      {"expired", made(TestCertificateSpec("DNS:mail.test").expired()), "mail.test", "yes", false,
       "Received invalid SSL certificate: certificate has expired"},
      {"wrong purpose", made(TestCertificateSpec("DNS:mail.test").only_for("clientAuth")),
       "mail.test", "yes", false, "Received invalid SSL certificate: "},
      {"self-signed", make_certificate(TestCertificateSpec("DNS:mail.test"), nullptr), "mail.test",
       "yes", false, "Received invalid SSL certificate: self-signed certificate"},
      {"unknown ca", make_certificate(TestCertificateSpec("DNS:mail.test"), &other), "mail.test",
       "yes", false, "Received invalid SSL certificate: "},
      {"any-cert takes a wrong name", made(TestCertificateSpec("DNS:other.test")), "mail.test",
       "any-cert", true, ""},
      {"any-cert takes a self-signed one",
       make_certificate(TestCertificateSpec("DNS:mail.test"), nullptr), "mail.test", "any-cert",
       true, ""},
  };
  for (const Row& row : rows) {
    for (const std::string field : {"ssl", "starttls"}) {
      SCOPED_TRACE(std::string(row.what) + " " + field);
      ScriptedBackend backend(loop_, {script_for(field)}, server(row.certificate), field == "ssl");
      LogCapture log;
      Login login;
      run(login, secure(backend.port(), field, row.value, row.host));
      EXPECT_EQ(login.verdict->logged_in, row.good);
      if (row.good) {
        EXPECT_EQ(log.text(), "");
        continue;
      }
      EXPECT_TRUE(login.failed_with(Outcome::proxy_misconfigured));
      EXPECT_NE(log.text().find("Disconnected by server: Connection closed: " + row.log),
                std::string::npos)
          << log.text();
      run_dry(loop_);
      EXPECT_EQ(backend.count(), 1U) << "a certificate does not get better by asking again";
      EXPECT_EQ(backend.at(0).expected.find("LOGIN"), std::string::npos);
      EXPECT_EQ(backend.at(0).got, "");
    }
  }
}

// T-TLS-04
TEST_F(ProxyTls, APinnedKeyIsAskedForBesidesTheCertificateOrInstead) {
  trust(ca_);
  const TestCertificate good = make_certificate(TestCertificateSpec("DNS:other.test"), &ca_);
  const KeyPin pin = pin_of(good);
  const KeyPin wrong = pin_of(ca_);
  struct Row {
    std::string value, name;
    KeyPin pin;
    std::string log;
  };
  for (const Row& row : std::vector<Row>{
           {"yes", "other.test", pin, ""},
           {"any-cert", "", pin, ""},
           {"yes", "", pin, "SSL certificate doesn't match expected host name mail.test"},
           {"yes", "other.test", wrong, "SSL certificate has none of the pinned keys: it has "},
           {"any-cert", "", wrong, "SSL certificate has none of the pinned keys: it has "}}) {
    for (const std::string field : {"ssl", "starttls"}) {
      SCOPED_TRACE(row.value + " " + row.name + " " + field);
      ScriptedBackend backend(loop_, {script_for(field)}, server(good), field == "ssl");
      LogCapture log;
      Login login;
      Fields fields = secure(backend.port(), field, row.value);
      fields.emplace_back("tls_name", row.name);
      fields.emplace_back("tls_pins", row.pin.text());
      run(login, fields);
      EXPECT_EQ(login.verdict->logged_in, row.log.empty());
      EXPECT_NE(log.text().find(row.log), std::string::npos) << log.text();
      run_dry(loop_);
      EXPECT_EQ(backend.count(), 1U);
      EXPECT_EQ(backend.at(0).got, "");
    }
  }
}

TEST_F(ProxyTls, RequireValidCertNoAcceptsAnything) {
  settings_->ssl_client_require_valid_cert = false;
  ScriptedBackend backend(loop_, {kGood}, server(make_certificate({}, nullptr)), true);
  Login login;
  run(login, secure(backend.port(), "ssl", "yes"));
  EXPECT_TRUE(login.verdict->logged_in);
}

TEST_F(ProxyTls, WithoutACaNothingIsTrusted) {
  ScriptedBackend backend(loop_, {kGood}, server(make_certificate({}, &ca_)), true);
  LogCapture log;
  Login login;
  run(login, secure(backend.port(), "ssl", "yes"));
  EXPECT_TRUE(login.failed_with(Outcome::proxy_misconfigured));
  EXPECT_NE(log.text().find("no CA is configured (check ssl_client_ca_* settings?)"),
            std::string::npos)
      << log.text();
}

TEST_F(ProxyTls, UnreadableCaFailsPlainlyAndAnyCertDoesNotNeedIt) {
  settings_->ssl_client_ca_file.path = "broken.pem";
  settings_->ssl_client_ca_file.content = std::make_shared<const Secret>(
      "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
  LogCapture log;
  core_->prepare({settings_});
  ScriptedBackend backend(loop_, {kGood}, server(make_certificate({}, &ca_)), true);
  Login strict;
  run(strict, secure(backend.port(), "ssl", "yes"));
  EXPECT_TRUE(strict.failed_with(Outcome::proxy_misconfigured));
  Login lax;
  run(lax, secure(backend.port(), "ssl", "any-cert"));
  EXPECT_TRUE(lax.verdict->logged_in);
  EXPECT_NE(log.text().find("TLS to backends is not possible: "), std::string::npos) << log.text();
}

TEST_F(ProxyTls, ServerSideCaIsTheFallback) {
  settings_->ssl_ca.path = "ca.pem";
  settings_->ssl_ca.content = std::make_shared<const Secret>(ca_.chain);
  ScriptedBackend backend(
      loop_, {kGood}, server(make_certificate(TestCertificateSpec("DNS:mail.test"), &ca_)), true);
  Login login;
  run(login, secure(backend.port(), "ssl", "yes"));
  EXPECT_TRUE(login.verdict->logged_in);
}

// T-TLS-02: replies in plaintext behind the go-ahead, in its segment and in one of their own.
TEST_F(ProxyTls, PlaintextBehindStartTlsIsRefused) {
  for (const bool glued : {true, false}) {
    SCOPED_TRACE(glued);
    ScriptedBackend::Script script{{Act::send, "* OK ready\r\n"}, {Act::expect, "STARTTLS"}};
    if (glued) {
      script.push_back({Act::send, "S OK\r\nOK injected\r\n"});
    } else {
      script.push_back({Act::drip, "S OK\r\n"});
      script.push_back({Act::drip, "OK injected\r\n"});
    }
    ScriptedBackend backend(loop_, {script});
    LogCapture log;
    Login login;
    run(login, secure(backend.port(), "starttls", "any-cert"));
    EXPECT_FALSE(login.verdict->logged_in);
    EXPECT_EQ(backend.at(0).got.find(kPassword), std::string::npos);
    EXPECT_EQ(backend.at(0).got.find("LOGIN"), std::string::npos);
    EXPECT_EQ(backend.at(0).expected.find("LOGIN"), std::string::npos);
    if (glued) {
      EXPECT_NE(log.text().find("Remote server sent invalid input: Input behind the reply to "
                                "STARTTLS"),
                std::string::npos)
          << log.text();
    }
  }
}

// T-TLS-03
TEST_F(ProxyTls, RefusedStartTlsSendsNoCredentials) {
  ScriptedBackend backend(
      loop_, {{{Act::send, "* OK ready\r\n"}, {Act::expect, "STARTTLS"}, {Act::send, "S NO\r\n"}}});
  Login login;
  run(login, secure(backend.port(), "starttls", "any-cert"));
  EXPECT_TRUE(login.failed_with(Outcome::proxy_unavailable));
  ASSERT_TRUE(run_until(loop_, [&] { return backend.at(0).eof || backend.at(0).broken; }));
  EXPECT_EQ(backend.at(0).got, "");
}

TEST_F(ProxyTls, PlaintextPortIsAConfigurationError) {
  settings_->login_proxy_max_reconnects = 3;
  ScriptedBackend backend(loop_, {{{Act::send, "* OK plain\r\n"}}});
  LogCapture log;
  Login login;
  run(login, secure(backend.port(), "ssl", "any-cert"));
  EXPECT_TRUE(login.failed_with(Outcome::proxy_misconfigured));
  EXPECT_EQ(backend.count(), 1U);
  EXPECT_NE(log.text().find("Aborting due to remote server: Failed to start SSL handshake: "),
            std::string::npos)
      << log.text();
}

TEST_F(ProxyTls, BackendThatHangsUpInTheHandshakeIsTriedAgain) {
  settings_->login_proxy_max_reconnects = 1;
  ScriptedBackend backend(loop_, {{{Act::close, ""}}});
  LogCapture log;
  Login login;
  run(login, secure(backend.port(), "ssl", "any-cert"));
  EXPECT_TRUE(login.failed_with(Outcome::proxy_unavailable));
  EXPECT_EQ(backend.count(), 2U);
  EXPECT_NE(log.text().find("Disconnected by server: "), std::string::npos) << log.text();
}

}  // namespace
}  // namespace postern::login
