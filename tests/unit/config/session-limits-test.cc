#include "config/session-limits.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "config-testing.h"

namespace postern::config {
namespace {

using Texts = std::vector<std::string>;

struct Limits {
  unsigned processes, clients;
  bool operator==(const Limits&) const = default;
};
void PrintTo(const Limits& l, std::ostream* out) {
  *out << l.processes << " processes of " << l.clients << " clients";
}

ServiceSettings service(unsigned sessions, unsigned service_count) {
  ServiceSettings out;
  out.type = ServiceType::login;
  out.max_sessions = sessions;
  out.service_count = service_count;
  out.vsz_limit = 256UL << 20U;
  return out;
}

Limits limits(ServiceSettings s, HostFacts host = {4, 65536}) {
  apply_max_sessions(s, host, true);
  return {s.process_limit, s.client_limit};
}

TEST(MaxSessions, AreAProcessEachOrSharedByAsManyAsThereAreProcessors) {
  EXPECT_EQ(limits(service(20000, 1)), (Limits{20000, 1}));
  EXPECT_EQ(limits(service(20000, 0)), (Limits{4, 5000}));
  EXPECT_EQ(limits(service(20001, 0)), (Limits{4, 5001}));
  EXPECT_EQ(limits(service(2, 0)), (Limits{2, 1}));
}

TEST(MaxSessions, NeedTwoDescriptorsEach) {
  EXPECT_EQ(limits(service(20000, 0), {2, 4096}), (Limits{10, 2000}));
  EXPECT_EQ(limits(service(200000, 0), {2, 65536}), (Limits{7, 28572}));
  EXPECT_EQ(limits(service(10, 0), {1, 10}), (Limits{10, 1})) << "hardly any descriptors";
}

TEST(MaxSessions, LeaveWhatIsSetByHand) {
  ServiceSettings s = service(1000, 0);
  s.process_limit = 3;
  EXPECT_EQ(limits(s), (Limits{3, 334}));
  s = service(1000, 0);
  s.client_limit = 10;
  EXPECT_EQ(limits(s), (Limits{100, 10}));
  s.process_limit = 7;
  EXPECT_EQ(limits(s), (Limits{7, 10}));
  s = service(1000, 0);
  s.process_min_avail = 8;
  EXPECT_EQ(limits(s), (Limits{8, 125}));
  EXPECT_EQ(limits(service(1000, 50)), (Limits{20, 50})) << "a process serves so many and ends";
  EXPECT_EQ(limits(service(0, 0)), (Limits{0, 0}));
}

TEST(MaxSessions, RaiseTheMemoryOfAProcessUnlessItIsSetByHand) {
  ServiceSettings s = service(80000, 0);
  apply_max_sessions(s, {4, 65536}, false);
  EXPECT_EQ(s.vsz_limit, kProcessBytes + 20000 * kSessionBytes);
  s = service(400, 0);
  apply_max_sessions(s, {4, 65536}, false);
  EXPECT_EQ(s.vsz_limit, 256UL << 20U) << "it is enough";
  s = service(80000, 0);
  apply_max_sessions(s, {4, 65536}, true);
  EXPECT_EQ(s.vsz_limit, 256UL << 20U);
  s.vsz_limit = 0;
  apply_max_sessions(s, {4, 65536}, false);
  EXPECT_EQ(s.vsz_limit, 0U) << "no limit";
  s = service(80000, 1);
  apply_max_sessions(s, {4, 65536}, false);
  EXPECT_EQ(s.vsz_limit, 256UL << 20U);
}

TEST(MaxSessions, AreOneSettingFromWhichAllLimitsFollow) {
  const std::string least(kLeast);
  const Loaded loaded = load_text("login_max_sessions = 30000\nprotocols = imap pop3\n" + least +
                                      "[service pop3-login]\nmax_sessions = 500\n",
                                  "test.conf", false);
  ASSERT_TRUE(loaded.configuration);
  EXPECT_EQ(warnings_of(loaded), Texts{});
  const Configuration& c = *loaded.configuration;
  EXPECT_EQ(c.service("imap-login")->process_limit, 30000U);
  EXPECT_EQ(c.service("imap-login")->max_sessions, 30000U);
  EXPECT_EQ(c.service("pop3-login")->process_limit, 500U);
  EXPECT_EQ(c.service("auth")->client_limit, 30500U);
  EXPECT_EQ(c.service("anvil")->client_limit, 30503U);
  EXPECT_EQ(c.service("auth-worker")->process_limit, 30U);
}

TEST(MaxSessions, AreToldWhereTheLimitsContradictThem) {
  const Loaded loaded = load_text("login_max_sessions = 3000\n" + std::string(kLeast) +
                                      "[service imap-login]\nprocess_limit = 100\n",
                                  "test.conf", false);
  EXPECT_EQ(warnings_of(loaded),
            Texts{"6: service imap-login: process_limit and client_limit leave room for 100 "
                  "clients, and max_sessions is 3000"});
  EXPECT_EQ(errors_in("[service auth]\nmax_sessions = 5\n"),
            Texts{"3: service auth: max_sessions is for login services"});
}

}  // namespace
}  // namespace postern::config
