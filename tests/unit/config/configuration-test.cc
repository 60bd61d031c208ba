#include "config/config.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "config-testing.h"
#include "config/service-defaults.h"

namespace postern::config {
namespace {

using Texts = std::vector<std::string>;

Texts socket_texts(const Configuration& configuration, std::string_view service) {
  Texts out;
  for (const SocketInfo& s : configuration.sockets(service)) out.push_back(s.name + " " + s.text());
  return out;
}

Snapshot snapshot_of(const Configuration& configuration, std::string_view service) {
  auto parsed =
      Snapshot::parse(configuration.snapshot(service, configuration.sockets(service)).view());
  EXPECT_TRUE(parsed.ok());
  return std::move(parsed.value());
}

TEST(Services, AreThereWithoutBeingAskedForAndStartInOrder) {
  const Configuration c = good(std::string(kLeast));
  Texts names;
  for (const ServiceSettings& s : c.services()) names.push_back(s.name);
  EXPECT_EQ(names, (Texts{"log", "anvil", "auth", "auth-worker", "imap-login"}));
  EXPECT_EQ(c.service("nosuch"), nullptr);
  ASSERT_NE(c.service(kMasterService), nullptr);
  const auto control = c.sockets(kMasterService);
  ASSERT_EQ(control.size(), 1U);
  EXPECT_EQ(control[0].path, "/run/postern/control");
  EXPECT_EQ(control[0].mode, 0600U);
}

TEST(Services, HaveTheirUsersLimitsAndRoots) {
  const Configuration c = good("libexec_dir = /usr/lib/p/\n" + std::string(kLeast));
  const ServiceSettings& login = *c.service("imap-login");
  EXPECT_EQ(login.type, ServiceType::login);
  EXPECT_EQ(login.user, "postern-login");
  EXPECT_EQ(login.chroot, "/run/postern/empty");
  EXPECT_EQ(login.executable, "/usr/lib/p/imap-login");
  EXPECT_EQ(login.process_limit, 100U);
  EXPECT_EQ(login.service_count, 1U);
  EXPECT_EQ(login.client_limit, 1U) << "never more than service_count";
  EXPECT_EQ(login.vsz_limit, 256UL << 20U);
  EXPECT_EQ(login.idle_kill, std::chrono::minutes(1));
  EXPECT_EQ(c.service("log")->user, "postern");
  EXPECT_EQ(c.service("log")->idle_kill, kInfinite);
  EXPECT_EQ(c.service("anvil")->user, "postern");
  EXPECT_EQ(c.service("auth")->user, "postern-auth");
  EXPECT_EQ(c.service("auth")->chroot, "");
  EXPECT_EQ(c.service("auth")->client_limit, 1000U);
  EXPECT_EQ(c.service("auth")->process_limit, 1U);
  EXPECT_EQ(c.service("auth-worker")->type, ServiceType::worker);
  EXPECT_EQ(c.service("auth-worker")->client_limit, 1U);
  EXPECT_EQ(c.service("auth-worker")->process_limit, 30U);
}

TEST(Services, FollowTheDefaultsTheyAreMadeFrom) {
  const Configuration c = good(
      "base_dir = /srv/p\nauth_worker_max_count = 7\ndefault_process_limit = 9\n"
      "default_client_limit = 50\ndefault_idle_kill = 3s\ndefault_vsz_limit = 0\n"
      "default_internal_user = in\ndefault_login_user = out\n[service imap-login]\n"
      "service_count = 0\nuser = $default_internal_user\n[service anvil]\nclient_limit = 60\n" +
      std::string(kLeast).substr(9) +
      "[protocol imap]\nssl = no\n[inet_listener imap-login "
      "imaps]\nport = 0\n");
  EXPECT_EQ(c.service("auth-worker")->process_limit, 7U);
  const ServiceSettings& login = *c.service("imap-login");
  EXPECT_EQ(login.process_limit, 9U);
  EXPECT_EQ(login.client_limit, 50U);
  EXPECT_EQ(login.idle_kill, std::chrono::seconds(3));
  EXPECT_EQ(login.vsz_limit, 0U);
  EXPECT_EQ(login.user, "in");
  EXPECT_EQ(login.chroot, "/srv/p/empty");
  EXPECT_EQ(c.service("anvil")->client_limit, 60U);
  EXPECT_EQ(c.service("log")->user, "in");
}

TEST(Services, OfOnesOwnAreServedToo) {
  const Configuration c =
      good(std::string(kLeast) +
           "[service inner]\nexecutable = imap-login --x\ntype = login\nprotocol = imap\n"
           "[inet_listener inner a]\nport = 1430\naddress = 127.0.0.1 [::1]\n"
           "[service tail]\nexecutable = /bin/tail\n");
  ASSERT_NE(c.service("inner"), nullptr);
  EXPECT_EQ(c.services().back().name, "inner") << "logins last";
  EXPECT_TRUE(c.service("inner")->executable.ends_with("/imap-login --x"));
  EXPECT_EQ(c.service("tail")->executable, "/bin/tail");
  EXPECT_EQ(socket_texts(c, "inner"), (Texts{"a 127.0.0.1:1430", "a [::1]:1430"}));
}

TEST(Services, ExistOnlyForProtocolsThatAreServed) {
  const Configuration c = good("protocols = none\n" + std::string(kLeast));
  EXPECT_EQ(c.service("imap-login"), nullptr);
  EXPECT_TRUE(c.sockets("imap-login").empty());
  EXPECT_NE(c.service("auth"), nullptr);
}

TEST(Sockets, AreOneAnAddressInOrder) {
  EXPECT_EQ(socket_texts(good(std::string(kLeast)), "imap-login"),
            (Texts{"imap 0.0.0.0:143", "imap [::]:143"}))
      << "no imaps where ssl = no";
  const Configuration c = good(
      "listen = 192.0.2.1, 2001:db8::1\nbase_dir = /srv/p\n[unix_listener auth /var/x/private]\n"
      "mode = 0660\nuser = postfix\ngroup = mail\n[unix_listener auth auth-client]\nmode = 0\n" +
      std::string(kLeast).substr(9) +
      "[service imap-login]\nprotocol = imap\n[inet_listener imap-login imaps]\nport = 0\n"
      "[inet_listener imap-login proxied]\nport = 10143\nreuse_port = yes\n");
  EXPECT_EQ(socket_texts(c, "imap-login"),
            (Texts{"imap 192.0.2.1:143", "imap [2001:db8::1]:143", "proxied 192.0.2.1:10143",
                   "proxied [2001:db8::1]:10143"}));
  EXPECT_TRUE(c.sockets("imap-login").back().reuse_port);
  EXPECT_FALSE(c.sockets("imap-login").front().any_address);
  EXPECT_EQ(socket_texts(c, "auth"),
            (Texts{"auth-login /srv/p/auth-login", "auth-master /srv/p/auth-master",
                   "auth-userdb /srv/p/auth-userdb", "login/login /srv/p/login/login",
                   "/var/x/private /var/x/private"}));
  const SocketInfo last = c.sockets("auth").back();
  EXPECT_EQ(last.mode, 0660U);
  EXPECT_EQ(last.user, "postfix");
  EXPECT_EQ(last.group, "mail");
  EXPECT_EQ(c.sockets("auth").front().user, "postern") << "$default_internal_user is resolved";
}

/// A configuration with a secret in every place, and the files behind it.
struct Secretive {
  TestDirectory dir;
  Secretive() {
    dir.write("key.pem", "-----BEGIN PRIVATE KEY-----\nTLSKEYBYTES\n-----END PRIVATE KEY-----\n");
    dir.write("cert.pem", "-----BEGIN CERTIFICATE-----\nCERTBYTES\n-----END CERTIFICATE-----\n");
    dir.write("other.pem", "-----BEGIN CERTIFICATE-----\nOTHERCERT\n-----END CERTIFICATE-----\n");
    dir.write("ca/0123abcd.0", "CAONE");
    dir.write("ca/0123abcd.1", "CATWO\n");
    dir.write("ca/README", "NOTACERT");
    dir.write("a.conf",
              "ssl_cert = <cert.pem\nssl_key = <key.pem\nssl_key_password = KEYPASSWORD\n"
              "ssl_client_ca_dir = ca\nssl_client_ca_file = other.pem\n"
              "login_greeting = hello\nauth_username_format = %Lu\nlog_path = /var/log/x\n"
              "[protocol imap]\nauth_failure_delay = 3s\nlogin_greeting = imap here\n"
              "[protocol smtp]\nauth_failure_delay = 4s\n"
              "[local_name a.example.com]\nssl_cert = <other.pem\n"
              "[passdb sql]\ndriver = sql\nsql_driver = sqlite\nconnect = /db/DBPATH.sqlite\n"
              "password_query = SELECT SQLQUERY ; # FROM t WHERE u = '%u'\n"
              "[passdb st protocol imap]\ndriver = static\npassword = DBPASSWORD ;x\n"
              "[userdb u]\ndriver = static\nargs = uid=USERDBARGS\n");
  }
  Configuration load() const {
    Loaded loaded = config::load(dir.path("a.conf"));
    for (const Problem& p : loaded.problems) EXPECT_TRUE(p.warning) << p.text();
    return std::move(*loaded.configuration);
  }
};

TEST(Snapshots, HoldNothingTheProcessDoesNotNeed) {
  const Secretive files;
  const Configuration c = files.load();
  const auto holds = [&c](std::string_view service, std::string_view bytes) {
    return c.snapshot(service, {}).view().find(bytes) != std::string_view::npos;
  };
  for (const char* database : {"DBPATH", "SQLQUERY", "DBPASSWORD", "USERDBARGS"}) {
    SCOPED_TRACE(database);
    EXPECT_TRUE(holds("auth", database));
    for (const char* other : {"auth-worker", "imap-login", "log", "anvil"})
      EXPECT_FALSE(holds(other, database));
  }
  for (const char* tls :
       {"TLSKEYBYTES", "CERTBYTES", "OTHERCERT", "KEYPASSWORD", "CAONE", "CATWO"}) {
    SCOPED_TRACE(tls);
    EXPECT_TRUE(holds("imap-login", tls));
    for (const char* other : {"auth", "auth-worker", "log", "anvil"})
      EXPECT_FALSE(holds(other, tls));
  }
  EXPECT_FALSE(holds("imap-login", "NOTACERT"));
  EXPECT_FALSE(holds("imap-login", "/var/log/x"));
  EXPECT_TRUE(holds("log", "/var/log/x"));
}

TEST(Snapshots, AreReadBackByTheChild) {
  const Secretive files;
  const Configuration c = files.load();
  Snapshot login = snapshot_of(c, "imap-login");
  EXPECT_EQ(login.service.name, "imap-login");
  EXPECT_EQ(login.service.client_limit, 1U);
  EXPECT_EQ(login.service.chroot, "/run/postern/empty");
  ASSERT_EQ(login.listeners.size(), 4U);
  EXPECT_EQ(login.listeners[2].text(), "0.0.0.0:993");
  EXPECT_TRUE(login.listeners[2].ssl);
  EXPECT_TRUE(login.listeners[2].any_address);
  LoginConfig config(std::move(login));
  const auto settings = config.global("imap");
  EXPECT_EQ(settings->login_greeting, "imap here");
  EXPECT_TRUE(settings->ssl_key.reveal().find("TLSKEYBYTES") != std::string_view::npos);
  EXPECT_EQ(settings->ssl_client_ca_dir.reveal(), "CAONE\nCATWO\n\n");
  EXPECT_EQ(settings->ssl_key_password.reveal(), "KEYPASSWORD");
  EXPECT_TRUE(config.depends_on_local_name());
  EXPECT_EQ(config.with_certificates("imap").size(), 2U);

  AuthConfig auth(snapshot_of(c, "auth"));
  EXPECT_EQ(auth.select("imap")->auth_failure_delay, std::chrono::seconds(3));
  EXPECT_EQ(auth.select("smtp")->auth_failure_delay, std::chrono::seconds(4));
  EXPECT_EQ(auth.select("pop3")->auth_failure_delay, std::chrono::seconds(2));
  ASSERT_EQ(auth.passdbs().size(), 2U);
  EXPECT_EQ(auth.passdbs()[0].password_query, "SELECT SQLQUERY ; # FROM t WHERE u = '%u'");
  EXPECT_EQ(auth.passdbs()[1].protocol, "imap");
  EXPECT_EQ(auth.passdbs()[1].password.reveal(), "DBPASSWORD ;x");
  EXPECT_EQ(auth.userdbs().at(0).args.reveal(), "uid=USERDBARGS");
  EXPECT_EQ(snapshot_of(c, "log").log().log_path, "/var/log/x");
  EXPECT_EQ(snapshot_of(c, "anvil").anvil().base_dir, "/run/postern");
}

TEST(Snapshots, HoldALongQueryWhole) {
  std::string query = "SELECT ";
  while (query.size() < 100000) query += "'x;y' AS \"a\" ; # = [b] ";
  query += "FROM t";
  const Configuration c = good(
      "ssl = no\n[passdb p]\ndriver = sql\nsql_driver = sqlite\n"
      "connect = /x ;y\npassword_query = " +
      query + "\n");
  AuthConfig auth(snapshot_of(c, "auth"));
  EXPECT_EQ(auth.passdbs().at(0).password_query, query);
  EXPECT_EQ(auth.passdbs().at(0).connect.reveal(), "/x ;y");
}

// -- filters --

/// The greeting of a connection to 192.0.2.1 from 198.51.100.7 that asked for `name`.
std::string greeting(const std::string& filters, const std::string& name = "mail.example.com") {
  const Configuration c =
      good(std::string(kLeast) + "[protocol imap]\nimap_id_log = x\n" + filters);
  LoginConfig config(snapshot_of(c, "imap-login"));
  return config
      .select("imap", *IpAddress::parse("192.0.2.1"), *IpAddress::parse("198.51.100.7"), name)
      ->login_greeting;
}

std::string filter(const std::string& head) {
  return "[" + head + "]\nlogin_greeting = " + head + "\n";
}

TEST(Filters, MoreSpecialOnesWinWhateverTheirOrder) {
  const Texts rising{"protocol !pop3",
                     "protocol imap",
                     "local 192.0.2.0/24",
                     "local 192.0.2.1/32",
                     "local_name *.example.com",
                     "local_name mail.example.com",
                     "remote 198.51.0.0/16",
                     "remote 198.51.100.7/32",
                     "protocol imap local 192.0.2.0/24",
                     "local_name mail.example.com remote 198.51.100.0/24",
                     "protocol imap local 192.0.2.1 local_name mail.example.com"};
  for (std::size_t i = 0; i < rising.size(); i++) {
    for (std::size_t k = 0; k < i; k++) {
      // protocol imap stands in the frame of the text already.
      SCOPED_TRACE(rising[k] + " < " + rising[i]);
      EXPECT_EQ(greeting(filter(rising[k]) + filter(rising[i])), rising[i]);
      EXPECT_EQ(greeting(filter(rising[i]) + filter(rising[k])), rising[i]);
    }
  }
}

TEST(Filters, EquallySpecialOnesWinByTheirPlace) {
  EXPECT_EQ(greeting(filter("local 192.0.2.1 10.0.0.1") + filter("local 192.0.2.1 10.0.0.2")),
            "local 192.0.2.1 10.0.0.2");
}

TEST(Filters, ThatDoNotMatchChangeNothing) {
  for (const char* head : {"protocol pop3", "protocol !imap", "local 192.0.2.2", "remote ::/0",
                           "local_name example.com", "local_name *.mail.example.com",
                           "local 192.0.2.1 remote 10.0.0.0/8"}) {
    EXPECT_EQ(greeting(filter(head)), "Postern ready.") << head;
  }
  EXPECT_EQ(greeting(filter("local_name *.example.com"), ""), "Postern ready.");
  EXPECT_EQ(greeting(filter("local_name *.EXAMPLE.com"), "A.example.COM"),
            "local_name *.EXAMPLE.com");
  EXPECT_EQ(greeting(filter("local_name *.example.com"), "a.b.example.com"), "Postern ready.");
}

TEST(Filters, OfOtherProtocolsAreNotTold) {
  const Configuration c =
      good(std::string(kLeast) + "[protocol pop3]\nlogin_greeting = POPGREETING\n");
  EXPECT_EQ(c.snapshot("imap-login", {}).view().find("POPGREETING"), std::string_view::npos);
}

TEST(Tls, IsListedGloballyAndForEachFilterThatChangesIt) {
  const Secretive files;
  const auto list = files.load().tls();
  ASSERT_EQ(list.size(), 2U);
  EXPECT_EQ(list[0].where, "");
  EXPECT_EQ(list[0].line, 1U);
  EXPECT_EQ(list[1].where, "local_name a.example.com");
  EXPECT_EQ(list[1].line, 15U);
  EXPECT_EQ(list[1].file, files.dir.path("a.conf"));
  EXPECT_NE(list[1].settings->ssl_cert.reveal().find("OTHERCERT"), std::string_view::npos);
  EXPECT_NE(list[1].settings->ssl_key.reveal().find("TLSKEYBYTES"), std::string_view::npos)
      << "the global key goes with it";
}

// -- -n and -a --

class TlsFiles : public ::testing::Test {
 protected:
  TestDirectory directory;
  std::string cert = directory.write("cert.pem", "certificate 1\n");
  std::string key = directory.write("key.pem", "key 1\n");

