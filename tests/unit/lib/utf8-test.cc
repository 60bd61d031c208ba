#include "lib/utf8.h"

#include <gtest/gtest.h>

#include <string>

namespace postern {
namespace {

std::string encoded(unsigned code) {
  std::string out;
  const auto add = [&out](unsigned byte) { out += static_cast<char>(byte); };
  if (code < 0x80) {
    add(code);
  } else if (code < 0x800) {
    add(0xc0U | code >> 6U);
    add(0x80U | (code & 0x3fU));
  } else if (code < 0x10000) {
    add(0xe0U | code >> 12U);
    add(0x80U | (code >> 6U & 0x3fU));
    add(0x80U | (code & 0x3fU));
  } else {
    add(0xf0U | code >> 18U);
    add(0x80U | (code >> 12U & 0x3fU));
    add(0x80U | (code >> 6U & 0x3fU));
    add(0x80U | (code & 0x3fU));
  }
  return out;
}

TEST(Utf8, EveryCharacterHasItsLengthAndSurrogatesHaveNone) {
  for (unsigned code = 0; code < 0x110000; ++code) {
    const std::string text = encoded(code);
    const bool surrogate = code >= 0xd800 && code < 0xe000;
    ASSERT_EQ(utf8_length(text + "x"), surrogate ? 0U : text.size()) << std::hex << code;
    if (text.size() > 1) {
      ASSERT_EQ(utf8_length(text.substr(0, text.size() - 1)), 0U) << std::hex << code;
    }
  }
  for (const char* bad : {"\x80", "\xc0\x80", "\xc1\xbf", "\xe0\x80\x80", "\xe0\x9f\xbf",
                          "\xf0\x80\x80\x80", "\xf4\x90\x80\x80", "\xf8\x88\x80\x80", "\xff"}) {
    EXPECT_EQ(utf8_length(bad), 0U);
  }
}

TEST(Utf8, ControlCharactersAreThese_T_NET_12) {
  const auto is = [](unsigned c) {
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x61c || c == 0x200e || c == 0x200f ||
           (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
  };
  for (unsigned code = 0; code < 0x110000; ++code) {
    if (code >= 0xd800 && code < 0xe000) continue;
    ASSERT_EQ(is_control_character(encoded(code)), is(code)) << std::hex << code;
  }
}

}  // namespace
}  // namespace postern
