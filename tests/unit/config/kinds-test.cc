#include "config/kinds.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "config/settings.h"
#include "config/table.h"

namespace postern::config {
namespace {

/// How `text` prints once it is read, or "error: …".
template <class Kind>
std::string canonical(std::string_view text, std::string_view choices = {}) {
  auto parsed = Kind::parse(Value(text), choices);
  if (!parsed.ok()) return "error: " + parsed.error().text;
  return Kind::print(parsed.value(), choices);
}

template <class Kind>
void expect_bad(std::initializer_list<const char*> texts, std::string_view choices = {}) {
  for (const char* text : texts) {
    EXPECT_TRUE(canonical<Kind>(text, choices).starts_with("error: ")) << "'" << text << "'";
  }
}

TEST(HostName, StandsInGreetingsAsItIs) {
  for (const char* text :
       {"", "mail", "mail.example.com", "a_b-c.d", "[192.0.2.1]", "[IPv6:::1]"}) {
    EXPECT_EQ(canonical<kinds::host_name>(text), text);
  }
  expect_bad<kinds::host_name>({"a b", "a\r\nb", "a<b", "m\xc3\xa4il", "%h"});
  expect_bad<kinds::host_name>({std::string(256, 'a').c_str()});
}

TEST(Boolean, IsYesOrNoAsDovecotReadsIt) {
  for (const char* text : {"yes", "YES", "y", "Y", "1"}) {
    EXPECT_EQ(canonical<kinds::boolean>(text), "yes") << text;
  }
  for (const char* text : {"no", "No", "n", "0"}) {
    EXPECT_EQ(canonical<kinds::boolean>(text), "no") << text;
  }
  expect_bad<kinds::boolean>({"", "true", "TRUE", "maybe", "2", " yes", "yes "});
  EXPECT_EQ(canonical<kinds::boolean>("maybe"),
            "error: Invalid boolean value: 'maybe' (use yes or no)");
}

TEST(Number, IsDecimalInItsRange) {
  EXPECT_EQ(canonical<kinds::number>("0"), "0");
  EXPECT_EQ(canonical<kinds::number>("007"), "7");
  EXPECT_EQ(canonical<kinds::number>("4294967295"), "4294967295");
  EXPECT_EQ(canonical<kinds::number>("65535", "0-65535"), "65535");
  expect_bad<kinds::number>(
      {"", "-1", "+1", " 1", "1 ", "1k", "0x10", "4294967296", "99999999999999999999999"});
  expect_bad<kinds::number>({"65536", "70000"}, "0-65535");
  expect_bad<kinds::number>({"0"}, "1-100");
  EXPECT_EQ(canonical<kinds::number>("4294967295", "0-"), "4294967295");
}

TEST(Size, TakesUnitsAndNeverWrapsAround) {
  EXPECT_EQ(canonical<kinds::size>("0"), "0");
  EXPECT_EQ(canonical<kinds::size>("1000"), "1000 B");
  EXPECT_EQ(canonical<kinds::size>("1024"), "1 k");
  EXPECT_EQ(canonical<kinds::size>("256 M"), "256 M");
  EXPECT_EQ(canonical<kinds::size>("1kB"), "1 k");
  EXPECT_EQ(canonical<kinds::size>("1KiB"), "1 k");
  EXPECT_EQ(canonical<kinds::size>("2g"), "2 G");
  EXPECT_EQ(canonical<kinds::size>("1024 T"), "1024 T");
  EXPECT_EQ(canonical<kinds::size>("18446744073709551615 B"), "18446744073709551615 B");
  expect_bad<kinds::size>(
      {"", "M", "1 X", "-1", "1.5 M", "18446744073709551616", "16777216 T", "1 MBx", "1 M M"});
}

TEST(Time, NeedsAUnitUnlessItIsZero) {
  EXPECT_EQ(canonical<kinds::time>("0"), "0");
  EXPECT_EQ(canonical<kinds::time>("90s"), "90 secs");
  EXPECT_EQ(canonical<kinds::time>("60 seconds"), "1 mins");
  EXPECT_EQ(canonical<kinds::time>("1500 msecs"), "1500 msecs");
  EXPECT_EQ(canonical<kinds::time>("2 hours"), "2 hours");
  EXPECT_EQ(canonical<kinds::time>("14d"), "2 weeks");
  EXPECT_EQ(canonical<kinds::time>("1 DAY"), "1 days");
  EXPECT_EQ(canonical<kinds::time>("90"),
            "error: Time interval '90' is missing units (add e.g. 's' for seconds)");
  expect_bad<kinds::time>({"", "s", "-1s", "1 month", "1.5s", "1s 2s", "18446744073709551615 w"},
                          "0-");
  expect_bad<kinds::time>({"0", "999 ms", "61 mins"}, "1s-1h");
  EXPECT_EQ(canonical<kinds::time>("1 h", "1s-1h"), "1 hours");
}

TEST(Time, MayBeInfiniteWhereThereIsNoRange) {
  EXPECT_EQ(canonical<kinds::time>("infinite"), "infinite");
  EXPECT_EQ(canonical<kinds::time>("4294967295"), "infinite") << "Dovecot's way to say it";
  expect_bad<kinds::time>({"infinite", "4294967295"}, "0-1h");
}

TEST(Words, AreSeparatedByBlanksAndCommas) {
  EXPECT_EQ(canonical<kinds::words>(""), "");
  EXPECT_EQ(canonical<kinds::words>("*, ::"), "* ::");
  EXPECT_EQ(canonical<kinds::words>(" a,,b\tc "), "a b c");
  EXPECT_EQ(canonical<kinds::words>("LOGIN plain login", "plain login"), "login plain");
  expect_bad<kinds::words>({"plain cram-md5"}, "plain login");
  EXPECT_EQ(canonical<kinds::words>("plian", "plain login"),
            "error: 'plian' is not one of plain, login (did you mean plain?)");
}

TEST(Networks, AreAddressesAndBlocks) {
  EXPECT_EQ(canonical<kinds::networks>(""), "");
  EXPECT_EQ(canonical<kinds::networks>("10.0.0.0/8, ::1 192.0.2.1"),
            "10.0.0.0/8 ::1/128 192.0.2.1/32");
  expect_bad<kinds::networks>({"10.0.0.0/33", "::/129", "10.0.0/8", "localhost", "10.0.0.1/",
                               "10.0.0.1/-1", "1.2.3.4/24/3"});
}

TEST(Mode, IsOctal) {
  EXPECT_EQ(canonical<kinds::mode>("0600"), "0600");
  EXPECT_EQ(canonical<kinds::mode>("666"), "0666");
  EXPECT_EQ(canonical<kinds::mode>("0"), "0");
  expect_bad<kinds::mode>({"", "0800", "1777", "rw", "-1", "000666"});
}

TEST(PathBelow, HasNoLeadingSlash) {
  EXPECT_EQ(canonical<kinds::path_below>("a/b"), "a/b");
  EXPECT_EQ(canonical<kinds::path_below>(""), "");
  expect_bad<kinds::path_below>({"/a", "tcp:host:1"});
}

TEST(KeyPins, AreListed) {
  EXPECT_EQ(canonical<kinds::key_pins>(" sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=, "
                                       "sha256//t62CeU2tQiqkexU74Gxa2eg7fRbEgoChTociMee9wno="),
            "sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA= "
            "sha256//t62CeU2tQiqkexU74Gxa2eg7fRbEgoChTociMee9wno=");
  EXPECT_EQ(canonical<kinds::key_pins>(""), "");
  expect_bad<kinds::key_pins>({"sha1//AAAA", "x"});
}

TEST(Keepalive, IsThreeNumbersOrNo) {
  EXPECT_EQ(canonical<kinds::keepalive>("120:30:4"), "120:30:4");
  EXPECT_EQ(canonical<kinds::keepalive>("NO"), "no");
  expect_bad<kinds::keepalive>(
      {"", "120:30", "120:30:4:5", "0:30:4", "a:b:c", "40000:1:1", "1:1:128", "yes"});
}

TEST(PasswordLog, NeverIsThePassword) {
  EXPECT_EQ(canonical<kinds::password_log>("no"), "no");
  EXPECT_EQ(canonical<kinds::password_log>("SHA1"), "sha1");
  EXPECT_EQ(canonical<kinds::password_log>("sha1:6"), "sha1:6");
  expect_bad<kinds::password_log>({"plain", "yes", "plain:6", "sha1:", "sha1:0", "sha1:41", "md5"});
}

TEST(Format, MustCompile) {
  using Greeting = kinds::format<login_greeting_variables>;
  EXPECT_EQ(canonical<Greeting>("hello %{hostname}"), "hello %{hostname}");
  expect_bad<Greeting>({"%", "%{nosuch}", "%w"});
}

TEST(Secret, PrintsAsHiddenOrNothing) {
  EXPECT_EQ(canonical<kinds::secret>("hunter2"), "<hidden>");
  EXPECT_EQ(canonical<kinds::secret>(""), "");
}

TEST(File, WantsTheContentNotTheName) {
  EXPECT_TRUE(canonical<kinds::file>("/etc/cert.pem").starts_with("error: "));
  EXPECT_EQ(canonical<kinds::file>(""), "");
  auto parsed = kinds::file::parse(Value("bytes", "/etc/cert.pem"), {});
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(parsed.value().reveal(), "bytes");
  EXPECT_EQ(kinds::file::print(parsed.value(), {}), "/etc/cert.pem");
}

TEST(Choice, ReadsTheWordsOfTheEnumsInTheirOrder) {
  const auto index = [](Group group, std::string_view name, std::string_view word) {
    const auto got = kinds::parse_choice(word, find_setting(group, name)->choices);
    EXPECT_TRUE(got.ok());
    return got.ok() ? got.value() : ~0U;
  };
  EXPECT_EQ(index(Group::ssl, "ssl", "required"), static_cast<unsigned>(Ssl::required));
  EXPECT_EQ(index(Group::ssl, "ssl_min_protocol", "TLSv1.2"),
            static_cast<unsigned>(TlsVersion::tls1_2));
  EXPECT_EQ(index(Group::ssl, "ssl_min_protocol", "latest"),
            static_cast<unsigned>(TlsVersion::latest));
  EXPECT_EQ(index(Group::login, "login_compat", "dovecot-2.3"),
            static_cast<unsigned>(LoginCompat::dovecot_2_3));
  EXPECT_EQ(index(Group::login, "proxy_forward_level", "2.4"),
            static_cast<unsigned>(ForwardLevel::dovecot_2_4));
  EXPECT_EQ(index(Group::auth, "proxy_balance", "hash"), static_cast<unsigned>(ProxyBalance::hash));
  EXPECT_EQ(index(Group::log, "syslog_facility", "local7"),
            static_cast<unsigned>(SyslogFacility::local7));
  EXPECT_EQ(index(Group::service, "type", "startup"), static_cast<unsigned>(ServiceType::startup));
  EXPECT_EQ(index(Group::passdb, "driver", "sql"), static_cast<unsigned>(PassdbDriver::sql));
  EXPECT_EQ(index(Group::userdb, "driver", "prefetch"),
            static_cast<unsigned>(UserdbDriver::prefetch));
  EXPECT_EQ(index(Group::passdb, "skip", "unauthenticated"),
            static_cast<unsigned>(PassdbSkip::unauthenticated));
  EXPECT_EQ(index(Group::userdb, "skip", "notfound"), static_cast<unsigned>(UserdbSkip::notfound));
  EXPECT_EQ(index(Group::passdb, "result_success", "continue-fail"),
            static_cast<unsigned>(PassdbRule::continue_fail));
  EXPECT_EQ(index(Group::passdb, "auth_verbose", "no"), static_cast<unsigned>(Tristate::no));
  EXPECT_EQ(index(Group::passdb, "sql_driver", "sqlite"), static_cast<unsigned>(SqlDriver::sqlite));
}

TEST(Table, DefaultsAreCanonicalOrBecomeSo) {
  for (unsigned g = 0; g <= static_cast<unsigned>(Group::userdb); g++) {
    for (const SettingRow& row : setting_rows(static_cast<Group>(g))) {
      SCOPED_TRACE(row.name);
      const auto once = row.canonical(Value(row.default_text));
      ASSERT_TRUE(once.ok());
      EXPECT_FALSE(row.help.empty());
      EXPECT_TRUE(row.help.ends_with('.')) << row.help;
      if (row.secret) continue;
      const auto twice = row.canonical(Value(once.value()));
      ASSERT_TRUE(twice.ok());
      EXPECT_EQ(once.value(), twice.value());
    }
  }
}

TEST(Table, NoNameStandsInTwoGroupsOfOneSection) {
  std::vector<std::string_view> names;
  for (const Group group : {Group::common, Group::master, Group::log, Group::login,
                            Group::login_auth, Group::auth, Group::ssl, Group::submission}) {
    for (const SettingRow& row : setting_rows(group)) names.push_back(row.name);
  }
  for (const UnsupportedSetting& setting : unsupported_settings()) names.push_back(setting.name);
  std::sort(names.begin(), names.end());
  EXPECT_EQ(std::adjacent_find(names.begin(), names.end()), names.end());
}

}  // namespace
}  // namespace postern::config
