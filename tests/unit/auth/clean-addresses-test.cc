#include "auth/clean-addresses.h"

#include <gtest/gtest.h>

namespace postern::auth {
namespace {

using std::chrono::milliseconds;

IpAddress ip(std::string_view text) {
  return IpAddress::parse(text).value();
}

TEST(CleanAddresses, AreKnownForASecondAndNotOnceAPenaltyIsRaised) {
  CleanAddresses clean;
  const TimePoint start = TimePoint{} + std::chrono::hours(1);
  EXPECT_FALSE(clean.contains(ip("192.0.2.1"), start));
  clean.add(ip("192.0.2.1"), start);
  clean.add(ip("192.0.2.2"), start + milliseconds(900));
  EXPECT_TRUE(clean.contains(ip("192.0.2.1"), start + milliseconds(999)));
  EXPECT_FALSE(clean.contains(ip("192.0.2.3"), start));
  clean.remove(ip("192.0.2.1"));
  EXPECT_FALSE(clean.contains(ip("192.0.2.1"), start));
  EXPECT_TRUE(clean.contains(ip("192.0.2.2"), start + milliseconds(999)));
  // All are forgotten together: nobody is believed in for longer than the life.
  EXPECT_FALSE(clean.contains(ip("192.0.2.2"), start + CleanAddresses::kLife));
}

TEST(CleanAddresses, ThereAreNeverTooMany) {
  CleanAddresses clean;
  const TimePoint now = TimePoint{} + std::chrono::hours(1);
  const auto nth = [](std::size_t i) {
    return ip("10.0." + std::to_string(i / 256) + "." + std::to_string(i % 256));
  };
  for (std::size_t i = 0; i <= CleanAddresses::kMost; ++i) clean.add(nth(i), now);
  EXPECT_FALSE(clean.contains(nth(0), now));
  EXPECT_TRUE(clean.contains(nth(CleanAddresses::kMost), now));
}

}  // namespace
}  // namespace postern::auth
