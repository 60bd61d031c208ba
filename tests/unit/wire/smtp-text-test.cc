#include "wire/smtp-text.h"

#include <gtest/gtest.h>

#include <string>

namespace postern::wire {
namespace {

using Problem = SmtpCommand::Problem;

TEST(SmtpCommand, IsAWordAndWhatFollowsIt) {
  const SmtpCommand said = parse_smtp_command("MAIL FROM:<a@b> SIZE=5 \t ");
  EXPECT_EQ(said.problem, Problem::none);
  EXPECT_EQ(said.name, "MAIL");
  EXPECT_EQ(said.parameters, "FROM:<a@b> SIZE=5");
  EXPECT_EQ(parse_smtp_command("QUIT").name, "QUIT");
  EXPECT_EQ(parse_smtp_command("QUIT ").parameters, "");
  EXPECT_EQ(parse_smtp_command("NOOP  x").parameters, " x");
  EXPECT_EQ(parse_smtp_command("NOOP \xc3\xa9").problem, Problem::none);
  for (const std::string_view nameless : {"", " ", " NOOP"}) {
    EXPECT_EQ(parse_smtp_command(nameless).name, "");
    EXPECT_EQ(parse_smtp_command(nameless).problem, Problem::none);
  }
}

TEST(SmtpCommand, IsNoneWithOtherBytes) {
  for (const std::string_view line :
       {std::string_view("FOO0"), std::string_view("NO-OP"), std::string_view("NOOP\t"),
        std::string_view("NOOP\r"), std::string_view("NOOP a\rb"), std::string_view("NOOP a\x7f"),
        std::string_view("NOOP \xff"), std::string_view("NOOP \xc3"),
        std::string_view("NOOP \0", 6), std::string_view("N\0", 2), std::string_view("\xc3\xa9")}) {
    EXPECT_EQ(parse_smtp_command(line).problem, Problem::syntax) << line;
  }
}

TEST(SmtpCommand, HasLimits) {
  EXPECT_EQ(parse_smtp_command(std::string(32, 'a')).problem, Problem::none);
  EXPECT_EQ(parse_smtp_command(std::string(33, 'a')).problem, Problem::syntax);
  EXPECT_EQ(parse_smtp_command("A " + std::string(1026, 'a')).problem, Problem::none);
  EXPECT_EQ(parse_smtp_command("A " + std::string(1027, 'a')).problem, Problem::too_long);
  EXPECT_EQ(parse_smtp_command("A " + std::string(1026, '\r')).problem, Problem::syntax);
  EXPECT_EQ(parse_smtp_command("A a", true).problem, Problem::too_long);
}

TEST(SmtpDomain, IsLabelsWithDots) {
  for (const std::string_view good : {"a", "a.b", "a-b.c_d", "1.2", "xn--a.example"}) {
    EXPECT_TRUE(is_smtp_domain(good)) << good;
  }
  for (const std::string_view bad :
       {"", ".", "a.", ".a", "a..b", "-a", "_a", "a b", "a\n", "[1]"}) {
    EXPECT_FALSE(is_smtp_domain(bad)) << bad;
  }
  for (const std::string_view good : {"[192.0.2.1]", "[IPv6:::1]", "[ipv6:2001:db8::1]", "[x:y]"}) {
    EXPECT_TRUE(is_smtp_address_literal(good)) << good;
  }
  for (const std::string_view bad : {"[]", "[192.0.2.1", "192.0.2.1", "[::1]", "[IPv6:192.0.2.1]",
                                     "[IPv6:x]", "[a]", "[a:]", "[a: b]", "[a:[b]", "["}) {
    EXPECT_FALSE(is_smtp_address_literal(bad)) << bad;
  }
}

TEST(Xtext, ComesBackAsItWas) {
  std::string all;
  for (int c = 0; c < 256; ++c) all += static_cast<char>(c);
  const std::string encoded = xtext_encode(all);
  for (const char c : encoded) EXPECT_TRUE(c > ' ' && c < 0x7f && c != '=');
  EXPECT_EQ(xtext_decode(encoded), all);
  EXPECT_EQ(xtext_encode("a=b+c d"), "a+3Db+2Bc+20d");
  for (const std::string_view bad : {"+", "+2", "a+", "+zz", "+2g", "+2d", "+ 2"}) {
    EXPECT_FALSE(xtext_decode(bad)) << bad;
  }
}

TEST(SmtpReply, IsACodeAndAText) {
  const auto line = parse_smtp_reply("250-AUTH PLAIN");
  ASSERT_TRUE(line);
  EXPECT_EQ(line->code, 250U);
  EXPECT_FALSE(line->last);
  EXPECT_EQ(line->text, "AUTH PLAIN");
  EXPECT_TRUE(parse_smtp_reply("334 ")->last);
  EXPECT_TRUE(parse_smtp_reply("559 x"));
  for (const std::string_view bad : {"", "2", "250", "25 x", "199 x", "560 x", "+25 x", "2500 x"}) {
    EXPECT_FALSE(parse_smtp_reply(bad)) << bad;
  }
}

TEST(SmtpReply, MayHaveAnEnhancedCode) {
  EXPECT_EQ(smtp_enhanced_code("5.7.8 no"), "5.7.8");
  EXPECT_EQ(smtp_enhanced_code("2.0.0"), "2.0.0");
  EXPECT_EQ(smtp_enhanced_code("5.7.123 x"), "5.7.123");
  for (const std::string_view none : {"", "no", "5.7", "5.7.", "5..8", "3.7.8 x", "5.7.8.9 x",
                                      "55.7.8 x", "5.7.8x", "5.7.1234 x", "..", "5.a.8"}) {
    EXPECT_EQ(smtp_enhanced_code(none), "") << none;
  }
}

TEST(SmtpString, IsOneAtomOrQuoted) {
  EXPECT_EQ(smtp_string_problem(""), "");
  EXPECT_EQ(smtp_string_problem("a+b"), "");
  EXPECT_NE(smtp_string_problem("a.b"), "");
  EXPECT_EQ(smtp_string_problem("\"a b\""), "");
  EXPECT_NE(smtp_string_problem("\"a b"), "");
}

}  // namespace
}  // namespace postern::wire
