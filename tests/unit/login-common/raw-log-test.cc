#include "login-common/raw-log.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <regex>
#include <string>
#include <utility>
#include <vector>

namespace postern::login {
namespace {

std::string masked(const std::vector<std::string>& lines) {
  SecretMask mask;
  std::string out;
  for (const std::string& line : lines) out += mask.mask(line) + "|";
  return out;
}

TEST(SecretMask, ShowsWhatIsHarmless_T_DAT_09) {
  EXPECT_EQ(masked({"I ID (\"a\" \"b\")", "C CAPABILITY", "S STARTTLS", "STLS", "EHLO mail.test",
                    "XCLIENT ADDR=192.0.2.1", "USER joe"}),
            "I ID (\"a\" \"b\")|C CAPABILITY|S STARTTLS|STLS|EHLO mail.test|"
            "XCLIENT ADDR=192.0.2.1|USER joe|");
}

TEST(SecretMask, HidesCredentialsOfEveryProtocol_T_DAT_09) {
  EXPECT_EQ(masked({"L LOGIN \"joe\" \"secret\""}), "L LOGIN <14 octets>|");
  EXPECT_EQ(masked({"L AUTHENTICATE PLAIN AGpvZQBzZWNyZXQ="}), "L AUTHENTICATE PLAIN <16 octets>|");
  EXPECT_EQ(masked({"L AUTHENTICATE LOGIN", "am9l", "c2VjcmV0"}),
            "L AUTHENTICATE LOGIN|<4 octets>|<8 octets>|");
  EXPECT_EQ(masked({"USER joe", "PASS secret"}), "USER joe|PASS <6 octets>|");
  EXPECT_EQ(masked({"AUTH PLAIN AGpvZQBzZWNyZXQ="}), "AUTH PLAIN <16 octets>|");
  EXPECT_EQ(masked({"AUTHENTICATE \"PLAIN\" \"AGpvZQBzZWNyZXQ=\""}),
            "AUTHENTICATE \"PLAIN\" <18 octets>|");
  EXPECT_EQ(masked({"PASS"}), "PASS|");
  EXPECT_EQ(masked({"PASS "}), "PASS <0 octets>|");
}

TEST(SecretMask, IsNotFooledBySecretsThatLookLikeCommands_T_DAT_09) {
  EXPECT_EQ(masked({"AUTH LOGIN", "USER", "QUIT"}), "AUTH LOGIN|<4 octets>|<4 octets>|");
  // A literal of an ID may be followed by the one of a password.
  EXPECT_EQ(masked({"I ID (\"a\" {8}", "XCLIENT )"}), "I ID (\"a\" {8}|<9 octets>|");
  EXPECT_EQ(masked({"L LOGIN \"joe\" {10}", "I ID secret"}), "L LOGIN <10 octets>|<11 octets>|");
  EXPECT_EQ(masked({"what", "USER joe"}), "<4 octets>|<8 octets>|");
  EXPECT_EQ(masked({"", "L", "L "}), "|<1 octets>|<2 octets>|");
}

class RawLogTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = "/tmp/postern-rawlog-XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    directory = name;
  }
  void TearDown() override { std::filesystem::remove_all(directory); }
  /// The file that ends in `end`, times replaced.
  std::string text(const std::string& end) const {
    for (const auto& entry : std::filesystem::directory_iterator(directory)) {
      if (!entry.path().string().ends_with(end)) continue;
      std::ifstream in(entry.path());
      const std::string all((std::istreambuf_iterator<char>(in)), {});
      return std::regex_replace(all, std::regex("(^|\n)\\d{10}\\.\\d{6} "), "$1@");
    }
    return "(no file)";
  }
  std::string directory;
};

TEST_F(RawLogTest, BothWaysAreWrittenLineByLine) {
  auto log = RawLog::open(directory, false);
  ASSERT_TRUE(log.ok()) << log.error().text;
  RawLog& raw = *log.value();
  raw.in("* OK re");
  raw.in("ady\r\n* two\r\n");
  raw.out_commands("I ID NIL\r\nL LOGIN \"joe\" \"secret\"\r\n");
  raw.out("b NOOP\r\n");
  EXPECT_EQ(text(".in"), "@* OK ready\r\n@* two\r\n");
  EXPECT_EQ(text(".out"), "@I ID NIL\r\n@L LOGIN <14 octets>\r\n@b NOOP\r\n");
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    EXPECT_EQ(entry.status().permissions(),
              std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
    EXPECT_TRUE(std::regex_match(entry.path().filename().string(),
                                 std::regex("\\d{8}-\\d{6}\\.\\d+\\.\\d+\\.(in|out)")));
  }
}

TEST_F(RawLogTest, SecretsOnlyForWhoWantsThem) {
  auto log = RawLog::open(directory, true);
  ASSERT_TRUE(log.ok());
  log.value()->out_commands("L LOGIN \"joe\" \"secret\"\r\n");
  EXPECT_EQ(text(".out"), "@L LOGIN \"joe\" \"secret\"\r\n");
}

TEST_F(RawLogTest, AMissingDirectoryIsAnError) {
  const auto log = RawLog::open(directory + "/no", false);
  ASSERT_FALSE(log.ok());
  EXPECT_NE(log.error().text.find("No such file or directory"), std::string::npos);
}

}  // namespace
}  // namespace postern::login
