#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "config/settings.h"
#include "imap-login/capabilities.h"
#include "imap-login/client-id.h"
#include "imap-login/imap-dialogues.h"
#include "lib/text.h"

namespace postern::imap_login {
namespace {

using login::AuthResult;
using login::Outcome;
using login::Wish;
using Bye = login::ClientDialogue::Bye;

/// A secured connection with PLAIN and CRAM-MD5, and the dialogue on it.
class ImapClient : public testing::Test {
 protected:
  void SetUp() override {
    mechanisms_ = {
        {"PLAIN", true}, {"CRAM-MD5"}, {"APOP", false, true}, {"ANONYMOUS", false, false, true}};
    context_.settings = &settings_;
    context_.mechanisms = &mechanisms_;
    context_.security.secured = true;
    context_.greeting = "Postern ready.";
    dialogue_ = make_imap_client_dialogue(context_);
    pending_.clear();
    out_.clear();
  }

  /// Offers `input` until all of it is taken or the driver has something to do; returns the wish.
  Wish feed(std::string_view input) {
    pending_.append(input);
    Wish wish = Wish::next;
    while (wish == Wish::next) {
      const login::Step step = dialogue_->consume(pending_, out_);
      EXPECT_LE(step.consumed, pending_.size());
      pending_.erase(0, step.consumed);
      wish = step.wish;
      if (wish == Wish::need_more) {
        EXPECT_EQ(pending_, "");
      }
    }
    return wish;
  }
  std::string said() {
    std::string out(out_.view());
    out_.clear();
    return out;
  }
  std::string say(std::string_view input) {
    feed(input);
    return said();
  }
  std::string fail(Outcome outcome, const std::string& text = "", bool reason = false) {
    AuthResult result;
    result.outcome = outcome;
    result.text = text;
    result.has_reason = reason;
    feed("a AUTHENTICATE PLAIN AGEAYg==\r\n");
    dialogue_->take_request();
    dialogue_->failed(result, out_);
    return said();
  }

