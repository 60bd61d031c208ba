// No memory that the dialogues give back may still hold a password.
#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "../support/freed-secrets.h"
#include "imap-login/imap-dialogues.h"

namespace postern::imap_login {
namespace {

#ifdef POSTERN_SEARCHES_FREED_BLOCKS

using freed::feed;
using freed::found;
using freed::kPassword;
using freed::Search;
using login::Wish;
using Secrets = freed::Secrets;

TEST_F(Secrets, SearchFindsAPasswordThatIsLeft) {
  const Search search;
  std::string left(kPassword);
  left += left;
  left.clear();
  left.shrink_to_fit();
  EXPECT_GT(found, 0);
}

TEST_F(Secrets, AreNotLeftByALogin) {
  const Search search;
  int number = 0;
  for (const std::string_view line :
       {std::string_view("a LOGIN joe correct-horse-battery\r\n"),
        std::string_view("a LOGIN joe \"correct-horse-battery\"\r\n"),
        std::string_view("a LOGIN joe {21+}\r\ncorrect-horse-battery\r\n"),
        std::string_view("a LOGIN joe correct-horse-battery surplus\r\n"),
        std::string_view("a LOGIN joe correct-horse-battery {x}\r\n"),
        std::string_view("a LOGIN joe correct-horse-battery \"half"),
        std::string_view("correct-horse-battery a b\r\n"),
        std::string_view("a AUTHENTICATE PLAIN AGpvZQBjb3JyZWN0LWhvcnNlLWJhdHRlcnk=\r\n"),
        std::string_view("a AUTHENTICATE PLAIN AGpvZQBjb3JyZWN0LWhvcnNlLWJhdHRlcnk=x\r\n"),
        std::string_view("a AUTHENTICATE PLAIN AGpvZQBjb3JyZWN0LWhvcnNlLWJhdHRlcnk")}) {
    ++number;  // in place of the line, which a trace would copy
    WipingBuffer out;
    auto dialogue = make_imap_client_dialogue(context_);
    if (feed(*dialogue, line, out) == Wish::authenticate) {
      const login::AuthRequest request = dialogue->take_request();
      dialogue->failed({}, out);
    }
    dialogue.reset();
    EXPECT_EQ(found, 0) << "line " << number;
    found = 0;
  }
}

TEST_F(Secrets, AreNotLeftByAResponse) {
  const Search search;
  WipingBuffer out;
  auto dialogue = make_imap_client_dialogue(context_);
  ASSERT_EQ(feed(*dialogue, "a AUTHENTICATE LOGIN\r\n", out), Wish::authenticate);
  dialogue->take_request();
  dialogue->challenge("", out);
  ASSERT_EQ(feed(*dialogue, "Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5\r\n", out), Wish::respond);
  { const Secret response = dialogue->take_response(); }
  dialogue->challenge("", out);
  ASSERT_EQ(feed(*dialogue, "Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5%\r\n", out), Wish::cancel);
  dialogue.reset();
  EXPECT_EQ(found, 0);
}

TEST_F(Secrets, AreNotLeftByALoginAtABackend) {
  const Search search;
  for (const char* mech : {"", "PLAIN", "LOGIN", "XOAUTH2", "OAUTHBEARER"}) {
    for (const char* banner : {"* OK [CAPABILITY SASL-IR LITERAL+] x", "* OK [CAPABILITY X] x"}) {
      SCOPED_TRACE(mech);
      login::BackendTarget target;
      target.user = "joe";
      target.password = Secret(kPassword);
      target.mech = mech;
      target.client_tag = "a";
      WipingBuffer to_backend;
      WipingBuffer to_client;
      auto dialogue = make_imap_backend_dialogue(target);
      dialogue->on_line(banner, to_backend, to_client);
      dialogue->on_line("+ ", to_backend, to_client);
      dialogue->on_line("+ ", to_backend, to_client);
      dialogue->on_line("L NO no", to_backend, to_client);
      EXPECT_GT(to_backend.size(), 0U);
      dialogue.reset();
    }
  }
  EXPECT_EQ(found, 0);
}

#else

TEST(Secrets, NeedTheAddressSanitizer) {
  GTEST_SKIP() << "freed blocks cannot be searched";
}

#endif

}  // namespace
}  // namespace postern::imap_login
