// What the recordings do not show of the dialogue with a ManageSieve client.
#include "managesieve-login/client-dialogue.h"

#include <gtest/gtest.h>

#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "../support/client-fixture.h"
#include "config/settings.h"
#include "lib/text.h"
#include "managesieve-login/sieve-dialogues.h"

namespace postern::managesieve_login {
namespace {

using login::AuthResult;
using login::Outcome;
using login::Wish;

constexpr std::string_view kBad = "NO \"Error in MANAGESIEVE command received by server.\"\r\n";
constexpr std::string_view kFailed = "NO \"Authentication failed.\"\r\n";
constexpr std::string_view kTooLarge = "BYE \"Authentication response too large\"\r\n";

class SieveClient : public test::ClientFixture {
 protected:
  SieveClient() {
    mechanisms_.resize(3);
    mechanisms_[0].name = "PLAIN";
    mechanisms_[0].plaintext = true;
    mechanisms_[1].name = "CRAM-MD5";
    mechanisms_[2].name = "ANONYMOUS";
    mechanisms_[2].anonymous = true;
    settings_.managesieve_sieve_capability = "fileinto";
    start();
  }

  void start() { dialogue_ = make_sieve_client_dialogue(context_); }
};

TEST_F(SieveClient, IsGreetedWithWhatIsOfferedAndWhatIsSet) {
  context_.greeting = "a \"b\" \\";
  settings_.managesieve_notify_capability = "";
  context_.security.trusted = true;
  dialogue_->greet(out_);
  EXPECT_EQ(said(),
            "\"IMPLEMENTATION\" \"Postern\"\r\n\"SIEVE\" \"fileinto\"\r\n"
            "\"SASL\" \"PLAIN CRAM-MD5\"\r\n\"STARTTLS\"\r\n\"VERSION\" \"1.0\"\r\n\"XCLIENT\"\r\n"
            "OK \"a \\\"b\\\" \\\\\"\r\n");
}

TEST_F(SieveClient, IsToldAnewWhatIsOfferedOnceThereIsTls) {
  context_.security = {};
  EXPECT_EQ(feed("STARTTLS\r\n"), Wish::start_tls);
  EXPECT_EQ(said(), "OK \"Begin TLS negotiation now.\"\r\n");
  context_.security.tls = context_.security.ssl_secured = context_.security.secured = true;
  dialogue_->tls_started(out_);
  EXPECT_EQ(said(),
            "\"IMPLEMENTATION\" \"Postern\"\r\n\"SIEVE\" \"fileinto\"\r\n\"NOTIFY\" \"mailto\"\r\n"
            "\"SASL\" \"PLAIN CRAM-MD5\"\r\n\"VERSION\" \"1.0\"\r\n"
            "OK \"TLS negotiation successful.\"\r\n");
  EXPECT_EQ(feed("STARTTLS\r\n"), Wish::next);
  EXPECT_EQ(said(), "NO \"TLS is already active.\"\r\n");
}

/// CVE-2011-0411 and its like: the driver refuses what is pipelined; half a line goes, too.
TEST_F(SieveClient, HasNothingLeftFromBeforeTls) {
  context_.security = {};
  EXPECT_EQ(feed("STARTTLS\r\nNOOP {3+}\r\na"), Wish::start_tls);
  EXPECT_EQ(rest_, "NOOP {3+}\r\na");
  feed(rest_);
  said();
  dialogue_->tls_started(out_);
  said();
  EXPECT_EQ(feed("NOOP\r\n"), Wish::next);
  EXPECT_EQ(said(), "OK \"NOOP Completed\"\r\n");
}

TEST_F(SieveClient, BehindABalancersTlsIsNotOfferedAnother) {
  context_.security.ssl_secured = true;
  dialogue_->greet(out_);
  EXPECT_EQ(said().find("STARTTLS"), std::string::npos);
  EXPECT_EQ(feed("STARTTLS\r\n"), Wish::next);
  EXPECT_EQ(said(), "NO \"TLS is already active.\"\r\n");
}

TEST_F(SieveClient, HearsItsTagAgain) {
  for (const std::size_t piece : {std::string::npos, 1UL}) {
    EXPECT_EQ(feed("NOOP {4+}\r\na\r\nb\r\n", piece), Wish::next);
    EXPECT_EQ(said(), "OK (TAG {4}\r\na\r\nb) \"Done\"\r\n");
    EXPECT_EQ(feed("noop {2}\r\n\"\\\r\n", piece), Wish::next);
    EXPECT_EQ(said(), "OK (TAG \"\\\"\\\\\") \"Done\"\r\n");
    EXPECT_EQ(feed("NOOP {1+}\r\n\xe9\r\n", piece), Wish::next);
    EXPECT_EQ(said(), "OK (TAG {1}\r\n\xe9) \"Done\"\r\n");
    EXPECT_EQ(feed("NOOP \"\" \r\n", piece), Wish::next);
    EXPECT_EQ(said(), "OK (TAG \"\") \"Done\"\r\n");
  }
}

/// CVE-2019-11500: a NUL ended strings early, and the rest was written where nothing was.
TEST_F(SieveClient, IsRefusedANulWhereverItStands) {
  feed(std::string_view("NOOP \"a\0b\"\r\n", 12), 1);
  EXPECT_EQ(said(), "NO \"NULs not allowed in strings\"\r\n");
  feed(std::string_view("NOOP \"a\\\0b\"\r\n", 13));
  EXPECT_EQ(said(), "NO \"Escaped quoted-string character is not a QUOTED-SPECIAL.\"\r\n");
  feed(std::string_view("NOOP {3+}\r\na\0b\r\n", 16));
  EXPECT_EQ(said(), kBad);
  feed(std::string_view("NO\0OP\r\n", 7));
  EXPECT_EQ(said(), kBad);
  start();
  feed(std::string_view("AUTHENTICATE {6+}\r\nPLAIN\0\r\n", 27));
  EXPECT_EQ(said(), kBad);
  EXPECT_EQ(feed(std::string_view("AUTHENTICATE \"PLAIN\" {5+}\r\neA==\0\r\n", 34)),
            Wish::authenticate);
  EXPECT_TRUE(dialogue_->take_request().invalid_initial);
}

/// CVE-2025-59032: a response that came in pieces crashed the process; mending it broke logins.
TEST_F(SieveClient, MaySendItsResponseInPieces) {
  const std::string_view line = "AUTHENTICATE \"plain\" {16+}\r\nAGFsaWNlAHBhc3M=\r\n";
  for (std::size_t first = 1; first < line.size(); ++first) {
    for (const std::size_t piece : {1UL, 5UL, std::string::npos}) {
      SCOPED_TRACE(first);
      start();
      EXPECT_EQ(feed(line.substr(0, first), piece), Wish::need_more);
      EXPECT_EQ(feed(line.substr(first), piece), Wish::authenticate);
      const login::AuthRequest request = dialogue_->take_request();
      EXPECT_EQ(request.mech, "PLAIN");
      ASSERT_TRUE(request.initial);
      EXPECT_EQ(request.initial->reveal(), "AGFsaWNlAHBhc3M=");
      dialogue_->challenge("", out_);
      const std::string_view response = line.substr(line.find('{'));
      EXPECT_EQ(feed(response.substr(0, first % response.size()), piece), Wish::need_more);
      EXPECT_EQ(feed(response.substr(first % response.size()), piece), Wish::respond);
      EXPECT_EQ(dialogue_->take_response().reveal(), "AGFsaWNlAHBhc3M=");
    }
  }
}

/// CVE-2026-27858: memory was allocated for whatever size a literal said.
TEST_F(SieveClient, WhoAnnouncesTooMuchIsClosedBeforeAnythingIsRead) {
  for (const char* size :
       {"8193", "4294967295", "18446744073709551616", "99999999999999999999999"}) {
    for (const std::size_t piece : {std::string::npos, 1UL}) {
      SCOPED_TRACE(size);
      start();
      EXPECT_EQ(feed("AUTHENTICATE \"PLAIN\" {" + std::string(size) + "+}\r\n", piece),
                Wish::close);
      EXPECT_EQ(said(), kTooLarge);
      EXPECT_EQ(dialogue_->close_reason(), "Authentication response too large");
      EXPECT_EQ(dialogue_->facts().mech, "PLAIN");
      start();
      EXPECT_EQ(feed("NOOP {" + std::string(size) + "}", piece), Wish::close);
      EXPECT_EQ(said(), "BYE \"Literal size too large\"\r\n");
      EXPECT_EQ(dialogue_->close_reason(), "Literal size too large");
    }
  }
}

TEST_F(SieveClient, MaySendAResponseOfEightKilobytesAndNoMore) {
  const std::string most(8192, 'A');
  for (const std::string& line : {"\"" + most + "\"", "{8192+}\r\n" + most, "{8192}\r\n" + most}) {
    start();
    EXPECT_EQ(feed("AUTHENTICATE \"PLAIN\" " + line + "\r\n", 1000), Wish::authenticate);
    EXPECT_EQ(dialogue_->take_request().initial->size(), 8192U);
    dialogue_->challenge("eA==", out_);
    EXPECT_EQ(said(), "\"eA==\"\r\n");
    EXPECT_EQ(feed(line + "\r\n", 1000), Wish::respond);
    EXPECT_EQ(dialogue_->take_response().size(), 8192U);
  }
  for (const std::string& line : {"\"" + most + "A\"", std::string("{8193+}\r\n")}) {
    start();
    EXPECT_EQ(feed("AUTHENTICATE \"PLAIN\" " + line + "\r\n", 1000), Wish::close);
    EXPECT_EQ(said(), kTooLarge);
    start();
    feed("AUTHENTICATE \"PLAIN\"\r\n");
    dialogue_->take_request();
    dialogue_->challenge("", out_);
    said();
    EXPECT_EQ(feed(line + "\r\n", 1000), Wish::close);
    EXPECT_EQ(said(), kTooLarge);
    settings_.login_compat = config::LoginCompat::dovecot_2_3;
    start();
    EXPECT_EQ(feed("AUTHENTICATE \"PLAIN\" " + line + "\r\n", 1000), Wish::close);
    EXPECT_EQ(said(), "");
    settings_.login_compat = config::LoginCompat::none;
  }
}

TEST_F(SieveClient, IsClosedPastTheLongestCommand) {
  for (const std::string& line :
       {std::string(1026, 'x'), "NOOP \"" + std::string(1100, 'x'),
        "NOOP " + std::string(1100, ' '), "NOOP {1100+}\r\n" + std::string(1100, 'x'),
        "AUTHENTICATE \"" + std::string(1100, 'x'), "LISTSCRIPTS \"" + std::string(70'000, 'x'),
        std::string("PUTSCRIPT \"a\" {70000+}\r\n")}) {
    for (const std::size_t piece : {std::string::npos, 100UL}) {
      SCOPED_TRACE(line.substr(0, 20));
      start();
      EXPECT_EQ(feed(line, piece), Wish::close);
      EXPECT_EQ(said(), "BYE \"Input buffer full, aborting\"\r\n");
      EXPECT_EQ(dialogue_->close_reason(), "Input buffer full");
      EXPECT_EQ(feed("NOOP\r\n"), Wish::close);
      EXPECT_EQ(said(), "");
    }
  }
}

/// Dovecot reads a refused command's literal as commands.
TEST_F(SieveClient, SmugglesNoCommandInALiteral) {
  for (const std::string_view line : std::initializer_list<std::string_view>{
           "PUTSCRIPT \"a\" {8+}\r\nLOGOUT\r\n\r\n", "UNAUTHENTICATE {8}\r\nLOGOUT\r\n\r\n",
           "CAPABILITY {8+}\r\nLOGOUT\r\n\r\n", "AUTHENTICATE PLAIN {8+}\r\nLOGOUT\r\n\r\n",
           "NOOP a {8+}\r\nLOGOUT\r\n\r\n", "AUTHENTICATE \"\" {8+}\r\nLOGOUT\r\n\r\n"}) {
    for (const std::size_t piece : {std::string::npos, 1UL}) {
      SCOPED_TRACE(line);
      start();
      EXPECT_EQ(feed(line, piece), Wish::next);
      EXPECT_EQ(said(), kBad);
    }
  }
  start();
  EXPECT_EQ(feed("NOOP ( {8+}\r\nLOGOUT\r\n\r\n", 1), Wish::next);
  EXPECT_EQ(said(), "NO \"Invalid characters in atom\"\r\n");
  EXPECT_EQ(feed("PUTSCRIPT \"a\" {60000+}\r\n" + std::string(60'000, '\n') + "\r\n", 999),
            Wish::next);
  EXPECT_EQ(said(), kBad);
}

TEST_F(SieveClient, MayBeWrongThreeTimesInAll) {
  for (const char* line : {"UNAUTHENTICATE\r\n", "STARTTLS x\r\n"}) {
    EXPECT_EQ(feed(line), Wish::next);
    EXPECT_EQ(said(), kBad);
    feed("NOOP\r\n");
    feed("NOOP (\r\n");  // does not count
    said();
  }
  EXPECT_EQ(feed("HAVESPACE \"a\" 1\r\n"), Wish::close);
  EXPECT_EQ(said(), "BYE \"Too many invalid MANAGESIEVE commands.\"\r\n");
  EXPECT_EQ(dialogue_->close_reason(), "Too many invalid commands.");
}

TEST_F(SieveClient, CountsOnBehindTls) {
  context_.security = {};
  feed("A\r\nB\r\nSTARTTLS\r\n");
  said();
  dialogue_->tls_started(out_);
  EXPECT_EQ(feed("C\r\n"), Wish::close);
}

TEST_F(SieveClient, GetsAFreshChallengeAfterAFailedExchange) {
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(feed("AUTHENTICATE \"PLAIN\"\r\n"), Wish::authenticate);
    EXPECT_FALSE(dialogue_->take_request().initial);
    dialogue_->challenge("", out_);
    EXPECT_EQ(said(), "\"\"\r\n");
    EXPECT_EQ(feed("\"AGFsaWNlAHdyb25n\"\r\n"), Wish::respond);
    EXPECT_EQ(dialogue_->take_response().reveal(), "AGFsaWNlAHdyb25n");
    EXPECT_EQ(answer(Outcome::wrong_credentials), kFailed);
  }
}

TEST_F(SieveClient, IsAnsweredWhateverItSaysInsteadOfAResponse) {
  struct Case {
    std::string_view line;
    Outcome outcome;
    std::string_view text;
  };
  const std::vector<Case> cases{
      {"\"*\"\r\n", Outcome::aborted, "Authentication aborted by client."},
      {"{1+}\r\n*\r\n", Outcome::aborted, "Authentication aborted by client."},
      {"\"!!!\"\r\n", Outcome::invalid_base64, "Invalid base64 in response"},
      {"\"eA\"\r\n", Outcome::invalid_base64, "Invalid base64 in response"},
      {"\"eA==\tnologin\"\r\n", Outcome::invalid_base64, "Invalid base64 in response"},
      {"\r\n", Outcome::aborted, "Received empty AUTHENTICATE client response line."},
      {"*\r\n", Outcome::aborted, "Invalid AUTHENTICATE client response."},
      {"\"eA==\" \"eA==\"\r\n", Outcome::aborted, "Invalid AUTHENTICATE client response."},
      {"\"eA==\" x {8+}\r\nLOGOUT\r\n\r\n", Outcome::aborted,
       "Invalid AUTHENTICATE client response."},
      {"\"eA==\r\n", Outcome::aborted, "String contains invalid character."},
      {"(\"eA==\")\r\n", Outcome::aborted, "Invalid characters in atom"}};
  for (const Case& one : cases) {
    for (const std::size_t piece : {std::string::npos, 1UL}) {
      SCOPED_TRACE(one.line);
      ASSERT_EQ(feed("AUTHENTICATE \"PLAIN\"\r\n"), Wish::authenticate);
      dialogue_->take_request();
      dialogue_->challenge("", out_);
      said();
      EXPECT_EQ(feed(one.line, piece), Wish::cancel);
      EXPECT_EQ(rest_, "");
      EXPECT_EQ(dialogue_->cancel_outcome(), one.outcome);
      EXPECT_EQ(answer(one.outcome), "NO \"" + std::string(one.text) + "\"\r\n");
    }
  }
  EXPECT_EQ(feed("NOOP\r\n"), Wish::next);
  EXPECT_EQ(said(), "OK \"NOOP Completed\"\r\n");
}

TEST_F(SieveClient, IsRefusedWordsBehindItsInitialResponse) {
  EXPECT_EQ(feed("AUTHENTICATE \"PLAIN\" \"eA==\" \"b\" (\r\n"), Wish::next);
  EXPECT_EQ(said(), "NO \"Invalid AUTHENTICATE initial response.\"\r\n");
  EXPECT_EQ(feed("AUTHENTICATE \"PLAIN\" eA==\r\n"), Wish::next);
  EXPECT_EQ(said(), "NO \"Invalid AUTHENTICATE initial response.\"\r\n");
}

TEST_F(SieveClient, ReadsNothingBehindALogin) {
  EXPECT_EQ(feed("AUTHENTICATE \"PLAIN\" {4+}\r\neA==\r\nNOOP\r\nLOGOUT\r\n"), Wish::authenticate);
  EXPECT_EQ(rest_, "NOOP\r\nLOGOUT\r\n");
  EXPECT_EQ(dialogue_->consume(rest_, out_).consumed, 0U);
  EXPECT_EQ(answer(Outcome::wrong_credentials), kFailed);
  EXPECT_EQ(feed(rest_), Wish::close);
  EXPECT_EQ(said(), "OK \"NOOP Completed\"\r\nOK \"Logout completed.\"\r\n");
}

TEST_F(SieveClient, IsToldInItsOwnWordsHowALoginFailed) {
  const auto login = [this](Outcome outcome, std::string_view reason = "") {
    feed("AUTHENTICATE \"PLAIN\" \"\"\r\n");
    EXPECT_EQ(dialogue_->take_request().initial->reveal(), "");
    return answer(outcome, reason);
  };
  EXPECT_EQ(login(Outcome::wrong_credentials, "say \"x\""), "NO \"say \\\"x\\\"\"\r\n");
  EXPECT_EQ(login(Outcome::user_disabled), kFailed);
  EXPECT_EQ(login(Outcome::pass_expired), kFailed);
  EXPECT_EQ(login(Outcome::anonymous_denied), kFailed);
  EXPECT_EQ(login(Outcome::authz_failed), "NO \"Authorization failed\"\r\n");
  EXPECT_EQ(login(Outcome::temp_fail), "NO (TRYLATER) \"Temporary authentication failure.\"\r\n");
  EXPECT_EQ(login(Outcome::invalid_base64), "NO \"Invalid base64 data in initial response\"\r\n");
  EXPECT_EQ(login(Outcome::mech_invalid), "NO \"Unsupported authentication mechanism.\"\r\n");
  EXPECT_EQ(login(Outcome::mech_plaintext_refused),
            "NO \"Plaintext authentication disabled.\"\r\n");
  EXPECT_EQ(login(Outcome::tls_required),
            "NO (ENCRYPT-NEEDED) \"Authentication not allowed until SSL/TLS is enabled.\"\r\n");
  EXPECT_EQ(login(Outcome::login_disabled), "NO \"Login disabled for this user\"\r\n");
  EXPECT_EQ(login(Outcome::proxy_unavailable),
            "NO (TRYLATER) \"Account is temporarily unavailable.\"\r\n");
  EXPECT_EQ(login(Outcome::proxy_misconfigured), "NO \"Account is temporarily unavailable.\"\r\n");
  EXPECT_EQ(login(Outcome::userip_limit, "Too many"), "NO \"Too many\"\r\n");
  EXPECT_EQ(login(Outcome::handoff_failed),
            "BYE \"Internal login failure. Refer to server log for more information.\"\r\n");
}

TEST_F(SieveClient, IsReferredToWhereItsScriptsAre) {
  feed("AUTHENTICATE \"PLAIN\" \"\"\r\n");
  AuthResult result;
  result.outcome = Outcome::referral;
  result.referral_host = "2001:db8::1";
  result.referral_port = 4191;
  result.user = "a b)\"@x";
  result.mech = "PLAIN";
  dialogue_->failed(result, out_);
  EXPECT_EQ(said(),
            "NO (REFERRAL sieve://a%20b%29%22%40x;AUTH=PLAIN@[2001:db8::1]:4191) "
            "\"Try this server instead.\"\r\n");
}

TEST_F(SieveClient, IsToldWhyItIsClosed) {
  using Bye = login::ClientDialogue::Bye;
  for (const Bye kind : {Bye::timeout, Bye::resource, Bye::internal}) {
    dialogue_->bye(kind, "x", out_);
    EXPECT_EQ(said(), "BYE \"x\"\r\n");
  }
  dialogue_->bye(Bye::shutdown, "x", out_);
  EXPECT_EQ(said(), "BYE (TRYLATER) \"x\"\r\n");
  dialogue_->waiting_for_auth(out_);
  EXPECT_EQ(said(), "");
}

TEST_F(SieveClient, IsBelievedWhatItSaysOfOthersOnlyIfTrusted) {
  EXPECT_EQ(feed("XCLIENT ADDR=192.0.2.1 TTL=x \"y\"\r\n"), Wish::next);
  EXPECT_EQ(said(), "NO \"You are not from trusted IP\"\r\n");
  context_.security.trusted = true;
  EXPECT_EQ(feed("XCLIENT addr=2001:db8::1 PORT=1 TTL=3 JUNK FOO=bar SESSION=a/b+c\r\n", 1),
            Wish::forwarded);
  EXPECT_EQ(said(), "OK \"Updated\"\r\n");
  const login::Forwarded forwarded = dialogue_->take_forwarded();
  EXPECT_EQ(forwarded.client_ip->text(), "2001:db8::1");
  EXPECT_EQ(forwarded.ttl, 3U);
  EXPECT_EQ(forwarded.session, "a/b+c");
  EXPECT_EQ(feed("XCLIENT ADDR=192.0.2.1 TTL=x\r\n"), Wish::next) << "half of it is not applied";
  EXPECT_EQ(said(), kBad);
  EXPECT_EQ(feed("XCLIENT\r\n"), Wish::forwarded);
  EXPECT_FALSE(dialogue_->take_forwarded().client_ip) << "nothing is left of the refused one";
}

/// CVE-2026-42008 (a bare word became a field of auth's own) and CVE-2026-42395 (a NUL).
TEST_F(SieveClient, ForwardsNamedFieldsOnly) {
  context_.security.trusted = true;
  EXPECT_EQ(feed("XCLIENT FORWARD=" + base64_encode("nopassword\ta=b\t=c") + "\r\n"),
            Wish::forwarded);
  const login::Forwarded forwarded = dialogue_->take_forwarded();
  ASSERT_EQ(forwarded.fields.size(), 1U);
  EXPECT_EQ(forwarded.fields[0].first, "a");
  said();
  EXPECT_EQ(
      feed("XCLIENT FORWARD=" + base64_encode(std::string_view("a=b\0nopassword", 14)) + "\r\n"),
      Wish::next);
  EXPECT_EQ(said(), kBad);
}

/// CVE-2026-33605 (a crafted command before the login) has no more than its name to go by: every
/// command, cut short anywhere and followed by another, leaves the dialogue able to go on.
TEST_F(SieveClient, CanGoOnWhereverACommandStops) {
  context_.security.trusted = true;
  for (const std::string_view line : std::initializer_list<std::string_view>{
           "AUTHENTICATE \"PLAIN\" {4+}\r\neA==", "NOOP {3+}\r\nabc", "XCLIENT ADDR=192.0.2.1",
           "CAPABILITY", "PUTSCRIPT \"a\" {3}\r\nabc", "NOOP \"a\\\"b\""}) {
    for (std::size_t size = 1; size <= line.size(); ++size) {
      SCOPED_TRACE(line.substr(0, size));
      start();
      Wish wish = feed(std::string(line.substr(0, size)) + "\r\n", 1);
      // An open literal takes what follows, up to its size.
      for (int i = 0; i < 3 && wish == Wish::need_more; ++i) wish = feed("\r\n", 1);
      EXPECT_NE(wish, Wish::need_more);
      if (wish == Wish::authenticate) answer(Outcome::wrong_credentials);
      said();
      EXPECT_EQ(feed("LOGOUT\r\n"), Wish::close);
      EXPECT_EQ(said(), "OK \"Logout completed.\"\r\n");
    }
  }
}

TEST_F(SieveClient, WhatABrowserOrAMailServerBeginsWithEndsIt_T_NET_17) {
  for (const char* line :
       {"GET / HTTP/1.1\r\n", "POST /x HTTP/1.0\r\n", "options * HTTP/1.1\n", "PRI * HTTP/2.0\r\n",
        "CONNECT mail:25 HTTP/1.1\r\n", "EHLO x\r\n", "HELO x\r\n"}) {
    for (const std::size_t piece : {std::string::npos, std::size_t{1}}) {
      dialogue_ = make_sieve_client_dialogue(context_);
      EXPECT_EQ(feed("NOOP\r\n" + std::string(line) + "NOOP\r\n", piece), Wish::close) << line;
      const std::string all = said();
      EXPECT_TRUE(all.ends_with("BYE \"Wrong protocol.\"\r\n")) << all;
      EXPECT_TRUE(dialogue_->close_reason().starts_with("Wrong protocol (")) << line;
    }
  }
}

}  // namespace
}  // namespace postern::managesieve_login
