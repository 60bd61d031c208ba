#include "login-common/auth-client.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <array>
#include <string>
#include <vector>

#include "io/socket.h"
#include "proxy-fixture.h"
#include "wire/auth-request.h"

namespace postern::login {
namespace {

constexpr std::string_view kHello =
    "VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nSPID\t77\nCUID\t1\n"
    "COOKIE\t0123456789abcdef0123456789abcdef\nDONE\n";

struct Listener final : AuthListener {
  void on_auth_continue(std::string_view base64) noexcept override {
    said += "cont " + std::string(base64) + ";";
  }
  void on_auth_ok(wire::AuthReplyOk&& reply) noexcept override { said += "ok " + reply.user + ";"; }
  void on_auth_fail(wire::AuthReplyFail&& /*reply*/) noexcept override { said += "fail;"; }
  void on_auth_lost() noexcept override { said += "lost;"; }
  std::string said;
};

struct Fixture : ::testing::Test {
  io::Loop loop;
  UniqueFd server;
  int connects = 0;
  int ready = 0;
  int broken = 0;
  AuthClient client{loop,
                    [this](std::function<void(Result<UniqueFd>)> answer) {
                      auto pair = io::socket_pair(SOCK_STREAM);
                      ++connects;
                      server = std::move(pair.value().first);
                      pending = [answer = std::move(answer),
                                 fd = std::make_shared<UniqueFd>(
                                     std::move(pair.value().second))]() { answer(std::move(*fd)); };
                      defer.start(loop, io::Callback<>::to<&Fixture::on_answer>(*this));
                      defer.trigger();
                    },
                    "test"};
  std::function<void()> pending;
  io::Deferred defer;
  Listener listener;

