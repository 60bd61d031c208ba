// What libinih would cut, split or swallow, and that it does not happen.
#include "config/ini-reader.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace postern::config {
namespace {

/// The value of the only key in `text`, which must read without a problem.
std::string only_value(const std::string& text) {
  const IniText ini = read_ini(text);
  EXPECT_TRUE(ini.problems.empty()) << ini.problems.front().what;
  EXPECT_EQ(ini.lines.size(), 1U);
  return ini.lines.empty() ? std::string{} : std::string(ini.lines.front().value.reveal());
}

/// The only problem in `text`.
IniProblem only_problem(const std::string& text) {
  const IniText ini = read_ini(text);
  EXPECT_EQ(ini.problems.size(), 1U);
  return ini.problems.empty() ? IniProblem{} : ini.problems.front();
}

std::string long_query(std::size_t bytes) {
  const std::string part = "SELECT 'a;b' AS x, \"y\" ; # = [ ] : -- \xc3\xa4 '' ;; FROM t; ";
  std::string out;
  while (out.size() < bytes) out += part;
  out.resize(bytes - 1);
  while ((static_cast<unsigned char>(out.back()) & 0x80U) != 0) out.back() = 'x';
  return out + ";";
}

TEST(IniReader, KeepsEveryByteAroundTheLibrarysLimits) {
  const std::vector<std::size_t> sizes{2,   190, 191, 192, 195,   196,   197,   198,    199,
                                       200, 201, 202, 400, 20000, 65535, 65536, 200000, 1000000};
  for (const std::size_t size : sizes) {
    const std::string query = long_query(size);
    EXPECT_EQ(only_value("password_query = " + query + "\n"), query) << size;
  }
}

TEST(IniReader, LinesOfExactly199To201BytesStayOne) {
  for (const std::size_t bytes : {198U, 199U, 200U, 201U, 202U}) {
    const std::string key = "password_query = ";
    const std::string value(bytes - key.size(), 'v');
    const IniText ini = read_ini(key + value + "\nnext = 1\n");
    ASSERT_EQ(ini.lines.size(), 2U) << bytes;
    EXPECT_EQ(ini.lines[0].value.reveal(), value);
    EXPECT_EQ(ini.lines[0].line, 1U);
    EXPECT_EQ(ini.lines[1].text, "next");
    EXPECT_EQ(ini.lines[1].line, 2U);
  }
}

TEST(IniReader, KeepsLongSectionHeads) {
  for (const std::size_t bytes : {48U, 49U, 50U, 51U, 120U, 5000U}) {
    const std::string head = "local_name " + std::string(bytes - 11, 'n');
    const IniText ini = read_ini("[" + head + "]\nssl = yes\n");
    EXPECT_TRUE(ini.problems.empty());
    ASSERT_EQ(ini.lines.size(), 2U);
    EXPECT_TRUE(ini.lines[0].is_section);
    EXPECT_EQ(ini.lines[0].text, head);
  }
}

TEST(IniReader, KnowsNoCommentBehindAValue) {
  EXPECT_EQ(only_value("password = pass ;word # more"), "pass ;word # more");
  EXPECT_EQ(only_value("password = ;"), ";");
  EXPECT_EQ(only_value("password = # x"), "# x");
  EXPECT_EQ(only_value("k = a = b : c"), "a = b : c");
  EXPECT_EQ(only_value("k = [x]"), "[x]");
}

TEST(IniReader, CommentsAndBlankLinesSayNothing) {
  const IniText ini = read_ini("# one\n; two\n\n   \t \n  # three\n\t; four = 1\nk = v\n");
  EXPECT_TRUE(ini.problems.empty());
  ASSERT_EQ(ini.lines.size(), 1U);
  EXPECT_EQ(ini.lines[0].line, 7U);
}

TEST(IniReader, AnIndentedLineIsALineOfItsOwn) {
  const IniText ini = read_ini("a = 1\n  b = 2\n\t[s x]\n   c=3\n");
  EXPECT_TRUE(ini.problems.empty());
  ASSERT_EQ(ini.lines.size(), 4U);
  EXPECT_EQ(ini.lines[1].text, "b");
  EXPECT_EQ(ini.lines[1].value.reveal(), "2");
  EXPECT_TRUE(ini.lines[2].is_section);
  EXPECT_EQ(ini.lines[3].line, 4U);
  const IniProblem indented = only_problem("a = 1\n  rest of it\n");
  EXPECT_EQ(indented.line, 2U);
  EXPECT_NE(indented.what.find("there is no '='"), std::string::npos);
}

TEST(IniReader, TellsOfEmptySections) {
  const IniText ini = read_ini("[service imap-login]\n[passdb a]\n[passdb b]");
  EXPECT_TRUE(ini.problems.empty());
  ASSERT_EQ(ini.lines.size(), 3U);
  EXPECT_EQ(ini.lines[2].text, "passdb b");
  EXPECT_EQ(ini.lines[2].line, 3U);
}

TEST(IniReader, EmptyValues) {
  EXPECT_EQ(only_value("k ="), "");
  EXPECT_EQ(only_value("k="), "");
  EXPECT_EQ(only_value("k =   \t "), "");
  EXPECT_EQ(only_value("k = \"\""), "");
  EXPECT_EQ(only_value("k = ''"), "");
}

TEST(IniReader, Quotes) {
  EXPECT_EQ(only_value("k = \"  two blanks  \""), "  two blanks  ");
  EXPECT_EQ(only_value("k = '  \\\" '"), "  \\\" ");
  EXPECT_EQ(only_value(R"(k = "a \"b\" \\ \n")"), R"(a "b" \ \n)");
  EXPECT_EQ(only_value(R"(k = "half)"), R"("half)");
  EXPECT_EQ(only_value(R"(k = ")"), R"(")");
  EXPECT_EQ(only_value(R"(k = 'mixed")"), R"('mixed")");
  EXPECT_EQ(only_value(R"(k = "end\")"), R"("end\")");
  EXPECT_EQ(only_value(R"(k = "end\\")"), R"(end\)");
  EXPECT_EQ(only_value(R"(k = say "hi")"), R"(say "hi")");
  EXPECT_TRUE(read_ini("k = \"<x\"").lines.at(0).quoted);
  EXPECT_FALSE(read_ini("k = <x").lines.at(0).quoted);
}

TEST(IniReader, BackslashAtTheEndIsPartOfTheValueAndWarnedOf) {
  const IniText ini = read_ini("a = one\\\nb = two\n");
  ASSERT_EQ(ini.lines.size(), 2U);
  EXPECT_EQ(ini.lines[0].value.reveal(), "one\\");
  ASSERT_EQ(ini.problems.size(), 1U);
  EXPECT_TRUE(ini.problems[0].warning);
  EXPECT_EQ(ini.problems[0].line, 1U);
}

TEST(IniReader, NonAsciiValuesInAnyEncodingNamesInUtf8) {
  EXPECT_EQ(only_value("k = gr\xc3\xbc\xc3\x9f"), "gr\xc3\xbc\xc3\x9f");
  EXPECT_EQ(only_value("k = latin1 \xfc\xff"), "latin1 \xfc\xff");
  EXPECT_EQ(only_problem("k\xfc = 1").what, "the key is not UTF-8");
  EXPECT_EQ(only_problem("[passdb \xfc]").what, "the section head is not UTF-8");
  EXPECT_TRUE(read_ini("[passdb \xc3\xbc]").problems.empty());
}

TEST(IniReader, CrlfBomAndMissingLastLineEnd) {
  EXPECT_EQ(only_value("\xef\xbb\xbfk = v"), "v");
  EXPECT_EQ(only_value("k = v\r\n"), "v");
  EXPECT_EQ(only_value("k = v\r"), "v");
  const IniText ini = read_ini("\xef\xbb\xbf[a b]\r\nk = 1\r\n\r\nm = \"x\"\r\n");
  EXPECT_TRUE(ini.problems.empty());
  ASSERT_EQ(ini.lines.size(), 3U);
  EXPECT_EQ(ini.lines[2].value.reveal(), "x");
  EXPECT_EQ(ini.lines[2].line, 4U);
  EXPECT_EQ(only_problem("a = 1\n\xef\xbb\xbf[b\n").line, 2U);
}

TEST(IniReader, ControlBytesAreErrorsWithTheirPlace) {
  const IniText nul = read_ini(std::string("a = 1\nb = x\0y\nc = 2\n", 20));
  ASSERT_EQ(nul.problems.size(), 1U);
  EXPECT_EQ(nul.problems[0].line, 2U);
  EXPECT_NE(nul.problems[0].what.find("byte 6"), std::string::npos);
  ASSERT_EQ(nul.lines.size(), 2U);  // the rest is still read
  EXPECT_EQ(nul.lines[1].text, "c");
  EXPECT_NE(only_problem("k = a\rb\n").what.find("0x0d"), std::string::npos);
  EXPECT_NE(only_problem("k = a\x7f\n").what.find("0x7f"), std::string::npos);
  EXPECT_NE(only_problem("k = a\xc2\x9b\n").what.find("0xc29b"), std::string::npos);
  EXPECT_NE(only_problem("k = a\xe2\x80\xae\n").what.find("0xe280ae"), std::string::npos);
  EXPECT_EQ(only_value("# \xd7\xa9\xe2\x80\x8f\nk = b"), "b") << "a comment from right to left";
  EXPECT_NE(only_problem("# a\rb\n").what.find("0x0d"), std::string::npos);
  EXPECT_EQ(only_value("k = a\tb"), "a\tb");
  EXPECT_EQ(only_value("k = \xc3\xa9\x9b"), "\xc3\xa9\x9b") << "an old encoding's letter";
}

TEST(IniReader, LinesOverTheLimitAreErrors) {
  const std::string key = "k = ";
  const std::string fits(kMaxIniLine - key.size(), 'x');
  EXPECT_EQ(only_value(key + fits), fits);
  const IniText ini = read_ini(key + fits + "x\nnext = 1\n");
  ASSERT_EQ(ini.problems.size(), 1U);
  EXPECT_EQ(ini.problems[0].line, 1U);
  ASSERT_EQ(ini.lines.size(), 1U);
  EXPECT_EQ(ini.lines[0].text, "next");
}

TEST(IniReader, AllBadLinesAreTold) {
  const IniText ini = read_ini("[open\nno equals\n= v\nk: v\n[]\n[a b] x\n[c d] # fine\nk = 1\n");
  ASSERT_EQ(ini.problems.size(), 6U);
  for (unsigned i = 0; i < 6; i++) EXPECT_EQ(ini.problems[i].line, i + 1);
  EXPECT_EQ(ini.lines.back().text, "k");
}

TEST(IniReader, ABadHeadStillEndsTheSectionBefore) {
  const IniText ini = read_ini("[a b]\nk = 1\n[broken\nk = 2\n");
  ASSERT_EQ(ini.lines.size(), 4U);
  EXPECT_TRUE(ini.lines[2].is_section);
  EXPECT_TRUE(ini.lines[2].text.empty());
}

TEST(IniValue, ReadsBackTheSame) {
  const std::vector<std::string> values{"",
                                        "plain",
                                        " leading",
                                        "trailing ",
                                        "\ttab\t",
                                        "\"quoted\"",
                                        "'single'",
                                        "\"",
                                        "'",
                                        "<file",
                                        "ends\\",
                                        "ends\\\\",
                                        "in \"side\" \\ it",
                                        " both \"and\\ ",
                                        "; # = [x]",
                                        long_query(65536),
                                        "\xc3\xa4\xff"};
  for (const std::string& value : values) {
    EXPECT_EQ(only_value("k = " + ini_value(value)), value);
  }
  EXPECT_EQ(ini_value("a b; c"), "a b; c");
  EXPECT_EQ(ini_value("<f"), "\"<f\"");
}

}  // namespace
}  // namespace postern::config
