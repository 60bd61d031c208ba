#include "lib/result.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <memory>

#include "lib/check.h"
#include "lib/handle.h"

namespace postern {
namespace {

Result<int> half(int n) {
  if (n % 2 != 0) return Error{7, "odd"};
  return n / 2;
}

TEST(Result, IsAValueOrAnError) {
  ASSERT_TRUE(half(4).ok());
  EXPECT_EQ(half(4).value(), 2);
  ASSERT_FALSE(half(3).ok());
  EXPECT_EQ(half(3).error().code, 7);
  EXPECT_EQ(half(3).error().text, "odd");
}

TEST(Result, GivesUpWhatCannotBeCopied) {
  Result<std::unique_ptr<int>> result(std::make_unique<int>(5));
  const std::unique_ptr<int> taken = std::move(result).value();
  EXPECT_EQ(*taken, 5);
}

TEST(ResultDeathTest, AskingForTheWrongOneEndsTheProcess) {
  EXPECT_DEATH(static_cast<void>(half(3).value()), "");
  EXPECT_DEATH(static_cast<void>(half(4).error()), "");
}

TEST(CheckDeathTest, NamesTheConditionAndAborts) {
  EXPECT_DEATH(POSTERN_CHECK(1 + 1 == 3), "assertion failed: \\(1 \\+ 1 == 3\\)");
  POSTERN_CHECK(true);
}

TEST(SystemError, EndsInTheSystemsWords) {
  const Error error = system_error("cannot open x", ENOENT);
  EXPECT_EQ(error.code, ENOENT);
  EXPECT_EQ(error.text, "cannot open x: No such file or directory");
}

TEST(UniqueFd, ClosesOnceAndGivesAway) {
  int ends[2] = {-1, -1};
  ASSERT_EQ(pipe(ends), 0);
  const int write_end = ends[1];
  {
    const UniqueFd reader(ends[0]);
    UniqueFd first(write_end);
    UniqueFd second(std::move(first));
    EXPECT_FALSE(first);  // NOLINT(bugprone-use-after-move): what a move leaves is promised
    EXPECT_EQ(second.get(), write_end);
    EXPECT_EQ(second.release(), write_end);
  }
  EXPECT_EQ(close(write_end), 0) << "release() must have kept it open";
  EXPECT_EQ(close(ends[0]), -1) << "the destructor must have closed it";
}

}  // namespace
}  // namespace postern
