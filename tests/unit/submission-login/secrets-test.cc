// No memory that the dialogues give back may still hold a password.
#include <gtest/gtest.h>

#include <array>
#include <string_view>
#include <vector>

#include "../support/freed-secrets.h"
#include "submission-login/submission-dialogues.h"

namespace postern::submission_login {
namespace {

#ifdef POSTERN_SEARCHES_FREED_BLOCKS

using SubmissionSecrets = freed::Secrets;

TEST_F(SubmissionSecrets, AreNotLeftByALogin) {
  constexpr std::array kLines{
      std::string_view("AUTH LOGIN correct-horse-battery\r\n"),
      std::string_view("correct-horse-battery\r\n"),
      std::string_view("correct-horse-battery\0\r\n", 24),
      std::string_view("NOOP correct-horse-battery a\r\n"),
      std::string_view("AUTH PLAIN a correct-horse-battery"),
      std::string_view("AUTH PLAIN AGpvZQBjb3JyZWN0LWhvcnNlLWJhdHRlcnk=\r\n"),
      std::string_view("AUTH PLAIN AGpvZQBjb3JyZWN0LWhvcnNlLWJhdHRlcnk=x\r\n"),
      std::string_view("AUTH PLAIN AGpvZQBjb3JyZWN0LWhvcnNlLWJhdHRlcnk")};
  expect_none_left_by(make_submission_client_dialogue, kLines);
}

TEST_F(SubmissionSecrets, AreNotLeftByAResponse) {
  expect_none_left_by_responses(make_submission_client_dialogue, "AUTH LOGIN\r\n",
                                "Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5\r\n",
                                {"Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5%\r\n"});
}

TEST_F(SubmissionSecrets, AreNotLeftByALoginAtABackend) {
  expect_none_left_by_backend_logins(
      make_submission_backend_dialogue, [](std::string_view /*mech*/) {
        return std::vector<std::string_view>{"220 x", "250-x", "250 AUTH PLAIN",
                                             "334 ",  "334 ",  "535 no"};
      });
}

#else

TEST(SubmissionSecrets, NeedTheAddressSanitizer) {
  GTEST_SKIP() << "freed blocks cannot be searched";
}

#endif

}  // namespace
}  // namespace postern::submission_login
