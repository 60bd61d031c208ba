// XCLIENT's words and line, as the dialogues of POP3, ManageSieve and submission share them.
#include "login-common/xclient.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "lib/text.h"

namespace postern::login {
namespace {

TEST(Xclient, ReadsEveryWord) {
  const auto read = parse_xclient(
      "addr=2001:db8::1 PORT=4096  SESSION=abc TTL=0 DESTADDR=192.0.2.3 DESTPORT=110 "
      "DESTNAME=Mail.Example CLIENT-TRANSPORT=TLS UNKNOWN=1 junk FORWARD=YT1iCWM9ZAF0ZQ==");
  ASSERT_TRUE(read.ok());
  const Forwarded& said = read.value();
  EXPECT_EQ(said.client_ip->text(), "2001:db8::1");
  EXPECT_EQ(said.client_port, 4096);
  EXPECT_EQ(said.session, "abc");
  EXPECT_EQ(said.ttl, 0U);
  EXPECT_EQ(said.local_ip->text(), "192.0.2.3");
  EXPECT_EQ(said.local_port, 110);
  EXPECT_EQ(said.local_name, "mail.example");
  EXPECT_EQ(said.client_tls, true);
  const std::vector<std::pair<std::string, std::string>> fields{{"a", "b"}, {"c", "d\te"}};
  EXPECT_EQ(said.fields, fields);
}

TEST(Xclient, OneBadValueFailsTheWholeLine) {
  for (const char* words : {"ADDR=", "ADDR=192.0.2", "PORT=0", "PORT=65536", "PORT=25x", "PORT=+25",
                            "TTL=-1", "TTL=", "ADDR=192.0.2.1 TTL=4294967296", "FORWARD=",
                            "FORWARD=!!!", "FORWARD=YQ", "DESTPORT=x", "DESTADDR=host"}) {
    SCOPED_TRACE(words);
    EXPECT_FALSE(parse_xclient(words).ok());
  }
}

TEST(Xclient, SkipsWhatCouldNotStandInALogOrAName) {
  const auto read = parse_xclient("SESSION=" + std::string(65, 's') +
                                  " DESTNAME=a/b CLIENT-TRANSPORT=x SESSION=a<b SESSION=\"");
  ASSERT_TRUE(read.ok());
  EXPECT_FALSE(read.value().session || read.value().local_name || read.value().client_tls);
}

/// CVE-2026-42008 (a bare word became a field of auth's own) and CVE-2026-42395 (a NUL).
TEST(Xclient, TakesOnlyNamedFieldsOfForward) {
  const auto bare = parse_xclient("FORWARD=" + base64_encode("nopassword\ta=b\t=c\tx y=z\td="));
  ASSERT_TRUE(bare.ok());
  const std::vector<std::pair<std::string, std::string>> fields{{"a", "b"}, {"d", ""}};
  EXPECT_EQ(bare.value().fields, fields);
  EXPECT_FALSE(
      parse_xclient("FORWARD=" + base64_encode(std::string_view("a=b\0nopassword", 14))).ok());
  EXPECT_FALSE(parse_xclient("FORWARD=" + base64_encode("a=b\001"
                                                        "0nopassword"))
                   .ok())
      << "escaped";
  std::string many;
  for (int i = 0; i < 100; ++i) many += "f" + std::to_string(i) + "=x\t";
  EXPECT_EQ(parse_xclient("FORWARD=" + base64_encode(many)).value().fields.size(), 30U);
}

}  // namespace
}  // namespace postern::login
