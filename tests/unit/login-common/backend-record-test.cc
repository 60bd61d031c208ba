#include "login-common/backend-record.h"

#include <gtest/gtest.h>

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
