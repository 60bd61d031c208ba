#include "anvil/connect-counts.h"

#include <gtest/gtest.h>

namespace postern::anvil {
namespace {

using namespace std::chrono_literals;

constexpr Channel kOne = 1;
constexpr Channel kTwo = 2;
const std::string kEve = "imap/192.0.2.1/eve";

class ConnectCountsTest : public ::testing::Test {
 protected:
  ConnectCounts counts;
  TimePoint now = TimePoint() + 1000h;
};

TEST_F(ConnectCountsTest, CountsPerIdent) {
  EXPECT_EQ(counts.lookup(kEve), 0U);
  EXPECT_TRUE(counts.connect(kOne, "a", kEve));
  EXPECT_TRUE(counts.connect(kOne, "b", kEve));
  EXPECT_TRUE(counts.connect(kTwo, "a", kEve));
  EXPECT_TRUE(counts.connect(kTwo, "c", "pop3/192.0.2.1/eve"));
  EXPECT_EQ(counts.lookup(kEve), 3U);
  EXPECT_TRUE(counts.disconnect(kOne, "b", kEve));
  EXPECT_EQ(counts.lookup(kEve), 2U);
}

TEST_F(ConnectCountsTest, OneSessionMayCountTwice) {
  EXPECT_TRUE(counts.connect(kOne, "a", kEve));
  EXPECT_TRUE(counts.connect(kOne, "a", kEve));
  EXPECT_EQ(counts.lookup(kEve), 2U);
  EXPECT_TRUE(counts.disconnect(kOne, "a", kEve));
  EXPECT_EQ(counts.lookup(kEve), 1U);
}

TEST_F(ConnectCountsTest, NobodyRemovesAnothersEntry) {
  EXPECT_TRUE(counts.connect(kOne, "a", kEve));
  EXPECT_FALSE(counts.disconnect(kTwo, "a", kEve));
  EXPECT_FALSE(counts.disconnect(kOne, "b", kEve));
  EXPECT_FALSE(counts.disconnect(kOne, "a", "imap/192.0.2.1/bob"));
  EXPECT_EQ(counts.lookup(kEve), 1U);
}

TEST_F(ConnectCountsTest, EntriesGoWithTheirChannel) {
  for (const char* session : {"a", "b", "b"}) EXPECT_TRUE(counts.connect(kOne, session, kEve));
  EXPECT_TRUE(counts.connect(kOne, "a", "x"));
  EXPECT_TRUE(counts.connect(kTwo, "a", kEve));
  counts.drop(kOne);
  EXPECT_EQ(counts.lookup(kEve), 1U);
  EXPECT_EQ(counts.lookup("x"), 0U);
  EXPECT_EQ(counts.entries(), 1U);
  counts.drop(kOne);
  counts.drop(kTwo);
  EXPECT_EQ(counts.entries(), 0U);
}

TEST_F(ConnectCountsTest, BurstOfReservationsCannotPassTheLimit) {
  unsigned granted = 0;
  for (int i = 0; i < 12; i++) {
    const auto r = counts.reserve(i % 2 == 0 ? kOne : kTwo, std::to_string(i), kEve, 3, now);
    granted += r.granted ? 1U : 0U;
  }
  EXPECT_EQ(granted, 3U);
  EXPECT_EQ(counts.lookup(kEve), 3U);
  EXPECT_TRUE(counts.reserve(kOne, "other", "imap/192.0.2.2/eve", 3, now).granted);
  EXPECT_TRUE(counts.reserve(kOne, "z", kEve, 0, now).granted) << "0 is no limit";
}

TEST_F(ConnectCountsTest, ConfirmedReservationStays) {
  EXPECT_EQ(counts.reserve(kOne, "a", kEve, 3, now).count, 1U);
  EXPECT_TRUE(counts.connect(kOne, "a", kEve));
  EXPECT_EQ(counts.lookup(kEve), 1U) << "counted once";
  counts.expire(now + ConnectCounts::kConfirm);
  EXPECT_EQ(counts.lookup(kEve), 1U);
}

TEST_F(ConnectCountsTest, UnconfirmedReservationIsTakenBack) {
  EXPECT_EQ(counts.next_expiry(), TimePoint::max());
  EXPECT_TRUE(counts.reserve(kOne, "a", kEve, 3, now).granted);
  EXPECT_EQ(counts.next_expiry(), now + ConnectCounts::kConfirm);
  counts.expire(now + ConnectCounts::kConfirm - 1ms);
  EXPECT_EQ(counts.lookup(kEve), 1U);
  counts.expire(now + ConnectCounts::kConfirm);
  EXPECT_EQ(counts.lookup(kEve), 0U);
}

TEST_F(ConnectCountsTest, ReservedAnewKeepsItsNewTime) {
  EXPECT_TRUE(counts.reserve(kOne, "a", kEve, 3, now).granted);
  EXPECT_TRUE(counts.disconnect(kOne, "a", kEve));
  EXPECT_TRUE(counts.reserve(kOne, "a", kEve, 3, now + 10s).granted);
  counts.expire(now + ConnectCounts::kConfirm);
  EXPECT_EQ(counts.lookup(kEve), 1U);
  counts.expire(now + 10s + ConnectCounts::kConfirm);
  EXPECT_EQ(counts.lookup(kEve), 0U);
}

TEST_F(ConnectCountsTest, ReservingTwiceCountsOnce) {
  EXPECT_TRUE(counts.reserve(kOne, "a", kEve, 1, now).granted);
  EXPECT_TRUE(counts.reserve(kOne, "a", kEve, 1, now).granted);
  EXPECT_EQ(counts.lookup(kEve), 1U);
}

TEST_F(ConnectCountsTest, OneChannelCannotFillTheTable) {
  ConnectCounts small(5, 3);
  for (const char* session : {"a", "b", "c"}) EXPECT_TRUE(small.connect(kOne, session, "x"));
  EXPECT_FALSE(small.connect(kOne, "one more", "x"));
  EXPECT_FALSE(small.reserve(kOne, "one more", "x", 0, now).granted);
  EXPECT_TRUE(small.connect(kOne, "a", "x")) << "no entry more";
  EXPECT_TRUE(small.connect(kTwo, "a", "x"));
  EXPECT_TRUE(small.connect(kTwo, "b", "x"));
  EXPECT_FALSE(small.connect(kTwo, "c", "x")) << "the whole is bounded, too";
}

}  // namespace
}  // namespace postern::anvil
