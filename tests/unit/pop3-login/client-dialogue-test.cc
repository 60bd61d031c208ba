// What the recordings do not show of the dialogue with a POP3 client.
#include "pop3-login/client-dialogue.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "../support/client-fixture.h"
#include "config/settings.h"
#include "lib/text.h"
#include "pop3-login/pop3-dialogues.h"

namespace postern::pop3_login {
namespace {

using login::AuthResult;
using login::Outcome;
using login::Wish;

constexpr std::string_view kFailed = "-ERR [AUTH] Authentication failed.\r\n";

class Pop3Client : public test::ClientFixture {
 protected:
  Pop3Client() {
    mechanisms_.resize(3);
    mechanisms_[0].name = "PLAIN";
    mechanisms_[0].plaintext = true;
    mechanisms_[1].name = "CRAM-MD5";
    mechanisms_[2].name = "APOP";
    mechanisms_[2].private_use = true;
    dialogue_ = make_pop3_client_dialogue(context_);
  }
};

TEST_F(Pop3Client, IsGreetedWithTheChallengeWhereThereIsOne) {
  dialogue_->greet(out_);
  EXPECT_EQ(said(), "+OK Postern ready.\r\n");
  context_.challenge = "<1.2.3.x@host>";
  context_.security.trusted = true;
  dialogue_->greet(out_);
  EXPECT_EQ(said(), "+OK [XCLIENT] Postern ready. <1.2.3.x@host>\r\n");
}

TEST_F(Pop3Client, SaysEveryOutcomeWithItsCode) {
  const std::pair<Outcome, std::string_view> cases[] = {
      {Outcome::wrong_credentials, kFailed},
      {Outcome::authz_failed, "-ERR [AUTH] Authorization failed\r\n"},
      {Outcome::temp_fail, "-ERR [SYS/TEMP] Temporary authentication failure.\r\n"},
      {Outcome::user_disabled, kFailed},
      {Outcome::pass_expired, kFailed},
      {Outcome::invalid_base64, "-ERR [AUTH] Invalid base64 data in initial response\r\n"},
      {Outcome::mech_invalid, "-ERR [AUTH] Unsupported authentication mechanism.\r\n"},
      {Outcome::plaintext_refused,
       "-ERR [AUTH] Plaintext authentication disallowed on non-secure (SSL/TLS) connections.\r\n"},
      {Outcome::mech_plaintext_refused, "-ERR [AUTH] Plaintext authentication disabled.\r\n"},
      {Outcome::tls_required,
       "-ERR [AUTH] Authentication not allowed until SSL/TLS is enabled.\r\n"},
      {Outcome::anonymous_denied, "-ERR Authentication failed.\r\n"},
      {Outcome::login_disabled, "-ERR [AUTH] Login disabled for this user\r\n"},
      {Outcome::referral, "-ERR Try this server instead.\r\n"},
      {Outcome::aborted, "-ERR Authentication aborted by client.\r\n"},
      {Outcome::proxy_unavailable, "-ERR [SYS/TEMP] Account is temporarily unavailable.\r\n"},
      {Outcome::proxy_misconfigured, "-ERR [SYS/PERM] Account is temporarily unavailable.\r\n"},
      {Outcome::userip_limit,
       "-ERR [IN-USE] Maximum number of connections from user+IP exceeded\r\n"},
      {Outcome::handoff_failed,
       "-ERR [SYS/TEMP] Internal login failure. Refer to server log for more information.\r\n"}};
  for (const auto& [outcome, line] : cases) {
    EXPECT_EQ(feed("AUTH CRAM-MD5\r\n"), Wish::authenticate);
    EXPECT_EQ(answer(outcome), line);
  }
}

TEST_F(Pop3Client, AnswersAsDovecotWhereItIsTold) {
  settings_.login_compat = config::LoginCompat::dovecot_2_3;
  EXPECT_EQ(feed("AUTH CRAM-MD5\r\n"), Wish::authenticate);
  EXPECT_EQ(answer(Outcome::proxy_misconfigured), "-ERR Account is temporarily unavailable.\r\n");
  EXPECT_EQ(feed("AUTH PLAIN " + std::string(8300, 'A')), Wish::close);
  EXPECT_EQ(said(), "");
}

TEST_F(Pop3Client, GetsAReasonOnItsLineAndWithItsOwnCode) {
  feed("AUTH CRAM-MD5\r\n");
  EXPECT_EQ(answer(Outcome::wrong_credentials, "a\r\n+OK b"), "-ERR [AUTH] a  +OK b\r\n");
  feed("AUTH CRAM-MD5\r\n");
  EXPECT_EQ(answer(Outcome::wrong_credentials, "[IN-USE] locked"), "-ERR [IN-USE] locked\r\n");
}

TEST_F(Pop3Client, LogsInWithUserAndPass) {
  for (const std::size_t piece : {std::string::npos, std::size_t{1}}) {
    EXPECT_EQ(feed("user joe doe\npass  a b \r\nQUIT\r\n", piece), Wish::authenticate);
    EXPECT_EQ(said(), "+OK\r\n");
    if (piece == std::string::npos) {
      EXPECT_EQ(rest_, "QUIT\r\n");
    }
    const login::AuthRequest request = dialogue_->take_request();
    EXPECT_EQ(request.mech, "PLAIN");
    EXPECT_EQ(request.user, "joe doe");
    EXPECT_TRUE(request.plaintext_command);
    EXPECT_EQ(base64_decode(request.initial->reveal())->view(),
              std::string_view("\0joe doe\0 a b ", 14));
    EXPECT_EQ(dialogue_->consume("QUIT\r\n", out_).consumed, 0U) << "no verdict yet";
    EXPECT_EQ(answer(Outcome::wrong_credentials), kFailed);
  }
  EXPECT_EQ(feed("PASS again\r\n"), Wish::next);
  EXPECT_EQ(said(), "-ERR No username given.\r\n") << "USER has to be repeated";
}

TEST_F(Pop3Client, IsNotLetSayAPasswordInClear) {
  context_.security.secured = false;
  settings_.disable_plaintext_auth = true;
  EXPECT_EQ(feed("USER joe\r\n"), Wish::authenticate);
  login::AuthRequest request = dialogue_->take_request();
  EXPECT_TRUE(request.plaintext_command && !request.initial);
  EXPECT_EQ(request.user, "joe");
  answer(Outcome::plaintext_refused);
  EXPECT_EQ(feed("PASS secret\r\n"), Wish::authenticate);
  request = dialogue_->take_request();
  EXPECT_FALSE(request.initial) << "the password goes nowhere";
  EXPECT_EQ(request.user, "joe");
}

TEST_F(Pop3Client, HearsOfStlsAndUserOnlyWhereTheyWork) {
  EXPECT_EQ(feed("CAPA\r\n"), Wish::next);
  EXPECT_EQ(said(),
            "+OK\r\nCAPA\r\nTOP\r\nUIDL\r\nRESP-CODES\r\nPIPELINING\r\nAUTH-RESP-CODE\r\nSTLS\r\n"
            "USER\r\nSASL PLAIN CRAM-MD5\r\n.\r\n");
  context_.security = {};
  settings_.ssl = config::Ssl::required;
  feed("CAPA\r\n");
  EXPECT_TRUE(said().ends_with("AUTH-RESP-CODE\r\nSTLS\r\nSASL\r\n.\r\n"));
  settings_.ssl = config::Ssl::yes;
  settings_.disable_plaintext_auth = true;
  feed("AUTH \r\n");
  EXPECT_EQ(said(), "+OK\r\nCRAM-MD5\r\n.\r\n");
  context_.security.tls = context_.security.ssl_secured = context_.security.secured = true;
  feed("CAPA\r\n");
  EXPECT_EQ(said().find("STLS"), std::string::npos);
  feed("STLS\r\n");
  EXPECT_EQ(said(), "-ERR TLS is already active.\r\n");
}

TEST_F(Pop3Client, StartsTlsOnceAndLeavesWhatIsGluedBehind) {
  EXPECT_EQ(feed("STLS now\r\nCAPA\r\n"), Wish::start_tls);
  EXPECT_EQ(said(), "+OK Begin TLS negotiation now.\r\n");
  EXPECT_EQ(rest_, "CAPA\r\n") << "the driver's to refuse";
}

TEST_F(Pop3Client, IsClosedAfterThreeBadCommandsInARow) {
  EXPECT_EQ(feed("NOOP\r\nSTAT\r\nCAPA\r\n\r\nQUITNOW\r\n"), Wish::next);
  said();
  EXPECT_EQ(feed(std::string_view("U\0SER x\r\nCAPA\r\n", 15)), Wish::close);
  EXPECT_EQ(said(), "-ERR Unknown command.\r\n-ERR Too many invalid bad commands.\r\n");
  EXPECT_EQ(dialogue_->close_reason(), "Disconnected: Too many bad commands");
  EXPECT_EQ(dialogue_->consume("QUIT\r\n", out_).wish, Wish::close);
  EXPECT_EQ(said(), "");
}

TEST_F(Pop3Client, RefusesANulWhereverItStandsInACommand) {
  for (const std::string_view line :
       {std::string_view("USER a\0b\r\n", 10), std::string_view("PASS \0\r\n", 8),
        std::string_view("AUTH PLAIN A\0AA\r\n", 17), std::string_view("APOP a\0 b\r\n", 11)}) {
    EXPECT_EQ(feed(line), Wish::next);
    EXPECT_EQ(said(), "-ERR Unknown command.\r\n");
    feed("CAPA\r\n");
    said();
  }
}

TEST_F(Pop3Client, MayUse1026BytesForACommandAnd8192ForAResponse) {
  EXPECT_EQ(feed("USER " + std::string(1020, 'x') + "\r\n"), Wish::next);
  EXPECT_EQ(said(), "+OK\r\n");
  EXPECT_EQ(feed("AUTH PLAIN " + std::string(8188, 'A') + "\r\n"), Wish::authenticate);
  answer(Outcome::wrong_credentials);
  feed("AUTH PLAIN\r\n");
  dialogue_->challenge("", out_);
  EXPECT_EQ(feed(std::string(8188, 'A') + "\r\n", 1000), Wish::respond);
  answer(Outcome::wrong_credentials);
  EXPECT_EQ(feed("USER " + std::string(1021, 'x') + "\r\n"), Wish::close);
  EXPECT_EQ(said(), "-ERR Input buffer full, aborting\r\n");
  EXPECT_EQ(dialogue_->close_reason(), "Input buffer full");
}

TEST_F(Pop3Client, IsToldOfAResponseThatIsTooLong) {
  for (const std::size_t piece : {std::string::npos, std::size_t{1}, std::size_t{4096}}) {
    dialogue_ = make_pop3_client_dialogue(context_);
    EXPECT_EQ(feed("auth xoauth2 " + std::string(20000, 'A') + "\r\n", piece), Wish::close);
    EXPECT_EQ(said(), "-ERR Authentication response too large\r\n");
    EXPECT_EQ(dialogue_->facts().mech, "XOAUTH2");
  }
  dialogue_ = make_pop3_client_dialogue(context_);
  EXPECT_EQ(feed("AUTH " + std::string(20000, 'A'), 512), Wish::close);
  EXPECT_EQ(said(), "-ERR Input buffer full, aborting\r\n");
}

TEST_F(Pop3Client, AnswersChallengesAndMayCancel) {
  EXPECT_EQ(feed("auth cram-md5\r\n"), Wish::authenticate);
  const login::AuthRequest request = dialogue_->take_request();
  EXPECT_EQ(request.mech, "CRAM-MD5");
  EXPECT_FALSE(request.initial || request.invalid_initial);
  dialogue_->challenge("PDE+", out_);
  EXPECT_EQ(said(), "+ PDE+\r\n");
  EXPECT_EQ(feed("am9l\r\n", 1), Wish::respond);
  EXPECT_EQ(dialogue_->take_response().reveal(), "am9l");
  dialogue_->challenge("", out_);
  EXPECT_EQ(said(), "+ \r\n");
  EXPECT_EQ(feed("\r\n"), Wish::respond) << "an empty response is one";
  dialogue_->challenge("", out_);
  EXPECT_EQ(feed("*\r\n"), Wish::cancel);
  EXPECT_EQ(dialogue_->cancel_outcome(), Outcome::aborted);
  said();
  EXPECT_EQ(answer(Outcome::aborted), "-ERR Authentication aborted by client.\r\n");
  feed("AUTH CRAM-MD5\r\n");
  dialogue_->challenge("", out_);
  EXPECT_EQ(feed("am9\r\n"), Wish::cancel);
  EXPECT_EQ(dialogue_->cancel_outcome(), Outcome::invalid_base64);
  said();
  EXPECT_EQ(answer(Outcome::invalid_base64), "-ERR [AUTH] Invalid base64 in response\r\n");
  EXPECT_EQ(feed("AUTH CRAM-MD5 am9\r\n"), Wish::authenticate);
  EXPECT_TRUE(dialogue_->take_request().invalid_initial);
}

TEST_F(Pop3Client, HasAnInitialResponseThatIsEmpty) {
  EXPECT_EQ(feed("AUTH EXTERNAL =\r\n"), Wish::authenticate);
  const login::AuthRequest request = dialogue_->take_request();
  ASSERT_TRUE(request.initial);
  EXPECT_TRUE(request.initial->empty());
}

TEST_F(Pop3Client, LogsInWithApopOnlyWhereItWasChallenged) {
  const std::string command = "APOP joe c4c9334bac560ecc979e58001b3e22fb\r\n";
  EXPECT_EQ(feed(command), Wish::next);
  EXPECT_EQ(said(), "-ERR APOP not enabled.\r\n");
  context_.challenge = "<1896.697170952@dbc.mtview.ca.us>";
  settings_.auth_verbose = true;
  EXPECT_EQ(feed("APOP joe\r\n"), Wish::log_id);
  EXPECT_EQ(dialogue_->take_id_log(), "APOP failed: Invalid parameters");
  said();
  EXPECT_EQ(feed(command), Wish::authenticate);
  const login::AuthRequest request = dialogue_->take_request();
  EXPECT_EQ(request.mech, "APOP");
  EXPECT_TRUE(request.uses_challenge);
  const auto response = base64_decode(request.initial->reveal());
  ASSERT_TRUE(response);
  const std::string start = context_.challenge + std::string("\0joe\0", 5);
  EXPECT_EQ(response->view().substr(0, start.size()), start);
  EXPECT_EQ(hex_encode(response->view().substr(start.size())), "c4c9334bac560ecc979e58001b3e22fb");
}

TEST_F(Pop3Client, DoesNotUseThePrivateMechanismByName) {
  context_.challenge = "<x>";
  EXPECT_EQ(feed("AUTH APOP eA==\r\n"), Wish::authenticate);
  EXPECT_FALSE(dialogue_->take_request().uses_challenge) << "the driver refuses it";
}

TEST_F(Pop3Client, IsBelievedWhatItSaysOfOthersOnlyIfTrusted) {
  EXPECT_EQ(feed("XCLIENT ADDR=192.0.2.1 TTL=x\r\n"), Wish::next);
  EXPECT_EQ(said(), "+OK You are not from trusted IP - ignoring\r\n");
  EXPECT_EQ(feed("XOIP 192.0.2.1\r\n"), Wish::next);
  EXPECT_EQ(said(), "+OK You are not from trusted IP - ignoring\r\n");
  context_.security.trusted = true;
  EXPECT_EQ(feed("xoip 192.0.2.1\r\n"), Wish::forwarded);
  EXPECT_EQ(said(), "+OK Updated\r\n");
  EXPECT_EQ(dialogue_->take_forwarded().client_ip->text(), "192.0.2.1");
  EXPECT_EQ(feed("XOIP\r\n"), Wish::next);
  EXPECT_EQ(said(), "-ERR Invalid parameters\r\n");
}

TEST_F(Pop3Client, WhatABrowserOrAMailServerBeginsWithEndsIt_T_NET_17) {
  for (const char* line :
       {"GET / HTTP/1.1\r\n", "POST /x HTTP/1.0\r\n", "options * HTTP/1.1\n", "PRI * HTTP/2.0\r\n",
        "CONNECT mail:25 HTTP/1.1\r\n", "EHLO x\r\n", "HELO x\r\n"}) {
    for (const std::size_t piece : {std::string::npos, std::size_t{1}}) {
      dialogue_ = make_pop3_client_dialogue(context_);
      EXPECT_EQ(feed("CAPA\r\n" + std::string(line) + "CAPA\r\n", piece), Wish::close) << line;
      const std::string all = said();
      EXPECT_TRUE(all.ends_with("-ERR Wrong protocol.\r\n")) << all;
      EXPECT_TRUE(dialogue_->close_reason().starts_with("Wrong protocol (")) << line;
    }
  }
}

}  // namespace
}  // namespace postern::pop3_login
