// XCLIENT as trusted clients say it.
#include "submission-login/client-xclient.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "lib/text.h"
#include "wire/smtp-text.h"

namespace postern::submission_login {
namespace {

std::string forward(std::string_view fields) {
  return "FORWARD=" + wire::xtext_encode(base64_encode(fields));
}

std::string error_of(std::string_view arguments) {
  const auto said = parse_xclient(arguments);
  return said.ok() ? "" : said.error().text;
}

TEST(SubmissionXclient, HasEveryValue) {
  const auto said = parse_xclient(
      "addr=IPV6:2001:DB8::1 PORT=1234 Proto=esmtp HELO=a+2Eexample LOGIN=bob SESSION=x+2B1 TTL=3 "
      "TIMEOUT=60 NAME=[UNAVAILABLE] REVERSE_NAME=x DESTADDR=192.0.2.9 DESTPORT=25 "
      "DESTNAME=Mail.Example CLIENT-TRANSPORT=TLS " +
      forward("color=blue\tnote=x=y"));
  ASSERT_TRUE(said.ok()) << said.error().text;
  const Xclient& values = said.value();
  EXPECT_EQ(values.forwarded.client_ip->text(), "2001:db8::1");
  EXPECT_EQ(values.forwarded.client_port, 1234);
  EXPECT_EQ(values.protocol, "ESMTP");
  EXPECT_EQ(values.helo, "a.example");
  EXPECT_EQ(values.forwarded.session, "x+1");
  EXPECT_EQ(values.forwarded.ttl, 3U);
  EXPECT_EQ(values.forwarded.local_ip->text(), "192.0.2.9");
  EXPECT_EQ(values.forwarded.local_port, 25);
  EXPECT_EQ(values.forwarded.local_name, "mail.example");
  EXPECT_EQ(values.forwarded.client_tls, true);
  ASSERT_EQ(values.forwarded.fields.size(), 2U);
  EXPECT_EQ(values.forwarded.fields[1], (std::pair<std::string, std::string>("note", "x=y")));
}

TEST(SubmissionXclient, NamesWhatIsWrong) {
  const std::pair<std::string_view, std::string_view> cases[] = {
      {"ADDR=x", "Invalid ADDR parameter"},
      {"ADDR=", "Invalid ADDR parameter"},
      {"ADDR", "Invalid ADDR parameter"},
      {"ADDR=IPV6:192.0.2.1", "Invalid ADDR parameter"},
      {"ADDR=[192.0.2.1]", "Invalid ADDR parameter"},
      {"DESTADDR=1", "Invalid DESTADDR parameter"},
      {"PORT=0", "Invalid PORT parameter"},
      {"PORT=65536", "Invalid PORT parameter"},
      {"PORT=+31", ""},
      {"TTL=-1", "Invalid TTL parameter"},
      {"TTL=4294967296", "Invalid TTL parameter"},
      {"TIMEOUT=x", "Invalid TIMEOUT parameter"},
      {"PROTO=HTTP", "Invalid PROTO parameter"},
      {"addr=a+zz", "Invalid ADDR parameter: Invalid hexchar after '+' in xtext"},
      {"HELO=a+2", "Invalid HELO parameter: Invalid hexchar after '+' in xtext"},
      {"=x", "Invalid parameter: Invalid character in parameter name"},
      {"A:B=x", "Invalid parameter: Invalid character in parameter name"},
      {"", ""}};
  for (const auto& [arguments, error] : cases) EXPECT_EQ(error_of(arguments), error) << arguments;
}

TEST(SubmissionXclient, LeavesOutWhatCouldNotStandAnywhere) {
  const auto said = parse_xclient("SESSION=" + std::string(65, 's') +
                                  " HELO=a+0D+0A.b DESTNAME=a+20b FORWARD=!!! SESSION=a+0Ab "
                                  "ADDR=[UNAVAILABLE] HELO=[UNAVAILABLE]");
  ASSERT_TRUE(said.ok());
  EXPECT_FALSE(said.value().forwarded.session);
  EXPECT_FALSE(said.value().helo);
  EXPECT_FALSE(said.value().forwarded.local_name);
  EXPECT_FALSE(said.value().forwarded.client_ip);
  EXPECT_TRUE(said.value().forwarded.fields.empty());
}

/// CVE-2026-42395: a NUL in FORWARD. CVE-2026-42008: a bare word that becomes a field of auth's.
TEST(SubmissionXclient, TakesOnlyFieldsFromForward) {
  for (const std::string_view fields :
       {std::string_view("a=b\0c", 5), std::string_view("\0", 1), std::string_view("")}) {
    const auto said = parse_xclient(forward(fields));
    ASSERT_TRUE(said.ok());
    EXPECT_TRUE(said.value().forwarded.fields.empty());
  }
  const auto said = parse_xclient(forward("nopassword\t=x\tuser=joe\tb ad=1\tproxy"));
  ASSERT_TRUE(said.ok());
  ASSERT_EQ(said.value().forwarded.fields.size(), 1U);
  EXPECT_EQ(said.value().forwarded.fields[0].first, "user");  // forward_user, and nothing else
}

}  // namespace
}  // namespace postern::submission_login
