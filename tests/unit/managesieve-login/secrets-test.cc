// No memory that the dialogues give back may still hold a password.
#include <gtest/gtest.h>

#include <array>
#include <string_view>
#include <vector>

#include "../support/freed-secrets.h"
#include "managesieve-login/sieve-dialogues.h"

namespace postern::managesieve_login {
namespace {

#ifdef POSTERN_SEARCHES_FREED_BLOCKS

using SieveSecrets = freed::Secrets;

TEST_F(SieveSecrets, AreNotLeftByALogin) {
  constexpr std::array kLines{
      std::string_view("AUTHENTICATE \"PLAIN\" \"AGpvZQBjb3JyZWN0LWhvcnNlLWJhdHRlcnk=\"\r\n"),
      std::string_view("AUTHENTICATE \"PLAIN\" {36+}\r\nAGpvZQBjb3JyZWN0LWhvcnNlLWJhdHRlcnk=\r\n"),
      std::string_view("AUTHENTICATE \"PLAIN\" {37+}\r\nAGpvZQBjb3JyZWN0LWhvcnNlLWJhdHRlcnk="),
      std::string_view("AUTHENTICATE \"PLAIN\" \"AGpvZQBjb3JyZWN0LWhvcnNlLWJhdHRlcnk=x\"\r\n"),
      std::string_view("AUTHENTICATE \"PLAIN\" \"AGpvZQBjb3JyZWN0LWhvcnNlLWJhdHRlcnk=\" x\r\n"),
      std::string_view("AUTHENTICATE \"PLAIN\" AGpvZQBjb3JyZWN0LWhvcnNlLWJhdHRlcnk=\r\n"),
      std::string_view("AUTHENTICATE \"PLAIN\" \"AGpvZQBjb3JyZWN0LWhvcnNlLWJhdHRlcnk=\xe9\"\r\n"),
      std::string_view("NOOP \"correct-horse-battery\"\r\n"),
      std::string_view("NOOP correct-horse-battery correct-horse-battery\r\n"),
      std::string_view("PUTSCRIPT \"a\" {21+}\r\ncorrect-horse-battery\r\n"),
      std::string_view("correct-horse-battery a\r\n")};
  expect_none_left_by(make_sieve_client_dialogue, kLines);
}

TEST_F(SieveSecrets, AreNotLeftByAResponse) {
  expect_none_left_by_responses(
      make_sieve_client_dialogue, "AUTHENTICATE \"LOGIN\"\r\n",
      "\"Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5\"\r\n",
      {"\"Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5\" x\r\n", "{29+}\r\nY29ycmVjdC1ob3JzZS1iYXR0ZXJ5%\r\n"});
}

TEST_F(SieveSecrets, AreNotLeftByALoginAtABackend) {
  expect_none_left_by_backend_logins(make_sieve_backend_dialogue, [](std::string_view /*mech*/) {
    return std::vector<std::string_view>{"\"SASL\" \"PLAIN\"", "OK", "\"\"", "\"\"", "NO \"no\""};
  });
}

#else

TEST(SieveSecrets, NeedTheAddressSanitizer) {
  GTEST_SKIP() << "freed blocks cannot be searched";
}

#endif

}  // namespace
}  // namespace postern::managesieve_login
