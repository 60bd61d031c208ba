// What the recordings do not show of the dialogue with a ManageSieve backend.
#include "managesieve-login/backend-dialogue.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "lib/text.h"
#include "managesieve-login/sieve-dialogues.h"

namespace postern::managesieve_login {
namespace {

using login::BackendTls;
using login::FailureType;
using login::Then;

constexpr std::string_view kPlain = "AUTHENTICATE \"PLAIN\" \"am9lAGpvZQBzZWNyZXQ=\"\r\n";

class SieveBackend : public testing::Test {
 protected:
  SieveBackend() {
    target_.user = "joe";
    target_.password = Secret("secret");
    target_.ttl = 4;
    target_.forward_2_3_only = true;
    start();
  }

  void start() {
    dialogue_ = make_sieve_backend_dialogue(target_);
    to_backend_.clear();
    to_client_.clear();
  }

  Then line(std::string_view text) { return dialogue_->on_line(text, to_backend_, to_client_); }

  /// A greeting that offers nothing but logins.
  Then greet() {
    line("\"IMPLEMENTATION\" \"x\"\r");
    line("\"SASL\" \"PLAIN\"");
    return line("OK \"ready\"");
  }

  std::string sent() { return std::string(std::exchange(to_backend_, WipingBuffer()).view()); }
  std::string relayed() { return std::string(std::exchange(to_client_, WipingBuffer()).view()); }
  const login::Failure& failure() const { return dialogue_->failure(); }

