#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "io/certificate.h"
#include "lib/secret.h"
#include "master/file-print.h"

/// ssl_cert_dir: a directory of certificates that are served by the names inside them. It is read
/// in a process of its own (master/file-job.h), which then tells the master.
namespace postern::master {

/// More than this no directory may hold.
struct CertificateLimits {
  std::size_t pairs = 100'000;
  std::size_t file = std::size_t{1} << 20U;     // bytes of one file
  std::size_t total = std::size_t{512} << 20U;  // bytes of all chains and keys that are served
};

class CertificateDirectory {
 public:
  explicit CertificateDirectory(const CertificateLimits& limits = {}) : limits_(limits) {}

  /// A certificate and its key that fit.
  struct Pair {
    std::string cert_file, key_file;  // the same where one file holds both
    FilePrint cert_print, key_print;
    io::CertificateFacts facts;
    Secret chain, key;
  };
  /// Where to look for changes: a directory or a file, and what it was before it was read.
  struct Place {
    std::string path;
    FilePrint print;
  };

  /// What has come of reading it.
  struct Reading {
    std::vector<std::string> problems;  // a line for each that is not good, when it has become so
    bool whole = false;                 // false: all of it stays what it was
    WipingBuffer
        store;  // for the login processes (wire/certificate-store.h); empty: no certificate
  };

  /// Reads what has changed since the last call. A pair:
  ///   NAME.pem or NAME.crt with its key in NAME.key, or else in itself;
  ///   in a directory below: fullchain.pem with privkey.pem (certbot), or pairs as above.
  /// What is not good stays as it was, or is left out. Too many or too large ones are refused
  /// together. Of two certificates with the same name and the same kind of key the one that ends
  /// later is served.
  /// @param key_password  of keys that are encrypted
  Reading read(const std::string& path, std::string_view key_password);
  /// As if the directory were empty, and nowhere.
  void clear() noexcept;
  /// What is here now, for a process where `before` was.
  void pack(const CertificateDirectory& before, PackWriter& out) const;
  /// Becomes what another process packed. False, and nothing changes, if that is damaged.
  bool unpack(PackReader& in);
  /// Never without the directory itself, which may come back.
  const std::vector<Place>& places() const noexcept { return places_; }
  /// They never change; whoever copies this shares them.
  using Pairs = std::vector<std::shared_ptr<const Pair>>;
  const Pairs& pairs() const noexcept { return pairs_; }

 private:
  CertificateLimits limits_;
  std::vector<Place> places_;
  Pairs pairs_;
};

}  // namespace postern::master
