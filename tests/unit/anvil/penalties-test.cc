#include "anvil/penalties.h"

#include <gtest/gtest.h>

namespace postern::anvil {
namespace {

class PenaltiesTest : public ::testing::Test {
 protected:
  Penalties penalties;
  std::int64_t now = 1'000'000;
};

TEST_F(PenaltiesTest, UnknownIsZero) {
  EXPECT_EQ(penalties.get("192.0.2.1", now).value, 0U);
  EXPECT_EQ(penalties.get("192.0.2.1", now).last, 0);
}

TEST_F(PenaltiesTest, NewGuessesRaise) {
  penalties.set("192.0.2.1", 11, 1, now);
  penalties.set("192.0.2.1", 12, 2, now + 5);
  const Penalty p = penalties.get("192.0.2.1", now + 6);
  EXPECT_EQ(p.value, 2U);
  EXPECT_EQ(p.last, now + 5);
}

TEST_F(PenaltiesTest, TheSameWrongPasswordIsNoNewGuess) {
  penalties.set("ip", 11, 1, now);
  penalties.set("ip", 11, 2, now + 5);
  const Penalty p = penalties.get("ip", now + 6);
  EXPECT_EQ(p.value, 1U);
  EXPECT_EQ(p.last, now);
  EXPECT_EQ(p.last_update, now + 5);
}

TEST_F(PenaltiesTest, TenPasswordsAreRemembered) {
  for (std::uint32_t i = 1; i <= 10; i++) penalties.set("ip", i, 1, now);
  penalties.set("ip", 1, 5, now);
  EXPECT_EQ(penalties.get("ip", now).value, 4U);
  penalties.set("ip", 99, 5, now);  // the one least lately used is forgotten: 2
  penalties.set("ip", 1, 5, now);
  EXPECT_EQ(penalties.get("ip", now).value, 4U);
  penalties.set("ip", 2, 5, now);
  EXPECT_EQ(penalties.get("ip", now).value, 5U);
}

TEST_F(PenaltiesTest, GoodLoginClears) {
  penalties.set("ip", 11, 3, now);
  penalties.set("ip", 0, 0, now + 1);
  EXPECT_EQ(penalties.get("ip", now + 1).value, 0U);
  penalties.set("ip", 11, 1, now + 2);
  EXPECT_EQ(penalties.get("ip", now + 2).value, 1U) << "a new guess again";
}

TEST_F(PenaltiesTest, AreForgottenAfterTheirLifetime) {
  penalties.set("a", 1, 1, now);
  penalties.set("b", 1, 1, now + 100);
  EXPECT_EQ(penalties.get("a", now + 3599).value, 1U);
  EXPECT_EQ(penalties.get("a", now + 3600).value, 0U);
  EXPECT_EQ(penalties.get("b", now + 3600).value, 1U);
  penalties.set_lifetime(50);
  EXPECT_EQ(penalties.get("b", now + 3600).value, 0U);
  EXPECT_EQ(penalties.size(), 0U);
}

TEST_F(PenaltiesTest, ClockSetBackForgetsNobody) {
  penalties.set("a", 1, 1, now);
  EXPECT_EQ(penalties.get("a", now - 100'000).value, 1U);
}

TEST_F(PenaltiesTest, TheTableIsBoundedAndTheOldestGoes) {
  Penalties small(3);
  for (const char* ident : {"0", "1", "2", "1", "3"}) small.set(ident, 1, 1, now);
  EXPECT_EQ(small.size(), 3U);
  EXPECT_EQ(small.get("0", now).value, 0U);
  EXPECT_EQ(small.get("2", now).value, 1U);
}

}  // namespace
}  // namespace postern::anvil
