#include "wire/sieve-arguments.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

namespace postern::wire {
namespace {

using Event = SieveArgumentReader::Event;
using Events = std::vector<std::string>;

std::string name_of(Event event, const SieveArgumentReader& reader) {
  const std::string value(reader.value());
  switch (event) {
    case Event::more:
      return "more";
    case Event::atom:
      return "atom " + value;
    case Event::quoted:
      return "quoted " + value;
    case Event::literal:
      return "literal " + value;
    case Event::list_open:
      return "(";
    case Event::list_close:
      return ")";
    case Event::end:
      return "end";
    case Event::error:
      return "error: " + std::string(reader.error_text());
    case Event::fatal:
      return "fatal: " + std::string(reader.error_text());
    case Event::full:
      return "full";
  }
  return "";
}

bool goes_on(Event event) {
  return event != Event::end && event != Event::error && event != Event::fatal &&
         event != Event::full;
}

/// What one line comes to, offered `piece` bytes at a time.
Events read(std::string_view line, std::size_t piece, SieveLimits limits) {
  SieveArgumentReader reader;
  reader.start(limits, 0);
  Events out;
  while (!line.empty()) {
    std::string_view part = line.substr(0, piece);
    const std::size_t size = part.size();
    for (;;) {
      const Event event = reader.next(part);
      if (event == Event::more) break;
      out.push_back(name_of(event, reader));
      if (!goes_on(event)) return out;
    }
    EXPECT_TRUE(part.empty());
    line.remove_prefix(size);
  }
  out.emplace_back("more");
  return out;
}

/// The same however it is cut.
Events read(std::string_view line, SieveLimits limits = {}) {
  Events whole = read(line, std::string::npos, limits);
  for (const std::size_t piece : {1UL, 2UL, 3UL, 7UL}) {
    EXPECT_EQ(read(line, piece, limits), whole) << line << " in pieces of " << piece;
  }
  return whole;
}

TEST(SieveArguments, AreStringsAndAtoms) {
  EXPECT_EQ(read(" \"PLAIN\" {3+}\r\na\"b atom x=y\r\n"),
            (Events{"quoted PLAIN", "literal a\"b", "atom atom", "atom x=y", "end"}));
  EXPECT_EQ(read("{5}\r\na\r\nb\n {0+}\n\"\" \n"),
            (Events{"literal a\r\nb\n", "literal ", "quoted ", "end"}));
  EXPECT_EQ(read(R"("a\"b\\c")"
                 "\r\n"),
            (Events{"quoted a\"b\\c", "end"}));
  EXPECT_EQ(read("\"\xc3\xa9\ta\"\n"), (Events{"quoted \xc3\xa9\ta", "end"}));
  EXPECT_EQ(read("\r\n"), (Events{"end"}));
}

TEST(SieveArguments, ThatAreMalformedSayWhy) {
  const std::vector<std::pair<std::string, std::string>> cases{
      {"\"open\r\n", "String contains invalid character."},
      {"\"\xe9\"\r\n", "Invalid UTF-8 character in quoted-string."},
      {"\"a\\b\"\r\n", "Escaped quoted-string character is not a QUOTED-SPECIAL."},
      {std::string("\"a\0b\"\r\n", 7), "NULs not allowed in strings"},
      {"{x}\r\n", "Invalid literal size"},
      {"{}\r\n", "Invalid literal size"},
      {"{+}\r\n", "Invalid literal size"},
      {"{3+x\r\n", "Invalid literal size"},
      {"{3+}x\r\n", "Invalid literal size"},
      {"{3}\rx\r\n", "Invalid literal size"},
      {"{-1}\r\n", "Invalid literal size"},
      {"(\"a\")\r\n", "Invalid characters in atom"},
      {")\r\n", "Invalid characters in atom"},
      {"a\"b\r\n", "Invalid characters in atom"},
      {"a\rb\r\n", "Invalid characters in atom"},
      {"\x01\r\n", "Invalid characters in atom"},
      {"\xc3\xa9\r\n", "Invalid characters in atom"},
      {std::string("a\0b\r\n", 5), "Invalid characters in atom"}};
  for (const auto& [line, error] : cases) {
    SCOPED_TRACE(line);
    EXPECT_EQ(read(line).back(), "error: " + error);
  }
}

/// CVE-2026-27858: what is announced is not allocated, nor is it read.
TEST(SieveArguments, OfAnAnnouncedSizeThatIsTooLargeAreFatalAtOnce) {
  for (const char* line : {"{8193+}\r\n", "{8193}", "{4294967295+}\r\n", "{4294967296}",
                           "{18446744073709551616+}\r\n", "{99999999999999999999999+}\r\n"}) {
    SCOPED_TRACE(line);
    EXPECT_EQ(read(line, {.budget = 100'000}), (Events{"fatal: Literal size too large"}));
  }
  EXPECT_EQ(read("{8192+}\r\n", {.budget = 100'000}), (Events{"more"}));
}

TEST(SieveArguments, EndAtTheBudget) {
  EXPECT_EQ(read("\"12345678\"\r\n", {.budget = 12}), (Events{"quoted 12345678", "end"}));
  EXPECT_EQ(read("\"12345678\"\r\n", {.budget = 11}), (Events{"quoted 12345678", "full"}));
  EXPECT_EQ(read("\"123456789012\"\r\n", {.budget = 10}), (Events{"full"}));
  EXPECT_EQ(read("{9}\r\n123456789\r\n", {.budget = 13}), (Events{"full"}));
}

TEST(SieveArguments, OfBackendsMayHaveParentheses) {
  const SieveLimits limits{.depth = 2};
  EXPECT_EQ(read("OK (SASL \"eA==\") \"in\"\r\n", limits),
            (Events{"atom OK", "(", "atom SASL", "quoted eA==", ")", "quoted in", "end"}));
  EXPECT_EQ(read("NO (A (B))\n", limits),
            (Events{"atom NO", "(", "atom A", "(", "atom B", ")", ")", "end"}));
  EXPECT_EQ(read("((( \n", limits).back(), "error: Invalid characters in atom");
  EXPECT_EQ(read("(a\n", limits).back(), "error: Invalid characters in atom");
}

/// What is left behind a refused line, or "full".
std::string rest_behind(std::string_view input, std::size_t piece, bool read_first) {
  SieveArgumentReader reader;
  reader.start({}, 0);
  bool skipping = !read_first;
  while (!input.empty()) {
    std::string_view part = input.substr(0, piece);
    const std::size_t size = part.size();
    for (;;) {
      const Event event = skipping ? reader.skip(part) : reader.next(part);
      if (event == Event::more) break;
      if (event == Event::full) return "full";
      if (event == Event::end) {
        return std::string(input.substr(size - part.size()));
      }
      if (event == Event::error || event == Event::fatal) skipping = true;
    }
    input.remove_prefix(size);
  }
  return "more";
}

/// A literal of a refused command is not read as commands (Dovecot does).
TEST(SieveArguments, ThatAreRefusedGoWithTheirLiterals) {
  const std::vector<std::pair<std::string, std::string>> cases{
      {"\"a\" {10+}\r\nkeep;keep;\r\nNOOP\r\n", "NOOP\r\n"},
      {"{6}\nNOOP\r\n {6+}\r\nNOOP\r\n\r\nX", "X"},
      {"\"{6+}\" x\r\nNOOP\r\n", "NOOP\r\n"},
      {"\"{6+}\r\nNOOP\r\n", "NOOP\r\n"},
      {"(\"\\\"{6+}\r\nNOOP\r\n", "NOOP\r\n"},
      {"( {6+}\r\nNOOP\r\n) \r\nX", "X"},
      {"{x}{6+}\r\nNOOP\r\n\r\nX", "X"},
      {"\"\\x\"{6+}\r\nNOOP\r\n\r\nX", "X"},
      {"a{6+}\r\nNOOP\r\n\r\nX", "X"},
      {"{6+}x\r\nNOOP\r\n", "NOOP\r\n"},
      {"{0+}\r\n\r\nX", "X"},
      {"{9000+}\r\n" + std::string(9000, '\n') + "\r\nX", "X"},
      {"{70000+}\r\n", "full"},
      {"{99999999999999999999999+}\r\n", "full"},
      {std::string(70'000, 'x') + "\r\n", "full"},
      {"{30000+}\r\n" + std::string(30'000, '\n') + "{40000}\r\n", "full"}};
  for (const auto& [line, rest] : cases) {
    SCOPED_TRACE(line.substr(0, 40));
    for (const std::size_t piece : {std::string::npos, 1UL, 3UL}) {
      // From its start, as of an unknown command; and once reading it has found an error.
      EXPECT_EQ(rest_behind(line, piece, false), rest) << piece;
      const std::string start = "(";
      EXPECT_EQ(rest_behind(start + line, piece, true), rest) << piece;
    }
  }
}

TEST(SieveStrings, AreQuotedWhereQuotesCarryThem) {
  const auto written = [](std::string_view value) {
    WipingBuffer out;
    append_sieve_string(value, out);
    return std::string(out.view());
  };
  EXPECT_EQ(written(""), "\"\"");
  EXPECT_EQ(written("a\"b\\c \xc3\xa9"), "\"a\\\"b\\\\c \xc3\xa9\"");
  EXPECT_EQ(written("a\r\nb"), "{4}\r\na\r\nb");
  EXPECT_EQ(written("\xe9"), "{1}\r\n\xe9");
  EXPECT_EQ(written(std::string_view("\0", 1)), std::string("{1}\r\n\0", 6));
  EXPECT_EQ(written(std::string(1024, 'x')), '"' + std::string(1024, 'x') + '"');
  EXPECT_EQ(written(std::string(1025, 'x')), "{1025}\r\n" + std::string(1025, 'x'));
}

}  // namespace
}  // namespace postern::wire
