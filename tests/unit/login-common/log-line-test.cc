#include "login-common/log-line.h"

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
