#include "master/ticket-keys.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>

namespace postern::master {
namespace {

TEST(TicketKeys, AreNewEachTimeAndTheOneBeforeIsKept_T_TLS_08) {
  TicketKeys keys;
  EXPECT_TRUE(keys.view().empty());
  const TicketKeys::TimePoint now{};
  ASSERT_TRUE(keys.rotate(now).ok());
  const std::string first(keys.view());
  ASSERT_EQ(first.size(), TicketKeys::kOne);
  ASSERT_TRUE(keys.rotate(now).ok());
  const std::string second(keys.view());
  ASSERT_EQ(second.size(), 2 * TicketKeys::kOne);
  EXPECT_EQ(second.substr(TicketKeys::kOne), first);
  EXPECT_NE(second.substr(0, TicketKeys::kOne), first);
  ASSERT_TRUE(keys.rotate(now).ok());
  EXPECT_EQ(keys.view().size(), 2 * TicketKeys::kOne);
  EXPECT_EQ(keys.view().substr(TicketKeys::kOne), second.substr(0, TicketKeys::kOne));
}

/// Whatever else is new meanwhile: a host that is reloaded each hour gets new keys all the same.
TEST(TicketKeys, LiveNoLongerThanTheyAreTo_T_TLS_08) {
  using std::chrono::hours;
  TicketKeys keys;
  const TicketKeys::TimePoint made = TicketKeys::TimePoint{} + hours(100);
  ASSERT_TRUE(keys.rotate(made).ok());
  EXPECT_EQ(keys.left(made, hours(12)), hours(12));
  EXPECT_EQ(keys.left(made + hours(11), hours(12)), hours(1));
  EXPECT_EQ(keys.left(made + hours(13), hours(12)), hours(0));
}

TEST(TicketKeys, OfTheOperatorHaveTheRightLength) {
  for (const std::size_t good : {1U, 2U, 8U}) {
    EXPECT_TRUE(TicketKeys::check(std::string(good * TicketKeys::kOne, 'k')).ok()) << good;
  }
  for (const std::size_t bad : {0U, 1U, 79U, 81U, 720U}) {
    EXPECT_FALSE(TicketKeys::check(std::string(bad, 'k')).ok()) << bad;
  }
}

}  // namespace
}  // namespace postern::master
