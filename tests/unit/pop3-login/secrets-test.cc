// No memory that the dialogues give back may still hold a password.
#include <gtest/gtest.h>

#include <string_view>

#include "../support/freed-secrets.h"
#include "pop3-login/pop3-dialogues.h"

namespace postern::pop3_login {
namespace {

#ifdef POSTERN_SEARCHES_FREED_BLOCKS

using freed::feed;
using freed::found;
using freed::kPassword;
using freed::Search;
using login::Wish;
using Pop3Secrets = freed::Secrets;

TEST_F(Pop3Secrets, AreNotLeftByALogin) {
  const Search search;
  int number = 0;
  for (const std::string_view line :
       {std::string_view("USER joe\r\nPASS correct-horse-battery\r\n"),
        std::string_view("PASS correct-horse-battery\r\n"),
        std::string_view("USER joe\r\nPASS correct-horse-battery"),
        std::string_view("USER joe\r\nPASS correct-horse-battery\0\r\n", 39),
        std::string_view("correct-horse-battery a\r\n"),
        std::string_view("AUTH PLAIN AGpvZQBjb3JyZWN0LWhvcnNlLWJhdHRlcnk=\r\n"),
        std::string_view("AUTH PLAIN AGpvZQBjb3JyZWN0LWhvcnNlLWJhdHRlcnk=x\r\n"),
        std::string_view("AUTH PLAIN AGpvZQBjb3JyZWN0LWhvcnNlLWJhdHRlcnk")}) {
    ++number;  // in place of the line, which a trace would copy
    WipingBuffer out;
    auto dialogue = make_pop3_client_dialogue(context_);
    if (feed(*dialogue, line, out) == Wish::authenticate) {
      const login::AuthRequest request = dialogue->take_request();
      dialogue->failed({}, out);
    }
    dialogue.reset();
    EXPECT_EQ(found, 0) << "line " << number;
    found = 0;
  }
}

TEST_F(Pop3Secrets, AreNotLeftByAResponse) {
  const Search search;
  WipingBuffer out;
  auto dialogue = make_pop3_client_dialogue(context_);
  ASSERT_EQ(feed(*dialogue, "AUTH LOGIN\r\n", out), Wish::authenticate);
  dialogue->take_request();
  dialogue->challenge("", out);
  ASSERT_EQ(feed(*dialogue, "Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5\r\n", out), Wish::respond);
  { const Secret response = dialogue->take_response(); }
  dialogue->challenge("", out);
  ASSERT_EQ(feed(*dialogue, "Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5%\r\n", out), Wish::cancel);
  dialogue.reset();
  EXPECT_EQ(found, 0);
}

TEST_F(Pop3Secrets, AreNotLeftByALoginAtABackend) {
  const Search search;
  for (const char* mech : {"", "PLAIN", "LOGIN", "XOAUTH2", "OAUTHBEARER"}) {
    SCOPED_TRACE(mech);
    login::BackendTarget target;
    target.user = "joe";
    target.password = Secret(kPassword);
    target.mech = mech;
    WipingBuffer to_backend;
    WipingBuffer to_client;
    auto dialogue = make_pop3_backend_dialogue(target);
    dialogue->on_line("+OK x", to_backend, to_client);
    dialogue->on_line(*mech == 0 ? "+OK" : "+ ", to_backend, to_client);
    dialogue->on_line("+ ", to_backend, to_client);
    dialogue->on_line("-ERR no", to_backend, to_client);
    EXPECT_GT(to_backend.size(), 0U);
    dialogue.reset();
  }
  EXPECT_EQ(found, 0);
}

#else

TEST(Pop3Secrets, NeedTheAddressSanitizer) {
  GTEST_SKIP() << "freed blocks cannot be searched";
}

#endif

}  // namespace
}  // namespace postern::pop3_login
