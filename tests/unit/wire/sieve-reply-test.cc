#include "wire/sieve-reply.h"

#include <gtest/gtest.h>

#include <array>
#include <string>
#include <string_view>
#include <vector>

namespace postern::wire {
namespace {

using Event = SieveReplyReader::Event;

/// "KIND code text value", or what went wrong.
std::string read(const std::vector<std::string_view>& lines) {
  SieveReplyReader reader;
  Event event = Event::more;
  for (const std::string_view line : lines) {
    if (event != Event::more) return "more lines than the reply has";
    event = reader.take(line);
  }
  if (event == Event::more) return "more";
  if (event == Event::error) return "error";
  const SieveReply& reply = reader.reply();
  constexpr std::array<std::string_view, 4> kKinds{"strings", "OK", "NO", "BYE"};
  std::string out(kKinds.at(static_cast<std::size_t>(reply.kind)));
  out += " [" + reply.code + "] <" + std::string(reply.text.view()) + ">";
  if (reply.has_value) out += " <" + reply.value + ">";
  return reply.plain ? out : out + " not plain";
}

TEST(SieveReplies, AreAStatusOrStrings) {
  EXPECT_EQ(read({"OK"}), "OK [] <>");
  EXPECT_EQ(read({"ok \"Logged in.\""}), "OK [] <Logged in.>");
  EXPECT_EQ(read({"NO (trylater) \"down\""}), "NO [TRYLATER] <down>");
  EXPECT_EQ(read({"BYE (REFERRAL \"sieve://127.0.0.9\") \"moved\""}), "BYE [REFERRAL] <moved>");
  EXPECT_EQ(read({"OK (SASL \"eA==\")"}), "OK [SASL] <>");
  EXPECT_EQ(read({"OK (TAG {1}", "x) \"Done\""}), "OK [TAG] <Done> not plain");
  EXPECT_EQ(read({"\"SASL\" \"PLAIN LOGIN\""}), "strings [] <SASL> <PLAIN LOGIN>");
  EXPECT_EQ(read({"\"STARTTLS\""}), "strings [] <STARTTLS>");
  EXPECT_EQ(read({"\"\""}), "strings [] <>");
}

TEST(SieveReplies, SpanLinesWhereTheyHaveLiterals) {
  EXPECT_EQ(read({"{12}", "VXNlcm5hbWU6"}), "strings [] <VXNlcm5hbWU6> not plain");
  EXPECT_EQ(read({"NO {4}", "a", "b"}), "NO [] <a\r\nb> not plain");
  EXPECT_EQ(read({"NO {6+}", "a", "b", ""}), "NO [] <a\r\nb\r\n> not plain");
  EXPECT_EQ(read({"\"SASL\" {0}", ""}), "strings [] <SASL> <> not plain");
  EXPECT_EQ(read({"{12}"}), "more");
}

TEST(SieveReplies, ThatAreNeitherAreErrors) {
  for (const std::string_view line :
       {"", " ", "* OK IMAP", "+OK POP3", "220 SMTP", "(OK)", "\"open", "\"a\" (", "{x}", "{9000}",
        "{99999999999999999999}", "OKAY", "\"a\\b\""}) {
    SCOPED_TRACE(line);
    EXPECT_EQ(read({line}), "error");
  }
  // The end of a literal between CR and LF: it was counted with other line ends.
  EXPECT_EQ(read({"{2}", "x"}), "error");
}

TEST(SieveReplies, WithAStatusCountHoweverBadlyTheRestIsWritten) {
  EXPECT_EQ(read({"NO (oops"}), "NO [OOPS] <> not plain");
  EXPECT_EQ(read({"OK \"open"}), "OK [] <> not plain");
  EXPECT_EQ(read({"OK done"}), "OK [] <>");
  EXPECT_EQ(read({"BYE {9999999}"}), "BYE [] <> not plain");
}

TEST(SieveReplies, DoNotMixWithTheOneBefore) {
  SieveReplyReader reader;
  EXPECT_EQ(reader.take("NO (TRYLATER) \"x\""), Event::reply);
  EXPECT_EQ(reader.take("\"a\" \"b\""), Event::reply);
  EXPECT_TRUE(reader.reply().code.empty());
  EXPECT_EQ(reader.take("nonsense"), Event::error);
  EXPECT_EQ(reader.take("OK"), Event::reply);
  EXPECT_FALSE(reader.reply().has_value);
  EXPECT_TRUE(reader.reply().text.empty() && reader.reply().plain);
}

}  // namespace
}  // namespace postern::wire
