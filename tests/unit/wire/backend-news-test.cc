#include "wire/backend-news.h"

#include <gtest/gtest.h>

#include <string>

namespace postern::wire {
namespace {

TEST(BackendNews, WhatIsWrittenIsRead) {
  using Kind = BackendNewsKind;
  for (const Kind kind :
       {Kind::up, Kind::failing, Kind::down, Kind::full, Kind::disabled, Kind::enabled}) {
    for (const char* ip : {"192.0.2.1", "2001:db8::1"}) {
      const BackendNews news{{*IpAddress::parse(ip), 143}, kind, 1'764'000'000, 1'763'999'990};
      EXPECT_EQ(parse_backend_news(backend_news_text(news)), news);
    }
  }
  EXPECT_EQ(backend_news_text({{*IpAddress::parse("::1"), 0}, Kind::disabled, -5, 7}),
            "::1 0 disabled 0 7");
}

TEST(BackendNews, EveryWrongFieldIsRefused) {
  const std::string good = "192.0.2.1 143 down 1764000000 1763999990";
  ASSERT_TRUE(parse_backend_news(good));
  for (std::size_t cut = 0; cut < good.size(); cut++) {
    const auto part = parse_backend_news(good.substr(0, cut));
    // Only the last number can be cut short and stay one.
    EXPECT_EQ(part.has_value(), cut > good.rfind(' ') + 1) << cut;
  }
  for (const char* text :
       {"", "192.0.2 143 down 1 1", "192.0.2.1 0 down 1 1", "192.0.2.1 65536 down 1 1",
        "192.0.2.1 143 Down 1 1", "192.0.2.1 143 dow 1 1", "192.0.2.1 143 down -1 1",
        "192.0.2.1 143 down 1 9223372036854775808", "192.0.2.1 143 down 1 1 1",
        "192.0.2.1:143 down 1 1", "192.0.2.1 143 down 1"}) {
    EXPECT_FALSE(parse_backend_news(text)) << text;
  }
}

}  // namespace
}  // namespace postern::wire
