#include "master/certificates.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "../io/test-certificate.h"
#include "io/mapped-memory.h"
#include "lib/log.h"
#include "master/setup.h"
#include "scratch.h"

namespace postern::master {
namespace {

struct Pem {
  std::string cert, key;
};

Pem make_pem() {
  const auto key = io::test::make_key();
  return {io::test::pem_of(io::test::make_cert(key, {})), io::test::pem_of(key)};
}

class CertificatesTest : public testing::Test, public CertificateWatch::Host {
 protected:
  void write(const std::string& name, const std::string& text) const {
    std::ofstream(scratch / name, std::ios::binary) << text;
  }
  /// @param more  settings
  void load(const std::string& more = {}) {
    write("cert.pem", first.cert);
    write("key.pem", first.key);
    auto loaded = config::load_text(
        "ssl_cert = <" + scratch / "cert.pem" + "\nssl_key = <" + scratch / "key.pem" +
            "\nssl_cert_check_interval = 10 ms\n" + more + "[passdb p]\ndriver = static\n",
        "test.conf", true);
    for (const auto& problem : loaded.problems) {
      EXPECT_TRUE(problem.warning) << problem.text();
    }
    ASSERT_TRUE(loaded.configuration);
    present = std::make_shared<const config::Configuration>(std::move(*loaded.configuration));
  }
  const config::Configuration& configuration() const noexcept override { return *present; }
  void use_new_files(std::shared_ptr<const config::Configuration> fresh) noexcept override {
    present = std::move(fresh);
  }
  void use_store(UniqueFd store) noexcept override {
    const auto memory = io::MappedMemory::map(store.get());
    ASSERT_TRUE(memory.ok()) << memory.error().text;
    stored = memory.value().view().size();
  }
  void on_certificates_begun() noexcept override { ++begun; }

  std::string cert() const {
    return std::string(present->tls().front().settings->ssl_cert.reveal());
  }
  /// Turns for so long, or until `done`.
  bool turn(io::Milliseconds most, const std::function<bool()>& done) {
    const io::TimePoint end = io::Clock::now() + most;
    io::Timer tick;
    tick.start(loop, io::Callback<>::to<&CertificatesTest::nothing>(*this));
    while (!done() && io::Clock::now() < end) {
      tick.set(io::Milliseconds(5));
      loop.run_once(true);
    }
    return done();
  }
  void nothing() noexcept {}

