#include "wire/imap-arguments.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

namespace postern::wire {
namespace {

using Event = ImapArgumentReader::Event;
using Kind = ImapArgumentReader::Kind;

/// Everything the reader says of `line`, offered `piece` bytes at a time: "a:x" for an atom, "q:x"
/// and "l:x" for strings, "(" ")" "+" "end", "!text" for an error, "!!text" for a fatal one.
std::vector<std::string> read(std::string_view line, std::size_t piece,
                              const ImapArgumentLimits& limits = {},
                              std::string_view* rest = nullptr) {
  ImapArgumentReader reader;
  reader.start(limits, 0);
  std::vector<std::string> out;
  std::string buffer;  // what the reader has not taken yet
  while (true) {
    std::string_view input = buffer;
    const Event event = reader.next(input);
    buffer.erase(0, buffer.size() - input.size());
    switch (event) {
      case Event::more:
        EXPECT_TRUE(buffer.empty());
        if (line.empty()) return out;
        buffer += line.substr(0, std::min(piece, line.size()));
        line.remove_prefix(std::min(piece, line.size()));
        break;
      case Event::argument: {
        const char* const kind = reader.kind() == Kind::atom     ? "a:"
                                 : reader.kind() == Kind::quoted ? "q:"
                                                                 : "l:";
        out.push_back(kind + std::string(reader.value()) + (reader.has_nul() ? " (NUL)" : ""));
        break;
      }
      case Event::list_open:
        out.emplace_back("(");
        break;
      case Event::list_close:
        out.emplace_back(")");
        break;
      case Event::continuation:
        out.emplace_back("+");
        break;
      case Event::end:
        out.emplace_back("end");
        if (rest != nullptr) *rest = line;
        return out;
      case Event::error:
        out.push_back("!" + std::string(reader.error_text()));
        return out;
      case Event::fatal:
        out.push_back("!!" + std::string(reader.error_text()));
        return out;
      case Event::full:
        out.emplace_back("full");
        return out;
    }
  }
}

/// The same however it is cut.
std::vector<std::string> both(std::string_view line, const ImapArgumentLimits& limits = {}) {
  std::vector<std::string> whole = read(line, line.size() + 1, limits);
  for (std::size_t piece = 1; piece < std::min<std::size_t>(line.size(), 20); ++piece) {
    EXPECT_EQ(read(line, piece, limits), whole) << piece;
  }
  return whole;
}

using Said = std::vector<std::string>;

TEST(ImapArguments, AreAtomsStringsLiteralsAndLists) {
  EXPECT_EQ(both("\r\n"), Said{"end"});
  EXPECT_EQ(both("\n"), Said{"end"});
  EXPECT_EQ(both("alice pass\r\n"), (Said{"a:alice", "a:pass", "end"}));
  EXPECT_EQ(both("alice  pass \n"), (Said{"a:alice", "a:pass", "end"}));
  EXPECT_EQ(both("\"a b\" \"\"\r\n"), (Said{"q:a b", "q:", "end"}));
  EXPECT_EQ(both("\"q\\\"u\\\\o\\x\"\r\n"), (Said{"q:q\"u\\ox", "end"}));
  EXPECT_EQ(both("\"\xc3\xa9\"\r\n"), (Said{"q:\xc3\xa9", "end"}));
  EXPECT_EQ(both("{5}\r\na\r\nb) pass\r\n"), (Said{"+", "l:a\r\nb)", "a:pass", "end"}));
  EXPECT_EQ(both("{3+}\r\nabc {0+}\r\n\r\n"), (Said{"l:abc", "l:", "end"}));
  EXPECT_EQ(both("{0}\n\n"), (Said{"+", "l:", "end"}));
  EXPECT_EQ(both("{000003}\r\nabc\r\n"), (Said{"+", "l:abc", "end"}));
  EXPECT_EQ(both("(a \"b\") c\r\n"), (Said{"(", "a:a", "q:b", ")", "a:c", "end"}));
  EXPECT_EQ(both("()\r\n"), (Said{"(", ")", "end"}));
  EXPECT_EQ(both("~ ~x a{3} NIL\r\n"), (Said{"a:~", "a:~x", "a:a{3}", "a:NIL", "end"}));
  EXPECT_EQ(both("a]*%\\\r\n"), (Said{"a:a]*%\\", "end"}));
}

TEST(ImapArguments, AreRefusedWithDovecotsWords) {
  EXPECT_EQ(both("{x}\r\n"), Said{"!Invalid literal size"});
  EXPECT_EQ(both("{}\r\n"), Said{"!Invalid literal size"});
  EXPECT_EQ(both("{+}\r\n"), Said{"!Invalid literal size"});
  EXPECT_EQ(both("{-1}\r\n"), Said{"!Invalid literal size"});
  EXPECT_EQ(both("{4\r\n"), Said{"!Invalid literal size"});
  EXPECT_EQ(both("{4+x\r\n"), Said{"!Expecting '}' after '+'"});
  EXPECT_EQ(both("{4}x\r\n"), Said{"!Missing LF after literal size"});
  EXPECT_EQ(both("{4}\rx\r\n"), Said{"!Missing LF after literal size"});
  EXPECT_EQ(both("\"open\r\n"), Said{"!Missing '\"'"});
  EXPECT_EQ(both("\"open\\\n"), Said{"!Missing '\"'"});
  EXPECT_EQ(both(std::string_view("\"a\0\"\r\n", 6)), Said{"!NULs not allowed in strings"});
  EXPECT_EQ(both(std::string_view("\"\\\0\"\r\n", 6)), Said{"!NULs not allowed in strings"});
  EXPECT_EQ(both("\xe9t\xe9\r\n"), Said{"!8bit data in atom"});
  EXPECT_EQ(both("a\x01\r\n"), Said{"!Invalid characters in atom"});
  EXPECT_EQ(both("a(\r\n"), Said{"!Invalid characters in atom"});
  EXPECT_EQ(both(std::string_view("a\0b\r\n", 5)), Said{"!Invalid characters in atom"});
  EXPECT_EQ(both("a\rb\n"), (Said{"a:a", "!Invalid characters in atom"}));
  EXPECT_EQ(both("a) b\r\n"), (Said{"a:a", "!Unexpected ')'"}));
  EXPECT_EQ(both("(a\r\n"), (Said{"(", "a:a", "!Missing ')'"}));
  EXPECT_EQ(both("~{3}\r\n"), Said{"!literal8 not allowed here"});
  EXPECT_EQ(both("((a))\r\n"), (Said{"(", "!Too many '('"}));
}

TEST(ImapArguments, CompareALiteralsSizeBeforeTakingAByte) {
  EXPECT_EQ(both("{8193}\r\n"), Said{"!!Literal size too large"});
  EXPECT_EQ(both("{8192}\r\n"), Said{"+"});
  EXPECT_EQ(both("{18446744073709551617}\r\n"), Said{"!!Literal size too large"});
  EXPECT_EQ(both("{99999999999999999999999999999999999+}\r\n"), Said{"!!Literal size too large"});
  ImapArgumentLimits minus;
  minus.literal_minus = true;
  minus.budget = 10000;
  EXPECT_EQ(both("{4097+}\r\n", minus), Said{"!!Non-synchronizing literal size too large"});
  EXPECT_EQ(both("{4097}\r\n", minus), Said{"+"});
  EXPECT_EQ(both("{4096+}\r\n" + std::string(4096, 'x') + "\r\n", minus),
            (Said{"l:" + std::string(4096, 'x'), "end"}));
}

TEST(ImapArguments, MarkALiteralWithNul) {
  EXPECT_EQ(both(std::string_view("{3+}\r\na\0b x\r\n", 13)),
            (Said{std::string("l:a\0b (NUL)", 11), "a:x", "end"}));
}

TEST(ImapArguments, StopAtTheBudgetAndNotBefore) {
  ImapArgumentLimits limits;
  limits.budget = 10;
  EXPECT_EQ(both("12345678\r\n", limits), (Said{"a:12345678", "end"}));
  EXPECT_EQ(both("123456789\r\n", limits), (Said{"a:123456789", "full"}));
  EXPECT_EQ(both("1234567890123\r\n", limits), Said{"full"});
  EXPECT_EQ(both("{8000}\r\nxxxxxxxxxx", limits), (Said{"+", "full"}));
  EXPECT_EQ(both(std::string(100, ' '), limits), Said{"full"});
}

TEST(ImapArguments, GiveEachArgumentItsOwnBudgetWhenAskedTo) {
  ImapArgumentReader reader;
  ImapArgumentLimits limits;
  limits.budget = 8;
  reader.start(limits, 6);
  std::string_view input = "abc defgh ijklm\r\n";
  // Six bytes were used before, so two fit.
  EXPECT_EQ(reader.next(input), Event::full);
  reader.start(limits, 0);
  input = "abc defgh ijklm\r\n";
  for (const char* word : {"abc", "defgh", "ijklm"}) {
    ASSERT_EQ(reader.next(input), Event::argument);
    EXPECT_EQ(reader.value(), word);
    reader.restart_budget();
  }
  EXPECT_EQ(reader.next(input), Event::end);
  EXPECT_EQ(reader.total(), 17U);
}

TEST(ImapArguments, LeaveTheNextCommandAlone) {
  std::string_view rest;
  EXPECT_EQ(read("a\r\nb NOOP\r\n", 3, {}, &rest), (Said{"a:a", "end"}));
  EXPECT_EQ(rest, "b NOOP\r\n");
}

TEST(ImapArguments, LeaveTheLineEndBehindAnError) {
  ImapArgumentReader reader;
  reader.start({}, 0);
  std::string_view input = "\"open\r\nb NOOP\r\n";
  ASSERT_EQ(reader.next(input), Event::error);
  EXPECT_EQ(input, "\r\nb NOOP\r\n");
}

TEST(ImapArguments, KnowNilInAnyCaseButOnlyAsAnAtom) {
  ImapArgumentReader reader;
  reader.start({}, 0);
  std::string_view input = "nIl \"NIL\" NILS\r\n";
  ASSERT_EQ(reader.next(input), Event::argument);
  EXPECT_TRUE(reader.is_nil());
  ASSERT_EQ(reader.next(input), Event::argument);
  EXPECT_FALSE(reader.is_nil());
  ASSERT_EQ(reader.next(input), Event::argument);
  EXPECT_FALSE(reader.is_nil());
}

TEST(ImapTag, IsMadeOfAstringCharactersWithoutPlus) {
  for (const char c : std::string("aZ09.]-:/_!")) EXPECT_TRUE(is_imap_tag_char(c)) << c;
  for (const char c : std::string("+(){%*\"\\ \r\n\x7f\xe9"))
    EXPECT_FALSE(is_imap_tag_char(c)) << c;
  EXPECT_FALSE(is_imap_tag_char('\0'));
}

}  // namespace
}  // namespace postern::wire
