#include "login-common/tls-contexts.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <vector>

#include "test-certificate.h"
#include "wire/certificate-store.h"

namespace postern::login {
namespace {

using test::make_certificate;
using test::TestCertificate;
using test::TestCertificateSpec;
using Settings = TlsContexts::Settings;

config::FileText file(const std::string& path, const std::string& text) {
  config::FileText out;
  out.path = path;
  out.content = std::make_shared<const Secret>(text);
  return out;
}

Settings settings_with(const TestCertificate& certificate, const std::string& path = "cert.pem") {
  auto out = std::make_shared<config::LoginSettings>();
  out->ssl_cert = file(path, certificate.chain);
  out->ssl_key = file(path + ".key", certificate.key);
  return out;
}

/// Sealed memory with one certificate for each name.
UniqueFd store_of(const std::vector<std::string>& names, bool seal = true) {
  const TestCertificate certificate = make_certificate(TestCertificateSpec("DNS:x"), nullptr);
  wire::CertificateStoreWriter writer;
  for (const std::string& name : names) writer.add({name}, certificate.chain, certificate.key);
  const WipingBuffer bytes = writer.finish().value();
  UniqueFd fd(::memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  EXPECT_EQ(::write(fd.get(), bytes.view().data(), bytes.size()),
            static_cast<ssize_t>(bytes.size()));
  if (seal) {
    EXPECT_EQ(::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE), 0);
  }
  return fd;
}

TEST(TlsContexts, EqualFilesShareAContextHoweverOftenTheyWereRead) {
  const TestCertificate certificate = make_certificate(TestCertificateSpec("DNS:x"), nullptr);
  TlsContexts contexts("imap");
  const Settings one = settings_with(certificate);
  const Settings other = settings_with(certificate);
  const auto first = contexts.get(one);
  const auto second = contexts.get(other);
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_EQ(first.value(), second.value());
  EXPECT_EQ(contexts.size(), 1U);
}

TEST(TlsContexts, LoadedAgainKeepWhatIsEqualAndForgetTheRest) {
  const TestCertificate same = make_certificate(TestCertificateSpec("DNS:x"), nullptr);
  const TestCertificate old = make_certificate(TestCertificateSpec("DNS:y"), nullptr);
  const TestCertificate fresh = make_certificate(TestCertificateSpec("DNS:y"), nullptr);
  TlsContexts contexts("imap");
  const Settings kept = settings_with(same);
  contexts.load({kept, settings_with(old, "other.pem")});
  EXPECT_EQ(contexts.size(), 2U);
  const auto before = contexts.get(kept);
  const Settings kept_again = settings_with(same);
  contexts.load({kept_again, settings_with(fresh, "other.pem")});
  EXPECT_EQ(contexts.size(), 2U);
  const auto after = contexts.get(kept_again);
  ASSERT_TRUE(before.ok() && after.ok());
  EXPECT_EQ(before.value(), after.value());
}

TEST(TlsContexts, OfADirectoryAreMadeWhenTheyAreAskedFor) {
  TlsContexts contexts("imap");
  ASSERT_TRUE(contexts.set_ticket_keys(std::string(80, 'k')).ok());
  ASSERT_TRUE(contexts.use_store(store_of({"one.example", "*.two.example"}).get()).ok());
  const Settings settings = settings_with(make_certificate(TestCertificateSpec("DNS:x"), nullptr));
  EXPECT_EQ(contexts.named_size(), 0U);
  const auto one = contexts.named(settings, "one.example");
  ASSERT_NE(one, nullptr);
  EXPECT_EQ(contexts.named(settings, "one.example"), one);
  const auto two = contexts.named(settings, "a.two.example");
  ASSERT_NE(two, nullptr);
  EXPECT_NE(two, one);
  EXPECT_EQ(contexts.named(settings, "b.two.example"), two);
  EXPECT_EQ(contexts.named_size(), 2U);
  const Settings others = settings_with(make_certificate(TestCertificateSpec("DNS:x"), nullptr));
  EXPECT_NE(contexts.named(others, "one.example"), one) << "the settings are others";
}

TEST(TlsContexts, AreNotMadeForNamesNobodyHas_T_NET_15) {
  TlsContexts contexts("imap");
  ASSERT_TRUE(contexts.use_store(store_of({"one.example"}).get()).ok());
  const Settings settings = settings_with(make_certificate(TestCertificateSpec("DNS:x"), nullptr));
  for (int i = 0; i < 1000; i++) {
    EXPECT_EQ(contexts.named(settings, std::to_string(i) + ".example"), nullptr);
  }
  EXPECT_EQ(contexts.named_size(), 0U);
  EXPECT_EQ(contexts.size(), 0U);
}

TEST(TlsContexts, OfADirectoryAreBounded_T_NET_15) {
  std::vector<std::string> names;
  for (std::size_t i = 0; i < TlsContexts::kMaxNamed + 3; i++) {
    names.push_back(std::to_string(i) + ".example");
  }
  TlsContexts contexts("imap");
  ASSERT_TRUE(contexts.use_store(store_of(names).get()).ok());
  const Settings settings = settings_with(make_certificate(TestCertificateSpec("DNS:x"), nullptr));
  for (const std::string& name : names) ASSERT_NE(contexts.named(settings, name), nullptr);
  EXPECT_EQ(contexts.named_size(), TlsContexts::kMaxNamed);
}

TEST(TlsContexts, OfAnotherDirectoryReplaceAll) {
  TlsContexts contexts("imap");
  const Settings settings = settings_with(make_certificate(TestCertificateSpec("DNS:x"), nullptr));
  ASSERT_TRUE(contexts.use_store(store_of({"one.example"}).get()).ok());
  const auto held = contexts.named(settings, "one.example");
  ASSERT_NE(held, nullptr);
  ASSERT_TRUE(contexts.use_store(store_of({"two.example"}).get()).ok());
  EXPECT_EQ(contexts.named(settings, "one.example"), nullptr);
  EXPECT_NE(contexts.named(settings, "two.example"), nullptr);
}

TEST(TlsContexts, TakeNoMemoryThatCouldChange) {
  TlsContexts contexts("imap");
  EXPECT_FALSE(contexts.use_store(store_of({"one.example"}, false).get()).ok());
  const UniqueFd garbage(::memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(::write(garbage.get(), "nonsense", 8), 8);
  ASSERT_EQ(::fcntl(garbage.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE), 0);
  EXPECT_FALSE(contexts.use_store(garbage.get()).ok());
}

}  // namespace
}  // namespace postern::login
