// What the recordings do not show of the dialogue with a submission backend.
#include "submission-login/backend-dialogue.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <string_view>

#include "lib/text.h"
#include "submission-login/submission-dialogues.h"

namespace postern::submission_login {
namespace {

using login::BackendTls;
using login::FailureType;
using login::Then;

class SubmissionBackend : public testing::Test {
 protected:
  SubmissionBackend() {
    target_.user = "joe";
    target_.password = Secret("secret");
    target_.session = "abc";
    target_.client = {*IpAddress::parse("192.0.2.1"), 4096};
    target_.local = {*IpAddress::parse("2001:db8::2"), 587};
    target_.ttl = 4;
    target_.host_name = "proxy.example";
    target_.helo = "c.example";
    target_.helo_protocol = "ESMTP";
  }

  void begin() {
    dialogue_ = make_submission_backend_dialogue(target_);
    out_.clear();
    client_.clear();
  }
  Then line(std::string_view text) { return dialogue_->on_line(text, out_, client_); }
  /// Banner and EHLO.
  Then meet(const std::string& capabilities) {
    begin();
    line("220 b.example ESMTP");
    return ehlo(capabilities);
  }
  Then ehlo(const std::string& capabilities) {
    line("250-b.example");
    for (const std::string_view word : words(capabilities, ",")) line("250-" + std::string(word));
    sent_before_ = sent();
    return line("250 8BITMIME");
  }
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
  std::string sent_before_;
  WipingBuffer out_, client_;
};

const std::string kPlainJoe =
    "AUTH PLAIN " + base64_encode(std::string_view("joe\0joe\0secret", 14)) + "\r\n";

TEST_F(SubmissionBackend, IsLoggedInTo) {
  EXPECT_EQ(meet("AUTH PLAIN LOGIN"), Then::read_line);
  EXPECT_EQ(sent_before_, "EHLO proxy.example\r\n");
  EXPECT_EQ(sent(), kPlainJoe);
  EXPECT_EQ(dialogue_->state(), "authenticate");
  EXPECT_EQ(line("235 2.7.0 Welcome\r"), Then::logged_in);
  EXPECT_EQ(to_client(), "235 2.7.0 Welcome\r\n");
  EXPECT_EQ(line("250 x"), Then::logged_in);
}

TEST_F(SubmissionBackend, SaysItsSuccessAndRefusalInSeveralLines) {
  meet("AUTH PLAIN,ENHANCEDSTATUSCODES");
  EXPECT_EQ(line("235-2.7.0 Welcome\x1b"), Then::read_line);
  EXPECT_EQ(line("235 2.7.0 joe"), Then::logged_in);
  EXPECT_EQ(to_client(), "235-2.7.0 Welcome?\r\n235 2.7.0 joe\r\n");
  meet("AUTH PLAIN,ENHANCEDSTATUSCODES");
  EXPECT_EQ(line("535-5.7.8 no"), Then::read_line);
  EXPECT_EQ(line("535 5.7.8 really no"), Then::failed);
  EXPECT_EQ(failure().type, FailureType::auth_replied);
  EXPECT_EQ(failure().reason, "no");
  EXPECT_EQ(failure().reply, "535-5.7.8 no\r\n535 5.7.8 really no\r\n");
}

TEST_F(SubmissionBackend, IsNotHeardWhereItTellsStrangersWhoIsThere) {
  meet("AUTH PLAIN");
  EXPECT_EQ(line("535 no such user joe"), Then::failed);
  EXPECT_EQ(failure().reply, "535 5.7.8 Authentication failed.\r\n");
  EXPECT_EQ(failure().reason, "no such user joe");
  target_.hide_auth_errors = false;
  meet("AUTH PLAIN");
  line("535 no such user joe");
  EXPECT_EQ(failure().reply, "535 no such user joe\r\n");
}

TEST_F(SubmissionBackend, IsTriedAgainAfterATemporaryFailure) {
  meet("AUTH PLAIN,ENHANCEDSTATUSCODES");
  EXPECT_EQ(line("454 4.7.0 later"), Then::failed);
  EXPECT_EQ(failure().type, FailureType::auth_tempfail);
  EXPECT_EQ(failure().reply, "454 4.7.0 later\r\n");
  EXPECT_EQ(failure().reason, "later");
}

/// Of every state, what comes is in the table (T-BCK-03).
TEST_F(SubmissionBackend, HasAnOutcomeForEveryLine) {
  for (const std::string_view bad : {"", "2", "220", "220x y", "999 x", "560 x", "199 x", "abc d",
                                     "\x1b[2J", "354 go ahead", "334-a", "421 4.3.2 bye"}) {
    SCOPED_TRACE(bad);
    begin();
    EXPECT_EQ(line(bad), Then::failed);
    EXPECT_EQ(failure().type, FailureType::protocol);
    begin();
    line("220 x");
    EXPECT_EQ(line(bad), Then::failed);
    EXPECT_EQ(failure().type, FailureType::protocol);
    meet("XCLIENT ADDR,AUTH PLAIN");
    EXPECT_EQ(line(bad), Then::failed);
    target_.tls = BackendTls::starttls;
    meet("STARTTLS,AUTH PLAIN");
    EXPECT_EQ(line(bad), Then::failed);
    target_.tls = BackendTls::none;
    meet("AUTH PLAIN");
    EXPECT_EQ(line(bad), Then::failed);
    EXPECT_EQ(failure().type,
              bad.starts_with("421") ? FailureType::auth_tempfail : FailureType::protocol);
    EXPECT_EQ(to_client(), "");
  }
}

TEST_F(SubmissionBackend, MayNotChangeItsMindInAReply) {
  meet("AUTH PLAIN");
  line("535-5.7.8 no");
  EXPECT_EQ(line("235 2.7.0 yes"), Then::failed);
  EXPECT_EQ(failure().type, FailureType::protocol);
  EXPECT_EQ(failure().reason, "Inconsistent SMTP reply: 235 2.7.0 yes (status != 535)");
}

/// Dovecot 2.3 loses all sessions of its process over it.
TEST_F(SubmissionBackend, MayAnswerAtLength) {
  for (const bool in : {false, true}) {
    const std::string code = in ? "235" : "535";
    meet("AUTH PLAIN,ENHANCEDSTATUSCODES");
    for (int i = 1; i < 128; ++i) {
      ASSERT_EQ(line(code + "-" + code.substr(0, 1) + ".7.8 line"), Then::read_line);
    }
    EXPECT_EQ(line(code + " " + code.substr(0, 1) + ".7.8 last"),
              in ? Then::logged_in : Then::failed);
    const std::string reply = in ? to_client() : failure().reply;
    EXPECT_LE(reply.size(), 512U);
    EXPECT_TRUE(reply.ends_with(code + " " + code.substr(0, 1) + ".7.8 last\r\n")) << reply;
  }
}

/// T-BCK-02: 512 bytes with the line end, the client sees no more of whatever is said.
TEST_F(SubmissionBackend, SaysNoMoreToTheClientThanALineHolds) {
  for (const std::string before : {"535 5.7.8 ", "454 4.7.0 ", "235 2.7.0 "}) {
    SCOPED_TRACE(before);
    for (const std::size_t size : {510U, 511U, 4096U}) {
      meet("AUTH PLAIN,ENHANCEDSTATUSCODES");
      const std::string said = before + std::string(size - before.size(), 'x');
      const bool in = line(said) == Then::logged_in;
      const std::string reply = in ? to_client() : failure().reply;
      EXPECT_EQ(in, before.starts_with("235"));
      EXPECT_EQ(reply, size == 510 ? said + "\r\n" : said.substr(0, 507) + "...\r\n");
      EXPECT_EQ(reply.size(), 512U);
    }
  }
}

TEST_F(SubmissionBackend, GetsNoPasswordBeforeTls) {
  target_.tls = BackendTls::starttls;
  meet("AUTH PLAIN,STARTTLS,XCLIENT ADDR");
  EXPECT_EQ(sent(), "STARTTLS\r\n");
  EXPECT_EQ(line("220-x"), Then::read_line);
  EXPECT_EQ(line("220 go"), Then::start_tls);
  EXPECT_EQ(sent(), "");
  EXPECT_EQ(dialogue_->on_tls_started(out_), Then::read_line);
  EXPECT_EQ(dialogue_->state(), "tls-ehlo");
  // What it said in clear is forgotten.
  EXPECT_EQ(ehlo("STARTTLS"), Then::failed);
  EXPECT_EQ(sent_before_, "EHLO proxy.example\r\n");
  EXPECT_EQ(failure().reason, "Authentication support not advertised (TLS required?)");
  EXPECT_EQ(failure().type, FailureType::remote_config);
  meet("AUTH PLAIN,STARTTLS");
  EXPECT_EQ(line("454 4.7.0 not now"), Then::failed);
  EXPECT_EQ(failure().type, FailureType::remote);
  EXPECT_EQ(failure().reason, "STARTTLS failed: 454 4.7.0 not now");
}

TEST_F(SubmissionBackend, GetsNoPasswordWhereItDoesNotTakePlain) {
  EXPECT_EQ(meet("AUTH CRAM-MD5 SCRAM-SHA-256"), Then::failed);
  EXPECT_EQ(failure().type, FailureType::remote_config);
  EXPECT_EQ(sent(), "");
  target_.mech = "XOAUTH2";  // who names a mechanism knows better than the list
  EXPECT_EQ(meet("AUTH PLAIN"), Then::read_line);
  EXPECT_TRUE(sent().starts_with("AUTH XOAUTH2 "));
}

TEST_F(SubmissionBackend, IsToldOfTheClientBeforeTheLogin) {
  meet("auth plain,xclient ADDR HELO");
  EXPECT_EQ(sent(), "XCLIENT HELO=c.example ADDR=192.0.2.1\r\n");
  EXPECT_EQ(dialogue_->state(), "xclient");
  EXPECT_EQ(line("220 b.example"), Then::read_line);
  EXPECT_EQ(sent(), "EHLO proxy.example\r\n") << "Postfix takes nothing behind XCLIENT";
  EXPECT_EQ(dialogue_->state(), "xclient-ehlo");
  // It is not said again, and what was offered before does not count.
  EXPECT_EQ(ehlo("XCLIENT ADDR HELO,AUTH PLAIN"), Then::read_line);
  EXPECT_EQ(sent(), kPlainJoe);
  meet("AUTH PLAIN,XCLIENT ADDR");
  EXPECT_EQ(line("550 5.7.0 no"), Then::failed);
  EXPECT_EQ(failure().type, FailureType::remote_config);
  EXPECT_EQ(failure().reason, "XCLIENT failed: 550 5.7.0 no");
  target_.not_trusted = true;
  meet("AUTH PLAIN,XCLIENT ADDR");
  EXPECT_EQ(sent(), kPlainJoe);
}

TEST_F(SubmissionBackend, IsAskedOneThingAtATimeWhereItMustBe) {
  target_.nopipelining = true;
  target_.forward = {{"note", std::string(500, 'x')}};
  meet("AUTH PLAIN,XCLIENT ADDR SESSION FORWARD");
  EXPECT_EQ(sent(), "XCLIENT ADDR=192.0.2.1 SESSION=abc\r\n");
  line("220 x");
  const std::string forward = sent();
  EXPECT_TRUE(forward.starts_with("XCLIENT FORWARD=")) << forward;
  EXPECT_EQ(dialogue_->state(), "xclient");
  line("220 x");
  EXPECT_EQ(sent(), "EHLO proxy.example\r\n");
  EXPECT_EQ(dialogue_->state(), "xclient-ehlo");
}

TEST_F(SubmissionBackend, HasLongFieldsSplitOverCommands) {
  target_.forward = {{"big", std::string(300, 'x')}, {"big2", std::string(200, 'y')}};
  target_.forward_2_3_only = true;
  meet("AUTH PLAIN,XCLIENT ADDR PORT HELO PROTO LOGIN SESSION TTL FORWARD");
  const std::string all = sent();
  const std::string first =
      "XCLIENT HELO=c.example PROTO=ESMTP TTL=4 PORT=4096 ADDR=192.0.2.1 SESSION=abc\r\n";
  EXPECT_TRUE(all.starts_with(first + "XCLIENT FORWARD=")) << all;
  EXPECT_TRUE(all.ends_with("\r\nEHLO proxy.example\r\n"));
  line("220 x");
  EXPECT_EQ(dialogue_->state(), "xclient");
  line("220 x");
  EXPECT_EQ(dialogue_->state(), "xclient-ehlo");
  EXPECT_EQ(ehlo("AUTH PLAIN"), Then::read_line);
  EXPECT_EQ(sent(), kPlainJoe);
}

TEST_F(SubmissionBackend, GetsNoFieldsThatAreTooLongForIt) {
  target_.forward = {{"note", std::string(900, 'x')}};
  meet("AUTH PLAIN,XCLIENT ADDR FORWARD");
  EXPECT_EQ(sent(), "XCLIENT ADDR=192.0.2.1\r\n");
  EXPECT_EQ(dialogue_->take_remark(), "Fields too long to be forwarded");
  EXPECT_EQ(dialogue_->take_remark(), "");
}

TEST_F(SubmissionBackend, GetsALongTokenBehindItsChallenge) {
  target_.mech = "XOAUTH2";
  target_.password = Secret(std::string(600, 'T'));
  meet("AUTH PLAIN LOGIN");
  EXPECT_EQ(sent(), "AUTH XOAUTH2\r\n");
  EXPECT_EQ(line("334 "), Then::read_line);
  const std::string expected =
      "user=joe\x01"
      "auth=Bearer " +
      std::string(600, 'T') + "\x01\x01";
  EXPECT_EQ(sent(), base64_encode(expected) + "\r\n");
  EXPECT_EQ(line("235 ok"), Then::logged_in);
  meet("AUTH PLAIN LOGIN");
  EXPECT_EQ(line("334 eA=="), Then::failed);
  EXPECT_EQ(failure().type, FailureType::protocol);
}

TEST_F(SubmissionBackend, IsLoggedInToAsItsMechanismsAsk) {
  target_.mech = "LOGIN";
  meet("AUTH LOGIN");
  EXPECT_EQ(sent(), "AUTH LOGIN\r\n");
  line("334 VXNlcm5hbWU6");
  EXPECT_EQ(sent(), base64_encode("joe") + "\r\n");
  line("334 UGFzc3dvcmQ6");
  EXPECT_EQ(sent(), base64_encode("secret") + "\r\n");
  EXPECT_EQ(line("334 eA=="), Then::failed);
  target_.mech = "EXTERNAL";
  target_.user = "";
  meet("AUTH EXTERNAL");
  EXPECT_EQ(sent(), "AUTH EXTERNAL =\r\n");
  target_.mech = "NOSUCH";
  EXPECT_EQ(meet("AUTH PLAIN"), Then::failed);
  EXPECT_EQ(failure().type, FailureType::internal);
}

TEST_F(SubmissionBackend, RefusesATokenInTwoSteps) {
  target_.mech = "XOAUTH2";
  meet("AUTH XOAUTH2");
  sent();
  EXPECT_EQ(line("334 " + base64_encode("{\"status\":\"401\"}")), Then::read_line);
  EXPECT_EQ(sent(), "\r\n");
  EXPECT_EQ(line("535 5.7.8 no"), Then::failed);
  EXPECT_EQ(failure().type, FailureType::auth_not_replied);
  meet("AUTH XOAUTH2");
  line("334 " + base64_encode("{\"status\":\"401\"}"));
  EXPECT_EQ(line("235 2.7.0 yes"), Then::failed);
  EXPECT_EQ(failure().type, FailureType::protocol);
}

TEST_F(SubmissionBackend, IsToldWhoLogsInWhereThereIsNoAuth) {
  target_.noauth = true;
  meet("XCLIENT LOGIN");
  EXPECT_EQ(sent(), "XCLIENT LOGIN=joe\r\n");
  line("220 x");
  EXPECT_EQ(ehlo("SIZE"), Then::logged_in);
  EXPECT_EQ(to_client(), "235 2.7.0 Logged in.\r\n");
  for (const char* without : {"XCLIENT ADDR", "SIZE"}) {
    meet(without);
    if (dialogue_->state() == "xclient") {
      line("220 x");
      ehlo("XCLIENT ADDR");
    }
    EXPECT_EQ(failure().type, FailureType::remote_config);
    EXPECT_EQ(to_client(), "");
  }
  target_.not_trusted = true;
  EXPECT_EQ(meet("XCLIENT LOGIN"), Then::failed);
}

}  // namespace
}  // namespace postern::submission_login
