#include "login-common/referral.h"

#include <gtest/gtest.h>

namespace postern::login {
namespace {

AuthResult to(std::string host, std::uint16_t port, std::string user) {
  AuthResult out;
  out.outcome = Outcome::referral;
  out.referral_host = std::move(host);
  out.referral_port = port;
  out.user = std::move(user);
  out.mech = "PLAIN";
  return out;
}

TEST(Referral, NamesThePortOnlyIfItIsNotTheUsualOne) {
  EXPECT_EQ(referral_url("sieve", 4190, to("192.0.2.7", 1143, "bob")),
            "sieve://bob;AUTH=PLAIN@192.0.2.7:1143");
  EXPECT_EQ(referral_url("sieve", 4190, to("192.0.2.7", 4190, "bob")),
            "sieve://bob;AUTH=PLAIN@192.0.2.7");
  EXPECT_EQ(referral_url("imap", 143, to("192.0.2.7", 0, "bob")),
            "imap://bob;AUTH=PLAIN@192.0.2.7");
}

TEST(Referral, LetsNoUserNameEndTheUrl) {
  EXPECT_EQ(referral_url("sieve", 4190, to("2001:db8::1", 1, "a@b)\" \xc3\xa9/")),
            "sieve://a%40b%29%22%20%C3%A9%2F;AUTH=PLAIN@[2001:db8::1]:1");
}

}  // namespace
}  // namespace postern::login
