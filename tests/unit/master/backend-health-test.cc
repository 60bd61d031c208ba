#include "master/backend-health.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "master/backend-status.h"

namespace postern::master {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

const BackendKey kOne{"imap", {*IpAddress::parse("192.0.2.1"), 143}};

class Health : public ::testing::Test {
 protected:
  Health()
      : health_([this](std::string_view protocol, const wire::BackendNews& news) {
          told_.push_back((protocol.empty() ? std::string() : std::string(protocol) + " ") +
                          wire::backend_news_text(news));
        }) {}

  Moment at() const {
    return {io::TimePoint(seconds(1000)) + passed_, kUnix + passed_ / seconds(1)};
  }
  void pass(milliseconds time) { passed_ += time; }
  void fail(const BackendKey& key = kOne, milliseconds took = milliseconds(1),
            milliseconds patience = milliseconds(0)) {
    health_.on_failed(key, {took, took + seconds(1), patience, "refused"}, at());
  }
  bool probe(const BackendKey& key = kOne) { return health_.may_probe(key, at(), wait_); }
  std::string state(const BackendKey& key = kOne) {
    for (const auto& row : health_.rows(at())) {
      if (row.key == key) return row.state;
    }
    return "";
  }
  /// The kinds that were told since the last call.
  std::vector<std::string> kinds() {
    std::vector<std::string> out;
    for (const std::string& text : std::exchange(told_, {})) {
      const bool all = !text.starts_with("imap") && !text.starts_with("pop3");
      std::size_t at = 0;
      for (int i = all ? 1 : 0; i < 3; i++) at = text.find(' ', at) + 1;
      out.push_back(text.substr(at, text.find(' ', at) - at));
    }
    return out;
  }
  using Lines = std::vector<std::string>;

