#include "auth/host-cache.h"

#include <gtest/gtest.h>

#include <cerrno>

namespace postern::auth {
namespace {

using std::chrono::hours;
using std::chrono::seconds;

const HostCache::Addresses kOne{*IpAddress::parse("192.0.2.1")};
const HostCache::Addresses kTwo{*IpAddress::parse("192.0.2.2"), *IpAddress::parse("2001:db8::2")};

class HostCacheTest : public ::testing::Test {
 protected:
  bool learn(Result<HostCache::Addresses> answer) {
    last_ = cache_.learn("mail", std::move(answer), now_, stale_);
    return last_.ok();
  }
  bool known() { return cache_.find("mail", now_, refresh_).has_value(); }

  HostCache cache_;
  TimePoint now_{hours(100)};
  bool stale_ = false;
  bool refresh_ = false;
  Result<HostCache::Addresses> last_{HostCache::Addresses{}};
};

TEST_F(HostCacheTest, BelievesAnAnswerForAWhile) {
  EXPECT_FALSE(known());
  EXPECT_TRUE(learn(kOne));
  now_ += seconds(9);
  ASSERT_TRUE(known());
  EXPECT_EQ(cache_.find("mail", now_, refresh_)->value(), kOne);
  EXPECT_FALSE(cache_.find("other", now_, refresh_));
  now_ += seconds(1);
  EXPECT_FALSE(known());
  EXPECT_TRUE(learn(kTwo));
  EXPECT_EQ(cache_.find("mail", now_, refresh_)->value(), kTwo);
  EXPECT_FALSE(stale_);
}

TEST_F(HostCacheTest, AFailureIsNotAskedAboutAtOnce) {
  EXPECT_FALSE(learn(Error{ETIMEDOUT, "timed out"}));
  ASSERT_TRUE(known());
  EXPECT_EQ(cache_.find("mail", now_, refresh_)->error().text, "timed out");
  now_ += seconds(2);
  EXPECT_FALSE(known());
}

TEST_F(HostCacheTest, AnOldAnswerStandsInWhileDnsIsDown) {
  EXPECT_TRUE(learn(kTwo));
  now_ += seconds(60);
  EXPECT_TRUE(learn(Error{ETIMEDOUT, "timed out"}));
  EXPECT_TRUE(stale_);
  EXPECT_EQ(last_.value(), kTwo);
  now_ += seconds(1);
  EXPECT_EQ(cache_.find("mail", now_, refresh_)->value(), kTwo);
  EXPECT_FALSE(refresh_);
  now_ += seconds(1);
  EXPECT_EQ(cache_.find("mail", now_, refresh_)->value(), kTwo) << "nobody waits";
  EXPECT_TRUE(refresh_) << "and DNS is asked every two seconds";
  EXPECT_TRUE(known());
  EXPECT_FALSE(refresh_);
  now_ += hours(24);
  EXPECT_FALSE(known());
  EXPECT_FALSE(learn(Error{ETIMEDOUT, "timed out"})) << "but not for ever";
  EXPECT_TRUE(learn(kOne));
  EXPECT_FALSE(stale_);
}

TEST_F(HostCacheTest, ANameThatIsGoneIsGone) {
  EXPECT_TRUE(learn(kOne));
  now_ += seconds(60);
  EXPECT_FALSE(learn(Error{ENOENT, "No such host"}));
  now_ += seconds(60);
  EXPECT_FALSE(learn(Error{ETIMEDOUT, "timed out"})) << "there is nothing left to stand in";
}

TEST_F(HostCacheTest, IsBounded) {
  for (std::size_t i = 0; i <= HostCache::kMost; i++) {
    static_cast<void>(cache_.learn("host" + std::to_string(i), kOne, now_, stale_).ok());
  }
  EXPECT_FALSE(cache_.find("host0", now_, refresh_)) << "a full cache starts again";
  EXPECT_TRUE(cache_.find("host" + std::to_string(HostCache::kMost), now_, refresh_));
}

}  // namespace
}  // namespace postern::auth
