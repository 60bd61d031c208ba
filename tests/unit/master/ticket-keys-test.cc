#include "master/ticket-keys.h"

#include <gtest/gtest.h>

#include <string>

namespace postern::master {
namespace {

TEST(TicketKeys, AreNewEachTimeAndTheOneBeforeIsKept_T_TLS_08) {
  TicketKeys keys;
  EXPECT_TRUE(keys.view().empty());
  ASSERT_TRUE(keys.rotate().ok());
  const std::string first(keys.view());
  ASSERT_EQ(first.size(), TicketKeys::kOne);
  ASSERT_TRUE(keys.rotate().ok());
  const std::string second(keys.view());
  ASSERT_EQ(second.size(), 2 * TicketKeys::kOne);
  EXPECT_EQ(second.substr(TicketKeys::kOne), first);
  EXPECT_NE(second.substr(0, TicketKeys::kOne), first);
  ASSERT_TRUE(keys.rotate().ok());
  EXPECT_EQ(keys.view().size(), 2 * TicketKeys::kOne);
  EXPECT_EQ(keys.view().substr(TicketKeys::kOne), second.substr(0, TicketKeys::kOne));
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
