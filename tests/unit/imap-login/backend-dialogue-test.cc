#include <gtest/gtest.h>

#include <string>

#include "imap-login/imap-dialogues.h"
#include "lib/text.h"

namespace postern::imap_login {
namespace {

using login::BackendTls;
using login::FailureType;
using login::Then;

/// A backend that is talked to for joe with password "pass" and the client's tag "a".
class ImapBackend : public testing::Test {
 protected:
  void SetUp() override {
    target_ = {};
    target_.user = "joe";
    target_.password = Secret("pass");
    target_.session = "sess";
    target_.client = {*IpAddress::parse("192.0.2.1"), 1234};
    target_.local = {*IpAddress::parse("2001:db8::1"), 143};
    target_.ttl = 4;
    target_.client_tag = "a";
    restart();
  }
  void restart() {
    dialogue_ = make_imap_backend_dialogue(target_);
    to_backend_.clear();
    to_client_.clear();
  }
  /// What is sent in answer to a line.
  std::string on(std::string_view line) {
    then_ = dialogue_->on_line(line, to_backend_, to_client_);
    return sent();
  }
  std::string sent() {
    std::string out(to_backend_.view());
    to_backend_.clear();
    return out;
  }
  std::string to_client() { return std::string(to_client_.view()); }
  FailureType type() { return dialogue_->failure().type; }
  std::string reason() { return dialogue_->failure().reason; }
  std::string state() { return dialogue_->state(); }

  static constexpr std::string_view kBanner =
      "* OK [CAPABILITY IMAP4rev1 SASL-IR ID LITERAL+ STARTTLS] hi";
  static constexpr std::string_view kNoId =
      "* OK [CAPABILITY IMAP4rev1 SASL-IR LITERAL+ STARTTLS] hi";
  static constexpr std::string_view kId =
      "I ID (\"x-session-id\" \"sess\" \"x-originating-ip\" \"192.0.2.1\" \"x-originating-port\" "
      "\"1234\" "
      "\"x-connected-ip\" \"2001:db8::1\" \"x-connected-port\" \"143\" \"x-proxy-ttl\" \"4\" "
      "\"x-client-transport\" \"insecure\")\r\n";

