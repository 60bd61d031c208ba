// The rules of the walk through several passdbs, one row a case.
#include <algorithm>

#include "fixture.h"
#include "lib/text.h"

namespace postern::auth {
namespace {

struct Row {
  const char* name;
  const char* first;  // line of the first database for user "a"; "down": it cannot say
  Keys first_rules;
  const char* second;
  Keys second_rules;
  const char* password;
  const char* answer;
};

const std::vector<Row>& rows() {
  static const std::vector<Row> kRows{
      {"the first that says yes decides",
       "a:{PLAIN}x::::::forward_n=1",
       {},
       "a:{PLAIN}y::::::forward_n=2",
       {},
       "x",
       "OK\tuser=a\tforward_n=1"},
      {"a mismatch goes on",
       "a:{PLAIN}x::::::forward_n=1",
       {},
       "a:{PLAIN}y::::::forward_n=2",
       {},
       "y",
       "OK\tuser=a\tforward_n=2"},
      {"nobody knows the user", "", {}, "", {}, "x", "FAIL\tuser=a"},
      {"return after a mismatch ends it",
       "a:{PLAIN}x",
       {{"result_failure", "return"}},
       "a:{PLAIN}y",
       {},
       "y",
       "FAIL\tuser=a"},
      {"a lone return after yes fails",
       "a:{PLAIN}x",
       {{"result_success", "return"}},
       "",
       {},
       "x",
       "FAIL\tuser=a"},
      {"return-fail after yes fails",
       "a:{PLAIN}x",
       {{"result_success", "return-fail"}},
       "a:{PLAIN}x",
       {},
       "x",
       "FAIL\tuser=a"},
      {"return-ok after a mismatch lets in",
       "a:{PLAIN}x",
       {{"result_failure", "return-ok"}},
       "",
       {},
       "y",
       "OK\tuser=a"},
      {"continue after yes needs another that says so",
       "a:{PLAIN}x",
       {{"result_success", "continue"}},
       "",
       {},
       "x",
       "FAIL\tuser=a"},
      {"continue after yes asks no password again",
       "a:{PLAIN}x",
       {{"result_success", "continue"}},
       "a:{PLAIN}zzz::::::forward_m=1",
       {},
       "x",
       "OK\tuser=a\tforward_m=1"},
      {"continue-ok lets in though the next does not know",
       "a:{PLAIN}x",
       {{"result_success", "continue-ok"}},
       "",
       {},
       "x",
       "OK\tuser=a"},
      {"continue-fail forgets an earlier yes",
       "a:{PLAIN}x",
       {{"result_success", "continue-ok"}},
       "",
       {{"result_failure", "continue-fail"}},
       "x",
       "FAIL\tuser=a"},
      {"authenticated is passed over",
       "a:{PLAIN}x",
       {{"result_success", "continue-ok"}},
       "a:{PLAIN}x::::::forward_m=1",
       {{"skip", "authenticated"}},
       "x",
       "OK\tuser=a"},
      {"unauthenticated is passed over",
       "a:{PLAIN}x",
       {},
       "a:{PLAIN}y",
       {{"skip", "unauthenticated"}},
       "y",
       "FAIL\tuser=a"},
      {"down and then no is temporary",
       "down",
       {},
       "a:{PLAIN}y",
       {},
       "x",
       "FAIL\tuser=a\tcode=temp_fail"},
      {"down and then yes is yes", "down", {}, "a:{PLAIN}y", {}, "y", "OK\tuser=a"},
      {"down and return-fail is temporary",
       "down",
       {{"result_internalfail", "return-fail"}},
       "a:{PLAIN}y",
       {},
       "y",
       "FAIL\tuser=a\tcode=temp_fail"},
      {"yes and then down is yes with continue-ok",
       "a:{PLAIN}x",
       {{"result_success", "continue-ok"}},
       "down",
       {},
       "x",
       "OK\tuser=a"},
      {"noauthenticate only gives fields",
       "a:::::::noauthenticate forward_m=1",
       {},
       "a:{PLAIN}y",
       {},
       "y",
       "OK\tuser=a\tforward_m=1"},
      {"noauthenticate cannot be last",
       "",
       {},
       "a:::::::noauthenticate",
       {},
       "y",
       "FAIL\tuser=a\tcode=temp_fail"},
      {"nopassword does not reach the next database",
       "a:::::::noauthenticate",
       {},
       "a:{PLAIN}y",
       {},
       "x",
       "FAIL\tuser=a"},
      {"deny refuses who is in it",
       "a",
       {{"deny", "yes"}},
       "a:{PLAIN}y",
       {},
       "y",
       "FAIL\tuser=a\tcode=user_disabled"},
      {"deny passes who is not", "b", {{"deny", "yes"}}, "a:{PLAIN}y", {}, "y", "OK\tuser=a"},
      {"a deny list that is down lets nobody in",
       "down",
       {{"deny", "yes"}},
       "a:{PLAIN}y",
       {},
       "y",
       "FAIL\tuser=a\tcode=temp_fail"},
      {"fail turns yes into unknown", "a:{PLAIN}x::::::fail", {}, "", {}, "x", "FAIL\tuser=a"},
      {"a failing database's fields are forgotten",
       "a:{PLAIN}x::::::userdb_x=1 forward_m=1 proxy host=h",
       {},
       "a:{PLAIN}y",
       {},
       "y",
       "OK\tuser=a"},
      {"mechanisms of others are passed over",
       "a:{PLAIN}x",
       {{"mechanisms", "login"}},
       "a:{PLAIN}y",
       {},
       "x",
       "FAIL\tuser=a"},
      {"users that name each other as whom to log in end the walk",
       "a:{PLAIN}x::::::login_user=b\nb:{PLAIN}y::::::login_user=a",
       {{"result_success", "continue"}},
       "",
       {},
       "x",
       "FAIL\tuser=b\tcode=temp_fail\toriginal_user=a\tauth_user=a"},
      {"an import within an import is not followed",
       "a:{PLAIN}x::::::passdb_import=passdb_import=passdb_import=forward_x=1",
       {},
       "",
       {},
       "x",
       "FAIL\tuser=a\tcode=temp_fail"},
      {"an import sets fields",
       "a:{PLAIN}x::::::passdb_import=forward_x=1",
       {},
       "",
       {},
       "x",
       "OK\tuser=a\tforward_x=1"},
      {"a field may use those before it",
       "a:{PLAIN}x::::::forward_m=1 forward_n=%{passdb:forward_m:none}%{passdb:forward_z:none}",
       {},
       "",
       {},
       "x",
       "OK\tuser=a\tforward_m=1\tforward_n=1none"},
      {"a renamed user is the next database's",
       "a:::::::noauthenticate user=b",
       {},
       "b:{PLAIN}y",
       {},
       "y",
       "OK\tuser=b\toriginal_user=a"},
      {"override_fields come last",
       "a:{PLAIN}x::::::forward_m=1",
       {{"override_fields", "forward_m=2 forward_z=%u"}},
       "",
       {},
       "x",
       "OK\tuser=a\tforward_m=2\tforward_z=a"},
      {"default_fields may be overridden",
       "a:{PLAIN}x::::::forward_m=1",
       {{"default_fields", "forward_m=0 reason=\"two words\""}},
       "",
       {},
       "x",
       "OK\tuser=a\tforward_m=1\treason=two words"},
  };
  return kRows;
}

class Walk : public ::testing::TestWithParam<std::size_t> {};

TEST_P(Walk, EndsAsTheRulesSay) {
  const Row& row = rows()[GetParam()];
  SCOPED_TRACE(row.name);
  const ScratchDir dir;
  TestConfig config;
  config.settings = {{"auth_failure_delay", "0"}, {"auth_internal_failure_delay", "0"}};
  unsigned n = 0;
  for (const auto& [text, rules] :
       {std::pair{row.first, &row.first_rules}, std::pair{row.second, &row.second_rules}}) {
    const std::string name = "users" + std::to_string(++n);
    const bool down = std::string_view(text) == "down";
    Keys keys{{"driver", "passwd-file"},
              {"passwd_file_path",
               down ? dir.file("missing") : dir.write(name, std::string(text) + "\n")}};
    keys.insert(keys.end(), rules->begin(), rules->end());
    config.passdbs.push_back(keys);
  }
  Server server(config);
  const auto session = server.client(true);
  const std::string nul(1, '\0');
  session->feed("VERSION\t1\t2\nCPID\t1\n");
  take_lines(*session);
  session->feed(
      "AUTH\t1\tPLAIN\tservice=imap\tresp=" + base64_encode(nul + "a" + nul + row.password) + "\n");
  server.env.run();
  std::vector<std::string> lines = take_lines(*session);
  ASSERT_EQ(lines.size(), 1U);
  std::string answer = lines[0];
  answer.erase(answer.find('\t'), 2);
  EXPECT_EQ(answer, row.answer);
}

INSTANTIATE_TEST_SUITE_P(All, Walk, ::testing::Range(std::size_t{0}, rows().size()));

TEST(DatabaseSet, AServiceHasTheGlobalDatabasesAndThenItsOwn) {
  TestConfig config;
  config.passdbs = {{{"driver", "static"}, {"protocol", "imap"}, {"args", "password=i"}},
                    {{"driver", "static"}, {"args", "password=g"}}};
  const config::Snapshot snapshot = config.snapshot();
  auto set = DatabaseSet::make(snapshot.passdbs, snapshot.userdbs);
  ASSERT_TRUE(set.ok());
  EXPECT_EQ(set.value().for_service("smtp").passdbs.size(), 1U);
  const Databases& imap = set.value().for_service("imap");
  ASSERT_EQ(imap.passdbs.size(), 2U);
  EXPECT_EQ(imap.passdbs[0]->protocol, "");
  EXPECT_EQ(imap.passdbs[1]->protocol, "imap");
}

TEST(DatabaseSet, NamesEveryBlockThatCannotWork) {
  TestConfig config;
  config.passdbs = {{{"driver", "sql"}, {"name", "one"}},
                    {{"driver", "passwd-file"}, {"name", "two"}},
                    {{"driver", "passwd-file"}, {"name", "three"}, {"args", "scheme=ROT13 /x"}}};
  const config::Snapshot snapshot = config.snapshot();
  const auto set = DatabaseSet::make(snapshot.passdbs, snapshot.userdbs);
  ASSERT_FALSE(set.ok());
  for (const char* part :
       {"passdb one: connect is missing", "passdb two: passwd_file_path is missing",
        "passdb three: unknown default_pass_scheme ROT13"}) {
    EXPECT_NE(set.error().text.find(part), std::string::npos) << set.error().text;
  }
}

TEST(PasswdFilePath, NoNameLeavesItsDirectory) {
  const ScratchDir dir;
  dir.write("secret", "a@..:{PLAIN}x\na@secret:{PLAIN}x\n");
  std::filesystem::create_directory(dir.file("domains"));
  dir.write("domains/x.org", "a@x.org:{PLAIN}x\n");
  TestConfig config;
  config.settings = {{"auth_username_chars", ""},
                     {"auth_failure_delay", "0"},
                     {"auth_internal_failure_delay", "0"}};
  config.passdbs = {{{"driver", "passwd-file"}, {"passwd_file_path", dir.file("domains/%d")}}};
  Server server(config);
  const auto session = server.client(true);
  session->feed("VERSION\t1\t2\nCPID\t1\n");
  take_lines(*session);
  unsigned id = 0;
  const std::string nul(1, '\0');
  for (const auto& [user, good] : {std::pair<std::string, bool>{"a@x.org", true},
                                   {"a@../secret", false},
                                   {"a@..", false},
                                   {"a@.", false},
                                   {"a@none.org", false},
                                   {"a@", false},
                                   {"a", false},
                                   {"a@x.org/", false}}) {
    session->feed("AUTH\t" + std::to_string(++id) +
                  "\tPLAIN\tservice=imap\tresp=" + base64_encode(nul + user + nul + "x") + "\n");
    server.env.run();
    const auto lines = take_lines(*session);
    ASSERT_EQ(lines.size(), 1U) << user;
    EXPECT_EQ(lines[0].starts_with("OK"), good) << lines[0];
    EXPECT_EQ(lines[0].find("temp_fail"), std::string::npos) << lines[0];
  }
}

}  // namespace
}  // namespace postern::auth
