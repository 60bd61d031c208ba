// What servers demand and offer: client certificates, tickets, and clients that do not behave.
#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include <functional>
#include <memory>
#include <string>

#include "io/tls.h"
#include "stream-fixture.h"

namespace postern::io::test {
namespace {

std::string ticket_key(char fill) {
  return std::string(TlsContext::kTicketKeyBytes, fill);
}

class TicketTest : public StreamTest {
 protected:
  Site site;
  std::shared_ptr<TlsContext> trust = client_context(site.ca);

  /// One connection; true if it was resumed.
  bool connect(const std::shared_ptr<TlsContext>& serve, const std::string& scope = {}) {
    server.stream.start_tls_server(serve, {}, {}, scope);
    client.stream.start_tls_client(trust, {"localhost", Verify::chain_and_name, {}});
    EXPECT_TRUE(run_until([this] { return server.settled() && client.settled(); }));
    EXPECT_TRUE(client.saw(Stream::kTlsStarted)) << client.stream.error();
    // TLS 1.3 tickets come behind the handshake: the client has to read.
    client.stream.want(true, false);
    server.stream.write("x");
    EXPECT_TRUE(run_until([this] { return client.received == "x"; }));
    const bool resumed = client.stream.tls_info().resumed;
    EXPECT_EQ(server.stream.tls_info().resumed, resumed);
    reconnect();
    return resumed;
  }
};

TEST_F(TicketTest, ResumeInAnotherProcessWithTheSameKeys) {
  const auto one = server_context(site);
  const auto other = server_context(site);
  ASSERT_TRUE(one->set_ticket_keys(ticket_key('a')).ok());
  ASSERT_TRUE(other->set_ticket_keys(ticket_key('a')).ok());
  EXPECT_FALSE(connect(one));
  EXPECT_TRUE(connect(other));
  EXPECT_TRUE(connect(one)) << "a resumed session brings the next ticket";
}

TEST_F(TicketTest, OldKeysStillOpenUntilTheyAreGone) {
  const auto serve = server_context(site);
  ASSERT_TRUE(serve->set_ticket_keys(ticket_key('a')).ok());
  EXPECT_FALSE(connect(serve));
  ASSERT_TRUE(serve->set_ticket_keys(ticket_key('b') + ticket_key('a')).ok());
  EXPECT_TRUE(connect(serve));
  ASSERT_TRUE(serve->set_ticket_keys(ticket_key('c')).ok());
  EXPECT_FALSE(connect(serve));
}

TEST_F(TicketTest, NoneWhereTheyAreTurnedOff) {
  TlsParameters parameters;
  parameters.no_tickets = true;
  const auto serve = server_context(site, parameters);
  ASSERT_TRUE(serve->set_ticket_keys(ticket_key('a')).ok());
  EXPECT_FALSE(connect(serve));
  EXPECT_FALSE(connect(serve));
}

TEST_F(TicketTest, KeysOfAWrongLengthChangeNothing) {
  const auto serve = server_context(site);
  ASSERT_TRUE(serve->set_ticket_keys(ticket_key('a')).ok());
  EXPECT_FALSE(connect(serve));
  EXPECT_FALSE(serve->set_ticket_keys("").ok());
  EXPECT_FALSE(serve->set_ticket_keys(std::string(79, 'x')).ok());
  EXPECT_FALSE(serve->set_ticket_keys(std::string(80UL * 9, 'x')).ok());
  EXPECT_TRUE(connect(serve));
}

TEST_F(TicketTest, ASessionWithoutVerificationIsNoneWithIt) {
  const Site other;
  const auto serve = server_context(site);
  trust = client_context(other.ca);
  shake_hands(serve, trust, "localhost", Verify::none);
  client.stream.want(true, false);
  server.stream.write("x");
  EXPECT_TRUE(run_until([this] { return client.received == "x"; }));
  reconnect();
  shake_hands(serve, trust, "localhost", Verify::chain_and_name);
  EXPECT_TRUE(client.saw(Stream::kTlsFailed));
}

/// A server whose clients are asked for certificates.
std::shared_ptr<TlsContext> asking_context(const Site& site, const Cert& client_ca,
                                           const std::string& crls = {}, bool require_crl = false,
                                           const std::string& field = "commonName") {
  const std::string chain = pem_of(site.cert);
  const std::string key = pem_of(site.key);
  const std::string ca = pem_of(client_ca) + crls;
  ServerOptions options;
  options.ask_client_certificate = true;
  options.client_ca = ca;
  options.require_crl = require_crl;
  options.username_field = field;
  auto made = TlsContext::server({{chain, key, {}}}, {}, options);
  EXPECT_TRUE(made.ok()) << (made.ok() ? "" : made.error().text);
  return made.value();
}

TEST_F(TicketTest, OfAnotherListenerAreNotTaken_T_TLS_07) {
  const auto serve = server_context(site);
  ASSERT_TRUE(serve->set_ticket_keys(ticket_key('a')).ok());
  EXPECT_FALSE(connect(serve, "imaps"));
  EXPECT_FALSE(connect(serve, "imap"));
  EXPECT_TRUE(connect(serve, "imap"));
}

TEST_F(TicketTest, OfAnotherCertificateAreNotTaken_T_TLS_07) {
  // The names are the same, and the keys of the tickets.
  Site renewed = site;
  renewed.cert = make_cert(site.key, {}, site.ca, site.ca_key);
  const auto before = server_context(site);
  const auto after = server_context(renewed);
  ASSERT_TRUE(before->set_ticket_keys(ticket_key('a')).ok());
  ASSERT_TRUE(after->set_ticket_keys(ticket_key('a')).ok());
  EXPECT_FALSE(connect(before));
  EXPECT_FALSE(connect(after));
  EXPECT_TRUE(connect(after));
}

TEST_F(TicketTest, OfAnotherProtocolAreNotTaken_T_TLS_07) {
  TlsParameters imap;
  imap.alpn = "imap";
  TlsParameters pop3;
  pop3.alpn = "pop3";
  const auto one = server_context(site, imap);
  const auto other = server_context(site, pop3);
  ASSERT_TRUE(one->set_ticket_keys(ticket_key('a')).ok());
  ASSERT_TRUE(other->set_ticket_keys(ticket_key('a')).ok());
  EXPECT_FALSE(connect(one));
  EXPECT_FALSE(connect(other));
}

TEST_F(TicketTest, DoNotLeadRoundAClientCertificate_T_TLS_07) {
  const Site people;
  const auto careless = server_context(site);
  const auto strict = asking_context(site, people.ca);
  ASSERT_TRUE(careless->set_ticket_keys(ticket_key('a')).ok());
  ASSERT_TRUE(strict->set_ticket_keys(ticket_key('a')).ok());
  EXPECT_FALSE(connect(careless));
  EXPECT_FALSE(connect(strict)) << "of a context that asks for none";
  EXPECT_FALSE(connect(strict)) << "each connection shows its certificate";
}

TEST_F(TicketTest, OfAnotherNameAreNotTaken_T_TLS_07) {
  const Site other({"localhost", "DNS:localhost"});
  const auto first = server_context(site);
  const auto second = server_context(other);
  ASSERT_TRUE(first->set_ticket_keys(ticket_key('a')).ok());
  ASSERT_TRUE(second->set_ticket_keys(ticket_key('a')).ok());
  EXPECT_FALSE(connect(first));
  struct Chooser {
    std::shared_ptr<TlsContext> give;
    void choose(std::string_view, std::shared_ptr<TlsContext>& context) noexcept { context = give; }
  } chooser{second};
  trust = client_context(other.ca);  // another client, which believes the other name's
  server.stream.start_tls_server(first, Stream::ChooseContext::to<&Chooser::choose>(chooser));
  client.stream.start_tls_client(trust, {"localhost", Verify::chain_and_name, {}});
  ASSERT_TRUE(run_until([this] { return server.settled() && client.settled(); }));
  EXPECT_TRUE(client.saw(Stream::kTlsStarted)) << client.stream.error();
  EXPECT_FALSE(server.stream.tls_info().resumed);
}

class ClientCertificates : public StreamTest {
 protected:
  Site site;
  Site people{{"alice", ""}};

