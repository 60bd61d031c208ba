#include "config/variables.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <fstream>
#include <map>
#include <string>

#include "config/variable-functions.h"

namespace postern::config {
namespace {

using Values = std::map<AuthVariable, std::string>;

/// A lookup over a map; passdb and userdb fields are never set.
struct MapLookup {
  const Values& values;
  std::optional<std::string_view> operator()(const VariableRef& ref) const {
    const auto found = values.find(ref.as<AuthVariable>());
    if (found == values.end()) return std::nullopt;
    return found->second;
  }
};

std::string expand(std::string_view text, const Values& values) {
  const Result<Template> compiled = Template::compile(text, auth_variables());
  if (!compiled.ok()) return "error: " + compiled.error().text;
  std::string out;
  compiled.value().expand(MapLookup{values}, out);
  return out;
}

/// The user `name@x.org` of the recording, with everything the request said.
Values recorded_request(const std::string& name) {
  const std::string lower = name + "@x.org";
  std::string typed = lower;
  typed[0] = 'A';
  typed[5] = 'X';
  return {{AuthVariable::user, lower},
          {AuthVariable::username, name},
          {AuthVariable::domain, "x.org"},
          {AuthVariable::domain_first, "x.org"},
          {AuthVariable::domain_last, "x.org"},
          {AuthVariable::orig_user, typed},
          {AuthVariable::auth_user, typed},
          {AuthVariable::service, "imap"},
          {AuthVariable::local_ip, "192.0.2.1"},
          {AuthVariable::remote_ip, "203.0.113.5"},
          {AuthVariable::local_port, "143"},
          {AuthVariable::remote_port, "40001"},
          {AuthVariable::real_local_ip, "10.8.8.8"},
          {AuthVariable::real_remote_ip, "10.9.9.9"},
          {AuthVariable::mech, "PLAIN"},
          {AuthVariable::secured, "TLS"},
          {AuthVariable::session, "Se"},
          {AuthVariable::local_name, "mail.x.org"},
          {AuthVariable::client_id, "cid"}};
}

TEST(Variables, ExpandAsDovecotDidInTheRecording) {
  std::ifstream file(POSTERN_TRANSCRIPTS "/auth-variables.txt");
  ASSERT_TRUE(file) << "the transcript is missing";
  std::map<std::string, std::string> templates;  // by user
  std::string line;
  int checked = 0;
  while (std::getline(file, line)) {
    const std::size_t colon = line.find(":{PLAIN}x::::::forward_v=");
    if (line.starts_with("#   al") && colon != std::string::npos) {
      templates[line.substr(4, 4)] = line.substr(line.find("forward_v=") + 10);
    }
    if (!line.starts_with("S: OK\t") && !line.starts_with("S: FAIL\t")) continue;
    const std::string user = line.substr(line.find("user=") + 5, 4);
    SCOPED_TRACE(user + " " + templates[user]);
    const std::string got = expand(templates.at(user), recorded_request(user));
    checked++;
    if (line.starts_with("S: FAIL")) {
      EXPECT_TRUE(got.starts_with("error: Unknown variable '%")) << got;
      continue;
    }
    std::string want = line.substr(line.find("forward_v=") + 10);
    want.resize(want.find('\t'));
    if (templates[user] == "<%{hostname}>") {
      std::array<char, 256> host{};
      ASSERT_EQ(gethostname(host.data(), host.size()), 0);
      want = "<" + std::string(host.data()) + ">";
    }
    EXPECT_EQ(got, want);
  }
  EXPECT_EQ(checked, 61);
}

TEST(Variables, UnknownOnesAreNamedAsDovecotNamesThem) {
  EXPECT_EQ(expand("x %{nosuch}", {}), "error: Unknown variable '%nosuch'");
  EXPECT_EQ(expand("%z", {}), "error: Unknown variable '%z'");
  EXPECT_EQ(expand("%{if;%z;eq;a;b;c}", {}), "error: Unknown variable '%z'");
  EXPECT_EQ(expand("%{sha256:nosuch}", {}), "error: Unknown variable '%nosuch'");
}

TEST(Variables, AHashTheLibraryLacksIsAnErrorAndNotEmpty) {
  const std::string got = expand("%{md4:user}", {{AuthVariable::user, "a"}});
  EXPECT_TRUE(got == "bde52cb31de33e46245e05fbdbd6fb24" || got.starts_with("error: this OpenSSL"))
      << got;
}

TEST(Variables, BrokenTextsAreErrorsNotCrashes) {
  for (const char* text :
       {"%", "a%5", "%L", "%{", "%{user", "%{}", "%{if;}", "%{if;a;eq;b}", "%{if;a;what;b;c;d}",
        "%-", "%{if;a;~;(;y;n}", "%{if;a;~;%u;y;n}", "%{sha256;:}", "%{sha256;rounds=0:user}",
        "%{sha256;format=x:user}", "%{sha256;bogus:user}", "%{md5;user}", "%{passdb}"}) {
    SCOPED_TRACE(text);
    EXPECT_FALSE(Template::compile(text, auth_variables()).ok());
  }
}

TEST(Variables, NestingIsBounded) {
  std::string text = "x";
  for (int i = 0; i < 20; i++) text = "%{if;1;==;1;" + text + ";n}";
  EXPECT_FALSE(Template::compile(text, auth_variables()).ok());
}

TEST(Variables, NamedVariablesTakeModifiersAndWidths) {
  const Values values{{AuthVariable::user, "Bob@Example.Org"}, {AuthVariable::password, " x "}};
  EXPECT_EQ(expand("%L{user}", values), "bob@example.org");
  EXPECT_EQ(expand("%LR{user}", values), "gro.elpmaxe@bob");
  EXPECT_EQ(expand("%RL{user}", values), "gro.elpmaxe@bob");
  EXPECT_EQ(expand("%3U{user}", values), "BOB");
  EXPECT_EQ(expand("%0.-4u", values), "Bob@Example");
  EXPECT_EQ(expand("%Tw|", values), " x|");
  EXPECT_EQ(expand("%100.3u", values), "");
  EXPECT_EQ(expand("%-100u", values), "Bob@Example.Org");
}

TEST(Variables, EscapingTouchesQuotesAndBackslashesOnly) {
  EXPECT_EQ(expand("%Eu", {{AuthVariable::user, "a'b\"c\\d%e"}}), "a\\'b\\\"c\\\\d%e");
}

TEST(Variables, AValueIsNeverExpandedAgain) {
  EXPECT_EQ(
      expand("<%u>", {{AuthVariable::user, "%w%{password}"}, {AuthVariable::password, "hunter2"}}),
      "<%w%{password}>");
}

TEST(Variables, ConditionsCompareAndNest) {
  const Values values{{AuthVariable::user, "bob"}, {AuthVariable::local_port, "143"}};
  EXPECT_EQ(expand("%{if;%a;<=;143;a;b}", values), "a");
  EXPECT_EQ(expand("%{if;%a;!=;143;a;b}", values), "b");
  EXPECT_EQ(expand("%{if;%u;==;1;a;b}", values), "b") << "no number compares as false";
  EXPECT_EQ(expand("%{if;%u;!=;1;a;b}", values), "b");
  EXPECT_EQ(expand("%{if;%u;!~;^b;a;b}", values), "b");
  EXPECT_EQ(expand("%{if;%u;!*;x*;a;b}", values), "a");
  EXPECT_EQ(expand("%{if;%u;eq;bob;%{if;%a;>;100;big;small};none}", values), "big");
  EXPECT_EQ(expand("%{if;%u;eq;bob;a\\;b;none}", values), "a;b");
  EXPECT_EQ(expand("%{if;%u;ne;bob;a}", values), "") << "the last result may be missing";
}

TEST(Variables, HashesTakeSaltWithVariables) {
  const Values values{{AuthVariable::user, "bob"}, {AuthVariable::service, "imap"}};
  EXPECT_EQ(expand("%{sha256;salt=%s:user}", values), expand("%{sha256;salt=imap:user}", values));
  EXPECT_NE(expand("%{sha256;salt=%s:user}", values), expand("%{sha256:user}", values));
  EXPECT_EQ(expand("%{sha1;format=hexuc:user}", values),
            "48181ACD22B3EDAEBC8A447868A7DF7CE629920A");
  EXPECT_EQ(expand("%4{sha1:user}", values), "4818");
}

TEST(Variables, TruncatedHashesAreRightAligned) {
  // The first 12 bits of 48181acd… are 481.
  EXPECT_EQ(expand("%{sha1;truncate=12:user}", {{AuthVariable::user, "bob"}}), "0481");
}

TEST(Variables, ExpandSaysWhetherAnythingWasSet) {
  const auto has_value = [](std::string_view text, const Values& values) {
    const Result<Template> compiled = Template::compile(text, auth_variables());
    std::string out;
    return compiled.ok() && compiled.value().expand(MapLookup{values}, out);
  };
  EXPECT_FALSE(has_value("user=<%u>", {}));
  EXPECT_TRUE(has_value("user=<%u>", {{AuthVariable::user, "bob"}}));
  EXPECT_FALSE(has_value("constant", {}));
}

TEST(Variables, PartsAreWalkedForSql) {
  const Result<Template> compiled = Template::compile(
      "SELECT 1 FROM users WHERE user = '%Lu' AND host = '%{passdb:host:none}'", auth_variables());
  ASSERT_TRUE(compiled.ok());
  const Template& query = compiled.value();
  ASSERT_EQ(query.part_count(), 5U);
  EXPECT_TRUE(query.part_is_literal(0));
  EXPECT_EQ(query.literal(2), "' AND host = '");
  EXPECT_EQ(query.variable(1)->as<AuthVariable>(), AuthVariable::user);
  EXPECT_EQ(query.variable(3)->argument, "host");
  const Values values{{AuthVariable::user, "BOB'; --"}};
  WipingBuffer parameter;
  EXPECT_TRUE(query.expand_part(1, MapLookup{values}, parameter));
  EXPECT_EQ(parameter.view(), "bob'; --");
  WipingBuffer fallback;
  query.expand_part(3, MapLookup{values}, fallback);
  EXPECT_EQ(fallback.view(), "none");
}

TEST(Variables, ConstantsAreNoLiterals) {
  // What comes from outside the query must never become query text.
  const Result<Template> compiled = Template::compile("'%{hostname}'", auth_variables());
  ASSERT_TRUE(compiled.ok());
  ASSERT_EQ(compiled.value().part_count(), 3U);
  EXPECT_FALSE(compiled.value().part_is_literal(1));
}

TEST(Variables, UsesLooksInsideConditions) {
  const Result<Template> compiled =
      Template::compile("%{if;%s;eq;imap;%w;x}%{sha1:session}", auth_variables());
  ASSERT_TRUE(compiled.ok());
  EXPECT_TRUE(compiled.value().uses(AuthVariable::password));
  EXPECT_TRUE(compiled.value().uses(AuthVariable::session));
  EXPECT_FALSE(compiled.value().uses(AuthVariable::user));
}

TEST(Variables, EverySettingsDefaultTextCompilesWithItsSet) {
  EXPECT_TRUE(Template::compile("user=<%u> method=%m rip=%r lip=%l mpid=%e %c session=<%{session}>",
                                login_log_variables())
                  .ok());
  EXPECT_TRUE(Template::compile("%$: %s", login_log_line_variables()).ok());
  EXPECT_FALSE(Template::compile("%w", login_log_variables()).ok()) << "no password in a log line";
}

TEST(Wildcards, MatchRunsAndSingleBytes) {
  EXPECT_TRUE(wildcard_match("alice@example.org", "*@example.org"));
  EXPECT_TRUE(wildcard_match("abc", "a?c"));
  EXPECT_TRUE(wildcard_match("", "*"));
  EXPECT_TRUE(wildcard_match("aXbXc", "a*b*c"));
  EXPECT_FALSE(wildcard_match("abc", "a?"));
  EXPECT_FALSE(wildcard_match("abc", ""));
  EXPECT_FALSE(wildcard_match("aaaaaaaaaaaaaaaaaaaaaaaaaaaab", "a*a*a*a*a*a*c"));
}

}  // namespace
}  // namespace postern::config
