#include "auth/host-choice.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

namespace postern::auth {
namespace {

constexpr unsigned kUsers = 5'000;

std::vector<wire::HostSpec> hosts(const std::string& list) {
  return wire::parse_host_list(list).value();
}

/// The whole order of preference of each user, as names.
std::vector<std::vector<std::string>> choices(const std::string& list) {
  std::vector<std::vector<std::string>> out;
  for (unsigned i = 0; i < kUsers; i++) {
    auto ordered = hosts(list);
    order_hosts(ordered, "user" + std::to_string(i) + "@example.org");
    auto& names = out.emplace_back();
    for (const auto& host : ordered) names.push_back(host.name);
  }
  return out;
}

std::map<std::string, unsigned> shares(const std::vector<std::vector<std::string>>& all) {
  std::map<std::string, unsigned> out;
  for (const auto& names : all) out[names.front()]++;
  return out;
}

TEST(HostChoice, TheRemovalOfAHostMovesOnlyItsUsers) {
  const auto before = choices("h1,h2,h3,h4,h5");
  const auto after = choices("h1,h2,h4,h5");
  std::map<std::string, unsigned> moved_to;
  for (unsigned i = 0; i < kUsers; i++) {
    if (before[i].front() != "h3") {
      EXPECT_EQ(after[i].front(), before[i].front());
    } else {
      // To the second choice, which is what failover takes while the host is only down.
      EXPECT_EQ(after[i].front(), before[i][1]);
      moved_to[after[i].front()]++;
    }
  }
  ASSERT_EQ(moved_to.size(), 4U) << "and spreads them";
  for (const auto& [host, count] : moved_to) EXPECT_NEAR(count, kUsers / 20.0, kUsers / 70.0);
}

TEST(HostChoice, NeitherOrderNorSpellingMatters) {
  const auto one = choices("h1,h2:143,h3*2,192.0.2.1");
  EXPECT_EQ(one, choices("192.0.2.1,h3*2,h2:143,h1"));
  auto upper = hosts("H1,h2");
  auto lower = hosts("h1,h2");
  for (unsigned i = 0; i < 100; i++) {
    order_hosts(upper, "Ann" + std::to_string(i));
    order_hosts(lower, "ann" + std::to_string(i));
    EXPECT_EQ(upper.front().name == "H1", lower.front().name == "h1");
  }
}

TEST(HostChoice, WeightsAreShares) {
  const auto even = shares(choices("h1,h2,h3,h4"));
  for (const auto& [host, count] : even) EXPECT_NEAR(count, kUsers / 4.0, kUsers / 30.0) << host;
  auto weighted = shares(choices("h1*1,h2*3,h3*6"));
  EXPECT_NEAR(weighted["h1"], kUsers * 0.1, kUsers / 30.0);
  EXPECT_NEAR(weighted["h2"], kUsers * 0.3, kUsers / 30.0);
  EXPECT_NEAR(weighted["h3"], kUsers * 0.6, kUsers / 30.0);
}

TEST(HostChoice, AGrowingWeightTakesUsersAndGivesNoneAway) {
  const auto before = choices("h1,h2*2,h3");
  const auto after = choices("h1,h2*4,h3");
  unsigned moved = 0;
  for (unsigned i = 0; i < kUsers; i++) {
    if (before[i].front() == after[i].front()) continue;
    EXPECT_EQ(after[i].front(), "h2");
    moved++;
  }
  EXPECT_NEAR(moved, kUsers * (4.0 / 6 - 2.0 / 4), kUsers / 30.0);
}

// What users rely on after an upgrade: a change here moves mailboxes.
TEST(HostChoice, StaysWhatItWas) {
  std::string got;
  for (unsigned i = 0; i < 24; i++) {
    auto ordered = hosts("a.example,b.example:1143*2,192.0.2.3");
    order_hosts(ordered, "user" + std::to_string(i));
    got += ordered.front().name.front();
  }
  EXPECT_EQ(got, "1bb1bbb1baabbab1ba1bbabb");
  std::vector<IpAddress> addresses{*IpAddress::parse("192.0.2.1"), *IpAddress::parse("2001:db8::1"),
                                   *IpAddress::parse("192.0.2.2")};
  order_addresses(addresses, "ann");
  const std::string first = addresses.front().text();
  std::reverse(addresses.begin(), addresses.end());
  order_addresses(addresses, "ANN");
  EXPECT_EQ(addresses.front().text(), first);
}

}  // namespace
}  // namespace postern::auth
