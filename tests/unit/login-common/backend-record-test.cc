#include "login-common/backend-record.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace postern::login {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

const io::TimePoint kNow{seconds(100000)};

/// Ten sessions and five seconds: what Dovecot was recorded to do (proxy-max-disconnect-delay).
TEST(BackendRecord, ClientsOfADeadBackendAreToldOneAfterAnother_T_BCK_07) {
  BackendRecord record;
  record.sessions = 10;
  std::vector<long> waits;
  for (int i = 0; i < 10; ++i) {
    const auto wait = record.on_disconnect(kNow, seconds(5), milliseconds(7));
    waits.push_back(wait.count());
    --record.sessions;
    if (wait.count() > 0) ++record.lingering;
  }
  EXPECT_EQ(waits, (std::vector<long>{0, 0, 1507, 2007, 2507, 3007, 3507, 4007, 4507, 5007}));
}

TEST(BackendRecord, AConnectionEndsTheSpreadingOfDisconnects) {
  BackendRecord record;
  record.sessions = 4;
  std::vector<bool> waits;
  for (int i = 0; i < 4; ++i) {
    if (i == 3) record.on_connected();
    waits.push_back(record.on_disconnect(kNow, seconds(2), milliseconds(0)).count() > 0);
    --record.sessions;
  }
  EXPECT_EQ(waits, (std::vector<bool>{false, false, true, false}));
}

TEST(BackendRecord, WhatIsNotYetToldIsToldLaterNotAtOnce) {
  BackendRecord record;
  record.sessions = 2;
  record.lingering = 1;
  record.disconnects = 1;
  record.disconnects_start = kNow;
  EXPECT_GT(record.on_disconnect(kNow, seconds(10), milliseconds(0)).count(), 0);
  // Its time may have passed meanwhile.
  EXPECT_EQ(record.on_disconnect(kNow + seconds(60), seconds(10), milliseconds(0)).count(), 0);
}

const IpAddress kIp = *IpAddress::parse("192.0.2.1");
const Endpoint kBackend{kIp, 143};

class Records : public ::testing::Test {
 protected:
  Records() {
    records_.use([this](std::string_view verb, const std::vector<std::string>& fields) {
      std::string line(verb);
      for (const std::string& field : fields) line += "|" + field;
      said_.push_back(line);
    });
  }
  bool news(const std::string& text) { return records_.on_packet("backends", {text}); }
  std::vector<std::string> said() { return std::exchange(said_, {}); }
  using Lines = std::vector<std::string>;

  io::Loop loop_;
  std::vector<std::string> said_;
  BackendRecords records_{loop_};
};

TEST_F(Records, AreKeyedByAddressAndPortAndBounded) {
  BackendRecord& used = records_.get(kBackend);
  records_.enter(used);
  ASSERT_TRUE(news("192.0.2.1 25 down 1 1"));
  EXPECT_EQ(&records_.get(kBackend), &used);
  EXPECT_NE(&records_.get({kIp, 993}), &used);
  for (std::uint16_t port = 1; port < 3 * BackendRecords::kMaxIdle; ++port) {
    records_.get({kIp, port});
  }
  EXPECT_LE(records_.size(), BackendRecords::kMaxIdle + 1);
  EXPECT_EQ(&records_.get(kBackend), &used);
  EXPECT_EQ(records_.get({kIp, 25}).health, wire::BackendNewsKind::down);
  records_.leave(used);
}

TEST_F(Records, ALoginThatWorksSaysNothing) {
  BackendRecord& record = records_.get(kBackend);
  for (int i = 0; i < 100; i++) {
    records_.enter(record);
    records_.worked(record);
    records_.leave(record);
  }
  EXPECT_EQ(said(), Lines{});
}

TEST_F(Records, TheFirstSuccessAfterBadNewsIsTold) {
  for (const char* kind : {"failing", "down", "full"}) {
    ASSERT_TRUE(news(std::string("192.0.2.1 143 ") + kind + " 1 1"));
    BackendRecord& record = records_.get(kBackend);
    records_.worked(record);
    records_.worked(record);
    EXPECT_EQ(said(), (Lines{"backend-worked|192.0.2.1|143"})) << kind;
  }
  EXPECT_EQ(records_.get(kBackend).health, wire::BackendNewsKind::full) << "the master ends that";
  ASSERT_TRUE(news("192.0.2.1 143 up 1 1"));
  records_.worked(records_.get(kBackend));
  EXPECT_EQ(said(), Lines{});
}

