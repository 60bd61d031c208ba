#include "lib/key-pin.h"

#include <gtest/gtest.h>

#include <string>

namespace postern {
namespace {

const std::string kZeros = "sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
const std::string kSome = "sha256//t62CeU2tQiqkexU74Gxa2eg7fRbEgoChTociMee9wno=";

TEST(KeyPin, IsReadAndPrintedAsCurlHasIt) {
  const auto pin = KeyPin::parse(kSome);
  ASSERT_TRUE(pin);
  EXPECT_EQ(pin->digest[0], 0xb7);
  EXPECT_EQ(pin->text(), kSome);
  EXPECT_NE(KeyPin::parse(kZeros), pin);
}

TEST(KeyPin, NothingElseIsOne) {
  for (const std::string text :
       {"", "sha256//", "t62CeU2tQiqkexU74Gxa2eg7fRbEgoChTociMee9wno=", "sha256//AAAA",
        "SHA256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA*="}) {
    EXPECT_FALSE(KeyPin::parse(text)) << text;
  }
}

TEST(KeyPin, ListsHaveBlanksCommasOrSemicolonsBetween) {
  EXPECT_EQ(parse_pins(kZeros + ", " + kSome + ";" + kZeros)->size(), 3U);
  EXPECT_TRUE(parse_pins(" ")->empty());
  EXPECT_FALSE(parse_pins(kZeros + " x"));
}

}  // namespace
}  // namespace postern
