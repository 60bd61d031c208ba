#include "login-common/log-line.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <set>

#include "login-common/session-id.h"

namespace postern::login {
namespace {

LogFacts recorded() {
  LogFacts facts;
  facts.user = "alice";
  facts.service = "imap";
  facts.remote = {*IpAddress::parse("127.0.0.2"), 4711};
  facts.local = {*IpAddress::parse("127.0.0.1"), 143};
  facts.mech = "PLAIN";
  facts.session = "d3HWAcRg95N/AAAC";
  return facts;
}

TEST(LogElements, AreDovecotsForARecordedLogin) {
  const config::LoginSettings settings;
  LogFacts facts = recorded();
  facts.secured = "TLS: Connection closed";
  EXPECT_EQ(log_elements(settings).render(facts),
            "user=<alice>, method=PLAIN, rip=127.0.0.2, lip=127.0.0.1, TLS: Connection closed, "
            "session=<d3HWAcRg95N/AAAC>");
}

TEST(LogElements, LeaveOutWhatIsEmptyButTheUser) {
  const config::LoginSettings settings;
  LogFacts facts = recorded();
  facts.user = facts.mech = {};
  EXPECT_EQ(log_elements(settings).render(facts),
            "user=<>, rip=127.0.0.2, lip=127.0.0.1, session=<d3HWAcRg95N/AAAC>");
}

/// Recorded: imap-line-1000.
TEST(LogElements, CutLongNamesAtDovecotsLength) {
  const config::LoginSettings settings;
  LogFacts facts = recorded();
  const std::string name(81, 'x');
  facts.user = name;
  EXPECT_TRUE(
      log_elements(settings).render(facts).starts_with("user=<" + std::string(77, 'x') + "...>, "));
  facts.user = std::string_view(name).substr(1);
  EXPECT_TRUE(
      log_elements(settings).render(facts).starts_with("user=<" + std::string(80, 'x') + ">, "));
}

TEST(LogElements, CannotBeForgedByAUserName) {
  const config::LoginSettings settings;
  LogFacts facts = recorded();
  facts.user = "a>, rip=1.2.3.4\n";
  EXPECT_TRUE(log_elements(settings).render(facts).starts_with("user=<a?, rip=1.2.3.4?>, "));
}

TEST(EndRemark, FollowsTheOrderOfTheRecordings) {
  EndFacts facts;
  facts.connected_seconds = 180;
  EXPECT_EQ(end_remark(facts), "(disconnected before auth was ready, waited 180 secs)");
  facts.greeted = true;
  EXPECT_EQ(end_remark(facts), "(no auth attempts in 180 secs)");
  facts.attempts = 1;
  facts.attempts_seconds = 2;
  EXPECT_EQ(end_remark(facts), "(auth failed, 1 attempts in 2 secs)");
  facts.pending = EndFacts::Pending::client_response;
  EXPECT_EQ(end_remark(facts), "(client didn't finish SASL auth, waited 0 secs)");
  facts.attempts = 2;
  EXPECT_EQ(end_remark(facts), "(auth failed, 2 attempts in 2 secs)");
  facts.has_outcome = true;
  facts.outcome = Outcome::mech_plaintext_refused;
  EXPECT_EQ(end_remark(facts), "(tried to use disallowed plaintext auth)");
  facts.successes = 1;
  EXPECT_EQ(end_remark(facts), "(internal failure, 1 successful auths)");
  facts.backend_refused = true;
  EXPECT_EQ(end_remark(facts), "(proxy dest auth failed)");
  facts.auth_lost = true;
  EXPECT_EQ(end_remark(facts), "(auth process communication failure)");
}

/// One case of Dovecot 2.4's remarks: a success of one attempt if `successes` is set.
std::string remark_24(void (*set)(EndFacts&), unsigned successes = 0) {
  EndFacts facts;
  facts.greeted = true;
  facts.attempts = 1;
  facts.attempts_seconds = 2;
  facts.connected_seconds = 7;
  facts.successes = successes;
  set(facts);
  return end_remark_24(facts);
}
std::string outcome_24(Outcome outcome, unsigned successes = 0) {
  EndFacts facts;
  facts.greeted = facts.has_outcome = true;
  facts.attempts = 3;
  facts.outcome = outcome;
  facts.successes = successes;
  return end_remark_24(facts);
}

TEST(EndRemark24, HasACodeForEveryReason) {
  EXPECT_EQ(remark_24([](EndFacts& f) { f.handshaking = true; }),
            "(disconnected during TLS handshake) (tls_handshake_not_finished)");
  EXPECT_EQ(remark_24([](EndFacts& f) { f.greeted = false; }),
            "(disconnected before auth was ready, waited 7 secs) (auth_process_not_ready)");
  EXPECT_TRUE(remark_24([](EndFacts& f) {
                f.ending = EndFacts::Ending::full;
              }).ends_with(" (process_full)"));
  EXPECT_TRUE(remark_24([](EndFacts& f) {
                f.ending = EndFacts::Ending::shutdown;
              }).ends_with(" (shutting_down)"));
  EXPECT_TRUE(remark_24([](EndFacts& f) {
                f.certificate = EndFacts::Certificate::invalid;
              }).ends_with(" (client_ssl_cert_untrusted)"));
  EXPECT_TRUE(remark_24([](EndFacts& f) {
                f.certificate = EndFacts::Certificate::missing;
              }).ends_with(" (client_ssl_cert_missing)"));
  EXPECT_TRUE(remark_24([](EndFacts& f) {
                f.certificate = EndFacts::Certificate::no_tls;
              }).ends_with(" (client_ssl_not_started)"));
  EXPECT_EQ(remark_24([](EndFacts& f) { f.attempts = 0; }),
            "(no auth attempts in 7 secs) (no_auth_attempts)");
  EXPECT_EQ(remark_24([](EndFacts& f) { f.auth_lost = true; }),
            "(auth process communication failure, 1 attempts in 2 secs) (auth_process_comm_fail)");
  EXPECT_EQ(remark_24([](EndFacts& f) { f.aborted = true; }),
            "(auth aborted by client, 1 attempts in 2 secs) (auth_aborted_by_client)");
  EXPECT_EQ(remark_24([](EndFacts& f) { f.pending = EndFacts::Pending::client_response; }),
            "(client didn't finish SASL auth, 1 attempts in 2 secs) (auth_waiting_client)");
  EXPECT_EQ(remark_24([](EndFacts& f) { f.backend_refused = true; }, 1),
            "(proxy dest authentication failure, 1/1 successful auths in 2 secs) "
            "(proxy_dest_auth_failed)");
  EXPECT_EQ(remark_24([](EndFacts&) {}), "(auth failed, 1 attempts in 2 secs) (auth_failed)");
}

TEST(EndRemark24, HasACodeForEveryOutcome) {
  using Pair = std::pair<Outcome, std::string_view>;
  for (const auto& [outcome, code] : {Pair{Outcome::wrong_credentials, "auth_failed"},
                                      {Outcome::plaintext_refused, "auth_failed"},
                                      {Outcome::tls_required, "auth_failed"},
                                      {Outcome::authz_failed, "authorization_failed"},
                                      {Outcome::temp_fail, "temp_fail"},
                                      {Outcome::user_disabled, "user_disabled"},
                                      {Outcome::pass_expired, "password_expired"},
                                      {Outcome::invalid_base64, "invalid_base64"},
                                      {Outcome::mech_invalid, "invalid_mech"},
                                      {Outcome::mech_plaintext_refused, "cleartext_auth_disabled"},
                                      {Outcome::anonymous_denied, "anonymous_auth_disabled"}}) {
    EXPECT_TRUE(outcome_24(outcome).ends_with(fmt::format(", 3 attempts in 0 secs) ({})", code)))
        << outcome_24(outcome);
  }
  for (const auto& [outcome, code] : {Pair{Outcome::login_disabled, "login_disabled"},
                                      {Outcome::referral, "auth_nologin_referral"},
                                      {Outcome::userip_limit, "connection_limit"},
                                      {Outcome::proxy_unavailable, "internal_failure"},
                                      {Outcome::proxy_misconfigured, "internal_failure"},
                                      {Outcome::handoff_failed, "internal_failure"}}) {
    EXPECT_TRUE(outcome_24(outcome, 1)
                    .ends_with(fmt::format(", 1/3 successful auths in 0 secs) ({})", code)))
        << outcome_24(outcome, 1);
  }
}

TEST(SessionIds, AreDovecotsOfTheSameClockAndAddress) {
  SessionIds ids;
  // A recorded one: jO5J2MNg++l/AAAC.
  EXPECT_EQ(ids.make({*IpAddress::parse("127.0.0.2"), 0xe9fb}, 0x60c3d849ee8c), "jO5J2MNg++l/AAAC");
  EXPECT_EQ(ids.make({*IpAddress::parse("2001:db8::1"), 1}, 1).size(), 32U);
}

TEST(SessionIds, AreUniqueThoughTheClockStands) {
  SessionIds ids;
  const Endpoint client{*IpAddress::parse("192.0.2.1"), 1};
  std::set<std::string> seen;
  for (int i = 0; i < 1000; ++i) EXPECT_TRUE(seen.insert(ids.make(client, 5'000'000)).second);
}

}  // namespace
}  // namespace postern::login
