#include "anvil/dialogue.h"

#include <gtest/gtest.h>

#include <string>

namespace postern::anvil {
namespace {

class DialogueTest : public ::testing::Test {
 protected:
  State state;
  Dialogue one{state, 1};
  Dialogue two{state, 2};
  Now now{TimePoint() + std::chrono::hours(1000), 1'000'000};

  void SetUp() override {
    EXPECT_EQ(say(one, "VERSION\tanvil\t1\t0"), "");
    EXPECT_EQ(say(two, "VERSION\tanvil\t1\t3\textra"), "VERSION\tanvil\t1\t1\n");
  }
  /// The reply, or "error: " and the text.
  std::string say(Dialogue& dialogue, std::string_view line) {
    WipingBuffer out;
    const Status status = dialogue.on_line(line, now, out);
    if (!status.ok()) return "error: " + status.error().text;
    return std::string(out.view());
  }
};

TEST_F(DialogueTest, CountsConnections) {
  EXPECT_EQ(say(one, "CONNECT\t123\timap/192.0.2.1/eve"), "");
  EXPECT_EQ(say(two, "CONNECT\t123\timap/192.0.2.1/eve"), "");
  EXPECT_EQ(say(one, "LOOKUP\timap/192.0.2.1/eve"), "2\n");
  EXPECT_EQ(say(one, "CONNECT-DUMP"), "imap/192.0.2.1/eve\t123\t1\nimap/192.0.2.1/eve\t123\t1\n\n");
  EXPECT_EQ(say(one, "DISCONNECT\t123\timap/192.0.2.1/eve"), "");
  EXPECT_EQ(say(one, "LOOKUP\timap/192.0.2.1/eve"), "1\n");
  EXPECT_TRUE(one.complaints().empty());
}

TEST_F(DialogueTest, NamesMayHoldAnyByte) {
  EXPECT_EQ(say(one, "CONNECT\ts\001t1\timap/192.0.2.1/a\001tb\001n"), "");
  EXPECT_EQ(say(one, "CONNECT-DUMP"), "imap/192.0.2.1/a\001tb\001n\ts\001t1\t1\n\n");
}

TEST_F(DialogueTest, UnknownDisconnectionIsComplainedAboutAndChangesNothing) {
  EXPECT_EQ(say(one, "CONNECT\t123\tx"), "");
  EXPECT_EQ(say(two, "DISCONNECT\t123\tx"), "");
  ASSERT_EQ(two.complaints().size(), 1U);
  EXPECT_EQ(two.complaints()[0], "connect limit: disconnection for unknown pid 123 + ident x");
  EXPECT_EQ(say(one, "LOOKUP\tx"), "1\n");
}

TEST_F(DialogueTest, ReservesUpToTheLimit) {
  EXPECT_EQ(say(one, "RESERVE\ta\tx\t2"), "1 1\n");
  EXPECT_EQ(say(two, "RESERVE\tb\tx\t2"), "1 2\n");
  EXPECT_EQ(say(two, "RESERVE\tc\tx\t2"), "0 2\n");
  now.steady += ConnectCounts::kConfirm;
  EXPECT_EQ(say(two, "LOOKUP\tx"), "0\n");
}

TEST_F(DialogueTest, KeepsPenalties) {
  EXPECT_EQ(say(one, "PENALTY-GET\t192.0.2.1"), "0 0\n");
  EXPECT_EQ(say(one, "PENALTY-INC\t192.0.2.1\t4294967295\t1"), "");
  EXPECT_EQ(say(two, "PENALTY-GET\t192.0.2.1"), "1 1000000\n");
  now.unix_time += 10;
  EXPECT_EQ(say(one, "PENALTY-INC\t192.0.2.2\t0\t65535"), "");
  EXPECT_EQ(say(two, "PENALTY-DUMP"),
            "192.0.2.1\t1\t1000000\t1000000\n192.0.2.2\t65535\t1000010\t1000010\n\n");
  EXPECT_EQ(say(two, "PENALTY-SET-EXPIRE-SECS\t5"), "");
  EXPECT_EQ(say(two, "PENALTY-DUMP"), "192.0.2.2\t65535\t1000010\t1000010\n\n");
}

TEST_F(DialogueTest, AnAuthOfAnotherVersionIsComplainedAboutOnceAndShortensNoLevel_T_NET_09) {
  EXPECT_EQ(say(two, "PENALTY-FAIL\tip\t1\t7"), "");
  EXPECT_EQ(say(one, "PENALTY-SET-EXPIRE-SECS\t29"), "");
  EXPECT_EQ(say(one, "PENALTY-INC\tother\t1\t1"), "");
  EXPECT_EQ(one.complaints(),
            (std::vector<std::string>{"An auth process of another version counts penalties for "
                                      "failed logins by rules of its own; restart Postern"}));
  now.unix_time += 30;
  EXPECT_EQ(say(two, "PENALTY-LEVEL\tip\t7"), "1 1\n");
  EXPECT_EQ(say(two, "PENALTY-INC\tother\t1\t1"), "");
  EXPECT_TRUE(two.complaints().empty());
}

TEST_F(DialogueTest, KeepsLevelsAndWhoIsKnown_T_NET_09) {
  EXPECT_EQ(say(one, "PENALTY-LEVEL\t192.0.2.1\t7"), "0 0\n");
  EXPECT_EQ(say(one, "PENALTY-FAIL\t192.0.2.1\t4294967295\t7"), "");
  EXPECT_EQ(say(two, "PENALTY-FAIL\t192.0.2.1\t0\t7"), "");
  EXPECT_EQ(say(two, "PENALTY-LEVEL\t192.0.2.1\t7"), "2 2\n");
  EXPECT_EQ(say(two, "PENALTY-PASS\t192.0.2.1\t8"), "");
  EXPECT_EQ(say(two, "PENALTY-LEVEL\t192.0.2.1\t8"), "0 2\n");
  EXPECT_EQ(say(two, "PENALTY-LEVEL\t192.0.2.1\t7"), "2 2\n");
  EXPECT_EQ(say(two, "PENALTY-DUMP"), "192.0.2.1\t2\t1000000\t1000000\n\n");
  for (const char* line : {"PENALTY-LEVEL\tip\tx", "PENALTY-LEVEL\tip\t4294967296",
                           "PENALTY-FAIL\tip\tx\t1", "PENALTY-FAIL\tip\t1\t-1",
                           "PENALTY-PASS\tip\t", "PENALTY-PASS\tip", "PENALTY-FAIL\tip\t1"}) {
    EXPECT_TRUE(say(one, line).starts_with("error: Anvil client input error: PENALTY-")) << line;
  }
}

TEST_F(DialogueTest, MistakesEndTheConnectionInDovecotsWords) {
  EXPECT_EQ(say(one, "LOOKUP"), "error: Anvil client input error: LOOKUP: Not enough parameters");
  EXPECT_EQ(say(one, "WHAT"), "error: Anvil client input error: Unknown command: WHAT");
  EXPECT_EQ(say(one, ""), "error: Anvil client input error: Unknown command: ");
  EXPECT_EQ(say(one, "KILL\t1"),
            "error: Anvil client input error: KILL sent by a non-master connection");
  for (const char* line : {"PENALTY-INC\tx\t1\t0", "PENALTY-INC\tx\t1\t65536",
                           "PENALTY-INC\tx\t-1\t1", "PENALTY-INC\tx\ta\t1"}) {
    EXPECT_EQ(say(one, line), "error: Anvil client input error: PENALTY-INC: Invalid parameters")
        << line;
  }
  EXPECT_TRUE(say(one, "PENALTY-SET-EXPIRE-SECS\t0").starts_with("error"));
  EXPECT_TRUE(say(one, "RESERVE\ta\tb\tx").starts_with("error"));
}

TEST_F(DialogueTest, OtherVersionsAndProtocolsAreRefused) {
  for (const char* line :
       {"VERSION\tanvil\t2\t0", "VERSION\tauth\t1\t0", "LOOKUP\tx", "", "VERSION\tanvil\t1"}) {
    Dialogue other(state, 3);
    EXPECT_TRUE(say(other, line).starts_with("error: Anvil client not compatible")) << line;
  }
}

TEST_F(DialogueTest, ErrorsQuoteNoControlBytes) {
  EXPECT_EQ(say(one, "W\x1b[31m"), "error: Anvil client input error: Unknown command: W?[31m");
}

}  // namespace
}  // namespace postern::anvil
