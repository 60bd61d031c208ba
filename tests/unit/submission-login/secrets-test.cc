// No memory that the dialogues give back may still hold a password.
#include <gtest/gtest.h>

#include <string_view>

#include "../support/freed-secrets.h"
#include "submission-login/submission-dialogues.h"

namespace postern::submission_login {
namespace {

#ifdef POSTERN_SEARCHES_FREED_BLOCKS

using freed::feed;
using freed::found;
using freed::kPassword;
using freed::Search;
using login::Wish;
using SubmissionSecrets = freed::Secrets;

TEST_F(SubmissionSecrets, AreNotLeftByALogin) {
  const Search search;
  int number = 0;
  for (const std::string_view line :
       {std::string_view("AUTH LOGIN correct-horse-battery\r\n"),
        std::string_view("correct-horse-battery\r\n"),
        std::string_view("correct-horse-battery\0\r\n", 24),
        std::string_view("NOOP correct-horse-battery a\r\n"),
        std::string_view("AUTH PLAIN a correct-horse-battery"),
        std::string_view("AUTH PLAIN AGpvZQBjb3JyZWN0LWhvcnNlLWJhdHRlcnk=\r\n"),
        std::string_view("AUTH PLAIN AGpvZQBjb3JyZWN0LWhvcnNlLWJhdHRlcnk=x\r\n"),
        std::string_view("AUTH PLAIN AGpvZQBjb3JyZWN0LWhvcnNlLWJhdHRlcnk")}) {
    ++number;  // in place of the line, which a trace would copy
    WipingBuffer out;
    auto dialogue = make_submission_client_dialogue(context_);
    if (feed(*dialogue, line, out) == Wish::authenticate) {
      const login::AuthRequest request = dialogue->take_request();
      dialogue->failed({}, out);
    }
    dialogue.reset();
    EXPECT_EQ(found, 0) << "line " << number;
    found = 0;
  }
}

TEST_F(SubmissionSecrets, AreNotLeftByAResponse) {
  const Search search;
  WipingBuffer out;
  auto dialogue = make_submission_client_dialogue(context_);
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

TEST_F(SubmissionSecrets, AreNotLeftByALoginAtABackend) {
  const Search search;
  for (const char* mech : {"", "PLAIN", "LOGIN", "XOAUTH2", "OAUTHBEARER"}) {
    SCOPED_TRACE(mech);
    login::BackendTarget target;
    target.user = "joe";
    target.password = Secret(kPassword);
    target.mech = mech;
    WipingBuffer to_backend;
    WipingBuffer to_client;
    auto dialogue = make_submission_backend_dialogue(target);
    for (const char* line : {"220 x", "250-x", "250 AUTH PLAIN", "334 ", "334 ", "535 no"}) {
      dialogue->on_line(line, to_backend, to_client);
    }
    EXPECT_GT(to_backend.size(), 0U);
    dialogue.reset();
  }
  EXPECT_EQ(found, 0);
}

#else

TEST(SubmissionSecrets, NeedTheAddressSanitizer) {
  GTEST_SKIP() << "freed blocks cannot be searched";
}

#endif

}  // namespace
}  // namespace postern::submission_login