  /// What the server sees of a client that shows `shown`, or nothing.
  ClientCertificate shown_to(const std::shared_ptr<TlsContext>& serve, const Site* shown) {
    const std::string ca = pem_of(site.ca);
    const std::string chain = shown == nullptr ? std::string() : pem_of(shown->cert);
    const std::string key = shown == nullptr ? std::string() : pem_of(shown->key);
    TlsContext::ClientTrust trust{ca, {chain, key, {}}, "the test's CA"};
    auto made = TlsContext::client(trust, {});
    EXPECT_TRUE(made.ok());
    shake_hands(serve, made.value());
    EXPECT_TRUE(server.saw(Stream::kTlsStarted)) << server.stream.error();
    ClientCertificate out = server.stream.client_certificate();
    reconnect();
    return out;
  }
};

TEST_F(ClientCertificates, AreJudgedWithoutEndingTheConnection) {
  const auto serve = asking_context(site, people.ca);
  EXPECT_EQ(shown_to(serve, nullptr).state, ClientCertificate::State::none);
  const ClientCertificate good = shown_to(serve, &people);
  EXPECT_EQ(good.state, ClientCertificate::State::valid);
  EXPECT_EQ(good.username, "alice");
  const Site rogue({"alice", ""});
  const ClientCertificate bad = shown_to(serve, &rogue);
  EXPECT_EQ(bad.state, ClientCertificate::State::invalid);
  EXPECT_EQ(bad.username, "");
  EXPECT_EQ(bad.problem, "unable to get local issuer certificate");
}

TEST_F(ClientCertificates, AreNotLookedAtUnlessAsked) {
  EXPECT_EQ(shown_to(server_context(site), &people).state, ClientCertificate::State::none);
}

TEST_F(ClientCertificates, NeedACrlWhereItIsRequired) {
  const ClientCertificate seen = shown_to(asking_context(site, people.ca, {}, true), &people);
  EXPECT_EQ(seen.state, ClientCertificate::State::invalid);
  EXPECT_EQ(seen.problem, "unable to get certificate CRL");
}

TEST_F(ClientCertificates, HaveNoNameWithoutTheField_T_USR_09) {
  const ClientCertificate seen =
      shown_to(asking_context(site, people.ca, {}, false, "emailAddress"), &people);
  EXPECT_EQ(seen.state, ClientCertificate::State::valid);
  EXPECT_EQ(seen.username, "");
}

TEST_F(ClientCertificates, OfAChosenContextCount) {
  // A name with a policy of its own.
  struct Chooser {
    std::shared_ptr<TlsContext> give;
    void choose(std::string_view, std::shared_ptr<TlsContext>& context) noexcept { context = give; }
  } chooser{asking_context(site, people.ca)};
  const std::string ca = pem_of(site.ca);
  const std::string chain = pem_of(people.cert);
  const std::string key = pem_of(people.key);
  auto made = TlsContext::client({ca, {chain, key, {}}, "the test's CA"}, {});
  ASSERT_TRUE(made.ok());
  shake_hands(server_context(site), made.value(), "localhost", Verify::chain_and_name,
              Stream::ChooseContext::to<&Chooser::choose>(chooser));
  EXPECT_EQ(server.stream.client_certificate().username, "alice");
}

TEST_F(ClientCertificates, AreNotAskedForWithoutAnAuthorityOrAField) {
  const std::string chain = pem_of(site.cert);
  const std::string key = pem_of(site.key);
  ServerOptions options;
  options.ask_client_certificate = true;
  EXPECT_FALSE(TlsContext::server({{chain, key, {}}}, {}, options).ok());
  const std::string ca = pem_of(people.ca);
  options.client_ca = ca;
  EXPECT_TRUE(TlsContext::server({{chain, key, {}}}, {}, options).ok());
  options.username_field = "noSuchField";
  EXPECT_FALSE(TlsContext::server({{chain, key, {}}}, {}, options).ok());
}

TEST(ServerOptions, RefuseParametersThatAreNone) {
  const Site site;
  const std::string chain = pem_of(site.cert);
  const std::string key = pem_of(site.key);
  ServerOptions options;
  options.dh = "-----BEGIN DH PARAMETERS-----\nAAAA\n-----END DH PARAMETERS-----\n";
  const auto made = TlsContext::server({{chain, key, {}}}, {}, options);
  ASSERT_FALSE(made.ok());
  EXPECT_TRUE(made.error().text.starts_with("ssl_dh: ")) << made.error().text;
}

/// A client that OpenSSL lets do what ours never does.
class RawClient : public StreamTest {
 protected:
  Site site;
  SSL_CTX* context = SSL_CTX_new(TLS_client_method());
  SSL* ssl = SSL_new(context);