  login::BackendTarget target_;
  std::unique_ptr<login::BackendDialogue> dialogue_;
  WipingBuffer to_backend_;
  WipingBuffer to_client_;
  Then then_ = Then::read_line;
};

TEST_F(ImapBackend, PipelinesEverythingThatNeedsNoAnswer) {
  EXPECT_EQ(state(), "/none");
  EXPECT_EQ(on(kBanner), std::string(kId) + "L LOGIN \"joe\" \"pass\"\r\n");
  EXPECT_EQ(state(), "id+login/banner");
  on("* ID (\"name\" \"x\")");
  on("I OK done");
  EXPECT_EQ(state(), "login/id");
  EXPECT_EQ(on("L OK [CAPABILITY A B] in"), "");
  EXPECT_EQ(then_, Then::logged_in);
  EXPECT_EQ(to_client(), "a OK [CAPABILITY A B] in\r\n");
  EXPECT_EQ(on("* more"), "");
  EXPECT_EQ(then_, Then::logged_in);
}

TEST_F(ImapBackend, WithoutPipeliningWaitsForEachAnswer) {
  target_.nopipelining = true;
  target_.client_used_capability = true;
  restart();
  EXPECT_EQ(on(kBanner), kId);
  EXPECT_EQ(state(), "id/banner");
  EXPECT_EQ(on("* ID NIL"), "");
  EXPECT_EQ(on("i bad whatever"), "C CAPABILITY\r\n");
  EXPECT_EQ(state(), "capability/id");
  EXPECT_EQ(on("C NO no"), "L LOGIN \"joe\" \"pass\"\r\n");
  EXPECT_EQ(state(), "login/capability");
}

TEST_F(ImapBackend, WithoutPipeliningStartsTlsStepByStep) {
  target_.nopipelining = true;
  target_.tls = BackendTls::starttls;
  restart();
  EXPECT_EQ(on(kBanner), "S STARTTLS\r\n");
  EXPECT_EQ(on("S OK go"), "");
  EXPECT_EQ(then_, Then::start_tls);
  EXPECT_EQ(dialogue_->on_tls_started(to_backend_), Then::read_line);
  EXPECT_EQ(sent(), kId);
  EXPECT_EQ(on("I OK"), "C CAPABILITY\r\n");
  on("* CAPABILITY IMAP4rev1");
  EXPECT_EQ(on("C OK"), "L LOGIN \"joe\" \"pass\"\r\n");
}

TEST_F(ImapBackend, TellsNothingOfTheClientBeforeStartTls) {
  target_.tls = BackendTls::starttls;
  restart();
  EXPECT_EQ(on(kBanner), "S STARTTLS\r\n");
  EXPECT_EQ(state(), "starttls/banner");
  EXPECT_EQ(on("* OK [ALERT] click here"), "");
  EXPECT_EQ(to_client(), "");
  on("S OK go");
  EXPECT_EQ(state(), "login/starttls");
  dialogue_->on_tls_started(to_backend_);
  EXPECT_EQ(sent(), std::string(kId) + "C CAPABILITY\r\nL LOGIN \"joe\" \"pass\"\r\n");
  EXPECT_EQ(state(), "id+capability+login/starttls");
}

TEST_F(ImapBackend, ForgetsTheCapabilitiesFromBeforeTls) {
  target_.tls = BackendTls::starttls;
  target_.mech = "PLAIN";
  restart();
  on(kNoId);
  on("S OK go");
  EXPECT_EQ(state(), "authenticate/starttls");
  dialogue_->on_tls_started(to_backend_);
  // Whether SASL-IR is there has to be asked anew.
  EXPECT_EQ(sent(), "C CAPABILITY\r\n");
  on("* CAPABILITY IMAP4rev1");
  EXPECT_EQ(on("C OK"), "L AUTHENTICATE PLAIN\r\n");
}

TEST_F(ImapBackend, RefusesToGoOnWithoutTheTlsItWasToldToUse) {
  target_.tls = BackendTls::starttls;
  restart();
  EXPECT_EQ(on("* OK [CAPABILITY IMAP4rev1 ID] hi"), "");
  EXPECT_EQ(then_, Then::failed);
  EXPECT_EQ(type(), FailureType::remote_config);
  EXPECT_EQ(reason(), "STARTTLS not supported");
  restart();
  EXPECT_EQ(on("* OK hi"), "S STARTTLS\r\n");
  EXPECT_EQ(on("S NO not\x01now"), "");
  EXPECT_EQ(type(), FailureType::remote);
  EXPECT_EQ(reason(), "STARTTLS failed: not?now");
}

TEST_F(ImapBackend, ObeysLogindisabledWhereverItIsSaid) {
  EXPECT_EQ(on("* OK [CAPABILITY IMAP4rev1 ID LOGINDISABLED] x"), "");
  EXPECT_EQ(type(), FailureType::remote_config);
  EXPECT_EQ(reason(), "LOGINDISABLED advertised, but SSL/TLS not enabled");
  restart();
  EXPECT_EQ(on("* OK x"), "C CAPABILITY\r\n");
  EXPECT_EQ(state(), "capability/banner");
  on("* capability IMAP4rev1 logindisabled");
  EXPECT_EQ(on("C OK"), "");
  EXPECT_EQ(then_, Then::failed);
  target_.tls = BackendTls::implicit;
  restart();
  EXPECT_EQ(on("* OK [CAPABILITY LOGINDISABLED] x"), "L LOGIN \"joe\" \"pass\"\r\n");
}

TEST_F(ImapBackend, TakesOnlyAnOkAsABanner) {
  for (const char* line :
       {"", "* BYE too many", "* PREAUTH hi", "220 smtp", "*OK", "OK", "* OKAY", "+ ", "L OK in"}) {
    SCOPED_TRACE(line);
    restart();
    EXPECT_EQ(on(line), "");
    EXPECT_EQ(then_, Then::failed);
    EXPECT_EQ(type(), FailureType::protocol);
    EXPECT_EQ(reason(), "Invalid banner: " + std::string(line));
    EXPECT_EQ(state(), "/none");
  }
  restart();
  on("* ok [capability IMAP4rev1 sasl-ir] hi");
  EXPECT_EQ(then_, Then::read_line);
}

TEST_F(ImapBackend, NeverLogsInOnAnAnswerToNoQuestion) {
  target_.nopipelining = true;
  restart();
  on(kBanner);
  EXPECT_EQ(on("L OK in"), "");
  EXPECT_EQ(then_, Then::failed);
  EXPECT_EQ(type(), FailureType::protocol);
  EXPECT_EQ(to_client(), "");
  target_.tls = BackendTls::starttls;
  restart();
  on(kBanner);
  on("L OK in");
  EXPECT_EQ(then_, Then::failed);
  target_.tls = BackendTls::none;
  restart();
  on(kBanner);
  on("S OK go");
  EXPECT_EQ(then_, Then::read_line);
  EXPECT_EQ(dialogue_->take_remark(), "Unexpected input, ignoring: S OK go");
  EXPECT_EQ(dialogue_->take_remark(), "");
}

TEST_F(ImapBackend, SendsWhatNoQuotesCarryAsALiteral) {
  target_.password = Secret("p\xc3\xa4\r\n");
  restart();
  EXPECT_EQ(on(kNoId), "L LOGIN \"joe\" {5+}\r\np\xc3\xa4\r\n\r\n");
  restart();
  EXPECT_EQ(on("* OK [CAPABILITY LITERAL-] x"), "L LOGIN \"joe\" {5+}\r\np\xc3\xa4\r\n\r\n");
  restart();
  EXPECT_EQ(on("* OK [CAPABILITY IMAP4rev1] x"), "L LOGIN \"joe\" {5}\r\n");
  EXPECT_EQ(on("* OK still here"), "");
  EXPECT_EQ(on("+ go"), "p\xc3\xa4\r\n\r\n");
  EXPECT_EQ(on("+ go"), "");
  on("L OK in");
  EXPECT_EQ(then_, Then::logged_in);
}

TEST_F(ImapBackend, WaitsForEachSynchronisingLiteral) {
  target_.user = "j\xc3\xb6";
  target_.password = Secret("p\xc3\xa4");
  restart();
  EXPECT_EQ(on("* OK [CAPABILITY IMAP4rev1] x"), "L LOGIN {3}\r\n");
  EXPECT_EQ(on("+ OK"), "j\xc3\xb6 {3}\r\n");
  EXPECT_EQ(on("+ OK"), "p\xc3\xa4\r\n");
  restart();
  on("* OK [CAPABILITY IMAP4rev1] x");
  EXPECT_EQ(on("L BAD no literals"), "");
  EXPECT_EQ(type(), FailureType::auth_replied);
}

TEST_F(ImapBackend, DoesNotSendANulAnywhere) {
  target_.password = Secret(std::string_view("a\0b", 3));
  restart();
  EXPECT_EQ(on(kNoId), "");
  EXPECT_EQ(type(), FailureType::internal);
  target_.mech = "PLAIN";
  restart();
  EXPECT_EQ(on(kNoId), "");
  EXPECT_EQ(then_, Then::failed);
}

TEST_F(ImapBackend, AuthenticatesAsTheMasterUser) {
  target_.master = "admin";
  restart();
  EXPECT_EQ(on(kNoId),
            "L AUTHENTICATE PLAIN " + base64_encode(std::string("joe\0admin\0pass", 14)) + "\r\n");
  EXPECT_EQ(state(), "authenticate/banner");
}

TEST_F(ImapBackend, WaitsForTheChallengeWithoutSaslIr) {
  target_.mech = "PLAIN";
  restart();
  EXPECT_EQ(on("* OK [CAPABILITY IMAP4rev1] x"), "L AUTHENTICATE PLAIN\r\n");
  EXPECT_EQ(on("+"), base64_encode(std::string("joe\0joe\0pass", 12)) + "\r\n");
  EXPECT_EQ(state(), "auth-continue/auth-continue");
  EXPECT_EQ(on("+ "), "");
  EXPECT_EQ(type(), FailureType::protocol);
  EXPECT_EQ(reason(), "Invalid authentication data: Server didn't finish authentication");
}

TEST_F(ImapBackend, AnswersAnEmptyInitialResponseWithAnEqualsSign) {
  target_.mech = "EXTERNAL";
  target_.user = "";
  restart();
  EXPECT_EQ(on(kNoId), "L AUTHENTICATE EXTERNAL =\r\n");
}

TEST_F(ImapBackend, RefusesAMechanismItDoesNotHave) {
  target_.mech = "SCRAM-SHA-1";
  restart();
  EXPECT_EQ(on(kNoId), "");
  EXPECT_EQ(type(), FailureType::internal);
  EXPECT_EQ(reason(), "Unsupported SASL mechanism SCRAM-SHA-1");
}

TEST_F(ImapBackend, TreatsARefusedTokenAsARefusedLogin) {
  target_.mech = "OAUTHBEARER";
  restart();
  on(kNoId);
  EXPECT_EQ(on("+ " + base64_encode(R"({"status":"invalid_token"})")), "AQ==\r\n");
  EXPECT_EQ(then_, Then::read_line);
  on("L NO failed");
  EXPECT_EQ(type(), FailureType::auth_not_replied);
  EXPECT_EQ(reason(), "Failed to authenticate: invalid_token");
  EXPECT_EQ(dialogue_->failure().reply, "");
  restart();
  on(kNoId);
  on("+ " + base64_encode("{}"));
  on("L OK after all");
  EXPECT_EQ(type(), FailureType::protocol);
}

TEST_F(ImapBackend, RepliesToARefusalAsDovecotDoes) {
  const auto refused = [this](const char* line) {
    restart();
    on(kNoId);
    on(line);
    EXPECT_EQ(then_, Then::failed);
    return dialogue_->failure().reply;
  };
  const std::string own = "a NO [AUTHENTICATIONFAILED] Authentication failed.\r\n";
  EXPECT_EQ(refused("L NO [AUTHENTICATIONFAILED] at host x"), own);
  EXPECT_EQ(type(), FailureType::auth_replied);
  EXPECT_EQ(reason(), "[AUTHENTICATIONFAILED] at host x");
  EXPECT_EQ(refused("L NO user unknown"), own);
  EXPECT_EQ(refused("L BAD syntax"), own);
  EXPECT_EQ(reason(), "BAD syntax");
  EXPECT_EQ(refused("L"), own);
  EXPECT_EQ(refused("L NO [LIMIT] Too\x1b many"), "a NO [LIMIT] Too? many\r\n");
  EXPECT_EQ(type(), FailureType::auth_replied);
  EXPECT_EQ(refused("L NO [UNAVAILABLE] down"), "a NO [UNAVAILABLE] down\r\n");
  EXPECT_EQ(type(), FailureType::auth_tempfail);
}

TEST_F(ImapBackend, SpeaksForItselfOnlyBehindCodesThatAreKnown_T_BCK_08) {
  const auto refused = [this](const char* line) {
    restart();
    on(kNoId);
    on("* OK [ALERT] call us");
    on(line);
    return to_client() + dialogue_->failure().reply;
  };
  const std::string own = "a NO [AUTHENTICATIONFAILED] Authentication failed.\r\n";
  const std::string alert = "* OK [ALERT] call us\r\n";
  EXPECT_EQ(refused("L NO [X-NEWS] visit http://example.org"), alert + own);
  EXPECT_EQ(refused("L NO [] visit"), alert + own);
  EXPECT_EQ(refused("L NO [EXPIRED] change it"), alert + "a NO [EXPIRED] change it\r\n");
  EXPECT_EQ(refused("L NO [alert] visit"), alert + "a NO [alert] visit\r\n");
  target_.alerts = false;
  EXPECT_EQ(refused("L NO [alert] visit"), own);
  EXPECT_EQ(refused("L NO [EXPIRED] change it"), "a NO [EXPIRED] change it\r\n");
}

TEST_F(ImapBackend, GivesTheClientTheCapabilitiesInTheFormItReads) {
  const auto success = [this](bool used, const std::vector<const char*>& lines) {
    target_.client_used_capability = used;
    restart();
    on(kNoId);
    for (const char* line : lines) on(line);
    EXPECT_EQ(then_, Then::logged_in);
    return to_client();
  };
  EXPECT_EQ(success(false, {"L OK [CAPABILITY A B] in"}), "a OK [CAPABILITY A B] in\r\n");
  EXPECT_EQ(success(false, {"* CAPABILITY A B", "L OK in"}), "a OK [CAPABILITY A B] in\r\n");
  EXPECT_EQ(success(false, {"L OK in"}), "a OK in\r\n");
  EXPECT_EQ(success(false, {"* CAPABILITY A B", "L OK [ALERT] hi"}),
            "* CAPABILITY A B\r\na OK [ALERT] hi\r\n");
  EXPECT_EQ(success(true, {"C OK", "L OK [CAPABILITY A B] in"}),
            "* CAPABILITY A B\r\na OK [CAPABILITY A B] in\r\n");
  EXPECT_EQ(success(true, {"* CAPABILITY PRE", "C OK", "* CAPABILITY A B", "L OK in"}),
            "* CAPABILITY A B\r\na OK in\r\n");
  // Only the list from before the login is known, and that is not what the client wants to know.
  EXPECT_EQ(success(true, {"* CAPABILITY PRE", "C OK", "L OK in"}), "a OK in\r\n");
  EXPECT_EQ(success(false, {"L OK"}), "a OK \r\n");
}

TEST_F(ImapBackend, PassesOnAlertsAndNothingElse) {
  on(kNoId);
  on("* OK [ALERT] disk\x07 full");
  on("* 3 EXISTS");
  on("* OK fine");
  on("* NO sorry");
  EXPECT_EQ(to_client(), "* OK [ALERT] disk? full\r\n* NO sorry\r\n");
  for (int i = 0; i < 50; ++i) on("* BAD x");
  EXPECT_LE(to_client().size(), 400U);
}

TEST_F(ImapBackend, EndsAtOnceOnABye) {
  on(kNoId);
  on("* bye going down");
  EXPECT_EQ(type(), FailureType::connect);
  EXPECT_EQ(reason(), "BYE: going down");
}

TEST_F(ImapBackend, ForwardsInOrderAndWithinTheLimits) {
  target_.client_id = {{"name", "cl\"ient"}, {"version", std::nullopt}};
  target_.client_tls = true;
  target_.local_name = "mail.example.org";
  target_.forward = {{"color", "bl\"ue"},
                     {"note", "p\xc3\xa4"},
                     {"this-name-is-too-long", "x"},
                     {"big", std::string(1025, 'x')},
                     {"nul", std::string("\0", 1)}};
  restart();
  const std::string id = on(kBanner);
  EXPECT_EQ(id.substr(0, id.find("L LOGIN")),
            "I ID (\"name\" \"cl\\\"ient\" \"version\" NIL \"x-session-id\" \"sess\" "
            "\"x-originating-ip\" "
            "\"192.0.2.1\" \"x-originating-port\" \"1234\" \"x-connected-ip\" \"2001:db8::1\" "
            "\"x-connected-port\" \"143\" \"x-proxy-ttl\" \"4\" \"x-client-transport\" \"TLS\" "
            "\"x-connected-name\" \"mail.example.org\" \"x-forward-color\" \"bl\\\"ue\" "
            "\"x-forward-note\" "
            "{3+}\r\np\xc3\xa4)\r\n");
  EXPECT_EQ(dialogue_->take_remark(),
            "ID fields too long to be forwarded: x-forward-this-name-is-too-long, x-forward-big, "
            "x-forward-nul");
  target_.forward_2_3_only = true;
  restart();
  EXPECT_EQ(on("* OK [CAPABILITY ID] x").find("x-client-transport"), std::string::npos);
  target_.not_trusted = true;
  restart();
  EXPECT_EQ(on(kBanner), "L LOGIN \"joe\" \"pass\"\r\n");
}

TEST_F(ImapBackend, ForwardsThirtyPairsAtMost) {
  for (int i = 0; i < 60; ++i)
    target_.forward.emplace_back("f" + std::to_string(i), std::string(1000, 'v'));
  target_.session = "bad id";
  restart();
  const std::string id = on(kBanner);
  EXPECT_LE(id.size(), 8192U);
  EXPECT_EQ(id.find("x-session-id"), std::string::npos);
}

}  // namespace
}  // namespace postern::imap_login
