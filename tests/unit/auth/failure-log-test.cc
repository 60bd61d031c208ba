// auth_log_failures: who fails is told at once, whoever asked and whatever is stored.
#include "fixture.h"
#include "lib/text.h"

namespace postern::auth {
namespace {

/// What is logged of one PLAIN login with the password "wrong-1".
/// @param service  as the login process names itself
std::vector<std::string> logged(const std::string& user, const Keys& settings,
                                const std::string& service = "imap") {
  ScratchDir dir;
  TestConfig config;
  config.settings = settings;
  config.settings.emplace_back("auth_failure_delay", "0");
  config.passdbs = {
      {{"driver", "passwd-file"},
       {"passwd_file_path", dir.write("denied", "denied:\n")},
       {"deny", "yes"}},
      {{"driver", "passwd-file"},
       {"passwd_file_path", dir.write("users", "alice:{PLAIN}secret\nbroken:{NOSUCH}x\n")}}};
  Server server(config);
  const auto client = server.client(false);
  const std::string nul(1, '\0');
  client->feed("VERSION\t1\t2\nCPID\t77\nAUTH\t1\tPLAIN\tservice=" + service +
               "\trip=192.0.2.9\tsession=s1\tresp=" + base64_encode(nul + user + nul + "wrong-1") +
               "\n");
  server.env.run();
  EXPECT_TRUE(take_lines(*client).back().starts_with("FAIL\t1"));
  return server.env.lines;
}

using Lines = std::vector<std::string>;

TEST(FailureLog, TellsEachFailureAndItsKind) {
  EXPECT_EQ(logged("alice", {}),
            Lines{"Info: plain(alice,192.0.2.9,<s1>): Authentication failed (password mismatch)"});
  EXPECT_EQ(logged("nobody", {}),
            Lines{"Info: plain(nobody,192.0.2.9,<s1>): Authentication failed (unknown user)"});
  EXPECT_EQ(logged("denied", {}),
            Lines{"Info: plain(denied,192.0.2.9,<s1>): Authentication failed (user disabled)"});
  EXPECT_EQ(logged("al\nice", {}),
            Lines{"Info: plain(?,192.0.2.9,<s1>): Authentication failed (unknown user)"});
}

/// Who shows none is told of as any other who is refused: an operator bans by these lines.
TEST(FailureLog, TellsOfAMissingClientCertificate) {
  for (const std::string service : {"imap", "pop3", "submission", "sieve"}) {
    EXPECT_EQ(logged("alice", {{"auth_ssl_require_client_cert", "yes"}}, service),
              Lines{"Info: plain(?,192.0.2.9,<s1>): Authentication failed (Client didn't present "
                    "valid SSL certificate)"});
  }
  EXPECT_EQ(logged("alice", {{"auth_ssl_require_client_cert", "yes"}, {"auth_verbose", "yes"}}),
            Lines{"Info: plain(?,192.0.2.9,<s1>): Client didn't present valid SSL certificate"});
  EXPECT_EQ(logged("alice", {{"auth_ssl_require_client_cert", "yes"}, {"auth_log_failures", "no"}}),
            Lines{});
}

TEST(FailureLog, LeavesItToAuthVerboseAndTheOperator) {
  EXPECT_EQ(logged("alice", {{"auth_verbose", "yes"}}).size(), 2U);  // unknown to the first
  EXPECT_EQ(logged("alice", {{"auth_log_failures", "no"}}), Lines{});
}

}  // namespace
}  // namespace postern::auth
