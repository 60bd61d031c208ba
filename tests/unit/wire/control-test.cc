#include "wire/control.h"

#include <gtest/gtest.h>

#include <string>

namespace postern::wire {
namespace {

ControlRequest request_of(std::string_view line) {
  auto parsed = parse_control_request(line);
  EXPECT_TRUE(parsed.ok()) << line;
  return parsed.ok() ? std::move(parsed).value() : ControlRequest{};
}

std::string_view without_lf(const std::string& line) {
  return std::string_view(line).substr(0, line.size() - 1);
}

TEST(ControlRequest, IsOneJsonObjectALine) {
  EXPECT_EQ(control_request_line({"who", {{"user", "u1"}}}),
            "{\"command\":\"who\",\"args\":{\"user\":\"u1\"}}\n");
  EXPECT_EQ(control_request_line({"reload", {}}), "{\"command\":\"reload\",\"args\":{}}\n");
}

TEST(ControlRequest, RepeatedNamesTravelAsAList) {
  const ControlRequest sent{"kick", {{"user", "a"}, {"user", "b"}, {"user", "c"}, {"ip", "::1"}}};
  const std::string line = control_request_line(sent);
  EXPECT_EQ(line,
            "{\"command\":\"kick\",\"args\":{\"user\":[\"a\",\"b\",\"c\"],\"ip\":\"::1\"}}\n");
  const ControlRequest got = request_of(without_lf(line));
  EXPECT_EQ(got.command, sent.command);
  EXPECT_EQ(got.args, sent.args);
}

TEST(ControlRequest, ArgsMayBeMissingAndNumbersAreText) {
  EXPECT_TRUE(request_of("{\"command\":\"ping\"}").args.empty());
  const auto got = request_of("{\"command\":\"log-errors\",\"args\":{\"since\":17,\"all\":true}}");
  EXPECT_EQ(control_field(got.args, "since"), "17");
  EXPECT_EQ(control_field(got.args, "all"), "true");
  EXPECT_EQ(control_field(got.args, "other"), "");
}

TEST(ControlRequest, AnythingElseIsRefused) {
  for (const char* line :
       {"", "x", "[]", "{}", "{\"command\":7}", "{\"command\":\"\"}", "{\"command\":\"Who\"}",
        "{\"command\":\"a b\"}", "{\"command\":\"who\"", "{\"command\":\"who\"} x",
        "{\"command\":\"who\",\"args\":[]}", "{\"command\":\"who\",\"args\":{\"user\":null}}",
        "{\"command\":\"who\",\"args\":{\"user\":{}}}",
        "{\"command\":\"who\",\"args\":{\"u\":1.5}}",
        "{\"command\":\"who\",\"args\":{\"u\":[[\"a\"]]}}",
        "{\"command\":\"who\",\"args\":{\"U=\":\"a\"}}", "{\"command\":\"\xff\"}"}) {
    SCOPED_TRACE(line);
    EXPECT_FALSE(parse_control_request(line).ok());
  }
}

TEST(ControlRequest, LinesAndListsAreBounded) {
  const std::string long_line =
      "{\"command\":\"who\",\"args\":{\"user\":\"" + std::string(kMaxControlLine, 'u') + "\"}}";
  EXPECT_FALSE(parse_control_request(long_line).ok());
  std::string list = "{\"command\":\"who\",\"args\":{\"u\":[\"\"";
  for (std::size_t i = 0; i < kMaxControlArgs; i++) list += ",\"\"";
  EXPECT_FALSE(parse_control_request(list + "]}}").ok());
  EXPECT_FALSE(parse_control_request(std::string(60000, '[')).ok());
}

TEST(ControlReply, RowsKeepTheOrderOfTheirFields) {
  const ControlFields row{{"username", "u1"}, {"#", "3"}, {"a", ""}};
  const std::string line = control_row_line(row);
  EXPECT_EQ(line, "{\"row\":{\"username\":\"u1\",\"#\":\"3\",\"a\":\"\"}}\n");
  const auto got = parse_control_reply(without_lf(line));
  ASSERT_TRUE(got.ok());
  EXPECT_EQ(std::get<ControlFields>(got.value()), row);
}

TEST(ControlReply, ForeignBytesNeverBreakALine) {
  const std::string line = control_row_line({{"user", std::string("a\n\"\0\xff\xc3\xa9", 7)}});
  EXPECT_EQ(line.find('\n'), line.size() - 1);
  const auto got = parse_control_reply(without_lf(line));
  ASSERT_TRUE(got.ok());
  EXPECT_EQ(control_field(std::get<ControlFields>(got.value()), "user"),
            std::string_view("a\n\"\0\xef\xbf\xbd\xc3\xa9", 9));
}

TEST(ControlReply, TheEndHasACodeAndAText) {
  EXPECT_EQ(control_end_line(68, "no users kicked"),
            "{\"end\":{\"code\":68,\"text\":\"no users kicked\"}}\n");
  const auto got = parse_control_reply("{\"end\":{\"code\":68,\"text\":\"no users kicked\"}}");
  ASSERT_TRUE(got.ok());
  EXPECT_EQ(std::get<ControlEnd>(got.value()).code, 68);
  EXPECT_EQ(std::get<ControlEnd>(got.value()).text, "no users kicked");
}

TEST(ControlReply, AnythingElseIsRefused) {
  for (const char* line :
       {"", "{}", "{\"row\":[]}", "{\"row\":{\"a\":{}}}", "{\"end\":7}", "{\"end\":{}}",
        "{\"end\":{\"code\":\"0\"}}", "{\"end\":{\"code\":-1}}", "{\"end\":{\"code\":256}}",
        "{\"end\":{\"code\":18446744073709551615}}", "{\"end\":{\"code\":0,\"text\":1}}"}) {
    SCOPED_TRACE(line);
    EXPECT_FALSE(parse_control_reply(line).ok());
  }
}

}  // namespace
}  // namespace postern::wire