  config::LoginSettings settings_;
  std::vector<login::Mechanism> mechanisms_;
  login::ClientContext context_;
  std::unique_ptr<login::ClientDialogue> dialogue_;
  std::string pending_;
  WipingBuffer out_;
};

TEST_F(ImapClient, GreetsWithItsCapabilities) {
  dialogue_->greet(out_);
  EXPECT_EQ(said(),
            "* OK [CAPABILITY IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE LITERAL+ STARTTLS "
            "AUTH=PLAIN AUTH=CRAM-MD5 AUTH=ANONYMOUS] Postern ready.\r\n");
}

TEST_F(ImapClient, AnnouncesWhatTheConnectionPermits) {
  const auto list = [this] { return pre_login_capabilities(context_); };
  const std::string base = "IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE LITERAL+";
  context_.security = {};
  EXPECT_EQ(list(), base + " STARTTLS LOGINDISABLED AUTH=CRAM-MD5 AUTH=ANONYMOUS");
  settings_.disable_plaintext_auth = false;
  EXPECT_EQ(list(), base + " STARTTLS AUTH=PLAIN AUTH=CRAM-MD5 AUTH=ANONYMOUS");
  settings_.ssl = config::Ssl::required;
  EXPECT_EQ(list(), base + " STARTTLS LOGINDISABLED");
  settings_.ssl = config::Ssl::no;
  EXPECT_EQ(list(), base + " AUTH=PLAIN AUTH=CRAM-MD5 AUTH=ANONYMOUS");
  settings_.ssl = config::Ssl::yes;
  context_.security = {false, false, true, true};  // a balancer's TLS
  EXPECT_EQ(list(), base + " AUTH=PLAIN AUTH=CRAM-MD5 AUTH=ANONYMOUS");
  mechanisms_ = {{"CRAM-MD5"}};
  EXPECT_EQ(list(), base + " LOGINDISABLED AUTH=CRAM-MD5");
}

TEST_F(ImapClient, TakesCapabilitiesFromTheSettings) {
  const auto list = [this] { return pre_login_capabilities(context_); };
  mechanisms_ = {{"PLAIN", true}};
  context_.security = {false, true, true, true};
  settings_.imap_literal_minus = true;
  settings_.imap_capability = "+ XA  XB";
  EXPECT_EQ(list(), "IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE XA  XB LITERAL- AUTH=PLAIN");
  settings_.imap4rev2_enable = true;
  EXPECT_EQ(list(),
            "IMAP4rev1 IMAP4rev2 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE XA  XB LITERAL- "
            "AUTH=PLAIN");
  settings_.imap_capability = "IMAP4rev1 ONLY";
  EXPECT_EQ(list(), "IMAP4rev1 ONLY AUTH=PLAIN");
}

TEST_F(ImapClient, LoginIsPlainWithAnEmptyAuthzid) {
  EXPECT_EQ(feed("b LOGIN \"al ice\" {4+}\r\np\"s\\ \r\n"), Wish::authenticate);
  login::AuthRequest request = dialogue_->take_request();
  EXPECT_EQ(request.mech, "PLAIN");
  EXPECT_EQ(request.user, "al ice");
  EXPECT_TRUE(request.plaintext_command);
  ASSERT_TRUE(request.initial.has_value());
  EXPECT_EQ(request.initial->reveal(), base64_encode(std::string("\0al ice\0p\"s\\", 12)));
  EXPECT_EQ(dialogue_->facts().tag, "b");
  EXPECT_EQ(said(), "");
}

TEST_F(ImapClient, LeavesWhatIsBehindALoginToTheDriver) {
  std::string input = "b LOGIN a b\r\nc NOOP\r\n";
  const login::Step step = dialogue_->consume(input, out_);
  EXPECT_EQ(step.wish, Wish::authenticate);
  EXPECT_EQ(input.substr(step.consumed), "c NOOP\r\n");
  // Nothing is taken while the verdict is awaited.
  const login::Step again = dialogue_->consume("c NOOP\r\n", out_);
  EXPECT_EQ(again.wish, Wish::need_more);
  EXPECT_EQ(again.consumed, 0U);
}

TEST_F(ImapClient, LoginTakesTwoStringsAndNothingElse) {
  for (const char* arguments : {"", " a", " a b c", " (a) b", " a (b)", " a ()"}) {
    SCOPED_TRACE(arguments);
    SetUp();
    EXPECT_EQ(say("a LOGIN" + std::string(arguments) + "\r\n"),
              "a BAD Error in IMAP command received by server.\r\n");
  }
  SetUp();
  EXPECT_EQ(say(std::string("a LOGIN {3+}\r\na\0b c\r\n", 21)),
            "a BAD Error in IMAP command received by server.\r\n");
}

TEST_F(ImapClient, TakesNoNulInACommand) {
  const std::string bad = "BAD Error in IMAP command received by server.\r\n";
  EXPECT_EQ(say(std::string("a NO\0OP\r\n", 9)), "a " + bad);
  EXPECT_EQ(say(std::string("a\0b NOOP\r\n", 10)), "* " + bad);
  SetUp();
  EXPECT_EQ(say(std::string("a AUTHENTICATE PL\0AIN\r\n", 23)), "a " + bad);
  EXPECT_EQ(say(std::string("a NOOP \0\r\n", 10)), "a BAD Invalid characters in atom\r\n");
  EXPECT_EQ(feed(std::string("a AUTHENTICATE PLAIN AGEA\0Yg==\r\n", 33)), Wish::authenticate);
  EXPECT_TRUE(dialogue_->take_request().invalid_initial);
}

TEST_F(ImapClient, CountsThreeBadCommandsInAll) {
  EXPECT_EQ(say("a FOO\r\n"), "a BAD Error in IMAP command received by server.\r\n");
  EXPECT_EQ(say("a NOOP\r\n"), "a OK NOOP completed.\r\n");
  EXPECT_EQ(say("a LOGIN {x}\r\n"), "a BAD Invalid literal size\r\n");
  EXPECT_EQ(say("\r\n"), "* BAD Error in IMAP command received by server.\r\n");
  EXPECT_EQ(feed("a\r\n"), Wish::close);
  EXPECT_EQ(said(), "* BYE Too many invalid IMAP commands.\r\n");
  EXPECT_EQ(dialogue_->close_reason(), "Too many invalid commands");
  EXPECT_EQ(feed("a NOOP\r\n"), Wish::close);
  EXPECT_EQ(said(), "");
}

TEST_F(ImapClient, NeverSendsAnInvalidTagBack) {
  for (const char* line :
       {"+a NOOP\r\n", "a(b NOOP\r\n", "* NOOP\r\n", " a NOOP\r\n", "\x16\x03 NOOP\r\n"}) {
    SCOPED_TRACE(line);
    SetUp();
    EXPECT_EQ(say(line), "* BAD Error in IMAP command received by server.\r\n");
  }
}

TEST_F(ImapClient, ForgivesALoginWithoutATag) {
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(
        say("login alice pass\r\n"),
        "login BAD First parameter in line is IMAP's command tag, not the command name. Add that "
        "before the command, like: a login user pass\r\n");
  }
  // It is the tag of a command like any other.
  EXPECT_EQ(say("LOGIN NOOP\r\n"), "LOGIN OK NOOP completed.\r\n");
}

TEST_F(ImapClient, HasAFixedBoundForALine) {
  EXPECT_EQ(feed("b NOOP " + std::string(1017, 'x') + "\r\n"), Wish::need_more);
  EXPECT_EQ(said(), "b OK NOOP completed.\r\n");
  for (const std::string& line :
       {"b NOOP " + std::string(1018, 'x') + "\r\n", std::string(1027, 'x'),
        "b " + std::string(1030, 'x'), "b AUTHENTICATE " + std::string(1030, 'x'),
        "b LOGIN {1100+}\r\n" + std::string(1100, 'x')}) {
    SCOPED_TRACE(line.size());
    SetUp();
    EXPECT_EQ(feed(line), Wish::close);
    EXPECT_EQ(said(), "* BYE Input buffer full, aborting\r\n");
    EXPECT_EQ(dialogue_->close_reason(), "Input buffer full");
  }
}

TEST_F(ImapClient, DoesNotSkipARefusedLineForEver) {
  EXPECT_EQ(say("b LOGIN {x"), "b BAD Invalid literal size\r\n");
  const std::string more(60000, 'x');
  EXPECT_EQ(feed(more), Wish::need_more);
  EXPECT_EQ(feed(more), Wish::close);
  EXPECT_EQ(said(), "* BYE Input buffer full, aborting\r\n");
}

TEST_F(ImapClient, AuthenticateTakesAnInitialResponse) {
  EXPECT_EQ(feed("a authenticate plain AGEAYg==\r\n"), Wish::authenticate);
  login::AuthRequest request = dialogue_->take_request();
  EXPECT_EQ(request.mech, "PLAIN");
  EXPECT_EQ(request.initial->reveal(), "AGEAYg==");
  EXPECT_FALSE(request.plaintext_command);
  EXPECT_FALSE(request.invalid_initial);
}

TEST_F(ImapClient, TellsNoInitialResponseFromAnEmptyOne) {
  const auto request = [this](const char* line) {
    SetUp();
    EXPECT_EQ(feed(line), Wish::authenticate);
    return dialogue_->take_request();
  };
  EXPECT_FALSE(request("a AUTHENTICATE EXTERNAL\r\n").initial.has_value());
  EXPECT_FALSE(request("a AUTHENTICATE EXTERNAL \r\n").initial.has_value());
  EXPECT_FALSE(request("a AUTHENTICATE EXTERNAL\n").invalid_initial);
  const login::AuthRequest empty = request("a AUTHENTICATE EXTERNAL =\r\n");
  ASSERT_TRUE(empty.initial.has_value());
  EXPECT_TRUE(empty.initial->empty());
}

TEST_F(ImapClient, SaysThatAnInitialResponseIsNoBase64) {
  for (const char* text :
       {"AGEAYg", "AGEAYg==x", " AGEAYg==", "AGEA Yg==", "AGEAYg==\t", "==", "*"}) {
    SCOPED_TRACE(text);
    SetUp();
    EXPECT_EQ(feed("a AUTHENTICATE PLAIN " + std::string(text) + "\r\n"), Wish::authenticate);
    const login::AuthRequest request = dialogue_->take_request();
    EXPECT_TRUE(request.invalid_initial);
    EXPECT_FALSE(request.initial.has_value());
    AuthResult result;
    result.outcome = Outcome::invalid_base64;
    dialogue_->failed(result, out_);
    EXPECT_EQ(said(), "a BAD Invalid base64 data in initial response\r\n");
  }
}

TEST_F(ImapClient, TakesResponsesUntilTheVerdict) {
  EXPECT_EQ(feed("a AUTHENTICATE CRAM-MD5\r\n"), Wish::authenticate);
  dialogue_->challenge("PDFAYj4=", out_);
  EXPECT_EQ(said(), "+ PDFAYj4=\r\n");
  EXPECT_EQ(feed("YWJj"), Wish::need_more);
  EXPECT_EQ(feed("\r\n"), Wish::respond);
  EXPECT_EQ(dialogue_->take_response().reveal(), "YWJj");
  dialogue_->challenge("", out_);
  EXPECT_EQ(said(), "+ \r\n");
  EXPECT_EQ(feed("\r\n"), Wish::respond);
  EXPECT_EQ(dialogue_->take_response().reveal(), "");
  dialogue_->failed({}, out_);
  EXPECT_EQ(said(), "a NO [AUTHENTICATIONFAILED] Authentication failed.\r\n");
  EXPECT_EQ(say("b NOOP\r\n"), "b OK NOOP completed.\r\n");
}

TEST_F(ImapClient, CancelsAnExchangeForTwoReasons) {
  EXPECT_EQ(feed("a AUTHENTICATE PLAIN\r\n"), Wish::authenticate);
  dialogue_->challenge("", out_);
  said();
  EXPECT_EQ(feed("*\r\n"), Wish::cancel);
  AuthResult result;
  result.outcome = dialogue_->cancel_outcome();
  EXPECT_EQ(result.outcome, Outcome::aborted);
  dialogue_->failed(result, out_);
  EXPECT_EQ(said(), "a BAD Authentication aborted by client.\r\n");
  EXPECT_EQ(feed("b AUTHENTICATE PLAIN\r\n"), Wish::authenticate);
  dialogue_->challenge("", out_);
  said();
  EXPECT_EQ(feed("%%%%\r\n"), Wish::cancel);
  result.outcome = dialogue_->cancel_outcome();
  EXPECT_EQ(result.outcome, Outcome::invalid_base64);
  dialogue_->failed(result, out_);
  EXPECT_EQ(said(), "b BAD Invalid base64 in response\r\n");
}

TEST_F(ImapClient, BoundsASaslResponse) {
  // 8191 bytes and the CR are the most that is taken; base64 comes in fours.
  EXPECT_EQ(feed("a AUTHENTICATE PLAIN " + std::string(8188, 'A') + "\r\n"), Wish::authenticate);
  EXPECT_EQ(dialogue_->take_request().initial->size(), 8188U);
  dialogue_->challenge("", out_);
  said();
  EXPECT_EQ(feed(std::string(8193, 'A')), Wish::close);
  EXPECT_EQ(said(), "* BYE Authentication response too large\r\n");
  EXPECT_EQ(dialogue_->close_reason(), "Authentication response too large");
  SetUp();
  settings_.login_compat = config::LoginCompat::dovecot_2_3;
  EXPECT_EQ(feed("a AUTHENTICATE PLAIN " + std::string(8192, 'A') + "\r\n"), Wish::close);
  EXPECT_EQ(said(), "");
}

TEST_F(ImapClient, SaysEachOutcomeAsDovecotDoes) {
  EXPECT_EQ(fail(Outcome::wrong_credentials),
            "a NO [AUTHENTICATIONFAILED] Authentication failed.\r\n");
  EXPECT_EQ(fail(Outcome::wrong_credentials, "Slow", true), "a NO [ALERT] Slow\r\n");
  EXPECT_EQ(fail(Outcome::wrong_credentials, "[LIMIT] Slow", true), "a NO [LIMIT] Slow\r\n");
  EXPECT_EQ(fail(Outcome::user_disabled, "Unpaid", true), "a NO [ALERT] Unpaid\r\n");
  EXPECT_EQ(fail(Outcome::authz_failed), "a NO [AUTHORIZATIONFAILED] Authorization failed\r\n");
  EXPECT_EQ(fail(Outcome::temp_fail), "a NO [UNAVAILABLE] Temporary authentication failure.\r\n");
  EXPECT_EQ(fail(Outcome::pass_expired), "a NO [EXPIRED] Authentication failed.\r\n");
  EXPECT_EQ(fail(Outcome::mech_invalid), "a NO [ALERT] Unsupported authentication mechanism.\r\n");
  EXPECT_EQ(fail(Outcome::mech_plaintext_refused),
            "a NO [PRIVACYREQUIRED] Plaintext authentication disabled.\r\n");
  EXPECT_EQ(fail(Outcome::tls_required),
            "a NO [PRIVACYREQUIRED] Authentication not allowed until SSL/TLS is enabled.\r\n");
  EXPECT_EQ(fail(Outcome::anonymous_denied), "a NO [CONTACTADMIN] Authentication failed.\r\n");
  EXPECT_EQ(fail(Outcome::login_disabled), "a NO [CONTACTADMIN] Login disabled for this user\r\n");
  EXPECT_EQ(fail(Outcome::proxy_unavailable),
            "a NO [UNAVAILABLE] Account is temporarily unavailable.\r\n");
  EXPECT_EQ(fail(Outcome::proxy_misconfigured),
            "a NO [SERVERBUG] Account is temporarily unavailable.\r\n");
  EXPECT_EQ(fail(Outcome::userip_limit, "Too many"), "a NO [LIMIT] Too many\r\n");
  EXPECT_EQ(
      fail(Outcome::handoff_failed),
      "* BYE [UNAVAILABLE] Internal login failure. Refer to server log for more information.\r\n");
  EXPECT_EQ(fail(Outcome::wrong_credentials, "a\r\nb NO c", true), "a NO [ALERT] a  b NO c\r\n");
}

TEST_F(ImapClient, RefersToAnotherServer) {
  AuthResult result;
  result.outcome = Outcome::referral;
  result.referral_host = "192.0.2.7";
  result.referral_port = 143;
  result.user = "bob@example.org";
  result.mech = "PLAIN";
  feed("a LOGIN a b\r\n");
  dialogue_->failed(result, out_);
  EXPECT_EQ(said(),
            "a NO [REFERRAL imap://bob%40example.org;AUTH=PLAIN@192.0.2.7/] Try this server "
            "instead.\r\n");
  result.referral_host = "2001:db8::1";
  result.referral_port = 1143;
  feed("a LOGIN a b\r\n");
  dialogue_->failed(result, out_);
  EXPECT_EQ(said(),
            "a NO [REFERRAL imap://bob%40example.org;AUTH=PLAIN@[2001:db8::1]:1143/] Try this "
            "server instead.\r\n");
}

TEST_F(ImapClient, StartsTlsOnceAndForgetsWhatWasHalfSaid) {
  EXPECT_EQ(feed("a STARTTLS now\r\n"), Wish::start_tls);
  EXPECT_EQ(said(), "a OK Begin TLS negotiation now.\r\n");
  context_.security = {false, true, true, true};
  dialogue_->tls_started(out_);
  EXPECT_EQ(said(), "");
  EXPECT_EQ(say("b STARTTLS\r\n"), "b BAD TLS is already active.\r\n");
  say("c CAPABILITY\r\n");
  EXPECT_FALSE(dialogue_->facts().used_capability);
}

TEST_F(ImapClient, RemembersThatTheClientAskedForCapabilities) {
  EXPECT_FALSE(dialogue_->facts().used_capability);
  say("c CAPABILITY\r\n");
  EXPECT_TRUE(dialogue_->facts().used_capability);
}

TEST_F(ImapClient, KeepsTheBadCommandsOverStartTls) {
  say("a FOO\r\n");
  say("b FOO\r\n");
  EXPECT_EQ(feed("c STARTTLS\r\n"), Wish::start_tls);
  dialogue_->tls_started(out_);
  EXPECT_EQ(feed("d FOO\r\n"), Wish::close);
}

TEST_F(ImapClient, BelievesTheFirstIdOfATrustedClientOnly) {
  const std::string id =
      "a ID (\"X-Originating-IP\" \"192.0.2.1\" \"x-originating-port\" \"1234\" \"x-connected-ip\" "
      "\"2001:db8::1\" \"x-connected-port\" \"143\" \"x-session-id\" \"sess0123\" \"x-proxy-ttl\" "
      "\"0\" "
      "\"x-forward-Color\" \"bl\tue=1\" \"x-connected-name\" \"mail.example.org\" "
      "\"x-client-transport\" \"TLS\")\r\n";
  EXPECT_EQ(feed(id), Wish::need_more);
  said();
  SetUp();
  context_.security.trusted = true;
  ASSERT_EQ(feed(id), Wish::forwarded);
  EXPECT_EQ(said(), "* ID (\"name\" \"Postern\")\r\na OK ID completed.\r\n");
  const login::Forwarded forwarded = dialogue_->take_forwarded();
  EXPECT_EQ(forwarded.client_ip, IpAddress::parse("192.0.2.1"));
  EXPECT_EQ(forwarded.client_port, 1234);
  EXPECT_EQ(forwarded.local_ip, IpAddress::parse("2001:db8::1"));
  EXPECT_EQ(forwarded.local_port, 143);
  EXPECT_EQ(forwarded.session, "sess0123");
  EXPECT_EQ(forwarded.ttl, 0U);
  EXPECT_EQ(forwarded.local_name, "mail.example.org");
  EXPECT_EQ(forwarded.client_tls, true);
  ASSERT_EQ(forwarded.fields.size(), 1U);
  EXPECT_EQ(forwarded.fields[0].first, "Color");
  EXPECT_EQ(forwarded.fields[0].second, "bl\tue=1");
  EXPECT_EQ(feed(id), Wish::need_more);
}

TEST_F(ImapClient, IgnoresForwardedValuesThatAreWrongAndTakesTheOthers) {
  context_.security.trusted = true;
  ASSERT_EQ(
      feed(
          "a ID (\"x-originating-ip\" \"no\" \"x-originating-port\" \"99999\" \"x-connected-port\" "
          "\"0\" \"x-session-id\" \"" +
          std::string(65, 's') +
          "\" \"x-proxy-ttl\" \"x\" \"x-forward-a=b\" \"c\" \"x-forward-\" \"d\" \"x-forward-e\" "
          "NIL "
          "\"x-forward-f\" \"g\" \"x-client-transport\" \"carrier pigeon\")\r\n"),
      Wish::forwarded);
  const login::Forwarded forwarded = dialogue_->take_forwarded();
  EXPECT_FALSE(forwarded.client_ip || forwarded.client_port || forwarded.local_port);
  EXPECT_FALSE(forwarded.session || forwarded.ttl || forwarded.client_tls);
  ASSERT_EQ(forwarded.fields.size(), 1U);
  EXPECT_EQ(forwarded.fields[0].first, "f");
}

TEST_F(ImapClient, AppliesNothingOfAnIdThatIsRefused) {
  context_.security.trusted = true;
  EXPECT_EQ(feed("a ID (\"x-proxy-ttl\" \"1\" name \"x\")\r\n"), Wish::need_more);
  EXPECT_EQ(said(), "a BAD Invalid ID parameters\r\n");
  // It was no ID, so the next one is the first.
  EXPECT_EQ(feed("b ID (\"x-proxy-ttl\" \"2\")\r\n"), Wish::forwarded);
  EXPECT_EQ(dialogue_->take_forwarded().ttl, 2U);
}

TEST_F(ImapClient, LogsTheFirstIdAfterApplyingIt) {
  settings_.imap_id_log = "*";
  context_.security.trusted = true;
  ASSERT_EQ(feed("a ID (\"x-proxy-ttl\" \"2\" \"os\" NIL \"name\" \"<x>\r\")\r\n"),
            Wish::need_more);
  EXPECT_EQ(said(), "a BAD Missing '\"'\r\n");
  ASSERT_EQ(feed("a ID (\"x-proxy-ttl\" \"2\" \"os\" NIL \"name\" \"<x>\x01\")\r\n"),
            Wish::forwarded);
  EXPECT_EQ(feed(""), Wish::log_id);
  EXPECT_EQ(dialogue_->take_id_log(), "ID sent: x-proxy-ttl=2, os=NIL, name=?x??");
  EXPECT_EQ(feed("b ID (\"name\" \"x\")\r\n"), Wish::need_more);
}

TEST_F(ImapClient, LogsOnlyTheFieldsAskedFor) {
  settings_.imap_id_log = "name VERSION";
  ASSERT_EQ(feed("a ID (\"Name\" \"n\" \"vendor\" \"v\" \"version\" \"1\")\r\n"), Wish::log_id);
  EXPECT_EQ(dialogue_->take_id_log(), "ID sent: Name=n, version=1");
}

TEST_F(ImapClient, BoundsWhatItKeepsOfAnId) {
  settings_.imap_id_log = "*";
  settings_.imap_id_retain = true;
  std::string id = "a ID (";
  for (int i = 0; i < 100; ++i)
    id += "\"key" + std::to_string(i) + "\" \"" + std::string(30, 'v') + "\" ";
  ASSERT_EQ(feed(id + ")\r\n"), Wish::log_id);
  EXPECT_LE(dialogue_->take_id_log().size(), 9 + ClientId::kMaxLog);
  EXPECT_LE(wire::format_imap_id_body(dialogue_->facts().client_id).size(), ClientId::kMaxRetained);
  EXPECT_EQ(dialogue_->facts().client_id.size(), 6U);
  said();
  std::string endless = "b ID (";
  while (endless.size() < 8300) endless += "\"k\" \"v\" ";
  EXPECT_EQ(feed(endless), Wish::need_more);
  EXPECT_EQ(said(), "b BAD Invalid ID parameters\r\n");
}

TEST_F(ImapClient, RetainsTheLastIdWithoutItsPrivateFields) {
  settings_.imap_id_retain = true;
  say("a ID (\"name\" \"first\")\r\nb ID (\"x-proxy-ttl\" \"1\" \"name\" \"n\" \"os\" NIL)\r\n");
  const wire::ImapIdFields expected{{"name", "n"}, {"os", std::nullopt}};
  EXPECT_EQ(dialogue_->facts().client_id, expected);
  settings_.imap_id_retain = false;
  EXPECT_TRUE(dialogue_->facts().client_id.empty());
}

TEST_F(ImapClient, AnswersIdAsItIsTold) {
  EXPECT_EQ(id_reply(""), "NIL");
  EXPECT_EQ(id_reply("name * support-email * name x"),
            "(\"name\" \"Postern\" \"support-email\" NIL \"name\" \"x\")");
  EXPECT_EQ(id_reply("version *").find("(\"version\" \""), 0U);
}

TEST_F(ImapClient, SaysGoodByeInItsOwnWords) {
  dialogue_->bye(Bye::timeout, "Disconnected for inactivity.", out_);
  EXPECT_EQ(said(), "* BYE Disconnected for inactivity.\r\n");
  dialogue_->bye(Bye::internal, "TLS initialization failed.", out_);
  EXPECT_EQ(said(), "* BYE [UNAVAILABLE] TLS initialization failed.\r\n");
  dialogue_->waiting_for_auth(out_);
  EXPECT_EQ(said(), "* OK Waiting for authentication process to respond..\r\n");
  EXPECT_EQ(feed("a LOGOUT\r\n"), Wish::close);
  EXPECT_EQ(said(), "* BYE Logging out\r\na OK Logout completed.\r\n");
  EXPECT_EQ(dialogue_->close_reason(), "Aborted login by logging out");
}

TEST_F(ImapClient, WhatABrowserOrAMailServerBeginsWithEndsIt_T_NET_17) {
  for (const char* line :
       {"GET / HTTP/1.1\r\n", "POST /x HTTP/1.0\r\n", "options * HTTP/1.1\n", "PRI * HTTP/2.0\r\n",
        "CONNECT mail:25 HTTP/1.1\r\n", "EHLO x\r\n", "HELO x\r\n"}) {
    SCOPED_TRACE(line);
    SetUp();
    EXPECT_EQ(feed("a NOOP\r\n" + std::string(line) + "a NOOP\r\n"), Wish::close);
    EXPECT_EQ(said(), "a OK NOOP completed.\r\n* BYE Wrong protocol.\r\n") << "no tag of theirs";
    EXPECT_TRUE(dialogue_->close_reason().starts_with("Wrong protocol ("));
  }
  SetUp();
  EXPECT_EQ(say("GET NOOP\r\n"), "GET OK NOOP completed.\r\n") << "a tag like any other";
}

}  // namespace
}  // namespace postern::imap_login