  void on_answer() noexcept { pending(); }
  void SetUp() override {
    client.on_change([this]() { ++ready; }, [this]() { ++broken; });
    client.start();
    test::run_dry(loop);
  }
  void say(std::string_view text) {
    ASSERT_EQ(::send(server.get(), text.data(), text.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(text.size()));
    test::run_dry(loop);
  }
  std::string heard() {
    test::run_dry(loop);
    std::array<char, 65536> buffer{};
    const ssize_t n = ::recv(server.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    return n > 0 ? std::string(buffer.data(), static_cast<std::size_t>(n)) : std::string();
  }
  std::uint32_t ask() {
    wire::AuthRequestInfo info;
    info.service = "imap";
    std::optional<Secret> initial;
    initial.emplace("AGEAYg==");
    return client.request("PLAIN", info, initial, listener).value();
  }
};

TEST_F(Fixture, TakesTheHandshakeAndAnswersByNumber) {
  say(kHello);
  EXPECT_TRUE(client.ready());
  EXPECT_EQ(ready, 1);
  ASSERT_EQ(client.mechanisms().size(), 1U);
  EXPECT_TRUE(heard().starts_with("VERSION\t1\t2\nCPID\t"));
  const auto id = ask();
  EXPECT_EQ(heard(), "AUTH\t" + std::to_string(id) + "\tPLAIN\tservice=imap\tresp=AGEAYg==\n");
  say("FAIL\t999\nCONT\t" + std::to_string(id) + "\tAA==\n");
  EXPECT_EQ(listener.said, "cont AA==;");
  client.respond(id, Secret("QQ=="));
  EXPECT_EQ(heard(), "CONT\t" + std::to_string(id) + "\tQQ==\n");
  say("OK\t" + std::to_string(id) + "\tuser=u\n");
  EXPECT_EQ(listener.said, "cont AA==;ok u;");
  EXPECT_EQ(client.open_requests(), 0U);
}

TEST_F(Fixture, WritesTheRequestsOfAWakeUpTogether) {
  say(kHello);
  heard();
  ask();
  ask();
  const std::string text = heard();
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 2);
}

/// T-NET-18: auth hangs up on a line over its limit, and every other login under way is lost.
TEST_F(Fixture, SaysNothingThatIsTooLongForAuth) {
  say(kHello);
  heard();
  wire::AuthRequestInfo info;
  info.service = "imap";
  info.forward = {{"a", std::string(7000, '\t')}};  // three bytes each, once escaped twice
  std::optional<Secret> initial;
  EXPECT_FALSE(client.request("PLAIN", info, initial, listener).ok());
  EXPECT_EQ(client.open_requests(), 0U);
  EXPECT_TRUE(heard().empty());
  info.forward = {{"a", std::string(7000, 'x')}};
  initial.emplace(std::string(8192, 'A'));
  EXPECT_TRUE(client.request("PLAIN", info, initial, listener).ok());
  EXPECT_LE(heard().size(), wire::kMaxAuthLine);
}

TEST_F(Fixture, ADeathIsNoWrongPassword) {
  say(kHello);
  ask();
  test::run_dry(loop);
  server.reset();
  test::run_dry(loop);
  EXPECT_EQ(listener.said, "lost;");
  EXPECT_EQ(broken, 0);
  // Asked while auth is away, it waits for the next connection.
  ask();
  ASSERT_TRUE(test::run_until(loop, [this]() { return connects == 2; }));
  test::run_dry(loop);
  say(kHello);
  EXPECT_NE(heard().find("AUTH\t2\tPLAIN"), std::string::npos);
  EXPECT_EQ(listener.said, "lost;");
}

TEST_F(Fixture, TimesOutTheRequestsThatAuthForgot) {
  say(kHello);
  ask();
  client.sweep(loop.now() + AuthClient::kRequestTimeout - std::chrono::seconds(1));
  EXPECT_EQ(listener.said, "");
  client.sweep(loop.now() + AuthClient::kRequestTimeout);
  EXPECT_EQ(listener.said, "lost;");
  EXPECT_NE(heard().find("CANCEL\t1\n"), std::string::npos);
}

TEST_F(Fixture, GivesTheConnectionUpWhenNobodyWillAskAnyMore) {
  say(kHello);
  const auto id = ask();
  heard();
  client.stop();
  EXPECT_TRUE(client.ready()) << "a request is open";
  say("OK\t" + std::to_string(id) + "\tuser=u\n");
  EXPECT_EQ(listener.said, "ok u;");
  client.stop();
  test::run_dry(loop);
  std::array<char, 16> buffer{};
  EXPECT_EQ(::recv(server.get(), buffer.data(), buffer.size(), MSG_DONTWAIT), 0);
  EXPECT_EQ(connects, 1) << "and makes no other";
}

TEST_F(Fixture, AConnectionThatComesTooLateIsClosed) {
  client.stop();
  AuthClient late(
      loop,
      [this](std::function<void(Result<UniqueFd>)> answer) {
        auto pair = io::socket_pair(SOCK_STREAM);
        server = std::move(pair.value().first);
        pending = [answer = std::move(answer),
                   fd = std::make_shared<UniqueFd>(std::move(pair.value().second))]() {
          answer(std::move(*fd));
        };
      },
      "late");
  late.start();
  late.stop();
  pending();
  pending = {};
  EXPECT_FALSE(late.ready());
  std::array<char, 16> buffer{};
  EXPECT_EQ(::recv(server.get(), buffer.data(), buffer.size(), MSG_DONTWAIT), 0);
}

TEST_F(Fixture, CancelledRequestsAreNotAnswered) {
  say(kHello);
  const auto id = ask();
  client.cancel(id);
  say("OK\t1\tuser=u\n");
  EXPECT_EQ(listener.said, "");
}

TEST_F(Fixture, HostileAnswersCloseTheConnection) {
  for (const std::string& bad : {std::string("OK\t0\tuser=x\n"), std::string("CONT\tx\tAA==\n"),
                                 std::string("VERSION\t1\t2\n"), std::string(70000, 'x')}) {
    SCOPED_TRACE(bad.substr(0, 20));
    say(kHello);
    ASSERT_TRUE(client.ready());
    ask();
    test::run_dry(loop);
    listener.said.clear();
    const int before = connects;
    ASSERT_GT(::send(server.get(), bad.data(), bad.size(), MSG_NOSIGNAL), 0);
    ASSERT_TRUE(test::run_until(loop, [this]() { return !client.ready(); }));
    EXPECT_EQ(listener.said, "lost;");
    ASSERT_TRUE(test::run_until(loop, [this, before]() { return connects > before; }));
    test::run_dry(loop);
  }
}

TEST_F(Fixture, AnAnswerOfNoUseFailsItsRequestAlone_T_NET_18) {
  say(kHello);
  ask();
  const auto other = ask();
  test::run_dry(loop);
  heard();
  say("CONT\t1\t***\n");
  EXPECT_TRUE(client.ready());
  EXPECT_EQ(listener.said, "fail;");
  EXPECT_NE(heard().find("CANCEL\t1\n"), std::string::npos);
  say("OK\t" + std::to_string(other) + "\tuser=u\n");
  EXPECT_EQ(listener.said, "fail;ok u;");
}

TEST_F(Fixture, AConnectionThatNeverWorkedIsTold) {
  say("VERSION\t2\t0\n");
  EXPECT_FALSE(client.ready());
  EXPECT_EQ(broken, 1);
}

}  // namespace
}  // namespace postern::login
