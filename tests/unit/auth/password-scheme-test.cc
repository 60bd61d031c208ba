// Vectors: Ulrich Drepper's "Unix crypt using SHA-256 and SHA-512" (crypt-sha), Openwall's
// crypt_blowfish (wrapper.c), RFC 6070 (PBKDF2), the Argon2 reference (test.c), RFC 1321 and FIPS
// 180 for the plain digests, and Dovecot's own samples of the password "secret".
#include "auth/password-scheme.h"

#include <gtest/gtest.h>

#include <string>

#include "config/table.h"
#include "lib/text.h"

namespace postern::auth {
namespace {

struct Vector {
  const char* stored;
  const char* password;
};

VerifyResult verify(std::string_view stored, std::string_view password,
                    std::string_view default_scheme = "CRYPT") {
  StoredPassword taken;
  const std::string problem = split_stored(stored, default_scheme, taken);
  if (!problem.empty()) return {Verdict::broken, problem};
  return verify_password(*taken.scheme, taken.data.reveal(), password);
}

const Vector kVectors[] = {
    {"$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5", "Hello world!"},
    {"$5$rounds=10000$saltstringsaltst$3xv.VbSHBb41AL9AvLeujZkZRBAwqFMz2.opqey6IcA",
     "Hello world!"},
    {"{SHA512-CRYPT}$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/"
     "O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
     "Hello world!"},
    {"{BLF-CRYPT}$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "U*U"},
    {"{BLF-CRYPT}$2a$05$CCCCCCCCCCCCCCCCCCCCC.VGOzA784oUp/Z0DY336zx7pLYAy0lwK", "U*U*"},
    {"{BLF-CRYPT}$2y$05$9.jYwmaeALki8D3DjGxxk.0DSw27yeVBA.REAqfBQnZ3YvkzozGTO", "secret"},
    {"{MD5-CRYPT}$1$abcdefgh$cHJi5PXp/ki/ktXzqlk6I1", "secret"},
    {"{DES-CRYPT}abNANd1rDfiNc", "secret"},
    {"{ARGON2ID}$argon2id$v=19$m=65536,t=3,p=1$RESJIuttP6Qw0huAYSxt2Q$"
     "ckx0HSH4v4kTIqaJfnJoJnL7WIkASMHTjR00ovd6btE",
     "secret"},
    {"{ARGON2I}$argon2i$v=19$m=256,t=2,p=1$c29tZXNhbHQ$iekCn0Y3spW+sCcFanM2xBT63UP2sghkUoHLIUpWRS8",
     "password"},
    {"{ARGON2ID}$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/"
     "4",
     "password"},
    {"{PBKDF2}$1$salt$4096$4b007901b765489abead49d926f721d065a429c1", "password"},
    {"{PLAIN-MD5}900150983cd24fb0d6963f7d28e17f72", "abc"},
    {"{LDAP-MD5}kAFQmDzST7DWlj99KOF/cg==", "abc"},
    {"{SHA}qZk+NkcGgWq6PiVxeFDCbJzQ2J0=", "abc"},
    {"{SHA.hex}a9993e364706816aba3e25717850c26c9cd0d89d", "abc"},
    {"{SHA256}ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=", "abc"},
    {"{SHA256}ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", "abc"},
    {"{SHA512.hex}"
     "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3fee"
     "bbd454d4423643ce80e2a9ac94fa54ca49f",
     "abc"},
    {"{plain}secret", "secret"},
    {"{PLAIN.b64}c2VjcmV0", "secret"},
    {"{plain.HEX}736563726574", "secret"},
    {"{PLAIN}{PLAIN}x", "{PLAIN}x"},
    {"{MD5}$1$abcdefgh$cHJi5PXp/ki/ktXzqlk6I1", "secret"},
    {"{MD5}900150983cd24fb0d6963f7d28e17f72", "abc"},
};

TEST(PasswordScheme, AcceptsEveryVectorAndNoNeighbourOfIt) {
  for (const Vector& v : kVectors) {
    SCOPED_TRACE(v.stored);
    EXPECT_EQ(verify(v.stored, v.password).verdict, Verdict::match);
    EXPECT_EQ(verify(v.stored, std::string(v.password) + "x").verdict, Verdict::mismatch);
    EXPECT_EQ(verify(v.stored, "").verdict, Verdict::mismatch);
    EXPECT_EQ(verify(v.stored, std::string(v.password) + std::string(1, '\0')).verdict,
              Verdict::mismatch);
  }
}

TEST(PasswordScheme, SaltedDigestsTakeAnySaltAndRefuseNone) {
  // Of "secret" with the salts "salt" and "s", computed with sha256sum and sha512sum.
  EXPECT_EQ(
      verify(
          "{SSHA256.hex}f84fa2149dbb62ed4e0cf1f550d2949b33a6513d3a7707e08502511c79ccb0ee73616c74",
          "secret")
          .verdict,
      Verdict::match);
  EXPECT_EQ(
      verify(
          "{SSHA256.hex}f84fa2149dbb62ed4e0cf1f550d2949b33a6513d3a7707e08502511c79ccb0ee73616c74",
          "secres")
          .verdict,
      Verdict::mismatch);
  EXPECT_EQ(verify("{SSHA512.hex}"
                   "2866c1a859147a54e2907322c0fab161caa33fbb2c3cb45cd7865321bddab15e5ef93a77a785666"
                   "6b7441962eb2f1376382858c24fbcdaffe7eda848112d902273",
                   "secret")
                .verdict,
            Verdict::match);
  const VerifyResult short_one = verify("{SSHA}AAAA", "secret");
  EXPECT_EQ(short_one.verdict, Verdict::broken);
  EXPECT_EQ(short_one.text, "SSHA password is too short");
}

TEST(PasswordScheme, SaysWhatIsWrongWithoutQuotingTheData) {
  EXPECT_EQ(verify("{FOO}secret", "secret").text, "Unknown scheme FOO");
  EXPECT_EQ(verify("{PLAIN.rot13}frperg", "secret").text, "Unknown scheme PLAIN.rot13");
  EXPECT_EQ(
      verify("{SHA512}AAAA", "x").text,
      "Password data is not valid for scheme SHA512: Input length isn't valid (3 instead of 64)");
  EXPECT_EQ(verify("{SHA256}!hush-hush!", "x").text.find("hush"), std::string::npos);
}

TEST(PasswordScheme, NothingMatchesALockedOrEmptyEntry) {
  for (const char* stored :
       {"", "*", "!", "*LK*", "!$6$saltstring$x", "{PLAIN}", "{CRYPT}", "secret"}) {
    SCOPED_TRACE(stored);
    EXPECT_NE(verify(stored, "").verdict, Verdict::match);
    EXPECT_NE(verify(stored, "secret").verdict, Verdict::match);
    EXPECT_NE(verify(stored, stored).verdict, Verdict::match);
  }
}

TEST(PasswordScheme, RefusesHashesThatAskForTooMuch) {
  for (const char* stored : {
           "{SHA512-CRYPT}$6$rounds=999999999$saltstring$aaaaaaaaaaaaaaaaaaaaaaaaaaa",
           "{SHA256-CRYPT}$5$rounds=99999999999999999999$saltstring$aaaaaaaaaaaaaaaaaaaaaaaaaaa",
           "{BLF-CRYPT}$2y$31$9.jYwmaeALki8D3DjGxxk.0DSw27yeVBA.REAqfBQnZ3YvkzozGTO",
           "{ARGON2ID}$argon2id$v=19$m=4194304,t=3,p=1$RESJIuttP6Qw0huAYSxt2Q$"
           "ckx0HSH4v4kTIqaJfnJoJnL7WIkASMHTjR00ovd6btE",
           "{ARGON2ID}$argon2id$v=19$m=65536,t=4000000,p=1$RESJIuttP6Qw0huAYSxt2Q$"
           "ckx0HSH4v4kTIqaJfnJoJnL7WIkASMHTjR00ovd6btE",
           "{CRYPT}$y$jzT$salt$abcdefghijklmnopqrstuvwxyz",
           "{CRYPT}$7$z/..../....$abcdefghijklmnop",
           "{CRYPT}$sha1$4294967295$salt$abcdefghijklmnop",
           "{CRYPT}_zzzzsaltabcdefghijk",
           "{PBKDF2}$1$salt$4294967295$4b007901b765489abead49d926f721d065a429c1",
       }) {
    SCOPED_TRACE(stored);
    EXPECT_EQ(verify(stored, "secret").verdict, Verdict::broken);
  }
}

TEST(PasswordScheme, ANamedSchemeIsNoLicenceForAnother) {
  EXPECT_EQ(verify("{SHA512-CRYPT}$1$abcdefgh$cHJi5PXp/ki/ktXzqlk6I1", "secret").verdict,
            Verdict::broken);
  EXPECT_EQ(verify("{ARGON2I}$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/"
                   "uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
                   "password")
                .verdict,
            Verdict::broken);
}

TEST(PasswordScheme, KnowsWhatIsExpensive) {
  const auto expensive = [](std::string_view scheme, std::string_view stored) {
    return find_scheme(scheme)->work(stored) > 0;
  };
  EXPECT_TRUE(expensive("CRYPT", "$6$salt$x"));
  EXPECT_TRUE(expensive("BLF-CRYPT", "$2y$05$x"));
  EXPECT_TRUE(expensive("CRYPT", "$y$j9T$x"));
  EXPECT_TRUE(expensive("ARGON2ID", "$argon2id$"));
  EXPECT_TRUE(expensive("PBKDF2", "$1$"));
  EXPECT_FALSE(expensive("CRYPT", "abNANd1rDfiNc"));
  EXPECT_FALSE(expensive("MD5-CRYPT", "$1$salt$x"));
  EXPECT_FALSE(expensive("PLAIN", "secret"));
  EXPECT_FALSE(expensive("SSHA512", "x"));
}

TEST(PasswordScheme, KnowsWhichOfTwoTakesLonger_T_NET_11) {
  const auto work = [](std::string_view scheme, std::string_view stored) {
    return find_scheme(scheme)->work(stored);
  };
  // Each by its own parameters, and from one to the next, cheapest first.
  const std::pair<std::string_view, std::string_view> costlier[] = {
      {"CRYPT", "$6$rounds=1000$salt$x"},
      {"CRYPT", "$6$salt$x"},
      {"PBKDF2", "$1$salt$5000$x"},
      {"PBKDF2", "$1$salt$20000$x"},
      {"BLF-CRYPT", "$2y$10$x"},
      {"ARGON2ID", "$argon2id$v=19$m=65536,t=1,p=1$c$h"},
      {"ARGON2ID", "$argon2id$v=19$m=65536,t=3,p=1$c$h"},
      {"BLF-CRYPT", "$2y$12$x"},
  };
  std::uint64_t before = 0;
  for (const auto& [scheme, stored] : costlier) {
    EXPECT_GT(work(scheme, stored), before) << stored;
    before = work(scheme, stored);
  }
  EXPECT_GT(work("CRYPT", "$y$jBT$x"), work("CRYPT", "$y$j9T$x"));
  EXPECT_GT(work("CRYPT", "$7$CU..../....x"), work("CRYPT", "$7$AU..../....x"));
  // What is refused costs nothing worth imitating.
  for (const char* stored : {"$2y$31$x", "$2", "$y$", "$7$", "$y$zzT$x", "$sha1$9$x"}) {
    EXPECT_EQ(work("CRYPT", stored), 1U) << stored;
  }
}

TEST(PasswordScheme, ALongPasswordNeverReachesAHash) {
  const std::string password(kMaxPassword + 1, 'x');
  EXPECT_EQ(verify("{PLAIN}" + password, password).verdict, Verdict::mismatch);
  EXPECT_EQ(verify("{PLAIN}" + password.substr(1), password.substr(1)).verdict, Verdict::match);
}

TEST(PasswordSchemes, AreThoseTheSettingTakes) {
  const config::SettingRow* const row =
      config::find_setting(config::Group::passdb, "default_pass_scheme");
  ASSERT_NE(row, nullptr);
  const auto names = words(row->choices);
  EXPECT_EQ(names.size(), 24U);
  for (const std::string_view name : names) {
    ASSERT_NE(find_scheme(name), nullptr) << name;
    EXPECT_EQ(find_scheme(name)->name, name);
  }
}

}  // namespace
}  // namespace postern::auth
