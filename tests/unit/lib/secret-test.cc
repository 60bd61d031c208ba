#include "lib/secret.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <type_traits>
#include <utility>

namespace postern {
namespace {

static_assert(!std::is_copy_constructible_v<Secret> && !std::is_copy_assignable_v<Secret>);
static_assert(!std::is_copy_constructible_v<WipingBuffer>);
static_assert(!std::is_convertible_v<std::string_view, Secret>, "a copy is said aloud");

TEST(WipingBuffer, GrowsAndKeepsItsBytes) {
  WipingBuffer buffer;
  std::string expected;
  for (int i = 0; i < 10000; i++) {
    buffer += static_cast<char>('a' + i % 26);
    expected += static_cast<char>('a' + i % 26);
  }
  EXPECT_EQ(buffer.view(), expected);
  buffer.append(std::string_view{});
  EXPECT_EQ(buffer.size(), expected.size());
}

TEST(WipingBuffer, IsConsumedFromTheFront) {
  WipingBuffer buffer("abcdef");
  buffer.consume(2);
  EXPECT_EQ(buffer.view(), "cdef");
  buffer += "gh";
  EXPECT_EQ(buffer.view(), "cdefgh");
  buffer.consume(1000);
  EXPECT_TRUE(buffer.empty());
  buffer += "again";
  EXPECT_EQ(buffer.view(), "again");
}

TEST(WipingBuffer, WipesWhatIsConsumed) {
  WipingBuffer buffer("hunter2 and more");
  const char* const before = buffer.view().data();
  buffer.consume(8);
  ASSERT_EQ(buffer.view(), "and more");
  for (std::size_t i = 0; i < 8; i++) EXPECT_EQ(before[i], '\0') << i;
}

TEST(WipingBuffer, WipesTheGapWhenItMakesRoom) {
  WipingBuffer buffer(std::string(120, 'x'));
  const char* const begin = buffer.view().data();
  buffer.consume(80);
  const char* const moved = buffer.reserve(60);  // fits once the bytes move to the front
  EXPECT_EQ(buffer.view(), std::string(40, 'x'));
  ASSERT_EQ(buffer.view().data(), begin);
  EXPECT_EQ(moved, begin + 40);
  for (std::size_t i = 0; i < 80; i++) EXPECT_EQ(moved[i], '\0') << i;
}

TEST(WipingBuffer, TakesBytesWrittenIntoItsRoom) {
  WipingBuffer buffer("ab");
  std::memcpy(buffer.reserve(100), "cdXX", 4);
  buffer.commit(2);
  EXPECT_EQ(buffer.view(), "abcd");
}

TEST(WipingBuffer, MovesLeaveNothingBehind) {
  WipingBuffer a("secret");
  WipingBuffer b(std::move(a));
  EXPECT_TRUE(a.empty());  // NOLINT(bugprone-use-after-move): what a move leaves is promised
  EXPECT_EQ(b.view(), "secret");
  WipingBuffer c("old");
  c = std::move(b);
  EXPECT_EQ(c.view(), "secret");
  EXPECT_TRUE(b.empty());  // NOLINT(bugprone-use-after-move)
  WipingBuffer& self = c;
  c = std::move(self);
  EXPECT_EQ(c.view(), "secret");
}

TEST(Secret, IsComparedWhole) {
  const Secret secret(std::string_view("pass"));
  EXPECT_TRUE(secret.equals("pass"));
  EXPECT_FALSE(secret.equals("pasS"));
  EXPECT_FALSE(secret.equals("pas"));
  EXPECT_FALSE(secret.equals("pass "));
  EXPECT_FALSE(secret.equals(""));
  EXPECT_TRUE(Secret().equals(""));
  EXPECT_TRUE(equal_in_constant_time(std::string_view("a\0b", 3), std::string_view("a\0b", 3)));
  EXPECT_FALSE(equal_in_constant_time(std::string_view("a\0b", 3), std::string_view("a\0c", 3)));
}

TEST(Secret, CopiesOwnTheirBytes) {
  Secret a(std::string_view("pass"));
  const Secret b = a.copy();
  a.clear();
  EXPECT_TRUE(a.empty());
  EXPECT_EQ(b.reveal(), "pass");
  Secret c(WipingBuffer(std::string_view("taken")));
  EXPECT_EQ(c.size(), 5U);
}

}  // namespace
}  // namespace postern
