#include "login-common/destination.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "config/settings.h"

namespace postern::login {
namespace {

using Fields = std::vector<std::pair<std::string, std::string>>;
using std::chrono::milliseconds;

constexpr ProxyCore::Protocol kImap{"imap", 143, 993, nullptr};

struct Read {
  std::optional<Destination> destination;
  Error error;
  std::vector<Remark> remarks;
};

ProxyClient some_client() {
  ProxyClient client;
  client.settings = std::make_shared<config::LoginSettings>();
  client.protocol = "imap";
  client.session = "abc";
  client.remote = {*IpAddress::parse("198.51.100.7"), 40000};
  client.local = {*IpAddress::parse("192.0.2.10"), 993};
  client.real_local = client.local;
  return client;
}

Read read_as(const ProxyClient& client, Fields fields, bool with_pass = true) {
  ProxyFields reply;
  reply.user = "joe";
  reply.fields = std::move(fields);
  if (with_pass) reply.pass.emplace("secret");
  Read out;
  Result<Destination> got = read_destination(std::move(reply), client, kImap, out.remarks);
  if (got.ok()) {
    out.destination = std::move(got).value();
  } else {
    out.error = got.error();
  }
  return out;
}

Read read(Fields fields, bool with_pass = true) {
  return read_as(some_client(), std::move(fields), with_pass);
}

TEST(Destination, NameAndKeysOfTheCertificateMayBeGiven_T_DAT_10) {
  const std::string pin = "sha256//t62CeU2tQiqkexU74Gxa2eg7fRbEgoChTociMee9wno=";
  const std::string other = "sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
  auto settings = std::make_shared<config::LoginSettings>();
  settings->ssl_client_pins = *parse_pins(other);
  ProxyClient client = some_client();
  client.settings = settings;
  Read got = read_as(client, {{"host", "192.0.2.1"}});
  ASSERT_TRUE(got.destination) << got.error.text;
  EXPECT_EQ(got.destination->tls_name, "");
  EXPECT_EQ(got.destination->tls_pins, settings->ssl_client_pins);
  got = read_as(client, {{"host", "192.0.2.1"}, {"tls_name", "mail.test"}, {"tls_pins", pin}});
  ASSERT_TRUE(got.destination) << got.error.text;
  EXPECT_EQ(got.destination->tls_name, "mail.test");
  EXPECT_EQ(got.destination->tls_pins, *parse_pins(pin));
  // A pin that cannot be read must not become none at all.
  for (const std::string bad : {"sha256//x", " ", "none"}) {
    EXPECT_EQ(read_as(client, {{"host", "192.0.2.1"}, {"tls_pins", bad}}).error.text,
              "Invalid tls_pins " + bad);
  }
  EXPECT_EQ(read({{"host", "192.0.2.1"}, {"tls_name", "a b\r\n"}}).error.text,
            "Invalid tls_name a b??");
}

TEST(Destination, AProxyHeaderTakesThePlaceOfForwarding) {
  auto settings = std::make_shared<config::LoginSettings>();
  ProxyClient client = some_client();
  client.settings = settings;
  EXPECT_EQ(read_as(client, {{"host", "192.0.2.1"}}).destination->proxy_header, 0U);
  settings->proxy_protocol = config::BackendProxyHeader::v2;
  Read got = read_as(client, {{"host", "192.0.2.1"}});
  EXPECT_EQ(got.destination->proxy_header, 2U);
  EXPECT_TRUE(got.destination->target.not_trusted);
  got = read_as(client, {{"host", "192.0.2.1"}, {"proxy_protocol", "V1"}});
  EXPECT_EQ(got.destination->proxy_header, 1U);
  got = read_as(client, {{"host", "192.0.2.1"}, {"proxy_protocol", "no"}});
  EXPECT_EQ(got.destination->proxy_header, 0U);
  EXPECT_FALSE(got.destination->target.not_trusted);
  settings->proxy_protocol_forward = true;
  EXPECT_FALSE(read_as(client, {{"host", "192.0.2.1"}}).destination->target.not_trusted);
  EXPECT_EQ(read({{"host", "192.0.2.1"}, {"proxy_protocol", "v3"}}).error.text,
            "Invalid proxy_protocol v3");
}

TEST(Destination, RefreshIsSeconds) {
  EXPECT_EQ(read({{"host", "192.0.2.1"}, {"proxy_refresh", "450"}}).destination->refresh, 450U);
  const Read got = read({{"host", "192.0.2.1"}, {"proxy_refresh", "x"}});
  EXPECT_EQ(got.destination->refresh, 0U);
  ASSERT_EQ(got.remarks.size(), 1U);
  EXPECT_EQ(got.remarks[0].text, "BUG: Auth service returned invalid proxy_refresh value: x");
}

TEST(Destination, HostAloneGivesTheDefaults) {
  const Read got = read({{"proxy", ""}, {"host", "192.0.2.1"}});
  ASSERT_TRUE(got.destination) << got.error.text;
  const Destination& d = *got.destination;
  EXPECT_EQ(d.addresses.size(), 1U);
  EXPECT_EQ(d.addresses[0].to.text(), "192.0.2.1:143");
  EXPECT_EQ(d.addresses[0].host, "192.0.2.1");
  EXPECT_EQ(d.target.tls, BackendTls::none);
  EXPECT_EQ(d.timeout, milliseconds(30000));
  EXPECT_EQ(d.down_after, milliseconds(30000));
  EXPECT_FALSE(d.source);
  EXPECT_EQ(d.target.user, "joe");
  EXPECT_EQ(d.target.master, "");
  EXPECT_EQ(d.target.mech, "");
  EXPECT_EQ(d.target.password.reveal(), "secret");
  EXPECT_EQ(d.target.ttl, 4U);
  EXPECT_FALSE(d.target.nopipelining);
  EXPECT_FALSE(d.target.not_trusted);
  EXPECT_TRUE(got.remarks.empty());
}

TEST(Destination, FailsWithDovecotsTextsAndNeverWithoutOne) {
  struct Row {
    Fields fields;
    bool pass;
    FailureType type;
    std::string text;
  };
  const std::vector<Row> rows{
      {{{"host", "192.0.2.1"}}, false, FailureType::internal, "password not given"},
      {{}, false, FailureType::internal, "password not given"},
      {{}, true, FailureType::internal, "host not given"},
      {{{"host", ""}}, true, FailureType::internal, "host not given"},
      {{{"host", "a"}, {"hostip", "1.2.3"}}, true, FailureType::internal, "Invalid hostip 1.2.3"},
      {{{"host", "a"}, {"hostip", "zz\n"}}, true, FailureType::internal, "Invalid hostip zz?"},
      {{{"host", "mail.example"}},
       true,
       FailureType::internal,
       "BUG: host mail.example is not an IP (auth should have changed it)"},
      {{{"host", "192.0.2.1"}, {"proxy_mech", "scram-sha-1"}},
       true,
       FailureType::internal,
       "Unsupported SASL mechanism scram-sha-1"},
      {{{"host", "192.0.2.1"}, {"port", "0"}},
       true,
       FailureType::internal,
       "Auth service returned invalid port number: 0"},
      {{{"host", "192.0.2.1"}, {"port", "65536"}},
       true,
       FailureType::internal,
       "Auth service returned invalid port number: 65536"},
      {{{"host", "192.0.2.1"}, {"port", ""}},
       true,
       FailureType::internal,
       "Auth service returned invalid port number: "},
      {{{"host", "192.0.2.1"}, {"protocol", "pop3"}},
       true,
       FailureType::internal_config,
       "destination is for protocol pop3, not imap"},
      {{{"host", "a b"}, {"hostip", "192.0.2.1"}}, true, FailureType::internal, "Invalid host a b"},
      {{{"host", "192.0.2.1"}, {"destuser", std::string("a\0b", 3)}},
       true,
       FailureType::internal,
       "user name contains a NUL"},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.text);
    const Read got = read(row.fields, row.pass);
    ASSERT_FALSE(got.destination);
    EXPECT_EQ(static_cast<FailureType>(got.error.code), row.type);
    EXPECT_EQ(got.error.text, row.text);
  }
}

TEST(Destination, EmptyPasswordIsAPassword) {
  ProxyFields reply;
  reply.user = "joe";
  reply.fields = {{"host", "192.0.2.1"}};
  reply.pass.emplace("");
  std::vector<Remark> remarks;
  EXPECT_TRUE(read_destination(std::move(reply), some_client(), kImap, remarks).ok());
}

TEST(Destination, TlsFieldsAndDefaultPortDoNotDependOnOrder) {
  struct Row {
    Fields fields;
    BackendTls tls;
    bool any_cert;
    int port;
    bool remark;
  };
  const std::vector<Row> rows{
      {{{"ssl", "yes"}}, BackendTls::implicit, false, 993, false},
      {{{"port", "1143"}, {"ssl", "yes"}}, BackendTls::implicit, false, 1143, false},
      {{{"ssl", "yes"}, {"port", "1143"}}, BackendTls::implicit, false, 1143, false},
      {{{"ssl", "any-cert"}}, BackendTls::implicit, true, 993, false},
      {{{"ssl", "anything"}}, BackendTls::implicit, false, 993, false},
      {{{"starttls", "yes"}}, BackendTls::starttls, false, 143, false},
      {{{"starttls", "any-cert"}}, BackendTls::starttls, true, 143, false},
      {{{"starttls", "yes"}, {"ssl", "any-cert"}}, BackendTls::starttls, true, 143, false},
      {{{"ssl", "yes"}, {"starttls", "yes"}}, BackendTls::starttls, false, 143, false},
      {{{"ssl", "no"}}, BackendTls::none, false, 143, true},
      {{{"ssl", "NO"}}, BackendTls::none, false, 143, true},
      {{{"ssl", "off"}}, BackendTls::none, false, 143, true},
      {{{"ssl", "0"}}, BackendTls::none, false, 143, true},
      {{{"ssl", ""}}, BackendTls::none, false, 143, true},
      {{{"ssl", "no"}, {"starttls", "yes"}}, BackendTls::starttls, false, 143, true},
      {{{"starttls", "no"}, {"ssl", "any-cert"}}, BackendTls::implicit, true, 993, true},
  };
  for (const Row& row : rows) {
    for (const bool host_first : {true, false}) {
      Fields fields = row.fields;
      fields.insert(host_first ? fields.begin() : fields.end(), {"host", "192.0.2.1"});
      const Read got = read(fields);
      SCOPED_TRACE(row.fields[0].first + "=" + row.fields[0].second);
      ASSERT_TRUE(got.destination);
      EXPECT_EQ(got.destination->target.tls, row.tls);
      EXPECT_EQ(got.destination->any_cert, row.any_cert);
      EXPECT_EQ(got.destination->addresses[0].to.port, row.port);
      EXPECT_EQ(!got.remarks.empty(), row.remark);
    }
  }
}

TEST(Destination, EncryptionCanBeRequired) {
  auto settings = std::make_shared<config::LoginSettings>();
  settings->proxy_require_encryption = true;
  ProxyClient client = some_client();
  client.settings = settings;
  const Read plain = read_as(client, {{"host", "192.0.2.1"}, {"ssl", "no"}});
  ASSERT_FALSE(plain.destination);
  EXPECT_EQ(static_cast<FailureType>(plain.error.code), FailureType::internal_config);
  EXPECT_TRUE(read_as(client, {{"host", "192.0.2.1"}, {"starttls", "yes"}}).destination);
}

TEST(Destination, TimeoutIsSecondsOrHasAUnit) {
  struct Row {
    std::string value;
    int ms;
    bool remark;
  };
  for (const Row& row : std::vector<Row>{{"4", 4000, false},
                                         {"1500ms", 1500, false},
                                         {"2 min", 120000, false},
                                         {"0", 30000, false},
                                         {"zz", 30000, true},
                                         {"", 30000, true},
                                         {"-1", 30000, true},
                                         {"99999999999999999999", 30000, true}}) {
    SCOPED_TRACE(row.value);
    const Read got = read({{"host", "192.0.2.1"}, {"proxy_timeout", row.value}});
    ASSERT_TRUE(got.destination);
    EXPECT_EQ(got.destination->timeout.count(), row.ms);
    EXPECT_EQ(!got.remarks.empty(), row.remark);
  }
  const Read got = read({{"host", "192.0.2.1"}, {"proxy_timeout", "zz"}});
  EXPECT_EQ(got.remarks.at(0).text,
            "BUG: Auth service returned invalid proxy_timeout value 'zz': Invalid time interval: "
            "zz");
  EXPECT_EQ(got.remarks.at(0).level, log::Level::error);
}

TEST(Destination, EachHostOfAListKeepsItsNameAndPort) {
  const Read got =
      read({{"proxy_hosts", "a.example 0 192.0.2.2,2001:db8::1;b.example 1143 192.0.2.3"},
            {"host", "a.example"},
            {"hostip", "192.0.2.2"},
            {"ssl", "yes"},
            {"port", "144"}});
  ASSERT_TRUE(got.destination) << got.error.text;
  const auto& all = got.destination->addresses;
  ASSERT_EQ(all.size(), 3U);
  EXPECT_EQ(all[0].to.text(), "192.0.2.2:993");
  EXPECT_EQ(all[0].host, "a.example");
  EXPECT_EQ(all[1].to.text(), "[2001:db8::1]:993");
  EXPECT_EQ(all[1].host, "a.example");
  EXPECT_EQ(all[2].to.text(), "192.0.2.3:1143");
  EXPECT_EQ(all[2].host, "b.example");
}

TEST(Destination, AListThatIsWrongIsRefused_T_DAT_10) {
  for (const char* list :
       {"a", "a 1 192.0.2.1;", "a 70000 192.0.2.1", "a 1 host", "a\r 1 192.0.2.1"}) {
    SCOPED_TRACE(list);
    const Read got = read({{"host", "a"}, {"hostip", "192.0.2.1"}, {"proxy_hosts", list}});
    ASSERT_FALSE(got.destination);
    EXPECT_EQ(static_cast<FailureType>(got.error.code), FailureType::internal);
    EXPECT_TRUE(got.error.text.starts_with("Invalid proxy_hosts: ")) << got.error.text;
  }
}

TEST(Destination, IdentityFields) {
  const Read got = read({{"host", "192.0.2.1"},
                         {"destuser", "joe*x"},
                         {"master", "boss"},
                         {"proxy_nopipelining", ""},
                         {"proxy_not_trusted", ""},
                         {"proxy_noauth", ""},
                         {"source_ip", "192.0.2.77"},
                         {"proxy_host_immediate_failure_after", "5s"}});
  ASSERT_TRUE(got.destination);
  EXPECT_EQ(got.destination->target.user, "joe*x");
  EXPECT_EQ(got.destination->target.master, "boss");
  EXPECT_EQ(got.destination->target.mech, "PLAIN");
  EXPECT_TRUE(got.destination->target.nopipelining);
  EXPECT_TRUE(got.destination->target.not_trusted);
  EXPECT_TRUE(got.destination->target.noauth);
  EXPECT_EQ(got.destination->source->text(), "192.0.2.77");
  EXPECT_EQ(got.destination->down_after, milliseconds(5000));
  const Read other = read({{"host", "192.0.2.1"}, {"master", ""}, {"proxy_mech", "xoauth2"}});
  EXPECT_EQ(other.destination->target.mech, "XOAUTH2");
  EXPECT_EQ(other.destination->target.master, "");
  const Read bad = read({{"host", "192.0.2.1"}, {"source_ip", "nowhere"}});
  ASSERT_TRUE(bad.destination);
  EXPECT_FALSE(bad.destination->source);
  EXPECT_EQ(bad.remarks.size(), 1U);
}

TEST(Destination, ForwardedFieldsKeepTheirOrderAndAuthsWins) {
  ProxyClient client = some_client();
  client.ttl = 1;
  client.forward = {{"color", "old"}, {"hop", "1"}};
  const Read got = read_as(client, {{"forward_note", "x=y"},
                                    {"host", "192.0.2.1"},
                                    {"FORWARD_color", "blue"},
                                    {"forward_", "nameless"}});
  ASSERT_TRUE(got.destination);
  const Fields expected{{"note", "x=y"}, {"color", "blue"}, {"hop", "1"}};
  EXPECT_EQ(got.destination->target.forward, expected);
  EXPECT_EQ(got.destination->target.ttl, 0U);
}

TEST(Destination, UnknownFieldsAreSkipped) {
  const Read got = read({{"host", "192.0.2.1"}, {"frobnicate", "1"}, {"user_alt", "x"}, {"", ""}});
  EXPECT_TRUE(got.destination);
  EXPECT_TRUE(got.remarks.empty());
}

config::SocketInfo listener(const std::string& ip, std::uint16_t port) {
  config::SocketInfo out;
  out.endpoint = {*IpAddress::parse(ip), port};
  out.any_address = ip == "0.0.0.0" || ip == "::";
  return out;
}

TEST(LoopGuard, KnowsListenersAndWhatWildcardsStandFor) {
  const LoopGuard guard(
      {listener("192.0.2.10", 143), listener("0.0.0.0", 993), listener("::", 1993)},
      {*IpAddress::parse("192.0.2.10"), *IpAddress::parse("2001:db8::10")});
  struct Row {
    std::string ip;
    int port;
    bool ours;
  };
  for (const Row& row : std::vector<Row>{{"192.0.2.10", 143, true},
                                         {"192.0.2.11", 143, false},
                                         {"192.0.2.10", 144, false},
                                         {"192.0.2.10", 993, true},
                                         {"127.0.0.1", 993, true},
                                         {"127.9.9.9", 993, true},
                                         {"192.0.2.11", 993, false},
                                         {"2001:db8::10", 993, false},
                                         {"2001:db8::10", 1993, true},
                                         {"::1", 1993, true},
                                         {"127.0.0.1", 1993, false},
                                         {"127.0.0.1", 143, false}}) {
    SCOPED_TRACE(row.ip + " " + std::to_string(row.port));
    EXPECT_EQ(guard.is_listener({*IpAddress::parse(row.ip), static_cast<std::uint16_t>(row.port)}),
              row.ours);
  }
}

TEST(LoopGuard, RefusesTheClientsOwnEndWhateverTheUser) {
  const LoopGuard guard;
  for (const Fields& fields :
       {Fields{{"host", "192.0.2.10"}, {"port", "993"}, {"destuser", "other"}},
        Fields{{"host", "mail.example.com"}, {"hostip", "192.0.2.10"}, {"port", "993"}}}) {
    Read got = read(fields);
    ASSERT_TRUE(got.destination);
    const Status status = guard.check(*got.destination, some_client());
    ASSERT_FALSE(status.ok());
    EXPECT_EQ(status.error().text, "Proxying loops to itself");
    EXPECT_EQ(static_cast<FailureType>(status.error().code), FailureType::internal);
  }
}

TEST(LoopGuard, AllowSelfAllowsIt) {
  auto settings = std::make_shared<config::LoginSettings>();
  settings->proxy_allow_self = true;
  ProxyClient client = some_client();
  client.settings = settings;
  Read got = read_as(client, {{"host", "192.0.2.10"}, {"port", "993"}});
  ASSERT_TRUE(got.destination);
  EXPECT_TRUE(LoopGuard().check(*got.destination, client).ok());
}

TEST(LoopGuard, DropsOnlyTheAddressesThatLeadBack) {
  Read got = read({{"host", "mail.example.com"},
                   {"hostip", "192.0.2.10"},
                   {"proxy_hosts", "mail.example.com 993 192.0.2.10,192.0.2.11"},
                   {"port", "993"}});
  ASSERT_TRUE(got.destination);
  ASSERT_TRUE(LoopGuard().check(*got.destination, some_client()).ok());
  ASSERT_EQ(got.destination->addresses.size(), 1U);
  EXPECT_EQ(got.destination->addresses[0].to.ip.text(), "192.0.2.11");
}

TEST(Destination, KnowsWhatSmtpSaysOfItselfAndOfTheClient) {
  ProxyClient client = some_client();
  client.host_name = "gate.example";
  client.helo = "client.example";
  client.helo_protocol = "ESMTP";
  const Read got = read_as(client, {{"proxy", ""}, {"host", "192.0.2.1"}});
  ASSERT_TRUE(got.destination) << got.error.text;
  EXPECT_EQ(got.destination->target.host_name, "gate.example");
  EXPECT_EQ(got.destination->target.helo, "client.example");
  EXPECT_EQ(got.destination->target.helo_protocol, "ESMTP");
  EXPECT_FALSE(got.destination->target.noauth);
}

}  // namespace
}  // namespace postern::login
