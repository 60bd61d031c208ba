#include "ctl/output.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace postern::ctl {
namespace {

Table people(unsigned rows) {
  Table out({{"username", "username"}, {"connections", "#"}, {"ips", "(ips)"}});
  for (unsigned i = 0; i < rows; ++i) {
    out.add({"user" + std::to_string(i), std::to_string(i * 1000), "(127.0.0.1)"});
  }
  return out;
}

TEST(Table, WithoutRowsItIsItsHeading) {
  EXPECT_EQ(people(0).render(Format::table), "username # (ips)\n");
  EXPECT_EQ(people(0).render(Format::tab), "username\t#\t(ips)\n");
  EXPECT_EQ(people(0).render(Format::json), "[]\n");
}

TEST(Table, PadsColumnsToTheWidestCellButNotTheLast) {
  Table table({{"a", "a"}, {"b", "b"}, {"c", "c"}});
  table.add({"long", "", "x"});
  table.add({"s", "bbb", "y"});
  EXPECT_EQ(table.render(Format::table),
            "a    b   c\n"
            "long     x\n"
            "s    bbb y\n");
}

TEST(Table, CountsCharactersAndNotBytes) {
  Table table({{"a", "a"}, {"b", "b"}});
  table.add({"\xc3\xa4\xc3\xb6", "x"});
  table.add({"ab", "y"});
  EXPECT_EQ(table.render(Format::table),
            "a  b\n"
            "\xc3\xa4\xc3\xb6 x\n"
            "ab y\n");
}

TEST(Table, AWideCharacterTakesTwoColumnsAndACombiningOneNone) {
  Table table({{"a", "a"}, {"b", "b"}});
  table.add({"\xe6\x97\xa5\xe6\x9c\xac", "x"});
  table.add({"e\xcc\x81", "y"});
  table.add({"abcd", "z"});
  EXPECT_EQ(table.render(Format::table),
            "a    b\n"
            "\xe6\x97\xa5\xe6\x9c\xac x\n"
            "e\xcc\x81    y\n"
            "abcd z\n");
}

TEST(Table, EscapesWhatATerminalObeysInJson_T_NET_12) {
  Table table(std::vector<Column>{{"a", "a"}});
  const std::string cell =
      "\x1b[2J\x7f\xc2\x9b\xc2\xa0\xe2\x80\xae\xe2\x81\xa6\xd8\x9c\xe2\x80\x90";
  table.add({cell});
  const std::string text = table.render(Format::json);
  EXPECT_EQ(text,
            "[{\"a\":\"\\u001b[2J\\u007f\\u009b\xc2\xa0\\u202e\\u2066\\u061c\xe2\x80\x90\"}]\n");
  EXPECT_EQ(nlohmann::json::parse(text)[0]["a"], cell);
}

TEST(Table, LetsNoTerminalSequenceOrExtraColumnThrough) {
  Table table({{"a", "a"}, {"b", "b"}});
  table.add({"\x1b[2Jx\ty\nz\x7f", "\xff\xc2\x9b"});
  for (const Format format : {Format::table, Format::tab}) {
    const std::string text = table.render(format);
    EXPECT_EQ(text.find('\x1b'), std::string::npos);
    EXPECT_EQ(text.find('\x7f'), std::string::npos);
    EXPECT_EQ(text.find('\xff'), std::string::npos);
    EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 2);
    EXPECT_LE(std::count(text.begin(), text.end(), '\t'), 2);
  }
}

TEST(Table, IsOneJsonDocumentWithAnyNumberOfRows) {
  for (const unsigned rows : {0U, 1U, 2U, 1000U}) {
    SCOPED_TRACE(rows);
    const auto json = nlohmann::json::parse(people(rows).render(Format::json), nullptr, false);
    ASSERT_TRUE(json.is_array());
    ASSERT_EQ(json.size(), rows);
    if (rows > 0) {
      EXPECT_EQ(json[rows - 1]["connections"], std::to_string((rows - 1) * 1000));
    }
  }
}

TEST(Table, KeepsEveryCharacterInJson) {
  Table table(std::vector<Column>{{"a", "a"}});
  table.add({std::string("\"\\\n\x1b\0\xc3\xa4", 7)});
  table.add({"\xff"});  // no UTF-8: JSON has no bytes
  const auto json = nlohmann::json::parse(table.render(Format::json), nullptr, false);
  ASSERT_TRUE(json.is_array());
  EXPECT_EQ(json[0]["a"].get<std::string>(), std::string("\"\\\n\x1b\0\xc3\xa4", 7));
  EXPECT_EQ(json[1]["a"].get<std::string>(), "\xef\xbf\xbd");
}

TEST(TableOf, HasWhatAnyRowHas) {
  const std::vector<wire::ControlFields> rows{{{"pid", "1"}, {"name", "a"}},
                                              {{"name", "b"}, {"extra", "x"}}};
  EXPECT_EQ(table_of(rows, {"name"}).render(Format::tab), "name\tpid\textra\na\t1\t\nb\t\tx\n");
  EXPECT_EQ(table_of({}, {"name", "pid"}).render(Format::tab), "name\tpid\n");
}

TEST(JsonObject, KeepsTheFirstOfTwoValues) {
  EXPECT_EQ(json_object({{"b", "1"}, {"a", "x\"y"}, {"b", "2"}}), R"({"b":"1","a":"x\"y"})");
}

TEST(Format, KnowsThreeWords) {
  EXPECT_EQ(parse_format("json"), Format::json);
  EXPECT_FALSE(parse_format("xml"));
  EXPECT_FALSE(parse_format(""));
}

}  // namespace
}  // namespace postern::ctl
