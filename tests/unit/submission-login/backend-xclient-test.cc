// What backends are told of the client.
#include "submission-login/backend-xclient.h"

#include <gtest/gtest.h>

#include <string>

#include "lib/text.h"
#include "wire/smtp-text.h"

namespace postern::submission_login {
namespace {

login::BackendTarget target() {
  login::BackendTarget out;
  out.user = "joe";
  out.session = "ab+c";
  out.client = {*IpAddress::parse("2001:db8::1"), 4096};
  out.local = {*IpAddress::parse("192.0.2.2"), 587};
  out.ttl = 4;
  out.local_name = "mail.example";
  out.client_tls = true;
  out.forward = {{"color", "blue"}};
  return out;
}

XclientOffer offer(const std::string& names) {
  XclientOffer out;
  out.offered = true;
  for (const std::string_view name : words(names)) out.names.emplace_back(name);
  return out;
}

std::string said(const login::BackendTarget& target, const std::string& names) {
  std::string out;
  for (const std::string& line : xclient_commands(target, offer(names)).lines) out += line;
  return out;
}

TEST(SubmissionXclientCommands, SayWhatTheBackendHasNamed) {
  const std::string all =
      "FORWARD SESSION ADDR PORT TTL LOGIN PROTO HELO TIMEOUT DESTADDR DESTPORT DESTNAME "
      "CLIENT-TRANSPORT";
  EXPECT_EQ(said(target(), all),
            "XCLIENT HELO=[UNAVAILABLE] TTL=4 PORT=4096 ADDR=IPV6:2001:db8::1 "
            "SESSION=ab+2Bc DESTPORT=587 DESTADDR=192.0.2.2 DESTNAME=mail.example "
            "CLIENT-TRANSPORT=TLS FORWARD=" +
                wire::xtext_encode(base64_encode("color=blue")) + "\r\n");
  login::BackendTarget old = target();
  old.forward_2_3_only = true;
  old.helo = "a=b+c";
  old.helo_protocol = "SMTP";
  EXPECT_EQ(said(old, "helo proto destaddr addr"),
            "XCLIENT HELO=a+3Db+2Bc PROTO=SMTP ADDR=IPV6:2001:db8::1\r\n");
  EXPECT_EQ(said(old, "NAME REVERSE_NAME"), "");
  EXPECT_EQ(said(old, ""), "");
}

TEST(SubmissionXclientCommands, NameTheUserOnlyWhereNothingElseDoes) {
  login::BackendTarget one = target();
  EXPECT_EQ(said(one, "LOGIN"), "");
  one.noauth = true;
  EXPECT_EQ(said(one, "LOGIN"), "XCLIENT LOGIN=joe\r\n");
  EXPECT_TRUE(xclient_commands(one, offer("LOGIN")).login_said);
  one.user = "a b\r\nRCPT";
  EXPECT_EQ(said(one, "LOGIN"), "XCLIENT LOGIN=a+20b+0D+0ARCPT\r\n");
}

/// T-USR-03: nothing that a client or a passdb chose gets out of its value.
TEST(SubmissionXclientCommands, KeepValuesInTheirPlace) {
  login::BackendTarget one = target();
  one.session = "a b";
  one.local_name = "x y=z\r\n";
  one.helo = std::string("a\0b\r\nQUIT", 9);
  one.forward = {{"a", "b\r\nRCPT"}, {"c", "d e"}};
  const std::string line = said(one, "SESSION DESTNAME HELO FORWARD");
  EXPECT_EQ(line.find("SESSION"), std::string::npos);
  EXPECT_EQ(line.find('\n'), line.size() - 1);
  EXPECT_EQ(line.find("\r"), line.size() - 2);
  EXPECT_NE(line.find("HELO=a+00b+0D+0AQUIT"), std::string::npos) << line;
  EXPECT_EQ(line.find("DESTNAME"), std::string::npos) << line;  // no name
}

TEST(SubmissionXclientCommands, FitIntoCommands) {
  for (std::size_t size = 1; size < 1200; size += 7) {
    login::BackendTarget one = target();
    one.helo = std::string(255, 'h');
    one.forward = {{"note", std::string(size, 'x')}};
    const XclientCommands commands = xclient_commands(one, offer("HELO ADDR SESSION FORWARD"));
    ASSERT_FALSE(commands.lines.empty());
    bool forwarded = false;
    for (const std::string& line : commands.lines) {
      const bool alone = line.starts_with("XCLIENT FORWARD=");
      EXPECT_LE(line.size(), alone ? kMaxAttribute : kMaxCommand);
      EXPECT_TRUE(line.ends_with("\r\n"));
      forwarded = forwarded || line.find(" FORWARD=") != std::string::npos;
    }
    EXPECT_NE(forwarded, commands.left_out);
  }
}

}  // namespace
}  // namespace postern::submission_login
