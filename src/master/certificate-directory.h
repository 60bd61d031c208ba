#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "io/certificate.h"
#include "lib/secret.h"
#include "master/file-print.h"

/// ssl_cert_dir: a directory of certificates that are served by the names inside them.
namespace postern::master {

class CertificateDirectory {
 public:
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

  /// Reads what has changed since the last call. A pair:
  ///   NAME.pem or NAME.crt with its key in NAME.key, or else in itself;
  ///   in a directory below: fullchain.pem with privkey.pem (certbot), or pairs as above.
  /// What is not good stays as it was, or is left out.
  /// @param path          empty: there is no such directory
  /// @param key_password  of keys that are encrypted
  /// @return one line for each that is not good, when it has become so
  std::vector<std::string> read(const std::string& path, std::string_view key_password);
  /// Never without the directory itself, which may come back.
  const std::vector<Place>& places() const noexcept { return places_; }
  const std::vector<std::unique_ptr<Pair>>& pairs() const noexcept { return pairs_; }
  /// For the login processes (wire/certificate-store.h). Of two certificates with the same name and
  /// the same kind of key the one that ends later is served.
  WipingBuffer store() const;

 private:
  std::vector<Place> places_;
  std::vector<std::unique_ptr<Pair>> pairs_;
};

}  // namespace postern::master
