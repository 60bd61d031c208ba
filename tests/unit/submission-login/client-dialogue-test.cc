// What the recordings do not show of the dialogue with a submission client.
#include "submission-login/client-dialogue.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../support/client-fixture.h"
#include "config/settings.h"
#include "lib/text.h"
#include "submission-login/submission-dialogues.h"

namespace postern::submission_login {
namespace {

using login::AuthResult;
using login::Outcome;
using login::Wish;
using Bye = login::ClientDialogue::Bye;

constexpr std::string_view kFailed = "535 5.7.8 Authentication failed.\r\n";
constexpr std::string_view kSyntax = "500 5.5.2 Invalid command syntax\r\n";
constexpr std::string_view kTooLong = "500 5.5.2 Line too long\r\n";
constexpr std::string_view kOk = "250 2.0.0 OK\r\n";
constexpr std::string_view kNotBeforeAuth = "530 5.7.0 Authentication required.\r\n";
constexpr std::size_t kWhole = std::string::npos;

class SubmissionClient : public test::ClientFixture {
 protected:
  SubmissionClient() {
    mechanisms_.resize(4);
    mechanisms_[0].name = "PLAIN";
    mechanisms_[0].plaintext = true;
    mechanisms_[1].name = "CRAM-MD5";
    mechanisms_[2].name = "EXTERNAL";
    mechanisms_[3].name = "ANONYMOUS";
    mechanisms_[3].anonymous = true;
    context_.host_name = "mail.example.test";
    begin();
  }

  void begin() {
    dialogue_ = make_submission_client_dialogue(context_);
    out_.clear();
  }

