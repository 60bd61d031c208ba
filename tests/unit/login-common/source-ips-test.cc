#include "login-common/source-ips.h"

#include <gtest/gtest.h>

#include <set>

namespace postern::login {
namespace {

const IpAddress kV4 = *IpAddress::parse("192.0.2.1");
const IpAddress kV6 = *IpAddress::parse("2001:db8::1");

TEST(SourceIps, TakesTurnsWithinTheFamily) {
  SourceIps ips(std::vector<std::string>{"127.0.0.11", "::1", "127.0.0.12"});
  ASSERT_EQ(ips.size(), 3U);
  const std::string first = ips.next(kV4)->text();
  const std::string second = ips.next(kV4)->text();
  EXPECT_EQ((std::set<std::string>{first, second}),
            (std::set<std::string>{"127.0.0.11", "127.0.0.12"}));
  EXPECT_EQ(ips.next(kV4)->text(), first);
  EXPECT_EQ(ips.next(kV6)->text(), "::1");
}

TEST(SourceIps, NothingOfTheFamilyIsTheKernelsChoice) {
  SourceIps ips(std::vector<std::string>{"127.0.0.11"});
  EXPECT_FALSE(ips.next(kV6));
  EXPECT_FALSE(SourceIps().next(kV4));
}

TEST(SourceIps, QuestionMarkLeavesOutWhatCannotBeBound) {
  // 192.0.2.0/24 is for documentation: nobody has it.
  EXPECT_EQ(SourceIps(std::vector<std::string>{"?192.0.2.1", "127.0.0.12"}).size(), 1U);
  EXPECT_EQ(SourceIps(std::vector<std::string>{"?", "192.0.2.1"}).size(), 0U);
  EXPECT_EQ(SourceIps(std::vector<std::string>{"192.0.2.1", "127.0.0.12"}).size(), 2U);
}

TEST(SourceIps, NamesAreResolved) {
  SourceIps ips(std::vector<std::string>{"localhost"});
  EXPECT_EQ(ips.next(kV4)->text(), "127.0.0.1");
}

}  // namespace
}  // namespace postern::login
