// No memory that the dialogues give back may still hold a password.
#include <gtest/gtest.h>

#include <string_view>

#include "../support/freed-secrets.h"
#include "managesieve-login/sieve-dialogues.h"

namespace postern::managesieve_login {
namespace {

#ifdef POSTERN_SEARCHES_FREED_BLOCKS

using freed::feed;
using freed::found;
using freed::kPassword;
using freed::Search;
using login::Wish;
using SieveSecrets = freed::Secrets;

TEST_F(SieveSecrets, AreNotLeftByALogin) {
  const Search search;
  int number = 0;
  for (const std::string_view line :
       {std::string_view("AUTHENTICATE \"PLAIN\" \"AGpvZQBjb3JyZWN0LWhvcnNlLWJhdHRlcnk=\"\r\n"),
        std::string_view(
            "AUTHENTICATE \"PLAIN\" {36+}\r\nAGpvZQBjb3JyZWN0LWhvcnNlLWJhdHRlcnk=\r\n"),
        std::string_view("AUTHENTICATE \"PLAIN\" {37+}\r\nAGpvZQBjb3JyZWN0LWhvcnNlLWJhdHRlcnk="),
        std::string_view("AUTHENTICATE \"PLAIN\" \"AGpvZQBjb3JyZWN0LWhvcnNlLWJhdHRlcnk=x\"\r\n"),
        std::string_view("AUTHENTICATE \"PLAIN\" \"AGpvZQBjb3JyZWN0LWhvcnNlLWJhdHRlcnk=\" x\r\n"),
        std::string_view("AUTHENTICATE \"PLAIN\" AGpvZQBjb3JyZWN0LWhvcnNlLWJhdHRlcnk=\r\n"),
        std::string_view("AUTHENTICATE \"PLAIN\" \"AGpvZQBjb3JyZWN0LWhvcnNlLWJhdHRlcnk=\xe9\"\r\n"),
        std::string_view("NOOP \"correct-horse-battery\"\r\n"),
        std::string_view("NOOP correct-horse-battery correct-horse-battery\r\n"),
        std::string_view("PUTSCRIPT \"a\" {21+}\r\ncorrect-horse-battery\r\n"),
        std::string_view("correct-horse-battery a\r\n")}) {
    ++number;  // in place of the line, which a trace would copy
    WipingBuffer out;
    auto dialogue = make_sieve_client_dialogue(context_);
    if (feed(*dialogue, line, out) == Wish::authenticate) {
      const login::AuthRequest request = dialogue->take_request();
      dialogue->failed({}, out);
    }
    dialogue.reset();
    EXPECT_EQ(found, 0) << "line " << number;
    found = 0;
  }
}

TEST_F(SieveSecrets, AreNotLeftByAResponse) {
  const Search search;
  WipingBuffer out;
  auto dialogue = make_sieve_client_dialogue(context_);
  ASSERT_EQ(feed(*dialogue, "AUTHENTICATE \"LOGIN\"\r\n", out), Wish::authenticate);
  dialogue->take_request();
  dialogue->challenge("", out);
  ASSERT_EQ(feed(*dialogue, "\"Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5\"\r\n", out), Wish::respond);
  { const Secret response = dialogue->take_response(); }
  dialogue->challenge("", out);
  ASSERT_EQ(feed(*dialogue, "\"Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5\" x\r\n", out), Wish::cancel);
  dialogue->challenge("", out);
  ASSERT_EQ(feed(*dialogue, "{29+}\r\nY29ycmVjdC1ob3JzZS1iYXR0ZXJ5%\r\n", out), Wish::cancel);
  dialogue.reset();
  EXPECT_EQ(found, 0);
}

TEST_F(SieveSecrets, AreNotLeftByALoginAtABackend) {
  const Search search;
  for (const char* mech : {"", "PLAIN", "LOGIN", "XOAUTH2", "OAUTHBEARER"}) {
    SCOPED_TRACE(mech);
    login::BackendTarget target;
    target.user = "joe";
    target.password = Secret(kPassword);
    target.mech = mech;
    WipingBuffer to_backend;
    WipingBuffer to_client;
    auto dialogue = make_sieve_backend_dialogue(target);
    for (const char* line : {"\"SASL\" \"PLAIN\"", "OK", "\"\"", "\"\"", "NO \"no\""}) {
      dialogue->on_line(line, to_backend, to_client);
    }
    EXPECT_GT(to_backend.size(), 0U);
    dialogue.reset();
  }
  EXPECT_EQ(found, 0);
}

#else

TEST(SieveSecrets, NeedTheAddressSanitizer) {
  GTEST_SKIP() << "freed blocks cannot be searched";
}

#endif

}  // namespace
}  // namespace postern::managesieve_login