  login::BackendTarget target_;
  std::unique_ptr<login::BackendDialogue> dialogue_;
  WipingBuffer to_backend_;
  WipingBuffer to_client_;
};

TEST_F(SieveBackend, IsToldNothingBeforeItsGreetingEnds) {
  EXPECT_EQ(dialogue_->state(), "none");
  EXPECT_EQ(line("\"SASL\" {5}"), Then::read_line);
  EXPECT_EQ(line("PLAIN"), Then::read_line);
  EXPECT_EQ(sent(), "");
  EXPECT_EQ(line("OK"), Then::read_line);
  EXPECT_EQ(sent(), kPlain);
  EXPECT_EQ(dialogue_->state(), "auth");
  EXPECT_EQ(line("OK \"in\""), Then::logged_in);
  EXPECT_EQ(relayed(), "OK \"in\"\r\n");
}

TEST_F(SieveBackend, ThatIsNotTrustedIsToldNothingOfTheClient) {
  target_.not_trusted = true;
  start();
  line("\"XCLIENT\"");
  greet();
  EXPECT_EQ(sent(), kPlain);
}

TEST_F(SieveBackend, IsToldOfTheClientWhateverItSaysOfXclient) {
  target_.client = {*IpAddress::parse("2001:db8::1"), 4096};
  target_.session = "abc";
  for (const char* offer : {"\"XCLIENT\"", "\"xclient\" \"ADDR PORT\"", "\"XCLIENT\" \"\""}) {
    start();
    line(offer);
    greet();
    EXPECT_EQ(sent(), "XCLIENT ADDR=2001:db8::1 PORT=4096 SESSION=abc TTL=4\r\n");
    EXPECT_EQ(dialogue_->state(), "xclient");
    EXPECT_EQ(line("OK {2}"), Then::read_line);
    EXPECT_EQ(sent(), "");
    EXPECT_EQ(line("ok"), Then::read_line);
    EXPECT_EQ(sent(), kPlain);
  }
}

TEST_F(SieveBackend, ForgetsWhatItOfferedBeforeTls) {
  target_.tls = BackendTls::starttls;
  start();
  line("\"STARTTLS\"");
  line("\"XCLIENT\"");
  greet();
  EXPECT_EQ(sent(), "STARTTLS\r\n");
  EXPECT_EQ(dialogue_->state(), "tls-start");
  EXPECT_EQ(line("OK"), Then::start_tls);
  EXPECT_EQ(dialogue_->state(), "tls-ready") << "the handshake has this name, too";
  EXPECT_EQ(dialogue_->on_tls_started(to_backend_), Then::read_line);
  EXPECT_EQ(sent(), "") << "it speaks first";
  greet();
  EXPECT_EQ(sent(), kPlain) << "XCLIENT is not offered any more";
  start();
  line("\"STARTTLS\"");
  greet();
  line("OK");
  dialogue_->on_tls_started(to_backend_);
  EXPECT_EQ(line("OK"), Then::failed);
  EXPECT_EQ(failure().reason, "Server has disabled authentication (TLS required?)");
}

TEST_F(SieveBackend, ThatRefusesTlsGetsNoPassword) {
  target_.tls = BackendTls::starttls;
  start();
  line("\"STARTTLS\"");
  greet();
  sent();
  EXPECT_EQ(line("NO \"not now\""), Then::failed);
  EXPECT_EQ(failure().type, FailureType::remote);
  EXPECT_EQ(failure().reason, "Remote refused STARTTLS command");
  EXPECT_EQ(sent(), "");
}

TEST_F(SieveBackend, ThatSpeaksSomethingElseIsNotAnswered) {
  for (const char* text : {"* OK IMAP ready", "+OK POP3", "220 SMTP", "", "BYE \"busy\"", "NO"}) {
    SCOPED_TRACE(text);
    start();
    EXPECT_EQ(line(text), Then::failed);
    EXPECT_EQ(failure().type, FailureType::protocol);
    EXPECT_EQ(sent(), "");
    EXPECT_EQ(line("OK"), Then::failed) << "for good";
  }
  start();
  line("220 SMTP");
  EXPECT_EQ(failure().reason, "Invalid capability response: 220 SMTP");
}

TEST_F(SieveBackend, ThatAnswersOutOfPlaceIsLeft) {
  start();
  line("\"XCLIENT\"");
  greet();
  EXPECT_EQ(line("\"SASL\" \"PLAIN\""), Then::failed);
  EXPECT_EQ(failure().reason, "Invalid reply: \"SASL\" \"PLAIN\"");
  target_.tls = BackendTls::starttls;
  start();
  line("\"STARTTLS\"");
  greet();
  EXPECT_EQ(line("\"x\""), Then::failed);
  EXPECT_EQ(failure().type, FailureType::protocol);
  target_.tls = BackendTls::none;
  start();
  greet();
  EXPECT_EQ(line("nonsense"), Then::failed);
  EXPECT_EQ(failure().type, FailureType::protocol) << "that is not a wrong password";
}

TEST_F(SieveBackend, MayChallengeWithALiteral) {
  target_.mech = "LOGIN";
  start();
  greet();
  EXPECT_EQ(sent(), "AUTHENTICATE \"LOGIN\"\r\n");
  EXPECT_EQ(line("{12+}"), Then::read_line);
  EXPECT_EQ(line("VXNlcm5hbWU6"), Then::read_line);
  EXPECT_EQ(sent(), "\"am9l\"\r\n");
  EXPECT_EQ(line("\"UGFzc3dvcmQ6\""), Then::read_line);
  EXPECT_EQ(sent(), "\"c2VjcmV0\"\r\n");
  EXPECT_EQ(line("OK {9}"), Then::read_line);
  EXPECT_EQ(line("Logged in"), Then::logged_in);
  EXPECT_EQ(relayed(), "OK \"Logged in\"\r\n");
}

TEST_F(SieveBackend, ThatGoesOnAskingIsLeft) {
  greet();
  EXPECT_EQ(line("\"eA==\""), Then::failed);
  EXPECT_EQ(failure().type, FailureType::protocol);
  EXPECT_EQ(failure().reason, "Invalid authentication data: Server didn't finish authentication");
  start();
  greet();
  EXPECT_EQ(line("\"!\""), Then::failed);
  EXPECT_EQ(failure().reason, "Invalid base64 data in AUTHENTICATE response");
}

TEST_F(SieveBackend, SaysInItsOkWhatTheClientCanUse) {
  greet();
  EXPECT_EQ(line("OK (SASL \"cnNwYXV0aA==\") \"Hi\""), Then::logged_in);
  EXPECT_EQ(relayed(), "OK \"Hi\"\r\n") << "the client's mechanism was another";
  start();
  greet();
  EXPECT_EQ(line("\"IMPLEMENTATION\" \"x\""), Then::read_line);
  EXPECT_EQ(line("\"UNAUTHENTICATE\""), Then::read_line);
  EXPECT_EQ(line("\"OWNER\" {3}"), Then::read_line);
  EXPECT_EQ(line("joe"), Then::read_line);
  EXPECT_EQ(line("OK (WARNINGS) \"x\""), Then::logged_in);
  EXPECT_EQ(relayed(),
            "\"IMPLEMENTATION\" \"x\"\r\n\"UNAUTHENTICATE\"\r\n\"OWNER\" \"joe\"\r\n"
            "OK (WARNINGS) \"x\"\r\n");
  start();
  greet();
  EXPECT_EQ(line("OK \"open"), Then::logged_in);
  EXPECT_EQ(relayed(), "OK\r\n") << "nothing that the client could not read";
}

TEST_F(SieveBackend, MaySayItsOkInAnyCase) {
  greet();
  EXPECT_EQ(line("oK (SASL2) \"in\""), Then::logged_in);
  EXPECT_EQ(relayed(), "OK (SASL2) \"in\"\r\n");
}

TEST_F(SieveBackend, IsNotQuotedToTheClientWhenItRefuses) {
  greet();
  EXPECT_EQ(line("\"IMPLEMENTATION\" \"x\""), Then::read_line);
  EXPECT_EQ(line("NO {3}"), Then::read_line);
  EXPECT_EQ(line("joe"), Then::failed);
  EXPECT_EQ(failure().type, FailureType::auth_replied);
  EXPECT_EQ(failure().reason, "joe");
  EXPECT_EQ(failure().reply, "NO \"Authentication failed.\"\r\n");
  EXPECT_EQ(relayed(), "");
}

TEST_F(SieveBackend, ThatIsBusyIsTriedLater) {
  for (const char* text : {"NO (TRYLATER) \"say \\\"x\\\"\"", "BYE (trylater/x \"y\") \"z\"",
                           "BYE (TRYLATER) \"say \\\"x\\\"\""}) {
    SCOPED_TRACE(text);
    start();
    greet();
    EXPECT_EQ(line(text), Then::failed);
    if (std::string_view(text).find("/x") != std::string_view::npos) {
      EXPECT_EQ(failure().type, FailureType::auth_replied);
      continue;
    }
    EXPECT_EQ(failure().type, FailureType::auth_tempfail);
    EXPECT_EQ(failure().reply, "NO (TRYLATER) \"say \\\"x\\\"\"\r\n");
  }
}

TEST_F(SieveBackend, SaysWhyATokenIsRefused) {
  target_.mech = "XOAUTH2";
  start();
  greet();
  sent();
  EXPECT_EQ(line("\"" + base64_encode("{\"status\":\"401\"}") + "\""), Then::read_line);
  EXPECT_EQ(sent(), "\"\"\r\n");
  EXPECT_EQ(line("NO \"no\""), Then::failed);
  EXPECT_EQ(failure().type, FailureType::auth_not_replied);
  start();
  greet();
  line("\"" + base64_encode("{\"status\":\"401\"}") + "\"");
  EXPECT_EQ(line("OK"), Then::failed) << "accepted and refused";
}

TEST_F(SieveBackend, IsLeftIfItAnnouncesTooMuch) {
  EXPECT_EQ(line("{9000}"), Then::failed) << "a literal is refused before it comes";
}

TEST_F(SieveBackend, WithoutRoomForTheFieldsIsToldWithoutThem) {
  target_.forward.emplace_back("a", std::string(2000, 'x'));
  start();
  line("\"XCLIENT\"");
  greet();
  EXPECT_EQ(sent(), "XCLIENT TTL=4\r\n");
  EXPECT_EQ(dialogue_->take_remark(), "Fields too long to be forwarded");
}

TEST_F(SieveBackend, IsNotAskedForAMechanismThatIsNotThere) {
  target_.mech = "NOSUCH";
  start();
  EXPECT_EQ(greet(), Then::failed);
  EXPECT_EQ(failure().type, FailureType::internal);
}

}  // namespace
}  // namespace postern::managesieve_login
