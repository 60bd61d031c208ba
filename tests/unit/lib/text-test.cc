#include "lib/text.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

namespace postern {
namespace {

using Views = std::vector<std::string_view>;

TEST(Text, FoldsAsciiAndNothingElse) {
  EXPECT_EQ(to_lower("ABCxyz\xc3\x84"), "abcxyz\xc3\x84");
  EXPECT_EQ(to_upper("abcXYZ[`{"), "ABCXYZ[`{");
  EXPECT_TRUE(same_text("IMAP4rev1", "imap4REV1"));
  EXPECT_FALSE(same_text("imap", "imaps"));
  EXPECT_FALSE(same_text("@", "`")) << "0x20 apart, but no letters";
  EXPECT_TRUE(starts_with_text("AUTH=plain", "auth="));
  EXPECT_FALSE(starts_with_text("au", "auth="));
}

TEST(Text, TrimsBlanksAndTabsOnly) {
  EXPECT_EQ(trim(" \t a b\t "), "a b");
  EXPECT_EQ(trim(" \t "), "");
  EXPECT_EQ(trim(""), "");
  EXPECT_EQ(trim("\na\r"), "\na\r");
}

TEST(Text, WordsAreNeverEmpty) {
  EXPECT_EQ(words("  a  b\tc "), (Views{"a", "b", "c"}));
  EXPECT_EQ(words(",a,,b,", ","), (Views{"a", "b"}));
  EXPECT_TRUE(words(" \t ").empty());
  EXPECT_TRUE(words("").empty());
}

TEST(Decimal, IsTheWholeTextInTheRange) {
  EXPECT_EQ(decimal("0", 0, 9), 0U);
  EXPECT_EQ(decimal("0009", 0, 9), 9U);
  EXPECT_EQ(decimal("18446744073709551615", 0, UINT64_MAX), UINT64_MAX);
  for (const char* bad : {"", " 1", "1 ", "+1", "-1", "1x", "0x1", "1.0", "18446744073709551616"}) {
    EXPECT_FALSE(decimal(bad, 0, UINT64_MAX)) << bad;
  }
  EXPECT_FALSE(decimal("10", 0, 9));
  EXPECT_FALSE(decimal("4", 5, 9));
}

TEST(LogSafe, LeavesNothingThatCouldForgeALine) {
  EXPECT_EQ(log_safe("plain \xc3\xa4\xe2\x82\xac"), "plain \xc3\xa4\xe2\x82\xac");
  EXPECT_EQ(log_safe("a\r\nb\tc\x7f"), "a??b?c?");
  EXPECT_EQ(log_safe(std::string_view("a\0b", 3)), "a?b");
  EXPECT_EQ(log_safe("x>, method=<PLAIN"), "x?, method=?PLAIN");
  EXPECT_EQ(log_safe_line("x> <y"), "x> <y");
  EXPECT_EQ(log_safe("\xc2\x85next\xc2\x9b"), "?next?") << "C1 controls";
}

TEST(LogSafe, TurnsNobodysTextAround) {
  for (const char* turn :
       {"\xd8\x9c", "\xe2\x80\x8e", "\xe2\x80\x8f", "\xe2\x80\xa8", "\xe2\x80\xa9", "\xe2\x80\xaa",
        "\xe2\x80\xae", "\xe2\x81\xa6", "\xe2\x81\xa9"}) {
    EXPECT_EQ(log_safe("a" + std::string(turn) + "b"), "a?b");
    EXPECT_EQ(log_safe_line("a" + std::string(turn) + "b"), "a?b");
  }
  for (const char* text : {"\xe2\x80\x8d", "\xe2\x80\xa7", "\xe2\x80\xaf", "\xe2\x81\xa5",
                           "\xe2\x81\xaa", "\xd8\x9b", "\xd8\x9d", "\xe3\x80\xae"}) {
    EXPECT_EQ(log_safe(text), text);
  }
}

TEST(Utf8, IsRfc3629) {
  for (const char* good : {"", "a", "\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "a\xc2\x85"}) {
    EXPECT_TRUE(is_utf8(good)) << good;
  }
  for (const char* bad :
       {"\x80", "a\xff", "\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82"}) {
    EXPECT_FALSE(is_utf8(bad)) << bad;
  }
}

TEST(LogSafe, ReplacesWhatIsNotUtf8) {
  for (const char* bad : {"\x80", "\xff", "\xc0\xaf", "\xe0\x80\xaf", "\xed\xa0\x80",
                          "\xf0\x80\x80\xaf", "\xf4\x90\x80\x80", "\xe2\x82", "\xc3"}) {
    const std::string out = log_safe(bad);
    EXPECT_EQ(out.find_first_not_of('?'), std::string::npos) << out;
    EXPECT_FALSE(out.empty());
  }
}

TEST(LogSafe, IsBoundedWithoutCuttingACharacter) {
  EXPECT_EQ(log_safe(std::string(100, 'a'), 10), "aaaaaaaaaa...");
  EXPECT_EQ(log_safe(std::string(10, 'a'), 10), "aaaaaaaaaa");
  EXPECT_EQ(log_safe("aaa\xe2\x82\xac", 5), "aaa...");
  EXPECT_EQ(log_safe("abc", 0), "...");
}

TEST(Base64, IsRfc4648) {
  const std::vector<std::pair<const char*, const char*>> vectors{{"", ""},
                                                                 {"f", "Zg=="},
                                                                 {"fo", "Zm8="},
                                                                 {"foo", "Zm9v"},
                                                                 {"foob", "Zm9vYg=="},
                                                                 {"fooba", "Zm9vYmE="},
                                                                 {"foobar", "Zm9vYmFy"},
                                                                 {"\xff\xfe\xfd", "//79"}};
  for (const auto& [plain, encoded] : vectors) {
    EXPECT_EQ(base64_encode(plain), encoded);
    const auto decoded = base64_decode(encoded);
    ASSERT_TRUE(decoded);
    EXPECT_EQ(decoded->view(), plain);
  }
}

TEST(Base64, IsStrict) {
  for (const char* bad : {"Z", "Zg", "Zg=", "Zg===", "Zh==", "Zm9=", "Zm 9v", "Zm9v\n", "=",
                          "====", "Z===", "Zg==Zg==", "Zm9-", "Zm9_", "Zm9v\xc3\xa4=="}) {
    SCOPED_TRACE(bad);
    EXPECT_FALSE(is_base64(bad));
    EXPECT_FALSE(base64_decode(bad));
  }
  EXPECT_FALSE(is_base64(std::string_view("Zg=\0", 4)));
}

TEST(Base64, RoundTripsAnyBytes) {
  std::mt19937 random(1);
  for (std::size_t size = 0; size < 300; size++) {
    std::string bytes;
    for (std::size_t i = 0; i < size; i++) bytes += static_cast<char>(random());
    const auto back = base64_decode(base64_encode(bytes));
    ASSERT_TRUE(back);
    EXPECT_EQ(back->view(), bytes);
  }
}

TEST(Hex, IsLowerCaseAndReadInAnyCase) {
  EXPECT_EQ(hex_encode(std::string_view("\0\x7f\xff", 3)), "007fff");
  EXPECT_EQ(hex_decode("007FfF"), std::string("\0\x7f\xff", 3));
  EXPECT_EQ(hex_decode(""), "");
  for (const char* bad : {"0", "0g", "g0", "0x", " 0", "+1", "-1", "000"}) {
    EXPECT_FALSE(hex_decode(bad)) << bad;
  }
}

}  // namespace
}  // namespace postern
