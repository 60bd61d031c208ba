#include "wire/imap-text.h"

#include <gtest/gtest.h>

#include <string>

namespace postern::wire {
namespace {

TEST(ImapString, FormFollowsTheBytes) {
  EXPECT_EQ(imap_string_form(""), ImapString::quoted);
  EXPECT_EQ(imap_string_form("a\"b\\c d\t"), ImapString::quoted);
  EXPECT_EQ(imap_string_form("p\xc3\xa4ss"), ImapString::literal);
  EXPECT_EQ(imap_string_form("a\rb"), ImapString::literal);
  EXPECT_EQ(imap_string_form("a\nb"), ImapString::literal);
  EXPECT_EQ(imap_string_form(std::string_view("a\0b", 3)), ImapString::impossible);
  EXPECT_EQ(imap_string_form(std::string_view("\xe4\0", 2)), ImapString::impossible);
}

TEST(ImapString, QuotesAreEscaped) {
  WipingBuffer out;
  append_imap_quoted("a\"b\\c", out);
  EXPECT_EQ(out.view(), "\"a\\\"b\\\\c\"");
}

TEST(ImapCapabilities, AreAskedByNameInAnyCase) {
  const ImapCapabilities list("IMAP4rev1  SASL-IR ID AUTH=PLAIN");
  EXPECT_TRUE(list.known());
  EXPECT_EQ(list.text(), "IMAP4rev1 SASL-IR ID AUTH=PLAIN");
  EXPECT_TRUE(list.has("sasl-ir"));
  EXPECT_TRUE(list.has("ID"));
  EXPECT_TRUE(list.has("AUTH=PLAIN"));
  EXPECT_FALSE(list.has("AUTH"));
  EXPECT_FALSE(list.has("I"));
  EXPECT_FALSE(list.has("SASL-IR ID"));
  EXPECT_FALSE(ImapCapabilities().known());
  EXPECT_FALSE(ImapCapabilities().has(""));
  EXPECT_TRUE(ImapCapabilities("").known());
}

TEST(ImapCapabilities, DropWordsThatWouldBreakALine) {
  const ImapCapabilities list(std::string_view("A B\x01 C\xe9 D] E\0F G", 16));
  EXPECT_EQ(list.text(), "A G");
}

TEST(ImapCapabilities, AreBounded) {
  std::string many;
  for (int i = 0; i < 5000; ++i) many += " CAP" + std::to_string(i);
  EXPECT_LE(ImapCapabilities(many).text().size(), ImapCapabilities::kMaxBytes);
}

TEST(ImapResponseText, IsTakenApart) {
  const ImapResponseText limit = parse_imap_response_text("[LIMIT] Too many");
  EXPECT_EQ(limit.code, "LIMIT");
  EXPECT_EQ(limit.text, "Too many");
  EXPECT_TRUE(limit.is("limit"));
  EXPECT_EQ(limit.code_arguments(), "");
  const ImapResponseText list = parse_imap_response_text("[CAPABILITY A B] in");
  EXPECT_TRUE(list.is("CAPABILITY"));
  EXPECT_EQ(list.code_arguments(), "A B");
  for (const char* plain : {"", "text", "[open text", "a [X] b"}) {
    SCOPED_TRACE(plain);
    EXPECT_EQ(parse_imap_response_text(plain).code, "");
    EXPECT_EQ(parse_imap_response_text(plain).text, plain);
  }
  EXPECT_EQ(parse_imap_response_text("[]").text, "");
  EXPECT_FALSE(parse_imap_response_text("text").is("text"));
}

TEST(ImapIdSetting, IsPairsOfWordsAndStrings) {
  EXPECT_TRUE(parse_imap_id_setting("  ").empty());
  const ImapIdFields fields =
      parse_imap_id_setting("name Postern vendor \"Acme \\\"Inc\\\"\" version * odd");
  ASSERT_EQ(fields.size(), 4U);
  EXPECT_EQ(fields[0], (ImapIdFields::value_type{"name", "Postern"}));
  EXPECT_EQ(fields[1], (ImapIdFields::value_type{"vendor", "Acme \"Inc\""}));
  EXPECT_EQ(fields[2], (ImapIdFields::value_type{"version", "*"}));
  EXPECT_EQ(fields[3], (ImapIdFields::value_type{"odd", std::nullopt}));
  EXPECT_EQ(parse_imap_id_setting("a \"open").at(0).second, "open");
  EXPECT_EQ(parse_imap_id_setting("a \"x\\").at(0).second, "x\\");
}

TEST(ImapIdList, IsWrittenSoThatNothingBreaksOutOfIt) {
  EXPECT_EQ(format_imap_id({}), "NIL");
  EXPECT_EQ(format_imap_id({{"name", "x"}, {"os", std::nullopt}}), "(\"name\" \"x\" \"os\" NIL)");
  EXPECT_EQ(format_imap_id_body({{"a", "q\"\\"}, {"b", "x\r\ny\xe9"}}),
            "\"a\" \"q\\\"\\\\\" \"b\" \"x??y?\"");
}

}  // namespace
}  // namespace postern::wire
