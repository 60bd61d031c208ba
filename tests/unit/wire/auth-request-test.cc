#include "wire/auth-request.h"

#include <gtest/gtest.h>

namespace postern::wire {
namespace {

TEST(AuthCommand, ReadsEveryParameter) {
  const auto parsed = parse_auth_command(
      "7\tplain\tservice=imap\tlip=192.0.2.1\trip=2001:db8::1\tlport=143\trport=40000\tsession="
      "a\001tb\tlocal_name=mx\t"
      "client_id=x\tsecured=tls\tvalid-client-cert\tcert_username=joe\tno-penalty\tfinal-resp-"
      "ok\tdebug\tnologin\t\tfuture=1\tresp=AAA=");
  ASSERT_TRUE(parsed.ok()) << parsed.error().text;
  const AuthCommand& c = parsed.value();
  EXPECT_EQ(c.id, 7U);
  EXPECT_EQ(c.mech, "PLAIN");
  EXPECT_TRUE(c.has_resp);
  EXPECT_EQ(c.resp, "AAA=");
  const AuthProperties& p = c.properties;
  EXPECT_EQ(p.service, "imap");
  EXPECT_EQ(p.lip.text(), "192.0.2.1");
  EXPECT_EQ(p.rip.text(), "2001:db8::1");
  EXPECT_EQ(p.lport, 143);
  EXPECT_EQ(p.rport, 40000);
  EXPECT_EQ(p.real_rip, p.rip);
  EXPECT_EQ(p.real_lport, 143);
  EXPECT_EQ(p.session, "a\tb");
  EXPECT_TRUE(p.secured && p.secured_tls && p.valid_client_cert && p.no_penalty &&
              p.final_resp_ok && p.debug);
  EXPECT_EQ(p.cert_username, "joe");
}

TEST(AuthCommand, RealAddressesWinWhereverTheyStand) {
  for (const char* args : {"1\tPLAIN\tservice=x\trip=192.0.2.1\treal_rip=198.51.100.1",
                           "1\tPLAIN\tservice=x\treal_rip=198.51.100.1\trip=192.0.2.1"}) {
    const auto parsed = parse_auth_command(args);
    ASSERT_TRUE(parsed.ok());
    EXPECT_EQ(parsed.value().properties.rip.text(), "192.0.2.1");
    EXPECT_EQ(parsed.value().properties.real_rip.text(), "198.51.100.1");
  }
}

TEST(AuthCommand, SaysWhyItCannotBeRead) {
  const auto code = [](std::string_view args) {
    const auto parsed = parse_auth_command(args);
    return parsed.ok() ? 0 : parsed.error().code;
  };
  for (const char* args :
       {"", "0\tPLAIN\tservice=x", "x\tPLAIN\tservice=x", "4294967296\tPLAIN\tservice=x", "1",
        "1\t\tservice=x", "-1\tPLAIN\tservice=x"}) {
    EXPECT_EQ(code(args), static_cast<int>(AuthLineError::broken)) << args;
  }
  EXPECT_EQ(code("1\tPLAIN"), static_cast<int>(AuthLineError::no_service));
  EXPECT_EQ(code("1\tPLAIN\tservice="), static_cast<int>(AuthLineError::no_service));
  EXPECT_EQ(code("1\tPLAIN\tservice=x\tresp=AAAA\tsecured"),
            static_cast<int>(AuthLineError::after_resp));
  EXPECT_EQ(code("4294967295\tPLAIN\tservice=x\trip=rubbish\tlport=99999"), 0);
}

TEST(AuthCommand, EveryForwardedFieldHasThePrefix) {
  const auto parsed = parse_auth_command(
      "1\tPLAIN\tservice=x\tforward_fields=nopassword\001ta=1\001tb=two words\001t=x\001tbad "
      "name=1\001tc=x=y");
  ASSERT_TRUE(parsed.ok());
  const auto& fields = parsed.value().properties.forward_fields;
  ASSERT_EQ(fields.size(), 4U);
  EXPECT_EQ(fields[0].first, "forward_nopassword");
  EXPECT_FALSE(fields[0].second.has_value());
  EXPECT_EQ(fields[2].second, "two words");
  EXPECT_EQ(fields[3].second, "x=y");
  std::string many = "1\tPLAIN\tservice=x\tforward_fields=";
  for (int i = 0; i < 100; i++) many += "f" + std::to_string(i) + "=1\001t";
  EXPECT_EQ(parse_auth_command(many).value().properties.forward_fields.size(), kMaxForwardFields);
}

TEST(AuthVersion, IsExactlyTwoNumbers) {
  EXPECT_EQ(parse_auth_version("1\t2")->minor, 2U);
  for (const char* args : {"", "1", "1\t", "1\tx", "1\t2\t3", "\t1", "+1\t2"})
    EXPECT_FALSE(parse_auth_version(args)) << args;
}

TEST(AuthContinue, NeedsANumberAndATab) {
  EXPECT_EQ(parse_auth_continue("5\t")->data, "");
  EXPECT_EQ(parse_auth_continue("5\teA==")->data, "eA==");
  for (const char* args : {"", "5", "x\teA==", "0\teA=="})
    EXPECT_FALSE(parse_auth_continue(args)) << args;
}

TEST(MasterLines, AreReadWholeOrNotAtAll) {
  const auto user = parse_master_lookup("3\ta\001tb\tservice=imap\tlip=192.0.2.1", true);
  ASSERT_TRUE(user.ok());
  EXPECT_EQ(user.value().user, "a\tb");
  EXPECT_EQ(parse_master_lookup("3\tuser=a*\tservice=x", false).value().user, "a*");
  EXPECT_FALSE(parse_master_lookup("3\tservice=imap", true).ok());
  EXPECT_FALSE(parse_master_lookup("3", true).ok());
  const auto request =
      parse_master_request("1\t77\t2\tc0ffee\tsession_pid=9\trequest_auth_token\tother=1");
  ASSERT_TRUE(request.has_value());
  EXPECT_EQ(request->client_pid, 77U);
  EXPECT_EQ(request->client_id, 2U);
  EXPECT_EQ(request->cookie, "c0ffee");
  EXPECT_EQ(request->session_pid, 9U);
  EXPECT_TRUE(request->request_auth_token);
  for (const char* args : {"", "1\t77\t2", "1\t0\t2\tc", "1\t77\t2\tc\tsession_pid=x"})
    EXPECT_FALSE(parse_master_request(args)) << args;
}

}  // namespace
}  // namespace postern::wire
