#include "io/tls.h"

#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <functional>
#include <thread>

#include "stream-fixture.h"

namespace postern::io::test {
namespace {

using Certificates = StreamTest;
using ServerName = StreamTest;
using Parameters = StreamTest;
using Handshake = StreamTest;

constexpr const char* kCheckHint = " (check ssl_client_ca_* settings?)";

TEST_F(Certificates, ExpiredIsSaidPlainly) {
  const Site site({"localhost", "DNS:localhost", -7200, -3600});
  shake_hands(server_context(site), client_context(site.ca));
  EXPECT_EQ(client.stream.error_code(), EKEYREJECTED);
  EXPECT_EQ(
      client.stream.error(),
      std::string("Received invalid SSL certificate: certificate has expired: /CN=localhost") +
          kCheckHint);
  EXPECT_TRUE(server.saw(Stream::kTlsFailed));
  EXPECT_NE(server.stream.error().find("certificate expired"), std::string::npos)
      << server.stream.error();
}

TEST_F(Certificates, UnknownIssuerIsSaidPlainly) {
  const Site site;
  const Site other;
  shake_hands(server_context(site), client_context(other.ca));
  EXPECT_EQ(client.stream.error(),
            std::string("Received invalid SSL certificate: unable to get local issuer certificate: "
                        "/CN=localhost") +
                kCheckHint);
}

TEST_F(Certificates, SelfSignedIsSaidPlainly) {
  Site site;
  const Site other;
  site.cert = make_cert(site.key, {});
  shake_hands(server_context(site), client_context(other.ca));
  EXPECT_EQ(
      client.stream.error(),
      std::string("Received invalid SSL certificate: self-signed certificate: /CN=localhost") +
          kCheckHint);
}

TEST_F(Certificates, NothingIsTrustedWithoutACa) {
  const Site site;
  const auto context = client_context(nullptr);
  EXPECT_FALSE(context->has_ca());
  EXPECT_TRUE(client_context(site.ca)->has_ca());
  shake_hands(server_context(site), context);
  EXPECT_EQ(client.stream.error_code(), EKEYREJECTED);
}

TEST_F(Certificates, WrongNameNamesWhatTheCertificateIsFor) {
  const Site site({"mail", "DNS:mail.example.com,DNS:*.example.org,IP:192.0.2.7"});
  shake_hands(server_context(site), client_context(site.ca), "imap.example.com");
  EXPECT_EQ(client.stream.error(),
            "SSL certificate doesn't match expected host name imap.example.com: it is for "
            "mail.example.com, *.example.org, 192.0.2.7");
  EXPECT_EQ(client.stream.error_code(), EKEYREJECTED);
}

// --- revocation ---

std::shared_ptr<TlsContext> context_with_crl(const Site& site, const std::string& crls,
                                             bool require) {
  const std::string pem = pem_of(site.ca) + crls;
  TlsContext::ClientTrust trust;
  trust.ca_pem = pem;
  trust.where = "the test's CA";
  trust.require_crl = require;
  auto made = TlsContext::client(trust, {});
  EXPECT_TRUE(made.ok()) << (made.ok() ? "" : made.error().text);
  return made.value();
}

TEST_F(Certificates, AreRevokedByACrlWhetherItIsRequiredOrNot) {
  const Site site;
  const Site good;
  const std::string crl = make_crl(site.ca, site.ca_key, {site.cert});
  for (const bool require : {false, true}) {
    shake_hands(server_context(site), context_with_crl(site, crl, require));
    EXPECT_EQ(client.stream.error_code(), EKEYREJECTED);
    EXPECT_EQ(client.stream.error(),
              std::string("Received invalid SSL certificate: certificate revoked: /CN=localhost") +
                  kCheckHint);
    reconnect();
    shake_hands(server_context(good),
                context_with_crl(good, make_crl(good.ca, good.ca_key, {}), require));
    EXPECT_TRUE(client.saw(Stream::kTlsStarted)) << client.stream.error();
    reconnect();
  }
}

TEST_F(Certificates, NeedACrlOnlyWhereItIsRequired) {
  const Site site;
  const Site other;
  const std::string foreign = make_crl(other.ca, other.ca_key, {});
  for (const std::string& crls : {std::string(), foreign}) {
    shake_hands(server_context(site), context_with_crl(site, crls, false));
    EXPECT_TRUE(client.saw(Stream::kTlsStarted)) << client.stream.error();
    reconnect();
    shake_hands(server_context(site), context_with_crl(site, crls, true));
    EXPECT_EQ(client.stream.error(),
              std::string("Received invalid SSL certificate: unable to get certificate CRL: "
                          "/CN=localhost") +
                  kCheckHint);
    reconnect();
  }
  // Without one nothing else is overlooked.
  shake_hands(server_context(site), context_with_crl(site, foreign, false), "other.test");
  EXPECT_EQ(client.stream.error_code(), EKEYREJECTED);
}

// --- pinned keys ---

KeyPin pin_of(const Key& key) {
  unsigned char* der = nullptr;
  const int size = i2d_PUBKEY(key.get(), &der);
  KeyPin out;
  EVP_Digest(der, static_cast<std::size_t>(size), out.digest.data(), nullptr, EVP_sha256(),
             nullptr);
  OPENSSL_free(der);
  return out;
}

TEST_F(Certificates, MustHaveOneOfThePinnedKeys) {
  const Site site;
  const KeyPin good = pin_of(site.key);
  const KeyPin other = pin_of(make_key());
  const auto trust = client_context(site.ca);
  const auto serve = server_context(site);
  const auto connect = [&](TlsPeer peer) {
    server.stream.start_tls_server(serve, {});
    client.stream.start_tls_client(trust, std::move(peer));
    EXPECT_TRUE(run_until([this] { return server.settled() && client.settled(); }));
    const bool in = client.saw(Stream::kTlsStarted);
    const std::string error = client.stream.error();
    if (in) {
      client.stream.want(true, false);
      server.stream.write("x");  // and the ticket before it
      EXPECT_TRUE(run_until([this] { return client.received == "x"; }));
    }
    reconnect();
    return in ? std::string("in") : error;
  };
  for (const Verify verify : {Verify::chain_and_name, Verify::none}) {
    EXPECT_EQ(connect({"localhost", verify, {good}}), "in");
    // Sessions that are resumed as well.
    EXPECT_EQ(connect({"localhost", verify, {other, good}}), "in");
    EXPECT_EQ(
        connect({"localhost", verify, {other}}),
        "SSL certificate has none of the pinned keys: it has " + good.text() + ", /CN=localhost");
  }
  // A right key does not make up for a wrong name.
  EXPECT_NE(connect({"other.test", Verify::chain_and_name, {good}}), "in");
  EXPECT_EQ(connect({"other.test", Verify::none, {good}}), "in");
}

TEST_F(Certificates, NamesAndAddressesAreChecked) {
  const Site site({"mail", "DNS:mail.example.com,DNS:*.example.org,IP:192.0.2.7,IP:2001:db8::1"});
  const auto trust = client_context(site.ca);
  const auto serve = server_context(site);
  const std::vector<std::pair<const char*, bool>> names{{"mail.example.com", true},
                                                        {"MAIL.example.COM", true},
                                                        {"mail.example.com.", true},
                                                        {"a.example.org", true},
                                                        {"a.b.example.org", false},
                                                        {"example.org", false},
                                                        {"192.0.2.7", true},
                                                        {"192.0.2.8", false},
                                                        {"2001:db8::1", true},
                                                        {"mail", false},
                                                        {"", false}};
  for (const auto& [name, good] : names) {
    SCOPED_TRACE(name);
    server.stream.start_tls_server(serve, {});
    client.stream.start_tls_client(trust, {name, Verify::chain_and_name, {}});
    ASSERT_TRUE(run_until([this] { return client.settled(); }));
    EXPECT_EQ(client.saw(Stream::kTlsStarted), good) << client.stream.error();
    reconnect();
  }
}

TEST_F(Certificates, PartialWildcardsMatchNothing) {
  const Site site({"mail", "DNS:m*.example.com"});
  shake_hands(server_context(site), client_context(site.ca), "mail.example.com");
  EXPECT_TRUE(client.saw(Stream::kTlsFailed));
}

TEST_F(Certificates, ChainWithoutNameAndNoneAtAllAcceptMore) {
  const Site site;
  const Site other;
  shake_hands(server_context(site), client_context(site.ca), "other.name", Verify::chain);
  EXPECT_TRUE(client.saw(Stream::kTlsStarted)) << client.stream.error();
  reconnect();
  shake_hands(server_context(site), client_context(other.ca), "other.name", Verify::chain);
  EXPECT_TRUE(client.saw(Stream::kTlsFailed));
  reconnect();
  shake_hands(server_context(site), client_context(nullptr), "other.name", Verify::none);
  EXPECT_TRUE(client.saw(Stream::kTlsStarted)) << client.stream.error();
}

TEST_F(Certificates, OnesThatNobodyAskedForAreNotToBlameForALaterEnd) {
  const Site site;
  const Site other;
  shake_hands(server_context(site), client_context(other.ca), "other.name", Verify::none);
  ASSERT_TRUE(client.saw(Stream::kTlsStarted)) << client.stream.error();
  client.stream.want(true, false);
  ASSERT_EQ(::shutdown(server.stream.fd(), SHUT_WR), 0);  // without close_notify
  EXPECT_TRUE(run_until([this] { return client.last != IoStatus::again; }));
  EXPECT_EQ(client.last, IoStatus::closed) << client.stream.error();
}

TEST(TlsContext, RefusesWhatDoesNotFit) {
  const Site a;
  const Site b;
  const std::string cert = pem_of(a.cert);
  const std::string key = pem_of(a.key);
  const std::string wrong_key = pem_of(b.key);
  const auto error = [](const std::vector<CertificatePem>& certificates,
                        const TlsParameters& parameters = {}) {
    const auto made = TlsContext::server(certificates, parameters);
    return made.ok() ? std::string("fine") : made.error().text;
  };
  EXPECT_EQ(error({{cert, key, {}}}), "fine");
  EXPECT_EQ(error({{cert, wrong_key, {}}}), "the private key does not belong to the certificate");
  EXPECT_EQ(error({}), "no certificate");
  EXPECT_EQ(error({{"", key, {}}}), "certificate: there is no PEM certificate");
  EXPECT_NE(error({{"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", key, {}}}),
            "fine");
  EXPECT_NE(error({{cert, "no key", {}}}).find("private key"), std::string::npos);
  const std::string cert_b = pem_of(b.cert);
  EXPECT_EQ(error({{cert, key, {}}, {cert_b, wrong_key, {}}}),
            "the two certificates have the same kind of key");
  TlsParameters bad;
  bad.cipher_list = "NONSENSE";
  EXPECT_NE(error({{cert, key, {}}}, bad).find("ssl_cipher_list"), std::string::npos);
  bad = {};
  bad.curves = "nonsense";
  EXPECT_NE(error({{cert, key, {}}}, bad).find("ssl_curve_list"), std::string::npos);
  EXPECT_NE(TlsContext::client({"garbage", {}, "ca.pem"}, {}).error().text.find("ca.pem"),
            std::string::npos);
}

TEST(TlsContext, AsksNobodyForAKeysPassword) {
  const Site site;
  const std::string cert = pem_of(site.cert);
  BIO* bio = BIO_new(BIO_s_mem());
  PEM_write_bio_PrivateKey(bio, site.key.get(), EVP_aes_128_cbc(),
                           reinterpret_cast<const unsigned char*>("open"), 4, nullptr, nullptr);
  char* data = nullptr;
  const auto size = BIO_ctrl(bio, BIO_CTRL_INFO, 0, &data);
  const std::string encrypted(data, static_cast<std::size_t>(size));
  BIO_free(bio);
  EXPECT_TRUE(TlsContext::server({{cert, encrypted, "open"}}, {}).ok());
  EXPECT_FALSE(TlsContext::server({{cert, encrypted, "wrong"}}, {}).ok());
  EXPECT_FALSE(TlsContext::server({{cert, encrypted, {}}}, {}).ok());
}

TEST(TlsContext, KnowsWhenTheFirstCertificateEnds) {
  const Site early({"localhost", "DNS:localhost", -3600, 1000});
  const Site late({"localhost", "DNS:localhost", -3600, 5000}, true);
  const std::string cert = pem_of(early.cert) + pem_of(early.ca);
  const std::string key = pem_of(early.key);
  const std::string cert2 = pem_of(late.cert);
  const std::string key2 = pem_of(late.key);
  const auto context = TlsContext::server({{cert2, key2, {}}, {cert, key, {}}}, {});
  ASSERT_TRUE(context.ok()) << context.error().text;
  const auto left = context.value()->not_after() - std::chrono::system_clock::now();
  EXPECT_GT(left, std::chrono::seconds(900));
  EXPECT_LT(left, std::chrono::seconds(1100));
}

TEST_F(Certificates, OfTwoKindsTheClientGetsTheOneItCanUse) {
  Site ec;
  Site rsa({}, true);
  const std::string cert = pem_of(ec.cert);
  const std::string key = pem_of(ec.key);
  const std::string cert2 = pem_of(rsa.cert);
  const std::string key2 = pem_of(rsa.key);
  const auto context = TlsContext::server({{cert, key, {}}, {cert2, key2, {}}}, {}).value();
  for (const auto& [ciphers, ca] : {std::pair{"ECDHE-ECDSA-AES128-GCM-SHA256", ec.ca},
                                    std::pair{"ECDHE-RSA-AES128-GCM-SHA256", rsa.ca}}) {
    SCOPED_TRACE(ciphers);
    TlsParameters parameters;
    parameters.cipher_list = ciphers;
    auto trust = client_context(ca, parameters);
    // TLS 1.2, where the cipher says which kind it is.
    Site old;
    server.stream.start_tls_server(context, {});
    client.stream.start_tls_client(trust, {"localhost", Verify::none, {}});
    ASSERT_TRUE(run_until([this] { return server.settled() && client.settled(); }));
    EXPECT_TRUE(client.saw(Stream::kTlsStarted)) << client.stream.error();
    reconnect();
  }
}

// A server may answer between OpenSSL's write of the hello and its read. A blocking socket makes
// that certain: the call that begins the handshake also ends it.
TEST_F(Handshake, ServerThatAnswersAtOnceIsToldOfAllTheSame) {
  const Site site;
  const auto trust = client_context(site.ca);
  server.stream.close();
  client.stream.close();
  std::array<int, 2> ends{};
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
  std::thread other([&site, fd = ends[1]] {
    SSL_CTX* context = SSL_CTX_new(TLS_server_method());
    SSL_CTX_use_certificate(context, site.cert.get());
    SSL_CTX_use_PrivateKey(context, site.key.get());
    SSL* ssl = SSL_new(context);
    SSL_set_fd(ssl, fd);
    EXPECT_EQ(SSL_accept(ssl), 1);
    EXPECT_EQ(SSL_write(ssl, "hello", 5), 5);
    SSL_free(ssl);
    SSL_CTX_free(context);
    close(fd);
  });
  client.events = 0;
  client.open(loop, UniqueFd(ends[0]));
  client.stream.want(true, false);
  client.stream.start_tls_client(trust, {"localhost", Verify::chain_and_name, {}});
  EXPECT_EQ(client.events, 0U) << "told inside the owner's own call";
  other.join();
  ASSERT_EQ(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
  EXPECT_TRUE(run_until([this] { return client.saw(Stream::kTlsStarted); }));
  EXPECT_EQ(client.stream.tls_info().protocol, "TLSv1.3");
  EXPECT_TRUE(run_until([this] { return client.received == "hello"; }));
}

struct Chooser {
  std::string asked;
  std::shared_ptr<TlsContext> answer;
  unsigned times = 0;
  void choose(std::string_view name, std::shared_ptr<TlsContext>& out) noexcept {
    asked = name;
    ++times;
    out = answer;
  }
  Stream::ChooseContext callback() { return Stream::ChooseContext::to<&Chooser::choose>(*this); }
};

/// A hello that was read together with what came before it (STARTTLS).
TEST_F(Handshake, GoesOnWithWhatWasReadAlready) {
  const Site site;
  for (const std::size_t read : {std::size_t{1}, std::size_t{5}, std::size_t{60}, SIZE_MAX}) {
    SCOPED_TRACE(read);
    client.stream.start_tls_client(client_context(site.ca),
                                   {"localhost", Verify::chain_and_name, {}});
    std::array<char, Stream::kMaxReceived> buffer{};
    const IoResult got = server.stream.read(buffer.data(), std::min(read, buffer.size()));
    ASSERT_EQ(got.status, IoStatus::ok);
    server.stream.start_tls_server(server_context(site), {}, {buffer.data(), got.bytes});
    std::fill(buffer.begin(), buffer.end(), 'x');  // it was borrowed
    ASSERT_TRUE(run_until([this] { return server.settled() && client.settled(); }));
    ASSERT_TRUE(server.saw(Stream::kTlsStarted)) << server.stream.error();
    ASSERT_TRUE(client.saw(Stream::kTlsStarted)) << client.stream.error();
    server.stream.want(true, false);
    ASSERT_EQ(client.stream.write("hello").bytes, 5U);
    ASSERT_TRUE(run_until([this] { return server.received == "hello"; }));
    reconnect();
  }
}

TEST_F(Handshake, FailsOnWhatWasReadAlreadyIfThatIsNoHello) {
  const Site site;
  server.stream.start_tls_server(server_context(site), {}, "\x16\x03 LOGIN a b\r\n");
  EXPECT_FALSE(server.settled()) << "told inside the call";
  ASSERT_TRUE(run_until([this] { return server.settled(); }));
  EXPECT_TRUE(server.saw(Stream::kTlsFailed));
  EXPECT_NE(server.stream.error().find("SSL_accept() failed: "), std::string::npos)
      << server.stream.error();
}

/// OpenSSL's own client: ours offers no protocols.
std::string offered(Stream& server, End& client, const std::shared_ptr<TlsContext>& context,
                    const std::string& protocols, const std::function<bool()>& turn) {
  const Handle<SSL_CTX, SSL_CTX_free> ctx(SSL_CTX_new(TLS_client_method()));
  const Handle<SSL, SSL_free> ssl(SSL_new(ctx.get()));
  SSL_set_fd(ssl.get(), client.stream.fd());
  if (!protocols.empty()) {
    SSL_set_alpn_protos(ssl.get(), reinterpret_cast<const unsigned char*>(protocols.data()),
                        static_cast<unsigned>(protocols.size()));
  }
  server.start_tls_server(context, {});
  int result = 0;
  for (int i = 0; i < 100 && result != 1; i++) {
    result = SSL_connect(ssl.get());
    const int what = SSL_get_error(ssl.get(), result);
    if (result != 1 && what != SSL_ERROR_WANT_READ) return "refused";
    turn();
  }
  const unsigned char* name = nullptr;
  unsigned size = 0;
  SSL_get0_alpn_selected(ssl.get(), &name, &size);
  return "took " + std::string(reinterpret_cast<const char*>(name), size);
}

TEST_F(Parameters, OnlyTheProtocolThatIsSpokenHereIsAgreedOn_T_TLS_09) {
  const Site site;
  TlsParameters parameters;
  parameters.alpn = "imap";
  const auto context = server_context(site, parameters);
  const std::vector<std::pair<std::string, std::string>> cases{
      {"", "took "},
      {"\x04imap", "took imap"},
      {"\x02h2\x04imap\x04pop3", "took imap"},
      {"\x08http/1.1", "refused"},
      {"\x03ima\x05imap2", "refused"}};
  for (const auto& [protocols, outcome] : cases) {
    SCOPED_TRACE(protocols);
    EXPECT_EQ(offered(server.stream, client, context, protocols,
                      [this] {
                        loop.run_once(false);
                        return true;
                      }),
              outcome);
    reconnect();
  }
}

TEST_F(Parameters, AProtocolMayHaveTwoNames_T_TLS_09) {
  const Site site;
  TlsParameters parameters;
  parameters.alpn = "submission smtp";
  const auto serve = server_context(site, parameters);
  struct Row {
    std::string offered;  // each name behind its length
    bool taken;
  };
  for (const auto& [offered, taken] :
       {Row{"\x04smtp", true}, Row{"\x02h2\x0asubmission", true}, Row{"\x04imap", false}}) {
    SSL_CTX* context = SSL_CTX_new(TLS_client_method());
    SSL* ssl = SSL_new(context);
    SSL_set_alpn_protos(ssl, reinterpret_cast<const unsigned char*>(offered.data()),
                        static_cast<unsigned>(offered.size()));
    SSL_set_fd(ssl, client.stream.fd());
    server.stream.start_tls_server(serve, {});
    bool shaken = false;
    EXPECT_TRUE(run_until([&] {
      shaken = shaken || SSL_connect(ssl) == 1;
      return server.settled();
    }));
    EXPECT_EQ(server.saw(Stream::kTlsStarted), taken) << offered;
    SSL_free(ssl);
    SSL_CTX_free(context);
    reconnect();
  }
}

TEST_F(ServerName, ChoosesTheCertificate) {
  const Site fallback;
  const Site named({"Example", "DNS:mail.example.com"});
  Chooser chooser;
  chooser.answer = server_context(named);
  shake_hands(server_context(fallback), client_context(named.ca), "Mail.Example.com",
              Verify::chain_and_name, chooser.callback());
  EXPECT_TRUE(client.saw(Stream::kTlsStarted)) << client.stream.error();
  EXPECT_EQ(chooser.asked, "Mail.Example.com");
  EXPECT_EQ(chooser.times, 1U);
  EXPECT_EQ(server.stream.tls_info().server_name, "mail.example.com");
}

TEST_F(ServerName, UnknownNameKeepsTheFirstContext) {
  const Site fallback;
  Chooser chooser;
  shake_hands(server_context(fallback), client_context(fallback.ca), "nobody.example",
              Verify::chain, chooser.callback());
  EXPECT_TRUE(client.saw(Stream::kTlsStarted)) << client.stream.error();
  EXPECT_EQ(chooser.times, 1U);
}

TEST_F(ServerName, AddressesAreNotSent) {
  const Site site({"x", "IP:192.0.2.1"});
  Chooser chooser;
  shake_hands(server_context(site), client_context(site.ca), "192.0.2.1", Verify::chain_and_name,
              chooser.callback());
  EXPECT_TRUE(client.saw(Stream::kTlsStarted)) << client.stream.error();
  EXPECT_EQ(chooser.times, 0U);
  EXPECT_EQ(server.stream.tls_info().server_name, "");
}

TEST_F(ServerName, ChosenContextBringsItsMinimumVersion) {
  const Site fallback;
  const Site named({"Example", "DNS:mail.example.com"});
  TlsParameters strict;
  strict.min_version = TLS1_3_VERSION;
  Chooser chooser;
  chooser.answer = server_context(named, strict);
  auto trust = client_context(named.ca);
  server.stream.start_tls_server(server_context(fallback), chooser.callback());
  // A client of TLS 1.2, by hand.
  SSL_CTX* context = SSL_CTX_new(TLS_client_method());
  SSL_CTX_set_max_proto_version(context, TLS1_2_VERSION);
  SSL* ssl = SSL_new(context);
  std::string name = "mail.example.com";
  SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, name.data());
  SSL_set_fd(ssl, client.stream.fd());
  SSL_connect(ssl);
  EXPECT_TRUE(run_until([this] { return server.settled(); }));
  EXPECT_TRUE(server.saw(Stream::kTlsFailed));
  EXPECT_NE(server.stream.error().find("unsupported protocol"), std::string::npos)
      << server.stream.error();
  SSL_free(ssl);
  SSL_CTX_free(context);
}

TEST_F(Parameters, MinimumVersionHolds) {
  const Site site;
  TlsParameters strict;
  strict.min_version = TLS1_3_VERSION;
  SSL_CTX* context = SSL_CTX_new(TLS_client_method());
  SSL_CTX_set_max_proto_version(context, TLS1_2_VERSION);
  SSL* ssl = SSL_new(context);
  SSL_set_fd(ssl, client.stream.fd());
  server.stream.start_tls_server(server_context(site, strict), {});
  SSL_connect(ssl);
  EXPECT_TRUE(run_until([this] { return server.settled(); }));
  EXPECT_EQ(server.stream.error(),
            "SSL_accept() failed: error:0A000102:SSL routines::unsupported protocol");
  SSL_free(ssl);
  SSL_CTX_free(context);
}

TEST_F(Parameters, RenegotiationIsRefused) {
  const Site site;
  SSL_CTX* context = SSL_CTX_new(TLS_client_method());
  SSL_CTX_set_max_proto_version(context, TLS1_2_VERSION);
  SSL* ssl = SSL_new(context);
  SSL_set_fd(ssl, client.stream.fd());
  server.stream.start_tls_server(server_context(site), {});
  server.stream.want(true, false);
  EXPECT_TRUE(run_until([&] { return SSL_connect(ssl) == 1 && server.settled(); }));
  ASSERT_TRUE(server.saw(Stream::kTlsStarted));
  SSL_renegotiate(ssl);
  int result = 0;
  for (int i = 0; i < 20; i++) {
    result = SSL_do_handshake(ssl);
    loop.run_once(false);
  }
  EXPECT_NE(result, 1);
  SSL_free(ssl);
  SSL_CTX_free(context);
}

}  // namespace
}  // namespace postern::io::test