  /// What is said to `bytes`, in a dialogue that goes on.
  std::string reply(std::string_view bytes) {
    const Wish wish = feed(bytes);
    EXPECT_TRUE(wish == Wish::next || wish == Wish::need_more || wish == Wish::forwarded)
        << static_cast<int>(wish);
    return said();
  }
};

TEST_F(SubmissionClient, IsGreetedByName) {
  context_.greeting = "Postern\r\nready.";
  dialogue_->greet(out_);
  EXPECT_EQ(said(), "220 mail.example.test Postern  ready.\r\n");
}

TEST_F(SubmissionClient, HearsEveryOutcomeWithItsCodes) {
  const std::pair<Outcome, std::string_view> cases[] = {
      {Outcome::wrong_credentials, kFailed},
      {Outcome::authz_failed, "535 5.7.8 Authorization failed\r\n"},
      {Outcome::temp_fail, "454 4.7.0 Temporary authentication failure.\r\n"},
      {Outcome::user_disabled, kFailed},
      {Outcome::pass_expired, kFailed},
      {Outcome::invalid_base64, "501 5.5.2 Invalid base64 data in initial response\r\n"},
      {Outcome::mech_invalid, "504 5.5.4 Unsupported authentication mechanism.\r\n"},
      {Outcome::plaintext_refused, "523 5.7.10 Plaintext authentication disabled.\r\n"},
      {Outcome::mech_plaintext_refused, "523 5.7.10 Plaintext authentication disabled.\r\n"},
      {Outcome::tls_required, "530 5.7.0 Authentication not allowed until SSL/TLS is enabled.\r\n"},
      {Outcome::anonymous_denied, "525 5.7.13 Authentication failed.\r\n"},
      {Outcome::login_disabled, "525 5.7.13 Login disabled for this user\r\n"},
      {Outcome::referral, "535 5.7.8 Try this server instead.\r\n"},
      {Outcome::aborted, "501 5.5.2 Authentication aborted by client.\r\n"},
      {Outcome::proxy_unavailable, "454 4.7.0 Account is temporarily unavailable.\r\n"},
      {Outcome::proxy_misconfigured, "454 4.7.0 Account is temporarily unavailable.\r\n"},
      {Outcome::userip_limit, "421 4.7.0 Maximum number of connections from user+IP exceeded\r\n"},
      {Outcome::handoff_failed,
       "421 4.0.0 mail.example.test Internal login failure. Refer to server log for more "
       "information.\r\n"}};
  for (const auto& [outcome, line] : cases) {
    EXPECT_EQ(feed("AUTH CRAM-MD5\r\n"), Wish::authenticate);
    EXPECT_EQ(answer(outcome), line);
  }
}

/// CVE-2026-33263: a login that has succeeded and is refused after all (the user+IP limit).
TEST_F(SubmissionClient, GoesOnWhenALoginIsRefusedAfterItsSuccess) {
  EXPECT_EQ(feed("AUTH PLAIN AGpvZQB4\r\nNOOP\r\n"), Wish::authenticate);
  EXPECT_EQ(answer(Outcome::userip_limit, "Maximum number (mail_max_userip_connections=1)"),
            "421 4.7.0 Maximum number (mail_max_userip_connections=1)\r\n");
  EXPECT_EQ(reply(rest_), kOk);
}

TEST_F(SubmissionClient, HearsAReasonOnItsLine) {
  feed("AUTH CRAM-MD5\r\n");
  EXPECT_EQ(answer(Outcome::wrong_credentials, "a\r\n235 b"), "535 5.7.8 a  235 b\r\n");
}

TEST_F(SubmissionClient, HearsWhyItIsClosed) {
  const std::pair<Bye, std::string_view> cases[] = {
      {Bye::timeout, "421 4.4.2 mail.example.test x\r\n"},
      {Bye::shutdown, "421 4.3.2 mail.example.test x\r\n"},
      {Bye::resource, "421 4.0.0 mail.example.test x\r\n"},
      {Bye::internal, "421 4.0.0 mail.example.test x\r\n"}};
  for (const auto& [kind, line] : cases) {
    dialogue_->bye(kind, "x", out_);
    EXPECT_EQ(said(), line);
  }
  dialogue_->waiting_for_auth(out_);
  EXPECT_EQ(said(), "");
}

TEST_F(SubmissionClient, HearsOfAuthOnlyWhatWouldBeTaken) {
  const auto auth_line = [this]() {
    const std::string ehlo = reply("EHLO c.example\r\n");
    const std::size_t at = ehlo.find("250-AUTH");
    return at == std::string::npos ? "" : ehlo.substr(at, ehlo.find("\r\n", at) - at);
  };
  EXPECT_EQ(auth_line(), "250-AUTH PLAIN CRAM-MD5 EXTERNAL");
  context_.security.secured = false;
  EXPECT_EQ(auth_line(), "250-AUTH CRAM-MD5 EXTERNAL");
  mechanisms_.resize(1);
  EXPECT_EQ(auth_line(), "");
  settings_.login_compat = config::LoginCompat::dovecot_2_3;
  EXPECT_EQ(auth_line(), "250-AUTH ");
  settings_.ssl = config::Ssl::required;
  EXPECT_EQ(auth_line(), "");
}

TEST_F(SubmissionClient, HearsOfExtensionsAsTheBackendsHaveThem) {
  settings_.ssl = config::Ssl::no;
  settings_.submission_backend_capabilities = {"smtputf8", "DSN", "BINARYMIME"};
  settings_.submission_max_mail_size = 1000;
  EXPECT_EQ(reply("EHLO c.example\r\n"),
            "250-mail.example.test\r\n250-AUTH PLAIN CRAM-MD5 EXTERNAL\r\n250-BINARYMIME\r\n"
            "250-BURL imap\r\n250-CHUNKING\r\n250-DSN\r\n250-ENHANCEDSTATUSCODES\r\n"
            "250-SIZE 1000\r\n250-SMTPUTF8\r\n250 PIPELINING\r\n");
  settings_.submission_client_workarounds = {"exotic-backend"};
  settings_.submission_max_mail_size = 0;
  EXPECT_EQ(reply("EHLO c.example\r\n"),
            "250-mail.example.test\r\n250-AUTH PLAIN CRAM-MD5 EXTERNAL\r\n250-BINARYMIME\r\n"
            "250-CHUNKING\r\n250-DSN\r\n250 SMTPUTF8\r\n");
}

/// SMTP smuggling (CVE-2023-51764, -51765, -51766): only LF ends a line, with or without a CR
/// before it, and a CR anywhere else makes the line none.
TEST_F(SubmissionClient, EndsALineWhereTheNextHopDoes) {
  for (const std::size_t piece : {kWhole, std::size_t{1}}) {
    for (const std::string_view bad :
         {"NOOP\rQUIT\r\n", "NOOP\r\r\n", "NOOP \r\r\n", "\rNOOP\r\n", "NOOP a\rb\n", "\r\r\n",
          "AUTH PLAIN AGpvZQB4\rAUTH PLAIN AGpvZQB4\r\n", "NOOP\x0b\r\n", "NOOP\x85\n",
          "NOOP \xe2\x80\r\n"}) {
      begin();
      feed(bad, piece);
      EXPECT_EQ(said(), kSyntax) << bad;
    }
    begin();
    feed("NOOP\nNOOP\r\nNOOP \t \r\n", piece);
    EXPECT_EQ(said(), std::string(kOk) + std::string(kOk) + std::string(kOk));
  }
}

TEST_F(SubmissionClient, IsRefusedANulWhereverItStands) {
  for (const std::string_view line :
       {std::string_view("\0NOOP\r\n", 7), std::string_view("NO\0OP\r\n", 7),
        std::string_view("NOOP\0\r\n", 7), std::string_view("NOOP x\0\r\n", 9),
        std::string_view("QUIT \0\r\n", 8), std::string_view("AUTH PLAIN AA\0==\r\n", 18)}) {
    EXPECT_EQ(reply(line), kSyntax);
  }
}

/// CVE-2020-10957, CVE-2020-10958 and CVE-2020-10967: malformed parameters of NOOP, line ends in
/// plenty behind a command, an empty quoted local part.
TEST_F(SubmissionClient, SurvivesMalformedParameters) {
  const std::pair<std::string_view, std::string_view> cases[] = {
      {"NOOP \"\"\r\n", "250 2.0.0 OK"},
      {"NOOP \"a \\\" b\"\r\n", "250 2.0.0 OK"},
      {"NOOP \"\r\n", "501 5.5.4 Invalid string parameter: Premature end of quoted string"},
      {"NOOP \"\\\r\n", "501 5.5.4 Invalid string parameter: Premature end of quoted string"},
      {"NOOP \"a\\\t\"\r\n",
       "501 5.5.4 Invalid string parameter: Invalid character after '\\' in quoted string"},
      {"NOOP \"\xc3\xa9\"\r\n",
       "501 5.5.4 Invalid string parameter: Invalid character in quoted string"},
      {"NOOP \"a\"b\r\n", "501 5.5.4 Invalid string parameter: Invalid character in string"},
      {"NOOP a b\r\n", "501 5.5.4 Invalid string parameter: Invalid character in string"},
      {"NOOP <>\r\n", "501 5.5.4 Invalid string parameter: Invalid character in string"},
      {"MAIL FROM:<\"\"@example.test>\r\n", "530 5.7.0 Authentication required."},
      {"RCPT TO:<\"\"@>\r\n", "530 5.7.0 Authentication required."}};
  for (const auto& [line, expected] : cases) {
    EXPECT_EQ(reply(line), std::string(expected) + "\r\n") << line;
    EXPECT_EQ(reply("RSET\r\n"), kOk);
  }
  std::string expected(kNotBeforeAuth);
  for (int i = 0; i < 10; ++i) expected += "500 5.5.1 Unknown command\r\n";
  EXPECT_EQ(reply("DATA\r\n\r\n\r\n\r\n\r\n\r\n\r\n\n\n\n\n"), expected);
}

TEST_F(SubmissionClient, MayUse32BytesForAWordAnd1026BehindIt) {
  for (const std::size_t piece : {kWhole, std::size_t{1}, std::size_t{1000}}) {
    begin();
    feed("NOOP " + std::string(1026, 'x') + "\r\n", piece);
    EXPECT_EQ(said(), kOk);
    feed("NOOP " + std::string(1027, 'x') + "\r\n", piece);
    EXPECT_EQ(said(), kTooLong);
    feed("NOOP " + std::string(20000, 'x') + "\r\n", piece);
    EXPECT_EQ(said(), kTooLong);
    feed(std::string(32, 'x') + "\r\n", piece);
    EXPECT_EQ(said(), "500 5.5.1 Unknown command\r\n");
    feed(std::string(33, 'x') + "\r\n", piece);
    EXPECT_EQ(said(), kSyntax);
    feed(std::string(20000, 'x') + "\r\n", piece);
    EXPECT_EQ(said(), kSyntax);
    // What is skipped is skipped whole: its end is no command.
    feed("NOOP " + std::string(9000, 'x') + "QUIT\r\nNOOP\r\n", piece);
    EXPECT_EQ(said(), std::string(kTooLong) + std::string(kOk));
  }
}

TEST_F(SubmissionClient, IsClosedIfALineDoesNotEnd) {
  for (const std::string_view before : {"NOOP ", ""}) {
    begin();
    feed(before);
    Wish wish = Wish::need_more;
    std::size_t sent = before.size();
    const std::string some(1000, 'x');
    while (wish == Wish::need_more && sent < 200000) {
      wish = feed(some);
      sent += some.size();
    }
    EXPECT_EQ(wish, Wish::close);
    EXPECT_LE(sent, 65536U + some.size());
    EXPECT_EQ(said(), "421 4.0.0 mail.example.test Input buffer full, aborting\r\n");
    EXPECT_EQ(dialogue_->close_reason(), "Input buffer full");
    EXPECT_EQ(feed("NOOP\r\n"), Wish::close);
    EXPECT_EQ(said(), "");
  }
}

TEST_F(SubmissionClient, MayUse8192BytesForAResponse) {
  for (const std::size_t piece : {kWhole, std::size_t{7}}) {
    begin();
    ASSERT_EQ(feed("AUTH CRAM-MD5\r\n"), Wish::authenticate);
    dialogue_->challenge("eA==", out_);
    EXPECT_EQ(said(), "334 eA==\r\n");
    EXPECT_EQ(feed(std::string(8192, 'A') + "\r\n", piece), Wish::respond);
    EXPECT_EQ(dialogue_->take_response().size(), 8192U);
    dialogue_->challenge("", out_);
    EXPECT_EQ(said(), "334 \r\n");
    EXPECT_EQ(feed(std::string(8196, 'A') + "\r\nNOOP\r\n", piece), Wish::cancel);
    EXPECT_EQ(dialogue_->cancel_outcome(), Outcome::wrong_credentials);
    EXPECT_EQ(answer(Outcome::wrong_credentials), kTooLong);
    EXPECT_EQ(feed(rest_, piece), Wish::next);
    EXPECT_EQ(said(), kOk);
  }
}

TEST_F(SubmissionClient, AnswersChallengesAndMayCancel) {
  ASSERT_EQ(feed("auth cram-md5\r\n"), Wish::authenticate);
  EXPECT_EQ(dialogue_->take_request().mech, "CRAM-MD5");
  dialogue_->challenge("eA==", out_);
  EXPECT_EQ(feed("\r\n"), Wish::respond);
  EXPECT_TRUE(dialogue_->take_response().empty());
  dialogue_->challenge("eA==", out_);
  EXPECT_EQ(feed("*\r\n"), Wish::cancel);
  EXPECT_EQ(dialogue_->cancel_outcome(), Outcome::aborted);
  said();
  EXPECT_EQ(answer(Outcome::aborted), "501 5.5.2 Authentication aborted by client.\r\n");
  for (const std::string_view bad : {"%\r\n", "eA\r\n", "eA==x\r\n", "e A=\r\n", "eA==\t\r\n",
                                     " \r\n", "**\r\n", "eA==\r\r\n"}) {
    ASSERT_EQ(feed("AUTH CRAM-MD5\r\n"), Wish::authenticate);
    dialogue_->challenge("", out_);
    EXPECT_EQ(feed(bad), Wish::cancel) << bad;
    EXPECT_EQ(dialogue_->cancel_outcome(), Outcome::invalid_base64);
    said();
    EXPECT_EQ(answer(Outcome::invalid_base64), "501 5.5.2 Invalid base64 in response\r\n");
  }
}

TEST_F(SubmissionClient, HasAnInitialResponseOrNone) {
  ASSERT_EQ(feed("AUTH PLAIN =\r\n"), Wish::authenticate);
  login::AuthRequest request = dialogue_->take_request();
  ASSERT_TRUE(request.initial);
  EXPECT_TRUE(request.initial->empty());
  answer(Outcome::wrong_credentials);
  ASSERT_EQ(feed("AUTH PLAIN AGpvZQB4  \r\n"), Wish::authenticate);
  request = dialogue_->take_request();
  ASSERT_TRUE(request.initial);
  EXPECT_EQ(request.initial->reveal(), "AGpvZQB4");
  answer(Outcome::wrong_credentials);
  ASSERT_EQ(feed("AUTH PLAIN !!!\r\n"), Wish::authenticate);
  request = dialogue_->take_request();
  EXPECT_FALSE(request.initial);
  EXPECT_TRUE(request.invalid_initial);
}

/// CVE-2019-11499: an AUTH that is none, over TLS and without.
TEST_F(SubmissionClient, SurvivesWhatIsNoAuth) {
  for (const bool tls : {false, true}) {
    context_.security.tls = tls;
    begin();
    EXPECT_EQ(reply("AUTH\r\n"), "501 5.5.4 Missing SASL mechanism parameter\r\n");
    EXPECT_EQ(reply("AUTH  PLAIN\r\n"), "501 5.5.4 Missing SASL mechanism parameter\r\n");
    EXPECT_EQ(reply("AUTH PLAIN a b\r\n"), "501 5.5.4 Invalid parameters\r\n");
    EXPECT_EQ(reply("AUTH PLAIN  AA==\r\n"), "501 5.5.4 Invalid parameters\r\n");
    EXPECT_EQ(feed("AUTH " + std::string(900, 'x') + "\r\n"), Wish::authenticate);
    EXPECT_EQ(answer(Outcome::mech_invalid), "504 5.5.4 Unsupported authentication mechanism.\r\n");
    EXPECT_EQ(reply("NOOP\r\n"), kOk);
  }
}

/// CVE-2019-11494: the client leaves while it logs in; and the log says in what.
TEST_F(SubmissionClient, MayLeaveInEveryState) {
  EXPECT_EQ(dialogue_->unfinished_command(), "");
  feed("AUTH CRAM-");
  EXPECT_EQ(dialogue_->unfinished_command(), "");
  begin();
  feed("AUTH CRAM-MD5\r\n");
  EXPECT_EQ(dialogue_->unfinished_command(), "AUTH");
  dialogue_->challenge("", out_);
  EXPECT_EQ(dialogue_->unfinished_command(), "AUTH");
  feed("eA==");
  EXPECT_EQ(dialogue_->unfinished_command(), "AUTH");
  begin();
  feed("AUTH CRAM-MD5\r\n");
  dialogue_->challenge("", out_);
  feed("*\r\n");
  EXPECT_EQ(dialogue_->unfinished_command(), "AUTH");
  answer(Outcome::aborted);
  EXPECT_EQ(dialogue_->unfinished_command(), "");
  dialogue_.reset();
}

TEST_F(SubmissionClient, IsClosedAfterTheEleventhBadCommandInARow) {
  for (int round = 0; round < 2; ++round) {
    for (int i = 0; i < 10; ++i) EXPECT_EQ(feed("FOO\r\n"), Wish::next);
    EXPECT_EQ(feed("NOOP\r\n"), Wish::next);
  }
  said();
  for (int i = 0; i < 10; ++i) feed(i % 2 == 0 ? "EHLO\r\n" : "F0\r\n");
  said();
  EXPECT_EQ(feed("NOOP ;\r\nQUIT\r\n"), Wish::close);
  EXPECT_EQ(said(), "421 4.7.0 mail.example.test Too many invalid commands.\r\n");
  EXPECT_EQ(dialogue_->close_reason(), "Too many invalid commands.");
  EXPECT_EQ(feed("NOOP\r\n"), Wish::close);
  EXPECT_EQ(said(), "");
}

TEST_F(SubmissionClient, IsClosedAlsoIfTheEleventhIsALogin) {
  for (int i = 0; i < 10; ++i) feed("FOO\r\n");
  said();
  ASSERT_EQ(feed("AUTH CRAM-MD5\r\n"), Wish::authenticate);
  EXPECT_EQ(answer(Outcome::aborted), "421 4.7.0 mail.example.test Too many invalid commands.\r\n");
  EXPECT_EQ(dialogue_->consume("", out_).wish, Wish::close);
}

/// What a BDAT announces is no command, though the BDAT was refused (RFC 3030).
TEST_F(SubmissionClient, HasTheDataOfARefusedBdatSkipped) {
  for (const std::size_t piece : {kWhole, std::size_t{1}, std::size_t{5}}) {
    begin();
    EXPECT_EQ(feed("BDAT 14 LAST\r\nQUIT\r\nQUIT\r\n\r\nNOOP\r\n", piece), Wish::next);
    EXPECT_EQ(said(), std::string(kNotBeforeAuth) + std::string(kOk));
  }
  begin();
  EXPECT_EQ(reply("BDAT 65536\r\n" + std::string(65536, '\n') + "NOOP\r\n"),
            std::string(kNotBeforeAuth) + std::string(kOk));
  EXPECT_EQ(reply("BDAT 0 LAST\r\nNOOP\r\n"), std::string(kNotBeforeAuth) + std::string(kOk));
  // No size, nothing to skip.
  for (const std::string_view none : {"BDAT\r\n", "BDAT x\r\n", "BDAT -1\r\n", "BDAT LAST\r\n"}) {
    EXPECT_EQ(reply(std::string(none) + "NOOP\r\n"),
              std::string(kNotBeforeAuth) + std::string(kOk));
  }
  settings_.ssl = config::Ssl::required;
  context_.security.secured = false;
  EXPECT_EQ(reply("BDAT 6\r\nQUIT\r\nNOOP\r\n"), "530 5.7.0 TLS required.\r\n" + std::string(kOk));
}

TEST_F(SubmissionClient, IsClosedIfABdatIsTooLargeToSkip) {
  for (const std::string_view size : {"65537", "18446744073709551616", "99999999999999999999999"}) {
    begin();
    EXPECT_EQ(feed("BDAT " + std::string(size) + " LAST\r\nQUIT\r\n"), Wish::close);
    EXPECT_EQ(said(), std::string(kNotBeforeAuth) +
                          "421 4.0.0 mail.example.test Too much data before login\r\n");
    EXPECT_EQ(dialogue_->close_reason(), "Too much data before login");
  }
}

/// CVE-2021-33515, CVE-2011-0411: however the bytes around STARTTLS arrive, none behind it is
/// looked at.
TEST_F(SubmissionClient, HasNothingReadBehindStarttls) {
  context_.security = {};
  const std::string before = "EHLO a.example\r\nSTARTTLS\r\n";
  const std::string all = before + "AUTH PLAIN AGpvZQB4\r\nMAIL FROM:<x@y>\r\n";
  for (std::size_t split = 0; split <= all.size(); ++split) {
    begin();
    Wish wish = feed(std::string_view(all).substr(0, split));
    if (wish == Wish::need_more || wish == Wish::next) {
      rest_ += all.substr(split);
      wish = feed(std::string(rest_));
    } else {
      rest_ += all.substr(split);
    }
    ASSERT_EQ(wish, Wish::start_tls) << split;
    EXPECT_EQ(rest_, all.substr(before.size())) << split;
    const std::string output = said();
    EXPECT_TRUE(output.ends_with("\r\n220 2.0.0 Begin TLS negotiation now.\r\n")) << output;
  }
}

TEST_F(SubmissionClient, IsForgottenWhatPlaintextSaid) {
  context_.security = {};
  context_.security.trusted = context_.security.secured = true;
  reply("XCLIENT HELO=a.example PROTO=SMTP\r\n");
  reply("EHLO b.example\r\n");
  EXPECT_EQ(dialogue_->facts().helo, "a.example");
  ASSERT_EQ(feed("STARTTLS\r\n"), Wish::start_tls);
  context_.security.tls = true;
  dialogue_->tls_started(out_);
  said();
  EXPECT_EQ(dialogue_->facts().helo, "");
  EXPECT_EQ(dialogue_->facts().helo_protocol, "");
  EXPECT_EQ(reply("STARTTLS\r\n"), "502 5.5.1 TLS is already active.\r\n");
}

TEST_F(SubmissionClient, SaysWhoItIs) {
  const std::pair<std::string_view, std::string_view> cases[] = {
      {"EHLO a.example\r\n", "a.example ESMTP"},
      {"HELO a.example\r\n", "a.example SMTP"},
      {"EHLO [192.0.2.1]\r\n", "[192.0.2.1] ESMTP"},
      {"EHLO [IPv6:2001:db8::1]\r\n", "[IPv6:2001:db8::1] ESMTP"},
      {"HELO [192.0.2.1]\r\n", " SMTP"},
      {"EHLO bad domain\r\n", " ESMTP"},
      {"EHLO -x\r\n", " ESMTP"},
      {"EHLO a..b\r\n", " ESMTP"},
      {"EHLO [192.0.2.1\r\n", " ESMTP"}};
  for (const auto& [line, who] : cases) {
    reply(line);
    EXPECT_EQ(dialogue_->facts().helo + " " + dialogue_->facts().helo_protocol, who) << line;
  }
  reply("EHLO " + std::string(900, 'a') + "\r\n");
  EXPECT_EQ(dialogue_->facts().helo, std::string(255, 'a'));
}

TEST_F(SubmissionClient, IsBelievedWhatItSaysOfOthersOnlyIfTrusted) {
  EXPECT_EQ(reply("XCLIENT ADDR=192.0.2.1\r\n"), "550 5.7.14 You are not from trusted IP\r\n");
  context_.security.trusted = true;
  reply("EHLO hop.example\r\n");
  EXPECT_EQ(feed("XCLIENT ADDR=192.0.2.1 HELO=c.example PROTO=esmtp\r\n"), Wish::forwarded);
  EXPECT_EQ(said(), "220 mail.example.test Postern ready.\r\n");
  const login::Forwarded forwarded = dialogue_->take_forwarded();
  ASSERT_TRUE(forwarded.client_ip);
  EXPECT_EQ(forwarded.client_ip->text(), "192.0.2.1");
  EXPECT_EQ(reply("XCLIENT ADDR=192.0.2.2 HELO=d.example TTL=x\r\n"),
            "501 5.5.4 Invalid TTL parameter\r\n");
  reply("EHLO hop.example\r\n");
  EXPECT_EQ(dialogue_->facts().helo, "c.example");
  EXPECT_EQ(dialogue_->facts().helo_protocol, "ESMTP");
}

TEST_F(SubmissionClient, LogsInWithMailWhereThatIsAllowed) {
  EXPECT_EQ(reply("MAIL FROM:<joe@example.test>\r\n"), kNotBeforeAuth);
  settings_.submission_client_workarounds = {"implicit-auth-external"};
  ASSERT_EQ(feed("mail FROM:<joe@example.test> SIZE=5\r\nRCPT TO:<x@y>\r\n"), Wish::authenticate);
  const login::AuthRequest request = dialogue_->take_request();
  EXPECT_EQ(request.mech, "EXTERNAL");
  ASSERT_TRUE(request.initial);
  EXPECT_TRUE(request.initial->empty());
  EXPECT_EQ(dialogue_->facts().replay, "MAIL FROM:<joe@example.test> SIZE=5\r\n");
  EXPECT_EQ(dialogue_->unfinished_command(), "MAIL");
  EXPECT_EQ(rest_, "RCPT TO:<x@y>\r\n");
  EXPECT_EQ(answer(Outcome::wrong_credentials), kFailed);
  EXPECT_EQ(dialogue_->facts().replay, "");
  ASSERT_EQ(feed("AUTH CRAM-MD5\r\n"), Wish::authenticate);
  EXPECT_EQ(dialogue_->facts().replay, "");
  answer(Outcome::wrong_credentials);
  // Nobody is asked who did not say AUTH.
  ASSERT_EQ(feed("MAIL FROM:<>\r\n"), Wish::authenticate);
  dialogue_->challenge("eA==", out_);
  EXPECT_EQ(said(), "");
  EXPECT_EQ(dialogue_->consume("", out_).wish, Wish::cancel);
  EXPECT_EQ(dialogue_->cancel_outcome(), Outcome::wrong_credentials);
  EXPECT_EQ(answer(Outcome::wrong_credentials), kFailed);
  mechanisms_.resize(2);
  EXPECT_EQ(reply("MAIL FROM:<>\r\n"), kNotBeforeAuth);
  mechanisms_.resize(3);
  mechanisms_[2].name = "EXTERNAL";
  settings_.ssl = config::Ssl::required;
  context_.security.secured = false;
  EXPECT_EQ(reply("MAIL FROM:<>\r\n"), "530 5.7.0 TLS required.\r\n");
}

TEST_F(SubmissionClient, WhatABrowserOrHttpTwoBeginsWithEndsIt_T_NET_17) {
  for (const char* line : {"GET / HTTP/1.1\r\n", "POST /x HTTP/1.0\r\n", "options * HTTP/1.1\n",
                           "PRI * HTTP/2.0\r\n", "CONNECT mail:25 HTTP/1.1\r\n"}) {
    for (const std::size_t piece : {std::string::npos, std::size_t{1}}) {
      dialogue_ = make_submission_client_dialogue(context_);
      EXPECT_EQ(feed("NOOP\r\n" + std::string(line) + "NOOP\r\n", piece), Wish::close) << line;
      const std::string all = said();
      EXPECT_TRUE(all.ends_with("421 4.0.0 mail.example.test Wrong protocol.\r\n")) << all;
      EXPECT_TRUE(dialogue_->close_reason().starts_with("Wrong protocol (")) << line;
    }
  }
}

}  // namespace
}  // namespace postern::submission_login
