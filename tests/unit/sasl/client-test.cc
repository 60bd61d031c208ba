#include "sasl/client.h"

#include <gtest/gtest.h>

#include <string>

namespace postern::sasl {
namespace {

using Kind = ClientReply::Kind;

struct Who {
  explicit Who(std::string_view user, std::string_view password, std::string_view master = "")
      : secret(password) {
    credentials.authzid = user;
    credentials.authid = master.empty() ? user : master;
    credentials.secret = &secret;
  }
  Secret secret;
  ClientCredentials credentials;
};

std::string initial(std::string_view mech, const Who& who) {
  const auto mechanism = make_client_mechanism(mech, who.credentials);
  auto reply = mechanism->initial();
  if (!reply) return "(none)";
  return reply->kind == Kind::respond ? std::string(reply->bytes.view()) : "!" + reply->reason;
}

TEST(ClientMechanism, NamesAreKnownInAnyCase) {
  const Who who("joe", "pass");
  for (const char* name : {"PLAIN", "login", "External", "XOAUTH2", "oauthbearer"}) {
    EXPECT_TRUE(is_client_mechanism(name)) << name;
    ASSERT_NE(make_client_mechanism(name, who.credentials), nullptr) << name;
  }
  EXPECT_EQ(make_client_mechanism("login", who.credentials)->name(), "LOGIN");
  for (const char* name : {"", "SCRAM-SHA-1", "PLAIN ", "ANONYMOUS"}) {
    EXPECT_FALSE(is_client_mechanism(name)) << name;
    EXPECT_EQ(make_client_mechanism(name, who.credentials), nullptr) << name;
  }
}

TEST(ClientPlain, AlwaysSendsTheAuthzid) {
  EXPECT_EQ(initial("PLAIN", Who("joe", "pass")), std::string("joe\0joe\0pass", 12));
  EXPECT_EQ(initial("PLAIN", Who("joe", "adminpass", "admin")),
            std::string("joe\0admin\0adminpass", 19));
  EXPECT_EQ(initial("PLAIN", Who("joe", "")), std::string("joe\0joe\0", 8));
}

TEST(ClientPlain, DoesNotSendANul) {
  EXPECT_EQ(initial("PLAIN", Who("joe", std::string_view("a\0b", 3))),
            "!NUL in user name or password");
  EXPECT_EQ(initial("PLAIN", Who(std::string_view("j\0e", 3), "x")),
            "!NUL in user name or password");
}

TEST(ClientPlain, HasNothingToSayToAChallenge) {
  const Who who("joe", "pass");
  const auto plain = make_client_mechanism("PLAIN", who.credentials);
  const ClientReply reply = plain->challenge("more?");
  EXPECT_EQ(reply.kind, Kind::broken);
  EXPECT_EQ(reply.reason, "Server didn't finish authentication");
  EXPECT_TRUE(reply.bytes.empty());
}

TEST(ClientLogin, SendsNameThenPasswordWhateverIsAsked) {
  const Who who("joe", "pass");
  const auto login = make_client_mechanism("LOGIN", who.credentials);
  EXPECT_FALSE(login->initial().has_value());
  EXPECT_EQ(login->challenge("Username:").bytes.view(), "joe");
  EXPECT_EQ(login->challenge("").bytes.view(), "pass");
  EXPECT_EQ(login->challenge("again").kind, Kind::broken);
}

TEST(ClientExternal, SendsTheAuthzid) {
  EXPECT_EQ(initial("EXTERNAL", Who("joe", "ignored")), "joe");
  EXPECT_EQ(initial("EXTERNAL", Who(std::string_view("j\0", 2), "")), "!NUL in user name");
}

TEST(ClientBearer, SendsTheTokenInBothForms) {
  EXPECT_EQ(initial("XOAUTH2", Who("joe", "tok123")),
            "user=joe\x01"
            "auth=Bearer tok123\x01\x01");
  EXPECT_EQ(initial("OAUTHBEARER", Who("joe", "tok123")),
            "n,a=joe,\x01"
            "auth=Bearer tok123\x01\x01");
  EXPECT_EQ(initial("OAUTHBEARER", Who("a,b=c", "t")),
            "n,a=a=2Cb=3Dc,\x01"
            "auth=Bearer t\x01\x01");
}

TEST(ClientBearer, DoesNotLetAValueAddAField) {
  for (const char* mech : {"XOAUTH2", "OAUTHBEARER"}) {
    EXPECT_EQ(initial(mech, Who("joe\x01host=x", "t")), "!Control character in user name or token");
    EXPECT_EQ(initial(mech, Who("joe", "t\x01x")), "!Control character in user name or token");
  }
}

TEST(ClientBearer, AnswersTheErrorChallengeOnce) {
  const Who who("joe", "tok");
  const auto xoauth2 = make_client_mechanism("XOAUTH2", who.credentials);
  ClientReply reply = xoauth2->challenge(R"({"status":"401","schemes":"bearer"})");
  EXPECT_EQ(reply.kind, Kind::refused);
  EXPECT_EQ(reply.reason, "Failed to authenticate: 401");
  EXPECT_TRUE(reply.bytes.empty());
  EXPECT_EQ(xoauth2->challenge("{}").kind, Kind::broken);
  const auto bearer = make_client_mechanism("OAUTHBEARER", who.credentials);
  reply = bearer->challenge(R"({"status":400})");
  EXPECT_EQ(reply.reason, "Failed to authenticate: 400");
  EXPECT_EQ(reply.bytes.view(), "\x01");
}

TEST(ClientBearer, SurvivesWhateverTheErrorChallengeIs) {
  const Who who("joe", "tok");
  for (const std::string& text :
       {std::string(), std::string("{"), std::string("[1]"), std::string(R"({"status":{}})"),
        std::string(R"({"status":null})"), std::string(3000, '['), std::string("\xff\xfe")}) {
    const auto mechanism = make_client_mechanism("XOAUTH2", who.credentials);
    EXPECT_EQ(mechanism->challenge(text).reason, "Failed to authenticate");
  }
  const auto mechanism = make_client_mechanism("XOAUTH2", who.credentials);
  EXPECT_EQ(mechanism->challenge(R"({"status":"a\r\nb"})").reason, "Failed to authenticate: a??b");
}

}  // namespace
}  // namespace postern::sasl
