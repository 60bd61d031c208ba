#include "master/packed.h"

#include <gtest/gtest.h>

#include <string>

namespace postern::master {
namespace {

std::string packed() {
  PackWriter out;
  out.number(0);
  out.number(0xfedcba9876543210U);
  out.text("");
  out.text(std::string_view("a\0b", 3));
  out.number(2);
  out.text("x");
  return std::string(out.take().view());
}

/// Reads what packed() wrote; true if it is that.
bool reads(std::string_view bytes) {
  PackReader in(bytes);
  bool same = in.number() == 0;
  same = in.number() == 0xfedcba9876543210U && same;
  same = in.text().empty() && same;
  same = in.text() == std::string_view("a\0b", 3) && same;
  same = in.count() == 2 && same;
  same = in.text() == "x" && same;
  return in.at_end() && same;
}

TEST(Packed, ReadsWhatWasWritten) {
  EXPECT_TRUE(reads(packed()));
}

TEST(Packed, IsGoodAsAWholeOnly) {
  const std::string bytes = packed();
  for (std::size_t size = 0; size < bytes.size(); size++)
    EXPECT_FALSE(reads(bytes.substr(0, size)));
  EXPECT_FALSE(reads(bytes + '\0'));
}

TEST(Packed, BelievesNoLengthAndNoCountBeyondTheEnd) {
  PackWriter out;
  out.number(~std::uint64_t{0});
  out.number(1);
  const WipingBuffer bytes = out.take();
  PackReader text(bytes.view());
  EXPECT_EQ(text.text(), "");
  EXPECT_FALSE(text.good());
  EXPECT_EQ(text.number(), 0U) << "nothing more is given";
  PackReader count(bytes.view());
  EXPECT_EQ(count.count(), 0U);
  EXPECT_FALSE(count.good());
}

}  // namespace
}  // namespace postern::master
