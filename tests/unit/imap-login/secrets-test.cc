// No memory that the dialogues give back may still hold a password.
#include <gtest/gtest.h>

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "../support/freed-secrets.h"
#include "imap-login/imap-dialogues.h"

namespace postern::imap_login {
namespace {

#ifdef POSTERN_SEARCHES_FREED_BLOCKS

using ImapSecrets = freed::Secrets;

TEST_F(ImapSecrets, SearchFindsAPasswordThatIsLeft) {
  const freed::Search search;
  std::string left(freed::kPassword);
  left += left;
  left.clear();
  left.shrink_to_fit();
  EXPECT_GT(freed::found, 0);
}

TEST_F(ImapSecrets, AreNotLeftByALogin) {
  constexpr std::array kLines{
      std::string_view("a LOGIN joe correct-horse-battery\r\n"),
      std::string_view("a LOGIN joe \"correct-horse-battery\"\r\n"),
      std::string_view("a LOGIN joe {21+}\r\ncorrect-horse-battery\r\n"),
      std::string_view("a LOGIN joe correct-horse-battery surplus\r\n"),
      std::string_view("a LOGIN joe correct-horse-battery {x}\r\n"),
      std::string_view("a LOGIN joe correct-horse-battery \"half"),
      std::string_view("correct-horse-battery a b\r\n"),
      std::string_view("a AUTHENTICATE PLAIN AGpvZQBjb3JyZWN0LWhvcnNlLWJhdHRlcnk=\r\n"),
      std::string_view("a AUTHENTICATE PLAIN AGpvZQBjb3JyZWN0LWhvcnNlLWJhdHRlcnk=x\r\n"),
      std::string_view("a AUTHENTICATE PLAIN AGpvZQBjb3JyZWN0LWhvcnNlLWJhdHRlcnk")};
  expect_none_left_by(make_imap_client_dialogue, kLines);
}

TEST_F(ImapSecrets, AreNotLeftByAResponse) {
  expect_none_left_by_responses(make_imap_client_dialogue, "a AUTHENTICATE LOGIN\r\n",
                                "Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5\r\n",
                                {"Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5%\r\n"});
}

TEST_F(ImapSecrets, AreNotLeftByALoginAtABackend) {
  expect_none_left_by_backend_logins(make_imap_backend_dialogue, [](std::string_view /*mech*/) {
    return std::vector<std::string_view>{"* OK [CAPABILITY SASL-IR LITERAL+] x", "+ ", "+ ",
                                         "L NO no"};
  });
}

TEST_F(ImapSecrets, AreNotLeftByALoginAtABackendThatKnowsLittle) {
  expect_none_left_by_backend_logins(make_imap_backend_dialogue, [](std::string_view /*mech*/) {
    return std::vector<std::string_view>{"* OK [CAPABILITY X] x", "+ ", "+ ", "L NO no"};
  });
}

#else

TEST(ImapSecrets, NeedTheAddressSanitizer) {
  GTEST_SKIP() << "freed blocks cannot be searched";
}

#endif

}  // namespace
}  // namespace postern::imap_login