  Configuration load() const {
    Loaded loaded = load_text("ssl_cert = <" + cert + "\nssl_key = <" + key + "\nssl_dh = <" + key +
                                  "\n" + std::string(kLeast),
                              "test.conf", true);
    EXPECT_TRUE(loaded.configuration);
    return std::move(*loaded.configuration);
  }
};

std::optional<Configuration> with_present(const Configuration& before, const Texts& paths,
                                          Texts& errors) {
  return before.with_files(before.present_files(paths, errors));
}

TEST_F(TlsFiles, AreEachNamedOnce) {
  EXPECT_EQ(load().tls_files(), (Texts{cert, key}));
}

TEST_F(TlsFiles, AreReadAgainAndOnlyThose) {
  const Configuration before = load();
  Texts errors;
  EXPECT_FALSE(with_present(before, {cert, key}, errors)) << "nothing has changed";
  directory.write("cert.pem", "certificate 2\n");
  directory.write("key.pem", "key 2\n");
  const auto after = with_present(before, {cert}, errors);
  ASSERT_TRUE(after);
  EXPECT_TRUE(errors.empty());
  const auto tls = after->tls();
  EXPECT_EQ(tls.front().settings->ssl_cert.reveal(), "certificate 2\n");
  EXPECT_EQ(tls.front().settings->ssl_key.reveal(), "key 1\n");
  EXPECT_EQ(before.tls().front().settings->ssl_cert.reveal(), "certificate 1\n");
  // Everything else is what it was.
  EXPECT_EQ(after->print_changed(), before.print_changed());
  EXPECT_EQ(after->services().size(), before.services().size());
}

TEST_F(TlsFiles, ThatCannotBeReadKeepWhatTheyHad) {
  const Configuration before = load();
  std::filesystem::remove(key);
  directory.write("cert.pem", "certificate 2\n");
  Texts errors;
  const auto after = with_present(before, {cert, key}, errors);
  ASSERT_TRUE(after);
  ASSERT_EQ(errors.size(), 1U) << "one file, though two settings have it";
  EXPECT_NE(errors[0].find("No such file"), std::string::npos) << errors[0];
  EXPECT_EQ(after->tls().front().settings->ssl_key.reveal(), "key 1\n");
}

/// As a full disk leaves it: no reason to have no certificate.
TEST_F(TlsFiles, ThatAreEmptyNowKeepWhatTheyHad) {
  const Configuration before = load();
  directory.write("cert.pem", "");
  Texts errors;
  EXPECT_FALSE(with_present(before, {cert, key}, errors));
  EXPECT_EQ(errors, (Texts{"ssl_cert: " + cert + " is empty"}));
}

TEST(Print, SaysNothingOfDefaults) {
  const std::string text =
      good("ssl = yes\nprotocols = none\nlisten = *,::\n[service auth]\nprocess_limit = 1\n")
          .print_changed();
  EXPECT_TRUE(text.starts_with("# Postern "));
  EXPECT_EQ(text.substr(text.find('\n') + 1), "protocols = none\n");
}

TEST(Print, ReadsBackToTheSame) {
  const TestDirectory dir;
  dir.write("c.pem", "-----BEGIN X\n");
  const std::string path = dir.write(
      "a.conf",
      "ssl_cert = <c.pem\nssl_key = <" + dir.path("c.pem") + "\nssl_client_ca_file = c.pem\n" +
          "login_greeting = \"  two blanks ; and \\\"quotes\\\" \\\\ \"\nlog_timestamp =\n"
          "imap_capability = '+X'\nimap_id_send = \"\"\"\nproxy_tcp_keepalive = no\n"
          "login_log_format_elements = <x> %u\\\n"
          "[remote 10.0.0.0/8 local_name *.x.org y.org protocol !imap]\nssl = required\n"
          "login_greeting = Postern ready.\n[protocol imap]\nauth_failure_delay = 5s\n"
          "[local 10.0.0.1]\nlogin_timeout = 60s\n[local 10.0.0.0/8]\nlogin_timeout = 120s\n"
          "[service imap-login]\nservice_count = 0\nvsz_limit = 0\nidle_kill = infinite\n"
          "[service own]\nexecutable = imap-login\ntype = login\nprotocol = imap\n"
          "[inet_listener own off]\nport = 0\n[unix_listener auth extra]\n"
          "[unix_listener auth auth-client]\nmode = 0\n[service auth-worker]\nprocess_limit = 0\n"
          "[passdb z protocol imap]\ndriver = passwd-file\npasswd_file_path = /etc/%d/users\n"
          "result_success = continue-ok\n[passdb a]\ndriver = sql\nsql_driver = sqlite\n"
          "connect = <c.pem\npassword_query = SELECT \"a\" ; # '' FROM b\n"
          "[userdb a]\ndriver = prefetch\n");
  // "<x>" names a file for the reader; give it one.
  dir.write("x> %u\\", "user=<%u>\n");
  Loaded first = load(path);
  for (const Problem& p : first.problems) EXPECT_TRUE(p.warning) << p.text();
  ASSERT_TRUE(first.configuration);
  for (const bool all : {false, true}) {
    const auto print = [all](const Configuration& c) {
      std::string text = all ? c.print_all() : c.print_changed();
      return text.substr(text.find('\n') + 1);  // without the line that names the file
    };
    const std::string text = print(*first.configuration);
    Loaded second = load(dir.write("again.conf", text));
    for (const Problem& p : second.problems) EXPECT_TRUE(p.warning) << p.text();
    ASSERT_TRUE(second.configuration);
    EXPECT_EQ(print(*second.configuration), text);
    EXPECT_EQ(second.configuration->print_changed().substr(
                  second.configuration->print_changed().find('\n')),
              first.configuration->print_changed().substr(
                  first.configuration->print_changed().find('\n')));
    for (const char* service : {"log", "anvil", "auth", "auth-worker", "imap-login", "own"}) {
      EXPECT_EQ(second.configuration->service(service)->process_limit,
                first.configuration->service(service)->process_limit);
      EXPECT_EQ(socket_texts(*second.configuration, service),
                socket_texts(*first.configuration, service));
    }
  }
}

TEST(Print, HidesSecretsEverywhere) {
  const Secretive files;
  const Configuration c = files.load();
  for (const std::string& text : {c.print_changed(), c.print_all()}) {
    for (const char* secret : {"KEYPASSWORD", "TLSKEYBYTES", "DBPASSWORD", "USERDBARGS"}) {
      EXPECT_EQ(text.find(secret), std::string::npos) << secret;
    }
    EXPECT_NE(text.find("ssl_key_password = <hidden>\n"), std::string::npos);
    EXPECT_NE(text.find("ssl_key = <" + files.dir.path("key.pem") + "\n"), std::string::npos);
  }
}

TEST(Print, AllIsEverySettingOnce) {
  const std::string text = good(std::string(kLeast)).print_all();
  for (const char* line : {"\nlog_timestamp = \"%b %d %H:%M:%S \"\n", "\nauth_mechanisms = plain\n",
                           "\n[service imap-login]\n", "\n[inet_listener imap-login imaps]\n",
                           "\n[unix_listener master control]\n", "\nssl_cert =\n"}) {
    EXPECT_NE(text.find(line), std::string::npos) << line;
  }
}

TEST(Print, KeepsPassdbsInOrder) {
  const std::string text = good(
                               "ssl = no\n[passdb z]\ndriver = static\n[userdb m]\ndriver = "
                               "static\n[passdb a]\ndriver = static\n")
                               .print_changed();
  EXPECT_LT(text.find("[passdb z]"), text.find("[passdb a]"));
}

}  // namespace
}  // namespace postern::config
