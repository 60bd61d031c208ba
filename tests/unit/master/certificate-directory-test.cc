#include "master/certificate-directory.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "../io/test-certificate.h"
#include "scratch.h"
#include "wire/certificate-store.h"

namespace postern::master {
namespace {

class DirectoryTest : public testing::Test {
 protected:
  /// A certificate with its key, for the names that make_cert() gives.
  static std::string pair() {
    const auto key = io::test::make_key();
    return io::test::pem_of(io::test::make_cert(key, {})) + io::test::pem_of(key);
  }
  void write(const std::string& name, const std::string& text) const {
    std::ofstream(scratch / name, std::ios::binary) << text;
  }
  CertificateDirectory::Reading read(CertificateDirectory& directory) const {
    return directory.read(scratch / "", "");
  }
  std::string path() const { return scratch / ""; }

  Scratch scratch;
};

/// How many bytes the chains and keys of `directory` are.
std::size_t total(const CertificateDirectory& directory) {
  std::size_t out = 0;
  for (const auto& pair : directory.pairs()) out += pair->chain.size() + pair->key.size();
  return out;
}

TEST_F(DirectoryTest, HasALimitOfBytes) {
  write("a.pem", pair());
  write("b.pem", pair());
  CertificateDirectory all;
  ASSERT_TRUE(read(all).whole);
  ASSERT_EQ(all.pairs().size(), 2U);
  CertificateLimits limits;
  limits.total = total(all);
  CertificateDirectory fits(limits);
  EXPECT_TRUE(read(fits).whole);
  EXPECT_EQ(fits.pairs().size(), 2U);
  --limits.total;
  CertificateDirectory none(limits);
  const auto reading = read(none);
  EXPECT_FALSE(reading.whole);
  EXPECT_EQ(none.pairs().size(), 0U);
  EXPECT_TRUE(reading.store.empty());
  EXPECT_EQ(reading.problems,
            std::vector<std::string>{"ssl_cert_dir: " + path() +
                                     ": its certificates and keys are more than " +
                                     std::to_string(limits.total) + " bytes"});
}

TEST_F(DirectoryTest, StaysAsItWasIfThereAreTooMany) {
  write("a.pem", pair());
  CertificateLimits limits;
  limits.pairs = 1;
  CertificateDirectory directory(limits);
  EXPECT_TRUE(read(directory).whole);
  write("b.pem", pair());
  const auto reading = read(directory);
  EXPECT_FALSE(reading.whole);
  EXPECT_EQ(reading.problems,
            std::vector<std::string>{
                "ssl_cert_dir: " + path() +
                " holds more than 1 certificates; what was read before stays in use"});
  ASSERT_EQ(directory.pairs().size(), 1U);
  EXPECT_TRUE(directory.pairs()[0]->cert_file.ends_with("a.pem"));
  EXPECT_FALSE(directory.places().empty()) << "it is watched, so that it comes back";
  std::filesystem::remove(scratch / "b.pem");
  EXPECT_TRUE(read(directory).whole);
}

TEST_F(DirectoryTest, LeavesOutAFileThatIsTooLarge) {
  const std::string good = pair();
  CertificateLimits limits;
  limits.file = good.size();
  write("fits.pem", good);
  write("large.pem", good + "\n");
  CertificateDirectory directory(limits);
  const auto reading = read(directory);
  EXPECT_TRUE(reading.whole);
  EXPECT_EQ(directory.pairs().size(), 1U);
  ASSERT_EQ(reading.problems.size(), 1U);
  EXPECT_NE(reading.problems[0].find("holds more than " + std::to_string(limits.file) + " bytes"),
            std::string::npos)
      << reading.problems[0];
}

TEST_F(DirectoryTest, IsPackedForAProcessThatHasSomeOfIt) {
  write("a.pem", pair());
  CertificateDirectory here;
  read(here);
  CertificateDirectory there = here;
  write("b.pem", pair());
  write("a.pem", pair());
  write("c.pem", "nothing");
  const auto reading = read(there);
  EXPECT_EQ(reading.problems.size(), 1U);
  PackWriter out;
  there.pack(here, out);
  const WipingBuffer bytes = out.take();
  for (std::size_t size = 0; size < bytes.size(); size += 7) {
    PackReader part(bytes.view().substr(0, size));
    CertificateDirectory copy = here;
    EXPECT_FALSE(copy.unpack(part));
    EXPECT_EQ(copy.pairs(), here.pairs());
  }
  PackReader in(bytes.view());
  ASSERT_TRUE(here.unpack(in));
  EXPECT_TRUE(in.at_end());
  ASSERT_EQ(here.pairs().size(), 2U);
  for (std::size_t i = 0; i < 2; i++) {
    const CertificateDirectory::Pair& ours = *here.pairs()[i];
    const CertificateDirectory::Pair& theirs = *there.pairs()[i];
    EXPECT_EQ(ours.cert_file, theirs.cert_file);
    EXPECT_EQ(ours.key_file, theirs.key_file);
    EXPECT_EQ(ours.cert_print, theirs.cert_print);
    EXPECT_EQ(ours.facts.names, theirs.facts.names);
    EXPECT_EQ(ours.facts.not_after, theirs.facts.not_after);
    EXPECT_EQ(ours.chain.reveal(), theirs.chain.reveal());
    EXPECT_TRUE(ours.key.equals(theirs.key.reveal()));
  }
  EXPECT_EQ(here.places().size(), there.places().size());
  // What has not changed is not sent.
  PackWriter again;
  there.pack(there, again);
  EXPECT_LT(again.take().size(), bytes.size() / 2);
}

}  // namespace
}  // namespace postern::master
