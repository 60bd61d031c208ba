#include "config/sql-query.h"

#include <gtest/gtest.h>

namespace postern::config {
namespace {

std::string parameter(const SqlQuery& query, std::size_t i) {
  WipingBuffer out;
  query.expand(
      i,
      [](const VariableRef& ref) -> std::optional<std::string_view> {
        return ref.as<AuthVariable>() == AuthVariable::user ? "o'k@x.org" : "x";
      },
      out);
  return std::string(out.view());
}

TEST(SqlQuery, LiteralsWithVariablesBecomeParameters) {
  const auto query = SqlQuery::compile(
      "SELECT 'it''s' AS a, 'pre-%u-post''s' AS b FROM users -- don't mind\n"
      "WHERE \"user\" = '%u' AND x = '' /* 'no' */ AND y = 'plain'");
  ASSERT_TRUE(query.ok()) << query.error().text;
  EXPECT_EQ(query.value().sql(),
            "SELECT 'it''s' AS a, ?1 AS b FROM users -- don't mind\n"
            "WHERE \"user\" = ?2 AND x = '' /* 'no' */ AND y = 'plain'");
  ASSERT_EQ(query.value().parameter_count(), 2U);
  EXPECT_EQ(parameter(query.value(), 0), "pre-o'k@x.org-post's");
  EXPECT_EQ(parameter(query.value(), 1), "o'k@x.org");
}

TEST(SqlQuery, ALiteralAtTheEndCounts) {
  const auto query = SqlQuery::compile("SELECT 1 WHERE a = 'x'");
  ASSERT_TRUE(query.ok());
  EXPECT_EQ(query.value().sql(), "SELECT 1 WHERE a = 'x'");
}

TEST(SqlQuery, VariablesElsewhereAreRefused) {
  for (const char* text :
       {"SELECT password FROM %s", "SELECT 1 WHERE u = %u", "SELECT 1 WHERE u = \"%u\"",
        "SELECT 1 -- '%u", "SELECT 1 /* '%u' */", "SELECT '%u", "SELECT '%q'"}) {
    SCOPED_TRACE(text);
    EXPECT_FALSE(SqlQuery::compile(text).ok());
  }
}

}  // namespace
}  // namespace postern::config