TEST_F(Records, AFailureIsToldUnlessASuccessIsNewer) {
  BackendRecord& record = records_.get(kBackend);
  records_.enter(record);
  records_.failed(record, loop_.now(), milliseconds(1500), std::string(500, 'x') + "\t");
  const Lines lines = said();
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_EQ(lines[0], "backend-failed|192.0.2.1|143|0|1000|1500|" + std::string(200, 'x'));
  records_.worked(record);
  records_.failed(record, loop_.now() - seconds(1), milliseconds(0), "late");
  EXPECT_EQ(said(), Lines{});
  records_.leave(record);
}

TEST_F(Records, WhoAsksForAProbeIsAnsweredOnceAndRefusedUntilThen) {
  ASSERT_TRUE(news("192.0.2.1 143 down 1 1"));
  BackendRecord& record = records_.get(kBackend);
  std::vector<bool> answers;
  const auto take = [&answers](bool yes) { answers.push_back(yes); };
  const auto first = records_.ask_probe(record, take);
  const auto second = records_.ask_probe(record, take);
  const auto third = records_.ask_probe(record, take);
  EXPECT_EQ(said(), (Lines{"backend-probe|1|192.0.2.1|143", "backend-probe|2|192.0.2.1|143",
                           "backend-probe|3|192.0.2.1|143"}));
  EXPECT_TRUE(records_.on_packet("probe", {std::to_string(first), "1", "0"}));
  records_.cancel(second);
  EXPECT_TRUE(records_.on_packet("probe", {std::to_string(second), "1", "0"}));
  EXPECT_TRUE(records_.on_packet("probe", {std::to_string(third), "0", "700"}));
  EXPECT_EQ(answers, (std::vector<bool>{true, false}));
  EXPECT_EQ(record.no_probe_before, loop_.now() + milliseconds(700));
  EXPECT_TRUE(records_.on_packet("probe", {std::to_string(first), "1", "0"})) << "nobody's now";
  EXPECT_EQ(answers.size(), 2U);
}

TEST_F(Records, AMessageIsReadWholeOrNotAtAll) {
  EXPECT_FALSE(records_.on_packet("backends", {"192.0.2.1 143 down 1 1", "192.0.2.2 143 down 1"}));
  EXPECT_EQ(records_.get(kBackend).health, wire::BackendNewsKind::up);
  using Fields = std::vector<std::string>;
  for (const Fields& fields :
       {Fields{}, Fields{"1"}, Fields{"1", "1"}, Fields{"0", "1", "0"}, Fields{"1", "2", "0"},
        Fields{"1", "1", "60001"}, Fields{"1", "1", "0", ""}, Fields{"x", "1", "0"}}) {
    EXPECT_FALSE(records_.on_packet("probe", fields));
  }
  EXPECT_FALSE(records_.on_packet("ticket-keys", {"x"}));
}

TEST_F(Records, DisabledHoldsForWhatIsMetLater) {
  ASSERT_TRUE(news("192.0.2.1 0 disabled 1 0"));
  ASSERT_TRUE(news("192.0.2.2 143 disabled 1 0"));
  const IpAddress other = *IpAddress::parse("192.0.2.2");
  EXPECT_TRUE(records_.get(kBackend).disabled);
  EXPECT_TRUE(records_.get({other, 143}).disabled);
  EXPECT_FALSE(records_.get({other, 993}).disabled);
  ASSERT_TRUE(news("192.0.2.1 0 enabled 1 0"));
  EXPECT_FALSE(records_.get(kBackend).disabled);
}

/// T-BCK-06: what waits for long is told, as a number, until it is 0.
TEST_F(Records, SlowAttemptsAreCounted_T_BCK_06) {
  BackendRecord& record = records_.get(kBackend);
  const auto turn_until = [this](const std::function<bool()>& done) {
    for (int i = 0; i < 200 && !done(); i++) loop_.run_once(true);
  };
  for (int i = 0; i < 3; i++) records_.enter(record);
  turn_until([&record] { return record.fresh == 0; });
  EXPECT_EQ(said(), Lines{}) << "they may have begun a moment ago";
  records_.enter(record);
  turn_until([this] { return !said_.empty(); });
  EXPECT_EQ(said(), (Lines{"backend-slow|192.0.2.1|143|3"}));
  for (int i = 0; i < 4; i++) records_.leave(record);
  EXPECT_EQ(said(), (Lines{"backend-slow|192.0.2.1|143|0"}));
}

}  // namespace
}  // namespace postern::login
