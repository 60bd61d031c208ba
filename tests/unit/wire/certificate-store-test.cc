#include "wire/certificate-store.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace postern::wire {
namespace {

std::string made() {
  CertificateStoreWriter writer;
  writer.add({"mail.example.org", "imap.example.org"}, "chain-1", "key-1");
  writer.add({"*.example.net", "example.net"}, "chain-2", "key-2");
  writer.add({"mail.example.org"}, "chain-3", "key-3");
  return std::string(writer.finish().value().view());
}

std::vector<std::string> chains(const CertificateStore& store, std::string_view name) {
  std::vector<std::string> out;
  for (const StoredCertificate& one : store.find(name)) out.emplace_back(one.chain);
  return out;
}

TEST(CertificateStore, FindsByNameAndByOneLabel) {
  const std::string bytes = made();
  const auto store = CertificateStore::parse(bytes);
  ASSERT_TRUE(store.ok()) << store.error().text;
  EXPECT_EQ(store.value().names(), 5U);
  using Chains = std::vector<std::string>;
  EXPECT_EQ(chains(store.value(), "imap.example.org"), (Chains{"chain-1"}));
  EXPECT_EQ(chains(store.value(), "mail.example.org"), (Chains{"chain-1", "chain-3"}));
  EXPECT_EQ(chains(store.value(), "any.example.net"), (Chains{"chain-2"}));
  EXPECT_EQ(chains(store.value(), "example.net"), (Chains{"chain-2"}));
  for (const char* none :
       {"", ".", ".example.net", "a.b.example.net", "example.org", "*.example.org", "zzz", "a"}) {
    EXPECT_EQ(chains(store.value(), none), Chains{}) << none;
  }
  EXPECT_EQ(store.value().find("imap.example.org").front().key, "key-1");
}

TEST(CertificateStore, OfNothingFindsNothing) {
  EXPECT_TRUE(CertificateStore().find("mail.example.org").empty());
  const std::string bytes(CertificateStoreWriter().finish().value().view());
  const auto store = CertificateStore::parse(bytes);
  ASSERT_TRUE(store.ok());
  EXPECT_TRUE(store.value().find("mail.example.org").empty());
}

TEST(CertificateStore, ThatIsCutAnywhereIsRefused) {
  const std::string bytes = made();
  for (std::size_t size = 0; size < bytes.size(); size++) {
    EXPECT_FALSE(CertificateStore::parse(std::string_view(bytes).substr(0, size)).ok()) << size;
  }
}

TEST(CertificateStore, WithAnyByteChangedStaysInside) {
  // What it gives may be nonsense, but lies in it; a sanitizer would say otherwise.
  const std::string good = made();
  for (std::size_t at = 0; at < good.size(); at++) {
    for (const char other : {'\0', '\x7f', '\xff'}) {
      std::string bytes = good;
      bytes[at] = other;
      const auto store = CertificateStore::parse(bytes);
      if (!store.ok()) continue;
      for (const StoredCertificate& one : store.value().find("mail.example.org")) {
        EXPECT_GE(one.chain.data(), bytes.data());
        EXPECT_LE(one.chain.data() + one.chain.size(), bytes.data() + bytes.size());
        EXPECT_LE(one.key.data() + one.key.size(), bytes.data() + bytes.size());
      }
    }
  }
}

}  // namespace
}  // namespace postern::wire
