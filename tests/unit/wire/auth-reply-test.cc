#include "wire/auth-reply.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace postern::wire {
namespace {

std::vector<std::string> lines_of(const std::vector<std::string>& pieces) {
  AuthReplyReader reader;
  std::vector<std::string> out;
  for (const std::string& piece : pieces) {
    std::string_view input = piece;
    while (true) {
      const auto event = reader.next(input);
      if (event != AuthReplyReader::Event::line) break;
      out.emplace_back(reader.line());
    }
  }
  return out;
}

template <class T>
T parsed(std::string_view line) {
  auto reply = parse_auth_reply(line);
  EXPECT_TRUE(reply.ok()) << line;
  auto* value = reply.ok() ? std::get_if<T>(&reply.value()) : nullptr;
  EXPECT_NE(value, nullptr) << line;
  return value != nullptr ? std::move(*value) : T{};
}

TEST(AuthReplyReader, GivesTheSameLinesHoweverTheyAreSplit) {
  const std::string text = "VERSION\t1\t2\nOK\t1\tuser=a\n\nFAIL\t2\n";
  const std::vector<std::string> expected{"VERSION\t1\t2", "OK\t1\tuser=a", "", "FAIL\t2"};
  EXPECT_EQ(lines_of({text}), expected);
  for (std::size_t i = 0; i <= text.size(); ++i) {
    for (std::size_t j = i; j <= text.size(); ++j) {
      EXPECT_EQ(lines_of({text.substr(0, i), text.substr(i, j - i), text.substr(j)}), expected);
    }
  }
}

TEST(AuthReplyReader, RefusesALineThatDoesNotEnd) {
  AuthReplyReader reader;
  const std::string piece(4096, 'x');
  auto event = AuthReplyReader::Event::more;
  std::size_t sent = 0;
  while (event == AuthReplyReader::Event::more && sent <= 2 * kMaxAuthReply) {
    std::string_view input = piece;
    event = reader.next(input);
    sent += piece.size();
  }
  EXPECT_EQ(event, AuthReplyReader::Event::too_long);
  EXPECT_LE(sent, kMaxAuthReply + piece.size());
}

TEST(AuthReplyReader, TakesTheLongestLineAndNotOneByteMore) {
  for (const std::size_t size : {kMaxAuthReply, kMaxAuthReply + 1}) {
    AuthReplyReader reader;
    const std::string text = std::string(size, 'x') + "\n";
    std::string_view input = text;
    EXPECT_EQ(reader.next(input), size == kMaxAuthReply ? AuthReplyReader::Event::line
                                                        : AuthReplyReader::Event::too_long);
  }
}

TEST(AuthReply, ReadsTheHandshake) {
  EXPECT_EQ(parsed<AuthServerVersion>("VERSION\t1\t2").minor, 2U);
  const auto mech = parsed<AuthServerMech>("MECH\tplain\tplaintext");
  EXPECT_EQ(mech.name, "PLAIN");
  EXPECT_TRUE(mech.plaintext);
  EXPECT_FALSE(mech.private_use);
  EXPECT_TRUE(parsed<AuthServerMech>("MECH\tAPOP\tprivate\tdictionary\tactive").private_use);
  EXPECT_TRUE(parsed<AuthServerMech>("MECH\tANONYMOUS\tanonymous").anonymous);
  EXPECT_EQ(parsed<AuthServerPid>("SPID\t4711").pid, 4711U);
  EXPECT_EQ(parsed<AuthServerCuid>("CUID\t3").id, 3U);
  parsed<AuthServerCookie>("COOKIE\t0123456789abcdef0123456789abcdef");
  parsed<AuthServerDone>("DONE");
}

TEST(AuthReply, ReadsOkWithEmptyAndEscapedFields) {
  const auto ok = parsed<AuthReplyOk>(
      "OK\t7\tuser=u1\t\tproxy\thost=192.0.2.1\toriginal_user=U1\tpass=a\001tb\001n\001\0011\t");
  EXPECT_EQ(ok.id, 7U);
  EXPECT_EQ(ok.user, "u1");
  EXPECT_EQ(ok.original_user, "U1");
  EXPECT_EQ(ok.field("proxy"), "");
  EXPECT_EQ(ok.field("host"), "192.0.2.1");
  EXPECT_FALSE(ok.field("nologin"));
  EXPECT_FALSE(ok.field("pass"));
  ASSERT_TRUE(ok.pass);
  EXPECT_EQ(ok.pass->reveal(), "a\tb\n\0011");
}

TEST(AuthReply, ReadsFailWithCodesOldAndNew) {
  using Code = AuthReplyFail::Code;
  EXPECT_EQ(parsed<AuthReplyFail>("FAIL\t2").code, Code::none);
  EXPECT_EQ(parsed<AuthReplyFail>("FAIL\t3\tuser=x\ttemp\tcode=temp_fail").code, Code::temp_fail);
  EXPECT_EQ(parsed<AuthReplyFail>("FAIL\t3\ttemp").code, Code::temp_fail);
  EXPECT_EQ(parsed<AuthReplyFail>("FAIL\t3\tauthz").code, Code::authz_fail);
  EXPECT_EQ(parsed<AuthReplyFail>("FAIL\t3\tcode=pass_expired").code, Code::pass_expired);
  EXPECT_EQ(parsed<AuthReplyFail>("FAIL\t3\tcode=something").code, Code::none);
  EXPECT_EQ(parsed<AuthReplyFail>("FAIL\t3\tcode=auth_mech_ssl_required").code,
            Code::mech_ssl_required);
  const auto fail = parsed<AuthReplyFail>("FAIL\t3\tuser=u\treason=Slow down\tnodelay");
  EXPECT_EQ(fail.reason, "Slow down");
  EXPECT_TRUE(fail.nodelay);
}

TEST(AuthReply, RefusesWhatIsNotTheProtocol) {
  for (const char* line :
       {"OK", "OK\t", "OK\t0\tuser=a", "OK\tx\tuser=a", "OK\t-1\tuser=a", "OK\t4294967296\tuser=a",
        "FAIL", "FAIL\t0", "CONT", "CONT\t\tAA==", "VERSION\t1", "VERSION\tx\t2", "MECH", "MECH\t",
        "MECH\tA B", "SPID", "COOKIE\tshort", "COOKIE\tg123456789abcdef0123456789abcdef"}) {
    SCOPED_TRACE(line);
    EXPECT_FALSE(parse_auth_reply(line).ok());
  }
}

TEST(AuthReply, SkipsWhatItDoesNotKnow) {
  for (const char* line : {"", "NOTICE\tx", "ok\t1"}) {
    auto reply = parse_auth_reply(line);
    ASSERT_TRUE(reply.ok());
    EXPECT_TRUE(std::holds_alternative<AuthReplyUnknown>(reply.value()));
  }
}

TEST(AuthReply, BoundsTheFieldsOfOneReply) {
  std::string line = "OK\t1\tuser=a";
  for (std::size_t i = 0; i < kMaxAuthReplyFields; ++i) line += "\tx=y";
  const auto fail = parsed<AuthReplyFail>(line);
  EXPECT_EQ(fail.broken, "OK with too many fields");
  EXPECT_EQ(fail.code, AuthReplyFail::Code::temp_fail);
}

/// Or one odd row of a passdb would cost every login in flight its connection.
TEST(AuthReply, FailsTheRequestAloneWhereItsAnswerIsNoUse_T_NET_18) {
  for (const char* line : {"OK\t7", "OK\t7\tuser=", "OK\t7\tproxy\thost=x", "CONT\t7",
                           "CONT\t7\tnot base64", "CONT\t7\tAA==\r"}) {
    SCOPED_TRACE(line);
    const auto fail = parsed<AuthReplyFail>(line);
    EXPECT_EQ(fail.id, 7U);
    EXPECT_EQ(fail.code, AuthReplyFail::Code::temp_fail);
    EXPECT_FALSE(fail.broken.empty());
  }
}

TEST(AuthRequest, IsWrittenAsDovecotWritesIt) {
  AuthRequestInfo info;
  info.service = "imap";
  info.session = "i5IrDMRgLb1/AAAC";
  info.local = {*IpAddress::parse("127.0.0.1"), 22800};
  info.remote = {*IpAddress::parse("127.0.0.2"), 48429};
  info.real_local = info.local;
  info.real_remote = info.remote;
  std::optional<Secret> initial;
  initial.emplace("AGNsb3NlAHNlY3JldA==");
  WipingBuffer out;
  append_auth_request(7, "PLAIN", info, initial, out);
  EXPECT_EQ(out.view(),
            "AUTH\t7\tPLAIN\tservice=imap\tsession=i5IrDMRgLb1/AAAC\tlip=127.0.0.1\trip=127.0.0.2\t"
            "lport=22800\trport=48429\tresp=AGNsb3NlAHNlY3JldA==\n");
}

TEST(AuthRequest, EscapesEveryValueAndNestsForwardedFields) {
  AuthRequestInfo info;
  info.service = "imap";
  info.session = "a\tresp=x";
  info.local_name = "n\nAUTH";
  info.secured = info.secured_tls = true;
  info.remote.ip = *IpAddress::parse("192.0.2.1");
  info.real_remote.ip = *IpAddress::parse("127.0.0.1");
  info.forward = {{"k", "v\tw"}, {"l", "2"}};
  WipingBuffer out;
  append_auth_request(1, "PLAIN", info, std::nullopt, out);
  EXPECT_EQ(out.view(),
            "AUTH\t1\tPLAIN\tservice=imap\tsecured=tls\tsession=a\001tresp=x\trip=192.0.2.1\t"
            "real_rip=127.0.0.1\tlocal_name=n\001nAUTH\tforward_fields=k=v\0011tw\001tl=2\n");
}

}  // namespace
}  // namespace postern::wire
