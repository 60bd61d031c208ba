#include "anvil/penalties.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

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

// What auth uses: levels.

constexpr std::uint32_t kAlice = 1, kBob = 2, kMallory = 3;

TEST_F(PenaltiesTest, EachNewGuessIsALevelMoreUpToTheHighest_T_NET_09) {
  for (std::uint32_t guess = 1; guess <= 10; ++guess) {
    penalties.fail("ip", guess, kAlice, now + guess);
    EXPECT_EQ(penalties.level("ip", kAlice, now + guess).user, std::min(guess, 4U));
  }
  EXPECT_EQ(penalties.level("other", kAlice, now).user, 0U);
}

TEST_F(PenaltiesTest, GuessesAtTheSameTimeAllCount_T_NET_09) {
  for (std::uint32_t guess = 1; guess <= 3; ++guess) penalties.fail("ip", guess, kAlice, now);
  EXPECT_EQ(penalties.level("ip", kAlice, now).user, 3U);
}

TEST_F(PenaltiesTest, ASuccessClearsItForItsUserOnly_T_NET_09) {
  for (std::uint32_t guess = 1; guess <= 4; ++guess) {
    penalties.fail("ip", guess, kAlice, now);
    penalties.succeed("ip", kMallory, now);  // who has an account of his own
  }
  EXPECT_EQ(penalties.level("ip", kAlice, now).user, 4U) << "reset between two guesses";
  EXPECT_EQ(penalties.level("ip", kMallory, now).user, 0U);
  EXPECT_EQ(penalties.level("ip", kMallory, now).address, 4U);
  EXPECT_EQ(penalties.level("ip", kBob, now).user, 4U);
}

TEST_F(PenaltiesTest, WhoSharesAnAddressWithAGuesserPaysOnce_T_NET_09) {
  std::uint32_t guess = 0;
  for (int minute = 0; minute < 600; ++minute) {
    penalties.fail("nat", ++guess, kAlice, now + minute * 60);
    if (minute == 5) penalties.succeed("nat", kBob, now + minute * 60);
    if (minute >= 5) {
      EXPECT_EQ(penalties.level("nat", kBob, now + minute * 60).user, 0U) << minute;
    }
  }
}

TEST_F(PenaltiesTest, AGuessAtAKnownUserIsPaidForAgain_T_NET_09) {
  penalties.fail("ip", 1, kAlice, now);
  penalties.succeed("ip", kAlice, now);
  EXPECT_EQ(penalties.level("ip", kAlice, now).user, 0U);
  penalties.fail("ip", 2, kAlice, now);
  EXPECT_EQ(penalties.level("ip", kAlice, now).user, 2U);
}

TEST_F(PenaltiesTest, ALevelFadesEachQuarterOfAnHour_T_NET_09) {
  for (std::uint32_t guess = 1; guess <= 4; ++guess) penalties.fail("ip", guess, kAlice, now);
  EXPECT_EQ(penalties.level("ip", kBob, now + 899).user, 4U);
  EXPECT_EQ(penalties.level("ip", kBob, now + 900).user, 3U);
  EXPECT_EQ(penalties.level("ip", kBob, now + 1799).user, 3U);
  EXPECT_EQ(penalties.level("ip", kBob, now + 1800).user, 2U);
  EXPECT_EQ(penalties.level("ip", kBob, now + 3599).user, 1U);
  EXPECT_EQ(penalties.level("ip", kBob, now + 3600).user, 0U);
  EXPECT_EQ(penalties.size(), 0U) << "and is forgotten";
}

TEST_F(PenaltiesTest, ARepeatedPasswordNeitherRaisesNorKeepsTheLevel_T_NET_10) {
  penalties.fail("ip", 7, kAlice, now);
  for (int minute = 1; minute < 30; ++minute) {
    penalties.fail("ip", 7, kAlice, now + minute * 60);
    EXPECT_EQ(penalties.level("ip", kAlice, now + minute * 60).user, minute < 15 ? 1U : 0U);
  }
}

TEST_F(PenaltiesTest, TheUsersKnownAtAnAddressAreBounded_T_NET_09) {
  penalties.fail("ip", 1, kAlice, now);
  for (std::uint32_t user = 100; user < 100 + Penalties::kMostUsers + 1; ++user) {
    penalties.succeed("ip", user, now);
  }
  EXPECT_EQ(penalties.level("ip", 100, now).user, 1U) << "the first one has gone";
  EXPECT_EQ(penalties.level("ip", 101, now).user, 0U);
  penalties.succeed("ip", 101, now);  // known already: takes no other's place
  EXPECT_EQ(penalties.level("ip", 102, now).user, 0U);
  penalties.succeed("ip", 7, now);
  EXPECT_EQ(penalties.level("ip", 101, now).user, 0U) << "was here lately";
  EXPECT_EQ(penalties.level("ip", 102, now).user, 1U) << "was not";
}

TEST_F(PenaltiesTest, AnOfficeOfTwoHundredPaysOnce_T_NET_09) {
  for (std::uint32_t guess = 1; guess <= 4; ++guess) penalties.fail("nat", guess, kAlice, now);
  for (int round = 0; round < 3; ++round) {
    for (std::uint32_t user = 100; user < 300; ++user) {
      EXPECT_EQ(penalties.level("nat", user, now).user, round == 0 ? 4U : 0U) << user;
      penalties.succeed("nat", user, now);
    }
  }
}

TEST_F(PenaltiesTest, ALifetimeThatOthersSetShortensNoLevel_T_NET_09) {
  penalties.set("told", 1, 5, now);
  penalties.fail("counted", 1, kAlice, now);
  penalties.set("both", 1, 5, now);
  penalties.fail("both", 2, kAlice, now);
  penalties.set("both", 3, 3, now);
  penalties.set_lifetime(29);
  EXPECT_EQ(penalties.get("told", now + 29).value, 0U);
  EXPECT_EQ(penalties.level("counted", kAlice, now + 29).user, 1U);
  EXPECT_EQ(penalties.get("both", now + 29).value, 3U);
  EXPECT_EQ(penalties.size(), 2U);
  penalties.set_lifetime(7200);
  EXPECT_EQ(penalties.get("both", now + 3600).value, 0U);
}

TEST_F(PenaltiesTest, BothKindsShareTheRoomAndAreShownByAge) {
  Penalties small(3);
  small.set("a", 1, 1, now);
  small.fail("b", 1, kAlice, now + 1);
  small.set("c", 1, 1, now + 2);
  const auto shown = [&small, this] {
    std::string out;
    small.for_each(now + 9, [&out](const std::string& ident, const Penalty&) { out += ident; });
    return out;
  };
  EXPECT_EQ(shown(), "abc");
  small.fail("d", 1, kAlice, now + 3);
  EXPECT_EQ(shown(), "bcd");
  small.set("e", 1, 1, now + 4);
  EXPECT_EQ(shown(), "cde");
}

TEST_F(PenaltiesTest, ASuccessWhereNothingIsHeldAgainstAnybodyTakesNoRoom) {
  penalties.succeed("ip", kAlice, now);
  EXPECT_EQ(penalties.size(), 0U);
}

TEST_F(PenaltiesTest, AClockSetBackNeitherFadesNorRaises) {
  penalties.fail("ip", 1, kAlice, now);
  EXPECT_EQ(penalties.level("ip", kAlice, now - 100'000).user, 1U);
}

}  // namespace
}  // namespace postern::anvil
