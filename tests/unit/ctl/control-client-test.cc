#include "ctl/control-client.h"

#include <gtest/gtest.h>

#include <cerrno>

#include "fake-server.h"

namespace postern::ctl {
namespace {

using std::chrono::milliseconds;

const wire::ControlRequest kWho{"who", {}};

Result<Answer> ask(const FakeServer& server, milliseconds patience = milliseconds(20'000)) {
  auto client = ControlClient::connect(server.path());
  EXPECT_TRUE(client.ok());
  if (!client.ok()) return client.error();
  return client.value().ask(kWho, patience);
}

TEST(ControlClient, ReadsRowsUntilTheEndHoweverTheyArrive) {
  const std::string answer = wire::control_row_line({{"user", "u1"}}) +
                             wire::control_row_line({{"user", "u2"}}) +
                             wire::control_end_line(0, "fine");
  for (std::size_t piece = 1; piece <= answer.size(); ++piece) {
    SCOPED_TRACE(piece);
    const FakeServer server(
        "c", [&answer](const std::string&) { return answer; }, "", piece);
    const auto got = ask(server);
    ASSERT_TRUE(got.ok()) << got.error().text;
    ASSERT_EQ(got.value().rows.size(), 2U);
    EXPECT_EQ(wire::control_field(got.value().rows[1], "user"), "u2");
    EXPECT_EQ(got.value().end.text, "fine");
  }
}

TEST(ControlClient, TakesTwoRequestsOverOneConnection) {
  const FakeServer server("c", [](const std::string& line) {
    return wire::control_end_line(0, line.find("who") != std::string::npos ? "w" : "p");
  });
  auto client = ControlClient::connect(server.path());
  ASSERT_TRUE(client.ok());
  EXPECT_EQ(client.value().ask(kWho, milliseconds(20'000)).value().end.text, "w");
  EXPECT_EQ(client.value().ask({"ping", {}}, milliseconds(20'000)).value().end.text, "p");
}

TEST(ControlClient, SaysThatTheServerClosedInTheMiddle) {
  const FakeServer server("c", [](const std::string&) { return std::string("CLOSE"); });
  const auto got = ask(server);
  ASSERT_FALSE(got.ok());
  EXPECT_TRUE(got.error().code == ENOTCONN || got.error().code == ECONNRESET);
}

TEST(ControlClient, RefusesWhatIsNoReply) {
  for (const char* line : {"hello\n", "{}\n", "\n", "{\"end\":{}}\n", "{\"row\":7}\n"}) {
    SCOPED_TRACE(line);
    const FakeServer server("c", [line](const std::string&) { return std::string(line); });
    EXPECT_FALSE(ask(server).ok());
  }
}

TEST(ControlClient, RefusesALineWithoutEnd) {
  const FakeServer server(
      "c", [](const std::string&) { return std::string(2 * wire::kMaxControlLine, 'x'); });
  const auto got = ask(server);
  ASSERT_FALSE(got.ok());
  EXPECT_EQ(got.error().code, EPROTO);
}

TEST(ControlClient, DoesNotWaitForEver) {
  const FakeServer server("c", [](const std::string&) { return std::string(); });
  const auto got = ask(server, milliseconds(50));
  ASSERT_FALSE(got.ok());
  EXPECT_EQ(got.error().code, ETIMEDOUT);
}

TEST(ControlClient, SaysWhyNobodyIsThere) {
  const auto client = ControlClient::connect("/nonexistent/control");
  ASSERT_FALSE(client.ok());
  EXPECT_EQ(client.error().code, ENOENT);
}

}  // namespace
}  // namespace postern::ctl
