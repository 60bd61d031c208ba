// What the recordings do not show of the dialogue with a POP3 backend.
#include "pop3-login/backend-dialogue.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <string_view>

#include "lib/text.h"
#include "pop3-login/pop3-dialogues.h"

namespace postern::pop3_login {
namespace {

using login::BackendTls;
using login::FailureType;
using login::Then;

class Pop3Backend : public testing::Test {
 protected:
  Pop3Backend() {
    target_.user = "joe";
    target_.password = Secret("secret");
    target_.session = "abc";
    target_.client = {*IpAddress::parse("192.0.2.1"), 4096};
    target_.local = {*IpAddress::parse("2001:db8::2"), 110};
    target_.ttl = 4;
  }

  void begin() { dialogue_ = make_pop3_backend_dialogue(target_); }
  Then line(std::string_view text) { return dialogue_->on_line(text, out_, client_); }
  std::string sent() { return take(out_); }
  std::string to_client() { return take(client_); }
  const login::Failure& failure() { return dialogue_->failure(); }

  static std::string take(WipingBuffer& buffer) {
    std::string text(buffer.view());
    buffer.clear();
    return text;
  }

  login::BackendTarget target_;
  std::unique_ptr<login::BackendDialogue> dialogue_;
  WipingBuffer out_, client_;
};

TEST_F(Pop3Backend, IsToldWhatDovecot24Tells) {
  target_.client_tls = true;
  target_.local_name = "mail.example";
  target_.forward = {{"color", "b\tl"}, {"x", "1"}};
  begin();
  EXPECT_EQ(dialogue_->state(), "banner");
  EXPECT_EQ(line("+OK [XCLIENT] ready\r"), Then::read_line);
  EXPECT_EQ(dialogue_->state(), "xclient");
  EXPECT_EQ(sent(),
            "XCLIENT ADDR=192.0.2.1 PORT=4096 SESSION=abc TTL=4 CLIENT-TRANSPORT=TLS "
            "DESTADDR=2001:db8::2 DESTPORT=110 DESTNAME=mail.example FORWARD=" +
                base64_encode("color=b\001tl\tx=1") + "\r\nUSER joe\r\n");
  line("+OK Updated");
  EXPECT_EQ(dialogue_->state(), "login1");
  EXPECT_EQ(line("+OK"), Then::read_line);
  EXPECT_EQ(sent(), "PASS secret\r\n");
  EXPECT_EQ(dialogue_->state(), "login2");
  EXPECT_EQ(line("+OK Logged in."), Then::logged_in);
  EXPECT_EQ(to_client(), "+OK Logged in.\r\n");
}

TEST_F(Pop3Backend, IsAskedOneThingAtATimeWhereItMustBe) {
  target_.nopipelining = true;
  begin();
  line("+OK [XCLIENT] ready");
  EXPECT_EQ(sent().find("USER"), std::string::npos);
  line("+OK");
  EXPECT_EQ(sent(), "USER joe\r\n");
  EXPECT_EQ(dialogue_->state(), "login1");
}

TEST_F(Pop3Backend, IsToldNothingOfTheClientInDoubt) {
  target_.session = "a b";
  target_.local_name = "a\r\nUSER";
  target_.client = {};
  begin();
  line("+OK [XCLIENT] ready");
  EXPECT_EQ(sent(),
            "XCLIENT TTL=4 CLIENT-TRANSPORT=insecure DESTADDR=2001:db8::2 DESTPORT=110\r\n"
            "USER joe\r\n");
}

TEST_F(Pop3Backend, GetsNoLineThatIsTooLongForIt) {
  target_.forward = {{"note", std::string(900, 'x')}};
  begin();
  line("+OK [XCLIENT] ready");
  EXPECT_EQ(sent().find("FORWARD"), std::string::npos);
  EXPECT_EQ(dialogue_->take_remark(), "Fields too long to be forwarded");
  EXPECT_EQ(dialogue_->take_remark(), "");
}

TEST_F(Pop3Backend, GetsNoPasswordBeforeTls) {
  target_.tls = BackendTls::starttls;
  begin();
  line("+OK ready");
  EXPECT_EQ(sent(), "STLS\r\n");
  EXPECT_EQ(dialogue_->state(), "starttls");
  EXPECT_EQ(line("+OK"), Then::start_tls);
  EXPECT_EQ(sent(), "");
}

TEST_F(Pop3Backend, IsAskedForXclientBehindTlsIfItsBannerHadNone) {
  target_.tls = BackendTls::starttls;
  begin();
  line("+OK ready");
  line("+OK");
  sent();
  EXPECT_EQ(dialogue_->on_tls_started(out_), Then::read_line);
  EXPECT_EQ(sent(), "CAPA\r\n");
  line("+OK");
  line("XCLIENT");
  EXPECT_EQ(line("."), Then::read_line);
  EXPECT_TRUE(sent().starts_with("XCLIENT "));
  // One that does not know CAPA is not told.
  begin();
  line("+OK ready");
  line("+OK");
  dialogue_->on_tls_started(out_);
  sent();
  line("-ERR what");
  EXPECT_EQ(sent(), "USER joe\r\n");
  // One that offered it is not asked; neither is one that is not to be told.
  begin();
  line("+OK [XCLIENT] ready");
  line("+OK");
  sent();
  dialogue_->on_tls_started(out_);
  EXPECT_TRUE(sent().starts_with("XCLIENT "));
  target_.not_trusted = true;
  begin();
  line("+OK ready");
  line("+OK");
  sent();
  dialogue_->on_tls_started(out_);
  EXPECT_EQ(sent(), "USER joe\r\n");
}

TEST_F(Pop3Backend, IsNotToldTwiceThatXclientIsRefused) {
  begin();
  line("+OK [XCLIENT] ready");
  EXPECT_EQ(line("-ERR no"), Then::failed);
  EXPECT_EQ(failure().type, FailureType::remote_config);
  EXPECT_EQ(failure().reason, "XCLIENT failed: -ERR no");
  EXPECT_EQ(line("+OK"), Then::failed) << "what comes behind changes nothing";
}

TEST_F(Pop3Backend, NeverReadsAPasswordAsACommand) {
  for (const std::string_view password :
       {std::string_view("a\r\nDELE 1"), std::string_view("a\nb"), std::string_view("a\0b", 3)}) {
    target_.password = Secret(password);
    begin();
    EXPECT_EQ(line("+OK [XCLIENT] ready"), Then::failed);
    EXPECT_EQ(failure().type, FailureType::internal);
    EXPECT_EQ(sent(), "");
  }
  target_.password = Secret("x");
  target_.user = "joe\rbob";
  begin();
  EXPECT_EQ(line("+OK"), Then::failed);
  EXPECT_EQ(sent(), "");
}

TEST_F(Pop3Backend, SaysToTheClientWhatClientsUnderstand) {
  struct Case {
    std::string_view line, reply;
    FailureType type;
  };
  const Case cases[] = {
      {"-ERR [AUTH] wrong", "-ERR [AUTH] wrong\r\n", FailureType::auth_replied},
      {"-ERR [in-use] locked", "-ERR [in-use] locked\r\n", FailureType::auth_replied},
      {"-ERR [LOGIN-DELAY] wait", "-ERR [LOGIN-DELAY] wait\r\n", FailureType::auth_replied},
      {"-ERR [SYS/PERM] gone", "-ERR [SYS/PERM] gone\r\n", FailureType::auth_replied},
      {"-ERR [SYS/TEMP] later", "-ERR [SYS/TEMP] later\r\n", FailureType::auth_tempfail},
      {"-ERR [ODD] joe has moved", "-ERR [AUTH] Authentication failed.\r\n",
       FailureType::auth_replied},
      {"-ERR", "-ERR [AUTH] Authentication failed.\r\n", FailureType::auth_replied},
      {"* BYE", "-ERR Authentication failed.\r\n", FailureType::auth_replied},
      {"+ YQ==", "-ERR Authentication failed.\r\n", FailureType::auth_replied},
      {"", "-ERR Authentication failed.\r\n", FailureType::auth_replied}};
  for (const Case& one : cases) {
    for (const bool user : {true, false}) {
      SCOPED_TRACE(one.line);
      begin();
      line("+OK ready");
      if (!user) line("+OK");
      EXPECT_EQ(line(one.line), Then::failed);
      EXPECT_EQ(failure().type, one.type);
      EXPECT_EQ(failure().reply, one.reply);
    }
  }
}

TEST_F(Pop3Backend, SaysItsOwnWordsWhereTheOperatorWantsIt) {
  target_.hide_auth_errors = false;
  begin();
  line("+OK ready");
  EXPECT_EQ(line("-ERR no\001such user"), Then::failed);
  EXPECT_EQ(failure().reply, "-ERR no?such user\r\n");
}

TEST_F(Pop3Backend, IsLoggedInToWithAMechanism) {
  target_.master = "admin";
  begin();
  line("+OK ready");
  EXPECT_EQ(sent(),
            "AUTH PLAIN " + base64_encode(std::string_view("joe\0admin\0secret", 16)) + "\r\n");
  EXPECT_EQ(dialogue_->state(), "login2");
  EXPECT_EQ(line("+OK in"), Then::logged_in);
  target_.master.clear();
  target_.mech = "LOGIN";
  begin();
  line("+OK ready");
  EXPECT_EQ(sent(), "AUTH LOGIN\r\n");
  line("+ VXNlcm5hbWU6");
  EXPECT_EQ(sent(), "am9l\r\n");
  line("+");
  EXPECT_EQ(sent(), base64_encode("secret") + "\r\n");
  EXPECT_EQ(line("+OK in"), Then::logged_in);
}

TEST_F(Pop3Backend, MayNotAskForMoreThanTheMechanismHas) {
  target_.mech = "PLAIN";
  begin();
  line("+OK ready");
  EXPECT_EQ(line("+ YQ=="), Then::failed);
  EXPECT_EQ(failure().type, FailureType::protocol);
  begin();
  line("+OK ready");
  EXPECT_EQ(line("+ not base64"), Then::failed);
  EXPECT_EQ(failure().reason, "Invalid base64 data in AUTH response");
  target_.mech = "NOSUCH";
  begin();
  EXPECT_EQ(line("+OK ready"), Then::failed);
  EXPECT_EQ(failure().type, FailureType::internal);
}

TEST_F(Pop3Backend, MayRefuseATokenAndThatIsNoOutage) {
  target_.mech = "XOAUTH2";
  begin();
  line("+OK ready");
  sent();
  EXPECT_EQ(line("+ " + base64_encode(R"({"status":"401"})")), Then::read_line);
  EXPECT_EQ(sent(), "\r\n");
  EXPECT_EQ(line("-ERR [AUTH] no"), Then::failed);
  EXPECT_EQ(failure().type, FailureType::auth_not_replied);
  begin();
  line("+OK ready");
  line("+ " + base64_encode(R"({"status":"401"})"));
  EXPECT_EQ(line("+OK after all"), Then::failed);
  EXPECT_EQ(failure().type, FailureType::protocol);
}

/// T-BCK-02: 512 bytes with the line end, the client sees no more of whatever is said.
TEST_F(Pop3Backend, SaysNoMoreToTheClientThanALineHolds) {
  for (const std::string before : {"-ERR [AUTH] ", "-ERR [SYS/TEMP] ", "+OK "}) {
    SCOPED_TRACE(before);
    for (const std::size_t size : {510U, 511U, 4096U}) {
      begin();
      line("+OK ready");
      line("+OK");
      const std::string said = before + std::string(size - before.size(), 'x');
      const bool in = line(said) == Then::logged_in;
      const std::string reply = in ? to_client() : failure().reply;
      EXPECT_EQ(in, before == "+OK ");
      EXPECT_EQ(reply, size == 510 ? said + "\r\n" : said.substr(0, 507) + "...\r\n");
      EXPECT_EQ(reply.size(), 512U);
    }
  }
}
TEST_F(Pop3Backend, HasABannerThatSaysSo) {
  for (const std::string_view banner : {"-ERR busy", "* OK imap", "220 smtp", "+ok", ""}) {
    begin();
    EXPECT_EQ(line(banner), Then::failed);
    EXPECT_EQ(failure().type, FailureType::protocol);
    EXPECT_EQ(sent(), "");
  }
}

}  // namespace
}  // namespace postern::pop3_login
