#include "login-common/backend-record.h"

#include <gtest/gtest.h>

#include <vector>

namespace postern::login {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

const io::TimePoint kNow{seconds(100000)};

TEST(BackendRecord, AHostThatNeverWorkedIsDownOnlyAfterTheLimit) {
  BackendRecord record;
  record.on_start(kNow);
  record.on_failure(kNow + seconds(3), kNow);
  record.on_start(kNow + seconds(4));
  EXPECT_FALSE(record.is_down(seconds(30)));
  record.on_failure(kNow + seconds(40), kNow + seconds(4));
  EXPECT_TRUE(record.is_down(seconds(30)));
  EXPECT_FALSE(record.is_down(milliseconds(0)));
}

TEST(BackendRecord, OneAttemptKeepsProbing) {
  BackendRecord record;
  record.on_start(kNow);
  record.on_failure(kNow + seconds(60), kNow);
  EXPECT_FALSE(record.is_down(seconds(30)));
  record.on_start(kNow + seconds(61));
  EXPECT_TRUE(record.is_down(seconds(30)));
}

TEST(BackendRecord, ASuccessBringsItBackAtOnce) {
  BackendRecord record;
  record.on_start(kNow);
  record.on_start(kNow);
  record.on_failure(kNow + seconds(60), kNow);
  ASSERT_TRUE(record.is_down(seconds(30)));
  record.on_success(kNow + seconds(61));
  EXPECT_FALSE(record.is_down(seconds(30)));
}

TEST(BackendRecord, AFailureOlderThanASuccessIsNoNews) {
  BackendRecord record;
  record.on_start(kNow);
  record.on_start(kNow);
  record.on_success(kNow + seconds(50));
  record.on_failure(kNow + seconds(100), kNow);
  EXPECT_FALSE(record.is_down(seconds(30)));
}

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

TEST(BackendRecords, AreKeyedByAddressAndPortAndBounded) {
  BackendRecords records;
  const IpAddress ip = *IpAddress::parse("192.0.2.1");
  BackendRecord& used = records.get({ip, 143});
  used.on_start(kNow);
  EXPECT_EQ(&records.get({ip, 143}), &used);
  EXPECT_NE(&records.get({ip, 993}), &used);
  for (std::uint16_t port = 1; port < 3 * BackendRecords::kMaxIdle; ++port) {
    records.get({ip, port});
  }
  EXPECT_LE(records.size(), BackendRecords::kMaxIdle + 1);
  EXPECT_EQ(&records.get({ip, 143}), &used);
}

}  // namespace
}  // namespace postern::login
