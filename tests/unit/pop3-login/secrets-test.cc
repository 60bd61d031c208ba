// No memory that the dialogues give back may still hold a password.
#include <gtest/gtest.h>

#include <array>
#include <string_view>
#include <vector>

#include "../support/freed-secrets.h"
#include "pop3-login/pop3-dialogues.h"

namespace postern::pop3_login {
namespace {

#ifdef POSTERN_SEARCHES_FREED_BLOCKS

using Pop3Secrets = freed::Secrets;

TEST_F(Pop3Secrets, AreNotLeftByALogin) {
  constexpr std::array kLines{
      std::string_view("USER joe\r\nPASS correct-horse-battery\r\n"),
      std::string_view("PASS correct-horse-battery\r\n"),
      std::string_view("USER joe\r\nPASS correct-horse-battery"),
      std::string_view("USER joe\r\nPASS correct-horse-battery\0\r\n", 39),
      std::string_view("correct-horse-battery a\r\n"),
      std::string_view("AUTH PLAIN AGpvZQBjb3JyZWN0LWhvcnNlLWJhdHRlcnk=\r\n"),
      std::string_view("AUTH PLAIN AGpvZQBjb3JyZWN0LWhvcnNlLWJhdHRlcnk=x\r\n"),
      std::string_view("AUTH PLAIN AGpvZQBjb3JyZWN0LWhvcnNlLWJhdHRlcnk")};
  expect_none_left_by(make_pop3_client_dialogue, kLines);
}

TEST_F(Pop3Secrets, AreNotLeftByAResponse) {
  expect_none_left_by_responses(make_pop3_client_dialogue, "AUTH LOGIN\r\n",
                                "Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5\r\n",
                                {"Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5%\r\n"});
}

TEST_F(Pop3Secrets, AreNotLeftByALoginAtABackend) {
  expect_none_left_by_backend_logins(make_pop3_backend_dialogue, [](std::string_view mech) {
    return std::vector<std::string_view>{"+OK x", mech.empty() ? "+OK" : "+ ", "+ ", "-ERR no"};
  });
}

#else

TEST(Pop3Secrets, NeedTheAddressSanitizer) {
  GTEST_SKIP() << "freed blocks cannot be searched";
}

#endif

}  // namespace
}  // namespace postern::pop3_login