  Scratch scratch;
  Pem first = make_pem();
  io::Loop loop;
  std::shared_ptr<const config::Configuration> present;
  std::size_t stored = 0;  // bytes
  unsigned begun = 0;
};

constexpr io::Milliseconds kLong{5000};

/// Who copies a certificate and, minutes later, its key has renewed both.
TEST_F(CertificatesTest, AreUsedWhenTheirKeyComesLate) {
  load();
  CertificateWatch watch(loop, *this);
  watch.begin();
  const Pem second = make_pem();
  write("cert.pem", second.cert);
  turn(io::Milliseconds(300), [] { return false; });
  EXPECT_EQ(cert(), first.cert) << "without its key";
  write("key.pem", second.key);
  EXPECT_TRUE(turn(kLong, [&] { return cert() == second.cert; }));
}

/// Changed after postern.conf was read, and before anybody looked.
TEST_F(CertificatesTest, ThatChangedMeanwhileAreNoticed) {
  load();
  const Pem second = make_pem();
  write("cert.pem", second.cert);
  write("key.pem", second.key);
  CertificateWatch watch(loop, *this);
  watch.begin();
  EXPECT_TRUE(turn(kLong, [&] { return cert() == second.cert; }));
}

/// A disk that hangs, or a lack of descriptors, is no line every ten seconds.
TEST_F(CertificatesTest, ThatCannotBeLookedAtAreToldOfOnce) {
  load();
  CertificateWatch watch(loop, *this);
  watch.begin();
  turn(io::Milliseconds(50), [] { return false; });
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit none{0, before.rlim_max};
  log::flush();
  testing::internal::CaptureStderr();
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  turn(io::Milliseconds(200), [] { return false; });
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  log::flush();
  const std::string told = testing::internal::GetCapturedStderr();
  const std::string line = "TLS: certificate files: ";
  const std::size_t at = told.find(line);
  ASSERT_NE(at, std::string::npos) << told;
  EXPECT_EQ(told.find(line, at + 1), std::string::npos) << told;
  const Pem second = make_pem();
  write("cert.pem", second.cert);
  write("key.pem", second.key);
  EXPECT_TRUE(turn(kLong, [&] { return cert() == second.cert; })) << "and it goes on";
}

TEST_F(CertificatesTest, AreUsedThoughSomethingElseIsAlwaysBeingWritten) {
  std::filesystem::create_directory(scratch / "many");
  load("ssl_cert_dir = " + scratch / "many" + "\n");
  CertificateWatch watch(loop, *this);
  watch.begin();
  const Pem second = make_pem();
  write("cert.pem", second.cert);
  write("key.pem", second.key);
  unsigned count = 0;
  EXPECT_TRUE(turn(kLong, [&] {
    write("many/note-" + std::to_string(++count), "");
    return cert() == second.cert;
  }));
}

TEST_F(CertificatesTest, OfADirectoryThatWasAwayComeBack) {
  std::filesystem::create_directory(scratch / "many");
  load("ssl_cert_dir = " + scratch / "many" + "\n");
  std::filesystem::rename(scratch / "many", scratch / "away");
  CertificateWatch watch(loop, *this);
  watch.begin();
  turn(io::Milliseconds(100), [] { return false; });
  const Pem other = make_pem();
  write("away/other.pem", other.cert + other.key);
  std::filesystem::rename(scratch / "away", scratch / "many");
  EXPECT_TRUE(turn(kLong, [&] { return stored > 0; }));
}

/// What could not be read has not been read again.
TEST_F(CertificatesTest, AreSaidToBeReadOnlyIfTheyWere) {
  write("ca.pem", first.cert);
  load("ssl_client_ca_file = " + scratch / "ca.pem" + "\n");
  CertificateWatch watch(loop, *this);
  watch.begin();
  const Pem second = make_pem();
  write("cert.pem", second.cert);
  write("key.pem", second.key);
  std::filesystem::remove(scratch / "ca.pem");
  testing::internal::CaptureStderr();
  const bool used = turn(kLong, [&] { return cert() == second.cert; });
  log::flush();
  const std::string logged = testing::internal::GetCapturedStderr();
  ASSERT_TRUE(used);
  EXPECT_NE(logged.find("cert.pem was read again"), std::string::npos) << logged;
  EXPECT_NE(logged.find("cannot read " + scratch / "ca.pem"), std::string::npos) << logged;
  EXPECT_EQ(logged.find("ca.pem was read again"), std::string::npos) << logged;
}

TEST_F(CertificatesTest, AreReadByOrderAndWhoOrderedIsTold) {
  std::filesystem::create_directory(scratch / "many");
  load("ssl_cert_dir = " + scratch / "many" + "\n");
  CertificateWatch watch(loop, *this);
  watch.begin();
  EXPECT_FALSE(watch.begun());
  const Pem second = make_pem();
  write("cert.pem", second.cert);
  write("key.pem", second.key);
  write("many/bad.pem", "nothing");
  std::vector<std::vector<std::string>> told;
  watch.read_again([&](const std::vector<std::string>& errors) { told.push_back(errors); });
  const auto gone =
      watch.read_again([](const std::vector<std::string>&) { FAIL() << "not wanted any more"; });
  watch.forget(gone);
  EXPECT_TRUE(turn(kLong, [&] { return !told.empty(); }));
  ASSERT_EQ(told.size(), 1U);
  ASSERT_EQ(told[0].size(), 1U);
  EXPECT_NE(told[0][0].find("many/bad.pem"), std::string::npos) << told[0][0];
  EXPECT_EQ(cert(), second.cert);
  EXPECT_TRUE(watch.begun());
  EXPECT_EQ(begun, 1U);
}

TEST_F(CertificatesTest, OfBackendsAreCheckedBeforeTheyAreUsed) {
  write("ca.pem", first.cert);
  load("ssl_client_ca_file = " + scratch / "ca.pem" + "\n");
  write("ca.pem", "half a file\n");
  std::vector<std::string> errors;
  const auto fresh = present->with_files(present->present_files({scratch / "ca.pem"}, errors));
  ASSERT_TRUE(fresh);
  const auto bad = check_changed_files(*present, *fresh);
  ASSERT_EQ(bad.size(), 1U);
  EXPECT_NE(bad[0].text.find("TLS to backends: CA certificates: "), std::string::npos)
      << bad[0].text;
  EXPECT_EQ(bad[0].paths, std::vector<std::string>{scratch / "ca.pem"});
}

}  // namespace
}  // namespace postern::master
