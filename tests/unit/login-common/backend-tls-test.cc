#include "login-common/backend-tls.h"

#include <gtest/gtest.h>

#include <memory>

#include "test-certificate.h"

namespace postern::login {
namespace {

using test::make_certificate;
using test::TestCertificateSpec;

config::FileText file(const std::string& text) {
  config::FileText out;
  out.path = "file.pem";
  out.content = std::make_shared<const Secret>(text);
  return out;
}

TEST(BackendTls, EqualSettingsShareAContext) {
  BackendTlsContexts contexts;
  config::LoginSettings one;
  one.ssl_client_ca_file = file(make_certificate(TestCertificateSpec::ca("ca"), nullptr).chain);
  config::LoginSettings other;
  other.ssl_client_ca_file = one.ssl_client_ca_file;
  const auto first = contexts.get(one, true);
  const auto second = contexts.get(other, true);
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_EQ(first.value(), second.value());
  EXPECT_TRUE(first.value()->has_ca());
  other.ssl_min_protocol = config::TlsVersion::tls1_3;
  const auto third = contexts.get(other, true);
  ASSERT_TRUE(third.ok());
  EXPECT_NE(third.value(), first.value());
  const auto lax = contexts.get(one, false);
  ASSERT_TRUE(lax.ok());
  EXPECT_FALSE(lax.value()->has_ca());
  EXPECT_EQ(contexts.size(), 3U);
}

TEST(BackendTls, TakesItsOwnParametersElseThoseOfClients) {
  config::LoginSettings settings;
  settings.ssl_min_protocol = config::TlsVersion::tls1_3;
  settings.ssl_cipher_list = "AES256-SHA";
  settings.ssl_curve_list = "P-256";
  io::TlsParameters parameters = backend_tls_parameters(settings);
  EXPECT_EQ(parameters, tls_parameters(settings));
  settings.ssl_client_min_protocol = config::BackendTlsVersion::tls1_1;
  settings.ssl_client_cipher_list = "AES128-SHA";
  settings.ssl_client_cipher_suites = "TLS_AES_128_GCM_SHA256";
  settings.ssl_client_curve_list = "X25519";
  parameters = backend_tls_parameters(settings);
  EXPECT_EQ(parameters.min_version, 0x0302);
  EXPECT_EQ(parameters.cipher_list, "AES128-SHA");
  EXPECT_EQ(parameters.cipher_suites, "TLS_AES_128_GCM_SHA256");
  EXPECT_EQ(parameters.curves, "X25519");
  EXPECT_EQ(tls_parameters(settings).min_version, 0x0304);
}

TEST(BackendTls, CrlsAreRequiredInAContextOfItsOwn) {
  BackendTlsContexts contexts;
  config::LoginSettings settings;
  settings.ssl_client_ca_file =
      file(make_certificate(TestCertificateSpec::ca("ca"), nullptr).chain);
  const auto lax = contexts.get(settings, true);
  settings.ssl_client_require_crl = true;
  EXPECT_NE(lax.value(), contexts.get(settings, true).value());
}

TEST(BackendTls, TheServersCaCountsOnlyWithoutOneForBackends) {
  BackendTlsContexts contexts;
  config::LoginSettings settings;
  settings.ssl_ca = file(make_certificate(TestCertificateSpec::ca("a"), nullptr).chain);
  const auto fallback = contexts.get(settings, true);
  ASSERT_TRUE(fallback.ok());
  EXPECT_TRUE(fallback.value()->has_ca());
  settings.ssl_client_ca_dir = file(make_certificate(TestCertificateSpec::ca("b"), nullptr).chain);
  const auto own = contexts.get(settings, true);
  settings.ssl_ca = {};
  ASSERT_TRUE(own.ok());
  EXPECT_EQ(own.value(), contexts.get(settings, true).value());
}

TEST(BackendTls, FilesReadAgainKeepTheContextOfWhatIsEqualAndForgetTheRest) {
  BackendTlsContexts contexts;
  const std::string same = make_certificate(TestCertificateSpec::ca("same"), nullptr).chain;
  config::LoginSettings kept;
  kept.ssl_client_ca_file = file(same);
  config::LoginSettings changed;
  changed.ssl_client_ca_file =
      file(make_certificate(TestCertificateSpec::ca("old"), nullptr).chain);
  const auto before = contexts.get(kept, true);
  ASSERT_TRUE(before.ok() && contexts.get(changed, true).ok());
  contexts.begin_again();
  kept.ssl_client_ca_file = file(same);
  const auto after = contexts.get(kept, true);
  ASSERT_TRUE(after.ok());
  EXPECT_EQ(after.value(), before.value());
  contexts.forget_unused();
  EXPECT_EQ(contexts.size(), 1U);
}

TEST(BackendTls, WhatCannotBeLoadedIsSaidEveryTime) {
  BackendTlsContexts contexts;
  config::LoginSettings settings;
  settings.ssl_client_ca_file =
      file("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----");
  EXPECT_FALSE(contexts.get(settings, true).ok());
  EXPECT_FALSE(contexts.get(settings, true).ok());
  EXPECT_TRUE(contexts.get(settings, false).ok());
  EXPECT_EQ(contexts.size(), 2U);
}

}  // namespace
}  // namespace postern::login
