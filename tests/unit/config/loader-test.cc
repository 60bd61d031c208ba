// postern.conf read whole: what is wrong is told, all of it, with its place.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <string>

#include "config-testing.h"

namespace postern::config {
namespace {

using Texts = std::vector<std::string>;

bool any_contains_text(const Texts& texts, std::string_view part) {
  return std::any_of(texts.begin(), texts.end(), [part](const std::string& text) {
    return text.find(part) != std::string::npos;
  });
}

TEST(Loader, TellsEverythingAtOnceInTheOrderOfLines) {
  const Texts errors = errors_in(
      "base_dri = /x\n"             // 2
      "ssl_min_protocol = SSLv3\n"  // 3
      "port = 143\n"                // 4
      "no equals sign\n"            // 5
      "[servce x]\n"                // 6
      "ignored = here\n"            // 7
      "[service imap-login]\n"      // 8
      "process_limt = 3\n"          // 9
      "process_min_avail = 101\n"   // 10
      "vsz_limit = 5 k\n"           // 11
      "[passdb a]\n"                // 12
      "password = x\n");            // 13
  EXPECT_EQ(errors,
            (Texts{"2: Unknown setting: base_dri (did you mean base_dir?)",
                   "3: ssl_min_protocol: 'SSLv3' is not one of ANY, TLSv1, TLSv1.1, TLSv1.2, "
                   "TLSv1.3, LATEST",
                   "4: Unknown setting here: port (it stands in [inet_listener SERVICE NAME])",
                   "5: there is no '=' (a line is KEY = VALUE, a [SECTION] or a # comment)",
                   "6: Unknown section: servce x (did you mean service?)",
                   "9: Unknown setting: process_limt (did you mean process_limit?)",
                   "10: service imap-login: process_min_avail is higher than process_limit (101 > "
                   "100)",
                   "11: service imap-login: vsz_limit is too low (at least 1 M, or 0 for none)",
                   "12: passdb a: driver is missing (one of static, passwd-file, sql)"}));
}

TEST(Loader, DoesNotMissWhatWasGivenWrong) {
  EXPECT_EQ(errors_in("[passdb a]\ndriver = sq\n[passdb b]\ndriver = sql\nsql_driver = oracle\n"
                      "connect = /x\n[inet_listener imap-login own]\nport = imap\n"),
            (Texts{"3: driver: 'sq' is not one of none, static, passwd-file, sql (did you mean "
                   "sql?)",
                   "6: sql_driver: 'oracle' is not one of none, sqlite",
                   "9: port: Invalid number 'imap': Not a valid number"}));
  const Loaded loaded = load_text(
      "ssl_cert = </nowhere/cert.pem\nssl_key = </nowhere/key.pem\n"
      "[passdb a]\ndriver = static\n",
      "/t/postern.conf", true);
  EXPECT_EQ(errors_of(loaded),
            (Texts{"1: ssl_cert: cannot read /nowhere/cert.pem: No such file or directory",
                   "2: ssl_key: cannot read /nowhere/key.pem: No such file or directory"}));
}

TEST(Loader, PutsFileAndLineBeforeWhatIsWrong) {
  const Loaded loaded = load_text("nosuch = 1\n" + std::string(kLeast), "/etc/x.conf", false);
  ASSERT_EQ(loaded.problems.size(), 1U);
  EXPECT_EQ(loaded.problems[0].text(), "/etc/x.conf:1: Unknown setting: nosuch");
}

TEST(Loader, RefusesAKeyThatIsSetTwice) {
  EXPECT_EQ(errors_in("listen = 127.0.0.1\nlisten = ::1\n"),
            Texts{"3: listen is set twice, first in test.conf:2"});
  EXPECT_EQ(errors_in("[protocol imap]\nlogin_greeting = a\n[local ::1]\nlogin_greeting = b\n"
                      "[protocol  IMAP]\nlogin_greeting = c\n"),
            Texts{"7: login_greeting is set twice, first in test.conf:3"})
      << "the same filter, written twice";
}

TEST(Loader, WarnsOfWhatDovecotHasAndPosternHasNot) {
  const Loaded loaded = load_text(
      "auth_cache_size = 1 M\n[service lmtp]\nanything = 1\n"
      "[inet_listener lmtp lmtp]\nport = 1\n[metric x]\n" +
          std::string("[protocol imap]\nimap_id_send =\n") +
          "[passdb p]\ndriver = static\n[local ::1]\nssl = no\n",
      "test.conf", false);
  const Texts warnings = warnings_of(loaded);
  ASSERT_EQ(warnings.size(), 4U);
  EXPECT_EQ(warnings[0], "1: auth_cache_size is not supported yet; it has no effect");
  EXPECT_EQ(warnings[1], "2: Postern has no service lmtp; the section has no effect");
  EXPECT_EQ(warnings[2], "4: Postern has no service lmtp; the section has no effect");
  EXPECT_TRUE(warnings[3].starts_with("6: [metric] sections are not supported"));
  // Without a certificate the built-in imaps listener cannot work.
  EXPECT_TRUE(any_contains_text(errors_of(loaded), "ssl = yes, but ssl_cert is not set"));
}

TEST(Loader, WarnsOfCapabilitiesThatSmtpHasNot) {
  const Loaded loaded = load_text(
      "ssl = no\nsubmission_backend_capabilities = dsn 8BITMIMES\n[protocol submission]\n"
      "submission_backend_capabilities = XFOO\n[passdb p]\ndriver = static\n",
      "test.conf", false);
  EXPECT_EQ(warnings_of(loaded),
            (Texts{"2: Unknown SMTP capability in submission_backend_capabilities: 8BITMIMES (did "
                   "you mean 8BITMIME?)",
                   "4: Unknown SMTP capability in submission_backend_capabilities: XFOO"}));
}

TEST(Loader, RefusesWhatWouldBeMissedAsAProtection) {
  const Texts errors =
      errors_in("ssl_key_isolation = yes\nlogin_plugins = x\n[protocol imap]\nlogin_plugins = y\n");
  ASSERT_EQ(errors.size(), 3U);
  EXPECT_EQ(errors[0],
            "2: ssl_key_isolation is not supported yet, and without it Postern would let "
            "through what it is to keep out; take it out if that is wanted");
  EXPECT_TRUE(errors[2].starts_with("5: login_plugins is not supported yet"));
  EXPECT_EQ(errors_in("ssl_key_isolation = N\nlogin_plugins =\n"), Texts{})
      << "what is off is not missed";
}

TEST(Loader, SaysWhichSettingsNobodyReadsYet) {
  for (const char* line : {"ssl_crypto_device = auto", "mail_max_userip_connections = 3"}) {
    const Loaded loaded = load_text(line + ("\n" + std::string(kLeast)), "test.conf", false);
    EXPECT_TRUE(any_contains_text(warnings_of(loaded), "is not supported yet")) << line;
    EXPECT_TRUE(loaded.configuration) << line;
  }
}

TEST(Loader, TakesBalancersWhereSomebodyReadsTheirHeaders) {
  EXPECT_EQ(errors_in("[inet_listener auth x]\nport = 1143\nhaproxy = yes\n"),
            Texts{"4: [inet_listener auth x]: haproxy = yes is for login services"});
  const std::string listener = "[inet_listener imap-login x]\nport = 1143\nhaproxy = yes\n";
  const auto warned = [&listener](const std::string& settings) {
    const Loaded loaded = load_text(settings + std::string(kLeast) + listener, "test.conf", false);
    EXPECT_TRUE(loaded.configuration);
    return any_contains_text(warnings_of(loaded), "haproxy_trusted_networks is empty");
  };
  EXPECT_TRUE(warned(""));
  EXPECT_TRUE(warned("haproxy_trusted_networks =\n"));
  EXPECT_FALSE(warned("haproxy_trusted_networks = 192.0.2.1, 10.0.0.0/8 2001:db8::/32\n"));
}

TEST(Loader, ChecksSourceAddresses) {
  EXPECT_EQ(errors_in("login_source_ips = ?192.0.2.1, 2001:db8::1 out.example.com\n"), Texts{});
  EXPECT_EQ(errors_in("login_source_ips = ? 192.0.2.1\n"), Texts{});
  EXPECT_EQ(errors_in("login_source_ips =\n"), Texts{});
  for (const char* bad : {"192.0.2.256", "192.0.2.0/24", "192.0.2.1 ?192.0.2.2", "a b!c", "::zz"}) {
    const Texts errors =
        errors_in("[local 10.0.0.1]\nlogin_source_ips = " + std::string(bad) + "\n");
    ASSERT_EQ(errors.size(), 1U) << bad;
    EXPECT_TRUE(errors[0].starts_with("3: login_source_ips: '")) << errors[0];
  }
}

TEST(Loader, FindsWhatAuthCouldNotStartWith) {
  EXPECT_EQ(errors_in("auth_mechanisms =\n"),
            Texts{"2: auth_mechanisms: names none, so nobody could log in"});
  const std::string sql = "[passdb a]\ndriver = sql\nsql_driver = sqlite\nconnect = /x\n";
  EXPECT_EQ(
      errors_in(sql + "password_query = SELECT 1 WHERE u = %u\n"),
      Texts{"6: password_query: a %variable may only stand inside single quotes: it becomes a "
            "bound parameter, as in: WHERE name = '%n'"});
  EXPECT_EQ(errors_in(sql + "password_query = SELECT 'open\n"),
            Texts{"6: password_query: a quote is not closed"});
  EXPECT_TRUE(any_contains_text(errors_in(sql + "password_query = SELECT '%q'\n"),
                                "6: password_query: "
                                "Unknown variable"));
  EXPECT_TRUE(
      any_contains_text(errors_in("[passdb a]\ndriver = static\ndefault_pass_scheme = SHA-256\n"),
                        "(did you mean SHA256?)"));
  EXPECT_EQ(errors_in("[passdb a]\ndriver = static\ndefault_pass_scheme = sha256.HEX\n"), Texts{});
  // Auth starts without a database too: what is installed first has none.
  EXPECT_EQ(warnings_of(load_text("ssl = no\n", "test.conf", false)),
            Texts{"0: there is no [passdb NAME], so nobody can log in"});
}

TEST(Loader, ChecksPassdbsAgainstEachOther) {
  EXPECT_EQ(
      errors_of(load_text("ssl = no\n[passdb a]\ndriver = static\n[passdb b]\ndriver = static\n"
                          "pass = yes\n[passdb m]\ndriver = static\nmaster = yes\npass = yes\n",
                          "test.conf", false)),
      Texts{"6: passdb b: the last passdb cannot have pass = yes: nothing follows that could let "
            "anybody in"});
  EXPECT_EQ(errors_of(load_text("ssl = no\n[passdb a protocol imap]\ndriver = static\n[passdb b]\n"
                                "driver = static\npass = yes\n",
                                "test.conf", false)),
            Texts{})
      << "the one of a protocol is asked behind the others";
  EXPECT_EQ(errors_in("[passdb a]\ndriver = static\npass = yes\nresult_success = continue\n"),
            Texts{"4: pass is the old spelling of result_success = continue; take it out, as "
                  "result_success is set"});
  EXPECT_EQ(errors_in("[passdb a]\ndriver = static\nmechanisms = plan, LOGIN none SCRAM-SHA-256\n"),
            Texts{"4: mechanisms: plan is no SASL mechanism (did you mean plain?)"});
  const Loaded loaded = load_text(
      "ssl = no\n[passdb a]\ndriver = sql\nsql_driver = sqlite\nconnect = /x\nuser_query = SELECT "
      "1\n",
      "test.conf", false);
  EXPECT_EQ(warnings_of(loaded),
            Texts{"6: user_query has no effect in a passdb (it goes into a [userdb NAME])"});
}

TEST(Loader, RefusesBadSectionHeads) {
  for (const char* head : {"[]",
                           "[protocol]",
                           "[protocol a b]",
                           "[local]",
                           "[local nosuch.example]",
                           "[local 10.0.0.0/33]",
                           "[local 10.0.0.1 local 10.0.0.2]",
                           "[local_name a..*]",
                           "[local_name *]",
                           "[remote 10.0.0.1 junk local]",
                           "[service]",
                           "[service a b]",
                           "[service master]",
                           "[inet_listener imap-login]",
                           "[inet_listener master x]",
                           "[unix_listener auth a b]",
                           "[passdb]",
                           "[passdb a b]",
                           "[passdb a protocol]",
                           "[passdb a protocol !imap]",
                           "[plugin]",
                           "[protocol imap",
                           "[protocol imap] x"}) {
    SCOPED_TRACE(head);
    const Texts errors = errors_in(std::string(head) + "\nkeys = are passed over\n");
    ASSERT_EQ(errors.size(), 1U);
    EXPECT_TRUE(errors[0].starts_with("2: ")) << errors[0];
  }
}

TEST(Loader, NamesTheServiceThatWasMeant) {
  EXPECT_EQ(errors_in("[service imap-logn]\nprocess_limit = 1\n"),
            Texts{"2: Unknown service: imap-logn (did you mean imap-login?)"});
  EXPECT_EQ(errors_in("[inet_listener imap-logni imap]\nport = 1\n"),
            Texts{"2: Unknown service: imap-logni (did you mean imap-login?)"});
  EXPECT_EQ(errors_in("[service xyzzy]\n"),
            Texts{"2: Unknown service: xyzzy (a service of your own needs [service NAME] with an "
                  "executable)"});
}

TEST(Loader, KeepsGlobalSettingsOutOfFilters) {
  EXPECT_EQ(errors_in("[protocol imap]\nbase_dir = /x\n"),
            Texts{"3: base_dir holds for everything; it stands before the first section"});
  EXPECT_EQ(errors_in("[local 10.0.0.1]\nauth_failure_delay = 1s\n"),
            Texts{"3: auth_failure_delay can only differ by [protocol NAME]: auth knows nothing "
                  "else when it is asked"});
  EXPECT_EQ(errors_in("[protocol imap]\nauth_failure_delay = 1s\nauth_verbose = yes\n"), Texts{});
  EXPECT_TRUE(any_contains_text(errors_in("[remote 10.0.0.1]\nauth_verbose = yes\n"),
                                "3: auth_verbose can only differ by [protocol NAME]"));
  for (const char* once :
       {"auth_mechanisms = plain", "auth_worker_max_count = 3", "auth_socket_path = /x"}) {
    EXPECT_TRUE(any_contains_text(errors_in("[protocol imap]\n" + std::string(once) + "\n"),
                                  "holds for everything"));
  }
}

TEST(Loader, RefusesDuplicateListeners) {
  EXPECT_EQ(errors_in("[inet_listener imap-login second]\nport = 143\n"),
            (Texts{"3: duplicate listener: [inet_listener imap-login second] 0.0.0.0:143 is also "
                   "[inet_listener imap-login imap] (a default); change the port, address or path "
                   "of one, or switch it off",
                   "3: duplicate listener: [inet_listener imap-login second] [::]:143 is also "
                   "[inet_listener imap-login imap] (a default); change the port, address or path "
                   "of one, or switch it off"}));
  EXPECT_TRUE(any_contains_text(
      errors_in("[inet_listener imap-login second]\naddress = 192.0.2.1\nport = 143\n"),
      "192.0.2.1:143 is also [inet_listener imap-login imap] 0.0.0.0:143"))
      << "one address is part of all";
  EXPECT_TRUE(
      any_contains_text(errors_in("[unix_listener auth ./login//login]\n"), "duplicate listener"));
  EXPECT_TRUE(any_contains_text(errors_in("[unix_listener anvil /run/postern/auth-client]\n"),
                                "duplicate listener"));
  // The built-in one moved to the port of the other: the place is where that was written.
  EXPECT_TRUE(errors_in("[inet_listener imap-login imap]\nport = 993\n"
                        "[inet_listener imap-login x]\nport = 993\n")[0]
                  .starts_with("5: duplicate listener"));
}

TEST(Loader, LetsListenersShareAPortOnDifferentAddresses) {
  EXPECT_EQ(errors_in("listen = 127.0.0.1\n[inet_listener imap-login b]\naddress = 127.0.0.2\n"
                      "port = 143\n[inet_listener imap-login c]\naddress = ::\nport = 143\n"),
            Texts{});
  EXPECT_EQ(errors_in("[inet_listener imap-login b]\nport = 0\n[unix_listener auth login/login]\n"
                      "mode = 0\n[unix_listener anvil login/login]\n"),
            Texts{})
      << "what is switched off is in nobody's way";
}

TEST(Loader, ChecksAddressesPathsAndAccounts) {
  EXPECT_EQ(errors_in("listen = localhost\n"),
            Texts{"2: listen: 'localhost' is not an address (*, ::, 192.0.2.1 or 2001:db8::1; host "
                  "names are not looked up)"});
  EXPECT_EQ(errors_in("[inet_listener imap-login x]\n"),
            Texts{"2: [inet_listener imap-login x] has no port (port = 0 switches it off)"});
  EXPECT_EQ(errors_in("base_dir = run\n"), Texts{"2: base_dir: 'run' is not an absolute path"});
  EXPECT_EQ(errors_in("log_path = x.log\n"),
            Texts{"2: log_path: 'x.log' is not an absolute path nor syslog"});
  EXPECT_EQ(errors_in("[service auth]\nuser = $nosuch\n"),
            Texts{"3: user: $nosuch is not one of $default_internal_user, "
                  "$default_internal_group, $default_login_user"});
  EXPECT_TRUE(any_contains_text(errors_in("[unix_listener auth /" + std::string(108, 'x') + "]\n"),
                                "too long for a socket"));
  EXPECT_EQ(errors_in("[unix_listener auth /" + std::string(106, 'x') + "]\n"), Texts{});
  EXPECT_EQ(errors_in("auth_username_translation = abc\n"),
            Texts{"2: auth_username_translation: the bytes must come in pairs"});
}

TEST(Loader, KnowsWhichServicesAreSingle) {
  for (const char* name : {"log", "anvil", "auth"}) {
    EXPECT_EQ(errors_in("[service " + std::string(name) + "]\nprocess_limit = 2\n"),
              Texts{"3: service " + std::string(name) +
                    ": process_limit must be 1: there can be only one"});
  }
}

TEST(Loader, ChecksProtocols) {
  EXPECT_EQ(errors_in("protocols = imap none\n"),
            Texts{"2: protocols: 'none' cannot stand beside others"});
  EXPECT_EQ(errors_in("[service imap-login]\nprotocol = pop3\n"),
            Texts{"0: protocols: no service of type login has protocol = imap ([service "
                  "imap-login])"});
  EXPECT_EQ(errors_in("protocols = none\n"), Texts{});
}

TEST(Loader, ChecksWhatADriverNeeds) {
  EXPECT_EQ(errors_in("[passdb a]\ndriver = sql\n"),
            (Texts{"3: passdb a: driver = sql needs sql_driver (sqlite)",
                   "3: passdb a: driver = sql needs connect (the SQLite file)"}));
  EXPECT_EQ(errors_in("[userdb a]\ndriver = passwd-file\n"),
            Texts{"3: userdb a: driver = passwd-file needs passwd_file_path (the file)"});
  EXPECT_EQ(
      errors_in("[passdb a]\ndriver = passwd-file\nargs = scheme=ROT13\n"),
      (Texts{"3: passdb a: driver = passwd-file needs passwd_file_path (the file)",
             "4: args: scheme: 'ROT13' is not one of " +
                 std::string("PLAIN, CLEAR, CLEARTEXT, CRYPT, DES-CRYPT, MD5-CRYPT, "
                             "SHA256-CRYPT, SHA512-CRYPT, BLF-CRYPT, MD5, PLAIN-MD5, LDAP-MD5, "
                             "SMD5, SHA, SHA1, SHA256, SHA512, SSHA, SSHA256, SSHA512, ARGON2, "
                             "ARGON2I, ARGON2ID, PBKDF2")}));
  EXPECT_EQ(errors_in("[userdb a]\ndriver = prefetch\n[passdb a]\ndriver = passwd-file\n"
                      "args = username_format=%n /etc/users\n"),
            Texts{});
  EXPECT_EQ(errors_in("[passdb a]\ndriver = static\n[passdb a]\ndriver = static\n"),
            Texts{"4: the passdb a stands in test.conf:2 already; give this one another name"});
  const Loaded loaded = load_text(
      "ssl = no\n[passdb a]\ndriver = static\npassword_query = SELECT 1\n", "test.conf", false);
  EXPECT_EQ(warnings_of(loaded),
            Texts{"4: password_query has no effect with driver = static (it is for sql)"});
}

TEST(Loader, QuotesNoSecretInAnError) {
  const Loaded loaded =
      load_text("ssl = no\n[passdb a]\ndriver = static\npassword = hunter%&zz\n", "t", false);
  const Texts errors = errors_of(loaded);
  ASSERT_EQ(errors.size(), 1U);
  for (const char* part : {"hunter", "%&", "zz"}) {
    EXPECT_EQ(errors[0].find(part), std::string::npos) << errors[0];
  }
  EXPECT_EQ(errors_in("[passdb a]\ndriver = static\npassword = <hidden>\n"),
            Texts{"4: password: <hidden> is what postern -n shows instead of a secret; put the "
                  "secret here"});
}

TEST(Loader, WarnsWhenAuthOrAnvilAreTooSmall) {
  const Texts warnings =
      warnings_of(load_text("ssl = no\n[passdb p]\ndriver = static\n[service imap-login]\n"
                            "process_limit = 1500\n",
                            "test.conf", false));
  EXPECT_EQ(warnings,
            (Texts{"0: service auth { client_limit=1000 } is lower than required under max. load "
                   "(1500). Counted for protocol services with service_count != 1: service "
                   "imap-login { process_limit=1500 }",
                   "0: service anvil { client_limit=1000 } is lower than required under max. load "
                   "(1503). Counted with: 2 + service auth { process_limit=1 } + service "
                   "imap-login { process_limit=1500 }"}));
}

TEST(Loader, AsksForACertificateWhereTlsIsSpoken) {
  const auto errors = [](const std::string& text) {
    return errors_of(load_text(text + "[passdb p]\ndriver = static\n", "test.conf", false));
  };
  EXPECT_TRUE(any_contains_text(errors(""), "[inet_listener imap-login imaps] needs one"));
  EXPECT_TRUE(
      any_contains_text(errors("ssl = required\n[inet_listener imap-login imaps]\nport = 0\n"),
                        "1: ssl = required, but ssl_cert is not set, so nobody"));
  EXPECT_EQ(errors("[inet_listener imap-login imaps]\nport = 0\n"), Texts{}) << "no STARTTLS then";
  EXPECT_EQ(errors("ssl = no\n"), Texts{});
  EXPECT_EQ(errors("protocols = none\n"), Texts{});
}

// -- files --

TEST(LoaderFiles, IncludesSortedAndRelativeToTheIncludingFile) {
  const TestDirectory dir;
  dir.write("conf.d/20.conf", "[passdb second]\ndriver = static\n");
  dir.write("conf.d/10.conf", "listen = 127.0.0.1\n[passdb first]\ndriver = static\n");
  dir.write("conf.d/other.txt", "nosuch = 1\n");
  dir.write("main.conf",
            "[passdb zero]\ndriver = static\ninclude = conf.d/*.conf\n"
            "password = x\n");
  dir.write("conf.d/10.d/x", "");
  const std::string path = dir.write("top.conf", "ssl = no\ninclude = main.conf\n");
  const Loaded loaded = load(path);
  ASSERT_TRUE(loaded.configuration) << loaded.problems.front().text();
  EXPECT_EQ(loaded.configuration->path(), path);
  const Snapshot auth =
      std::move(Snapshot::parse(loaded.configuration->snapshot("auth", {}).view()).value());
  ASSERT_EQ(auth.passdbs.size(), 3U);
  EXPECT_EQ(auth.passdbs[0].name, "zero");
  EXPECT_EQ(auth.passdbs[0].password.reveal(), "x") << "the section goes on after the include";
  EXPECT_EQ(auth.passdbs[1].name, "first");
  EXPECT_EQ(auth.passdbs[2].name, "second");
  EXPECT_EQ(loaded.configuration->master().listen, Texts{"127.0.0.1"})
      << "an included file begins before its own first section";
}

TEST(LoaderFiles, TakesAnIncludeInQuotes) {
  const TestDirectory dir;
  dir.write("two words.conf", "login_greeting = included\n");
  const std::string path =
      dir.write("a.conf", "include = \"two words.conf\"\n" + std::string(kLeast));
  const Loaded loaded = load(path);
  ASSERT_TRUE(loaded.configuration) << loaded.problems.front().text();
  EXPECT_NE(loaded.configuration->print_changed().find("login_greeting = included"),
            std::string::npos);
}

TEST(LoaderFiles, TellsTheIncludedFileAndItsLine) {
  const TestDirectory dir;
  const std::string inner = dir.write("inner.conf", "\n\nnosuch = 1\n");
  const std::string path =
      dir.write("a.conf", "nosuch_either = 1\ninclude = inner.conf\nssl = no\n");
  const Loaded loaded = load(path);
  ASSERT_GE(loaded.problems.size(), 2U);
  EXPECT_TRUE(loaded.problems[1].text().starts_with(inner + ":3: Unknown setting: nosuch") ||
              loaded.problems[2].text().starts_with(inner + ":3: Unknown setting: nosuch"));
}

TEST(LoaderFiles, FindsIncludeLoopsAndMissingFiles) {
  const TestDirectory dir;
  dir.write("b.conf", "include = a.conf\n");
  const std::string a = dir.write("a.conf", "include = b.conf\n" + std::string(kLeast));
  EXPECT_TRUE(any_contains_text(errors_of(load(a)), "1: include loop: "));
  ASSERT_EQ(symlink("self.conf", dir.path("link.conf").c_str()), 0);
  const std::string self = dir.write("self.conf", "include = link.conf\n" + std::string(kLeast));
  EXPECT_TRUE(any_contains_text(errors_of(load(self)), "include loop"));
  const std::string none = dir.write("n.conf", "include = nosuch/*.conf\n" + std::string(kLeast));
  EXPECT_EQ(errors_of(load(none)),
            Texts{"1: include: no file matches " + dir.path("nosuch/*.conf")});
  const Loaded missing = load(dir.path("gone.conf"));
  EXPECT_EQ(missing.problems.front().text().substr(0, dir.path("gone.conf").size() + 13),
            dir.path("gone.conf") + ": cannot read");
  EXPECT_FALSE(missing.configuration);
}

TEST(LoaderFiles, NestsDeepButNotForEver) {
  const TestDirectory dir;
  constexpr int kDeep = 63;
  for (int i = 0; i < kDeep; i++) {
    dir.write(std::to_string(i), "include = " + std::to_string(i + 1) + "\n");
  }
  dir.write(std::to_string(kDeep), std::string(kLeast));
  EXPECT_TRUE(errors_of(load(dir.path("0"))).empty());
  const std::string over = dir.write("over", "include = 0\n");
  EXPECT_TRUE(any_contains_text(errors_of(load(over)), "nested more than 64 deep"));
}

TEST(LoaderFiles, TakesAFilesContentAsAValue) {
  const TestDirectory dir;
  const std::string query = "SELECT password ; -- 'x'\nFROM users WHERE user = '%u'";
  dir.write("query.sql", query + "\n");
  dir.write("users.db", "");
  dir.write("secret", "p;a \"ss#\r\n");
  const std::string path =
      dir.write("a.conf",
                "ssl = no\n[passdb p]\ndriver = sql\nsql_driver = sqlite\nconnect = /x\n"
                "password_query = <query.sql\n[passdb q]\ndriver = static\npassword =<  secret\n"
                "[passdb r]\ndriver = static\npassword = \"<secret\"\n");
  const Loaded loaded = load(path);
  ASSERT_TRUE(loaded.configuration) << loaded.problems.front().text();
  const Snapshot auth =
      std::move(Snapshot::parse(loaded.configuration->snapshot("auth", {}).view()).value());
  EXPECT_EQ(auth.passdbs.at(0).password_query, query);
  EXPECT_EQ(auth.passdbs.at(1).password.reveal(), "p;a \"ss#");
  EXPECT_EQ(auth.passdbs.at(2).password.reveal(), "<secret") << "in quotes it is no file";
}

TEST(LoaderFiles, TellsFilesItCannotRead) {
  const TestDirectory dir;
  mkfifo(dir.path("fifo").c_str(), 0600);
  const std::string path =
      dir.write("a.conf", "ssl = no\nssl_cert = <nosuch.pem\nssl_key = <" + dir.path("") +
                              "\nssl_ca = <fifo\nssl_client_ca_file = gone.pem\n"
                              "ssl_client_ca_dir = gone.d\nssl_alt_cert = <\n" +
                              "[passdb p]\ndriver = static\n");
  const Texts errors = errors_of(load(path));
  ASSERT_EQ(errors.size(), 6U);
  EXPECT_EQ(errors[0],
            "2: ssl_cert: cannot read " + dir.path("nosuch.pem") + ": No such file or directory");
  EXPECT_TRUE(errors[1].ends_with("Is a directory")) << errors[1];
  EXPECT_TRUE(errors[2].ends_with("it is not a regular file")) << errors[2];
  EXPECT_TRUE(errors[3].starts_with("5: ssl_client_ca_file: cannot read")) << errors[3];
  EXPECT_TRUE(errors[4].starts_with("6: ssl_client_ca_dir: cannot read")) << errors[4];
  EXPECT_EQ(errors[5], "7: ssl_alt_cert: no file is named behind '<'");
}

TEST(LoaderFiles, ReadsNoneWhenItMayNot) {
  EXPECT_EQ(errors_in("include = /etc/passwd\nssl_ca = </etc/passwd\nssl_client_ca_dir = /etc\n"),
            (Texts{"2: include: no files may be read here", "3: ssl_ca: no files may be read here",
                   "4: ssl_client_ca_dir: no files may be read here"}));
}

TEST(LoaderFiles, WantsKeysBesideCertificates) {
  const TestDirectory dir;
  dir.write("c.pem", "x");
  const std::string path =
      dir.write("a.conf",
                "ssl = no\nssl_cert = <c.pem\nssl_client_key = <c.pem\n[local ::1]\n"
                "ssl_alt_cert = <c.pem\n[passdb p]\ndriver = static\n");
  EXPECT_EQ(errors_of(load(path)), (Texts{"2: ssl_cert is set, but ssl_key is not",
                                          "3: ssl_client_key is set, but ssl_client_cert is not",
                                          "5: ssl_alt_cert is set, but ssl_alt_key is not"}));
}

}  // namespace
}  // namespace postern::config