  static constexpr std::int64_t kUnix = 1'764'000'000;
  milliseconds passed_{0};
  milliseconds wait_{0};
  std::vector<std::string> told_;
  BackendHealth health_;
};

TEST_F(Health, SoManyFailuresInARowMakeItDown) {
  for (int i = 0; i < 4; i++) fail();
  EXPECT_EQ(kinds(), (Lines{"failing"})) << "one word, not one for each failure";
  EXPECT_EQ(state(), "up");
  EXPECT_TRUE(probe());
  fail();
  EXPECT_EQ(told_, (Lines{"imap 192.0.2.1 143 down 1764000000 1763999999"}));
  EXPECT_EQ(state(), "down");
  told_.clear();
  fail();
  EXPECT_EQ(kinds(), Lines{}) << "nothing new";
  EXPECT_EQ(health_.rows(at()).at(0).failures, 6U);
  EXPECT_EQ(health_.rows(at()).at(0).error, "refused");
}

TEST_F(Health, ASuccessBeginsTheRowAnew) {
  for (int i = 0; i < 4; i++) fail();
  health_.on_worked(kOne, at());
  pass(seconds(2));
  for (int i = 0; i < 4; i++) fail();
  EXPECT_EQ(kinds(), (Lines{"failing", "up", "failing"}));
  EXPECT_EQ(state(), "up");
}

TEST_F(Health, WhoHasJustWorkedIsNotDown) {
  fail();
  health_.on_worked(kOne, at());
  for (int i = 0; i < 100; i++) fail();
  EXPECT_EQ(kinds(), (Lines{"failing", "up"})) << "a backend that flaps keeps nobody busy";
  pass(BackendHealth::kTrust);
  for (int i = 0; i < 5; i++) fail();
  EXPECT_EQ(kinds(), (Lines{"failing", "down"}));
}

TEST_F(Health, ExactlyOneProbesEverySecond) {
  for (int i = 0; i < 5; i++) fail();
  unsigned granted = 0;
  for (int i = 0; i < 100; i++) {
    if (probe()) ++granted;
    pass(milliseconds(100));
  }
  EXPECT_EQ(granted, 10U);
  EXPECT_TRUE(probe());
  EXPECT_EQ(state(), "probing");
  EXPECT_FALSE(probe());
  EXPECT_EQ(wait_, seconds(1));
  pass(milliseconds(300));
  EXPECT_FALSE(probe());
  EXPECT_EQ(wait_, milliseconds(700));
  fail();
  EXPECT_EQ(state(), "down");
  health_.on_worked(kOne, at());
  EXPECT_EQ(state(), "up");
  EXPECT_TRUE(probe());
  EXPECT_TRUE(probe());
  EXPECT_EQ(kinds().back(), "up");
}

/// A fails after three seconds, B begins at once, C while B is waiting (proxy-host-down-fast-fail).
TEST_F(Health, DecidesAsDovecotWasRecordedTo_T_BCK_05) {
  pass(milliseconds(3307));
  fail(kOne, milliseconds(3006), seconds(1));
  EXPECT_EQ(kinds(), (Lines{"down"}));
  pass(milliseconds(4));
  EXPECT_TRUE(probe()) << "B";
  pass(milliseconds(701));
  EXPECT_FALSE(probe()) << "C";
  pass(milliseconds(2302));
  fail(kOne, milliseconds(3003), seconds(1));
  EXPECT_EQ(state(), "down");
}

TEST_F(Health, TimeAloneMakesItDownOnlyIfTheLoginHasThePatience) {
  health_.set_limit(0);
  fail(kOne, milliseconds(10), seconds(30));
  pass(seconds(20));
  fail(kOne, milliseconds(10), seconds(30));
  EXPECT_EQ(state(), "up");
  pass(seconds(20));
  for (int i = 0; i < 100; i++) fail();
  EXPECT_EQ(state(), "up") << "0 failures switch counting off";
  fail(kOne, milliseconds(10), seconds(30));
  EXPECT_EQ(state(), "down");
}

TEST_F(Health, EachProtocolPortAndAddressStandsAlone) {
  for (int i = 0; i < 5; i++) fail();
  for (const BackendKey& other :
       {BackendKey{"pop3", kOne.backend}, BackendKey{"imap", {kOne.backend.ip, 144}},
        BackendKey{"imap", {*IpAddress::parse("192.0.2.2"), 143}}}) {
    EXPECT_TRUE(probe(other));
    EXPECT_TRUE(probe(other));
    fail(other);
    EXPECT_EQ(state(other), "up");
  }
  EXPECT_EQ(health_.news("imap").size(), 3U) << "one down, two failing";
  EXPECT_EQ(health_.news("pop3").size(), 1U);
  EXPECT_EQ(health_.news("sieve").size(), 0U);
}

/// T-BCK-06: those that wait for a dead backend leave room for the others.
TEST_F(Health, TooManyThatWaitMakeItFullUntilAQuarterHasGone_T_BCK_06) {
  const int a = 0;
  const int b = 0;
  health_.on_slow(&a, kOne, 5, 10, at());
  health_.on_slow(&b, kOne, 4, 10, at());
  EXPECT_EQ(kinds(), Lines{});
  health_.on_slow(&b, kOne, 5, 10, at());
  EXPECT_EQ(kinds(), (Lines{"full"}));
  EXPECT_EQ(state(), "full");
  health_.on_slow(&a, kOne, 3, 10, at());
  EXPECT_EQ(kinds(), Lines{});
  health_.on_slow(&a, kOne, 2, 10, at());
  EXPECT_EQ(kinds(), (Lines{"up"}));
  health_.on_slow(&a, kOne, 9, 10, at());
  EXPECT_EQ(kinds(), (Lines{"full"}));
  health_.on_process_gone(&a, at());
  EXPECT_EQ(kinds(), (Lines{"up"})) << "a process that has ended waits for nobody";
  health_.on_process_gone(&b, at());
  health_.on_slow(&a, kOne, 1'000'000, 0, at());
  EXPECT_EQ(kinds(), Lines{}) << "0 is no limit";
}

TEST_F(Health, DisabledByHandStandsBesideHealth) {
  const Endpoint all{kOne.backend.ip, 0};
  ASSERT_TRUE(health_.disable(all, at()).ok());
  EXPECT_EQ(told_, (Lines{"192.0.2.1 0 disabled 1764000000 0"}));
  told_.clear();
  ASSERT_TRUE(health_.disable(all, at()).ok());
  EXPECT_EQ(told_, Lines{}) << "twice is once";
  EXPECT_EQ(health_.news("pop3").size(), 1U) << "who starts later is told";
  EXPECT_EQ(health_.rows(at()).size(), 1U);
  for (int i = 0; i < 5; i++) fail();
  EXPECT_EQ(health_.rows(at()).size(), 1U);
  EXPECT_EQ(state(), "disabled");
  EXPECT_FALSE(health_.enable(kOne.backend, at())) << "it was the whole address";
  EXPECT_TRUE(health_.enable(all, at()));
  EXPECT_EQ(state(), "down");
  for (std::size_t i = 0; i < BackendHealth::kMostDisabled; i++) {
    EXPECT_TRUE(health_.disable({kOne.backend.ip, static_cast<std::uint16_t>(i + 1)}, at()).ok());
  }
  EXPECT_FALSE(health_.disable({kOne.backend.ip, 9999}, at()).ok());
}

// Whoever has taken over a login process makes up addresses.
TEST_F(Health, IsBoundedAndKeepsNobodyBusy) {
  const auto made_up = [](unsigned i) {
    const std::string bytes{static_cast<char>(10), static_cast<char>(i >> 16),
                            static_cast<char>(i >> 8), static_cast<char>(i)};
    return BackendKey{"imap", {IpAddress::from_bytes(IpAddress::Family::v4, bytes.data()), 143}};
  };
  for (int i = 0; i < 5; i++) fail();
  pass(seconds(2));
  for (unsigned i = 0; i < 1'000; i++) fail(made_up(i));
  EXPECT_LE(told_.size(), BackendHealth::kNewsPerSecond + 2);
  EXPECT_EQ(state(), "down");
  for (unsigned i = 0; i < 6'000; i++) {
    pass(milliseconds(5));
    fail(made_up(i));
  }
  EXPECT_EQ(health_.size(), BackendHealth::kMost);
  // What was forgotten is up again for everybody.
  std::size_t failing = 0;
  std::size_t up = 0;
  for (const std::string& kind : kinds()) {
    if (kind == "failing") ++failing;
    if (kind == "up") ++up;
  }
  EXPECT_EQ(failing - up + 1, health_.news("imap").size() + (state().empty() ? 1 : 0));
}

TEST_F(Health, TextsAreMadeFitForALog) {
  health_.on_failed(kOne, {milliseconds(1), seconds(1), {}, "a\r\nb" + std::string(5000, 'x')},
                    at());
  const std::string error = health_.rows(at()).at(0).error;
  EXPECT_TRUE(error.starts_with("a??b")) << error;
  EXPECT_LE(error.size(), BackendHealth::kMaxText + 3);
}

TEST_F(Health, StatusAddsUpWhatProcessesSayAndLeavesOutWhatIsWrong) {
  BackendStatus status;
  const auto say = [&status](const char* address, const char* port, const char* pending,
                             const char* logins = "5") {
    status.add("imap", {1,
                        {{"address", address},
                         {"port", port},
                         {"pending", pending},
                         {"sessions", "2"},
                         {"logins", logins}}});
  };
  say("192.0.2.1", "143", "1");
  say("192.0.2.1", "143", "3");
  say("192.0.2.2", "993", "0");
  for (const char* wrong : {"", "0", "65536", "x"}) say("192.0.2.3", wrong, "1");
  say("192.0.2", "143", "1");
  say("192.0.2.3", "143", "-1");
  say("192.0.2.3", "143", "4294967296");
  say("192.0.2.3", "143", "1", "");
  for (int i = 0; i < 5; i++) fail();
  ASSERT_TRUE(health_.disable({*IpAddress::parse("198.51.100.1"), 0}, at()).ok());
  std::vector<std::string> rows;
  const auto take = [&rows](const wire::ControlFields& fields) {
    std::string text;
    for (const auto& [name, value] : fields) text += value + "|";
    rows.push_back(text);
  };
  status.rows(health_, at(), {}, take);
  EXPECT_EQ(rows, (Lines{"198.51.100.1|*|*|disabled|1764000000|0|0|0|0|||",
                         "192.0.2.1|143|imap|down|1764000000|5|4|4|10|1764000000|refused|",
                         "192.0.2.2|993|imap|up||0|0|2|5|||"}));
  rows.clear();
  status.rows(health_, at(), {*Network::parse("192.0.2.2")}, take);
  EXPECT_EQ(rows.size(), 1U);
}

}  // namespace
}  // namespace postern::master