  void TearDown() override {
    SSL_free(ssl);
    SSL_CTX_free(context);
  }
  void connect() {
    SSL_set_fd(ssl, client.stream.fd());
    server.stream.start_tls_server(server_context(site), {});
    server.stream.want(true, false);
    ASSERT_TRUE(run_until([&] { return SSL_connect(ssl) == 1 && server.settled(); }));
    ASSERT_TRUE(server.saw(Stream::kTlsStarted));
  }
  bool broken() const { return server.last == IoStatus::error; }
};

TEST_F(RawClient, ThatRenewsItsKeysAllTheTimeIsEnded_T_NET_05) {
  connect();
  for (int i = 0; i < 200 && !broken(); i++) {
    SSL_key_update(ssl, SSL_KEY_UPDATE_REQUESTED);
    SSL_do_handshake(ssl);
    loop.run_once(false);
  }
  EXPECT_TRUE(broken());
  EXPECT_EQ(server.stream.error(), "The peer renews its keys all the time");
}

TEST_F(RawClient, MayRenewItsKeysNowAndThen) {
  connect();
  for (int i = 0; i < 10; i++) {
    SSL_key_update(ssl, SSL_KEY_UPDATE_REQUESTED);
    SSL_write(ssl, "x", 1);
    ASSERT_TRUE(
        run_until([&] { return server.received.size() == static_cast<std::size_t>(i) + 1; }));
  }
  EXPECT_FALSE(broken());
}

TEST_F(RawClient, IsOfferedNoEarlyData_T_NET_05) {
  connect();
  server.stream.write("x");
  char byte = 0;
  ASSERT_TRUE(run_until([&] { return SSL_read(ssl, &byte, 1) == 1; }));
  SSL_SESSION* session = SSL_get1_session(ssl);
  EXPECT_EQ(SSL_SESSION_is_resumable(session), 1);
  EXPECT_EQ(SSL_SESSION_get_max_early_data(session), 0U);
  SSL_SESSION_free(session);
}

}  // namespace
}  // namespace postern::io::test
