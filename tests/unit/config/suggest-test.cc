#include "config/suggest.h"

#include <gtest/gtest.h>

#include <string>

namespace postern::config {
namespace {

const std::vector<std::string_view> kWords{"login_greeting", "listen", "ssl", "ssl_cert", "user"};

TEST(Suggest, FindsTheWordThatWasMeant) {
  EXPECT_EQ(closest("login_greting", kWords), "login_greeting");
  EXPECT_EQ(closest("login_greetnig", kWords), "login_greeting") << "a swap is one edit";
  EXPECT_EQ(closest("LISTEN", kWords), "listen");
  EXPECT_EQ(closest("lisen", kWords), "listen");
  EXPECT_EQ(closest("sll", kWords), "ssl");
}

TEST(Suggest, SaysNothingRatherThanNonsense) {
  EXPECT_EQ(closest("mail_location", kWords), "");
  EXPECT_EQ(closest("", kWords), "");
  EXPECT_EQ(closest("xyz", kWords), "");
  EXPECT_EQ(closest("a", {"b"}), "") << "another letter is another word";
  EXPECT_EQ(closest(std::string(100000, 'l'), kWords), "");
  EXPECT_EQ(closest("listen", {}), "");
}

}  // namespace
}  // namespace postern::config
