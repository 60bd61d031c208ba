#pragma once

#include <cstddef>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "config/snapshot.h"
#include "io/mapped-memory.h"
#include "io/tls.h"
#include "lib/result.h"
#include "lib/secret.h"
#include "wire/certificate-store.h"

/// The TLS contexts towards clients: one for each set of certificates and parameters, however many
/// filters lead to it. A name that a client invents leads to the settings of no filter, and so to a
/// context that is there already.
namespace postern::login {

class TlsContexts {
 public:
  using Settings = std::shared_ptr<const config::LoginSettings>;
  static constexpr std::size_t kMaxSettings = 4096;  // remembered by their pointer
  static constexpr std::size_t kMaxContexts = 16384;

  /// @param protocol  the name that clients may ask for by ALPN (RFC 7301); empty: any
  explicit TlsContexts(std::string protocol = {}) : protocol_(std::move(protocol)) {}

  /// Makes every context that a block of the configuration asks for, before the process forks or
  /// is confined. What is wrong is logged; connections that need it fail plainly. Called again when
  /// files have new content, it forgets those that no block asks for any more.
  void load(const std::vector<Settings>& all);
  /// The context for a connection. The settings are kept as long as they are a key here.
  Result<std::shared_ptr<io::TlsContext>> get(const Settings& settings);
  /// From the master, newest first, 80 bytes each; also for contexts made later.
  /// Keys of a wrong size are an Error, and the old ones stay.
  Status set_ticket_keys(std::string_view keys);
  std::size_t size() const noexcept { return entries_.size(); }

  /// The certificates of ssl_cert_dir, in place of those before.
  /// @param fd  sealed memory, wire/certificate-store.h; it may be closed afterwards
  Status use_store(int fd);
  /// The context for a name that a client asks for, with a certificate of ssl_cert_dir: made when
  /// it is first asked for, the kMaxNamed last ones kept. Null if there is none for the name, or it
  /// cannot be used (logged).
  /// @param name  lower case
  std::shared_ptr<io::TlsContext> named(const Settings& settings, std::string_view name);
  static constexpr std::size_t kMaxNamed = 1024;
  std::size_t named_size() const noexcept { return named_.size(); }

 private:
  struct Key {
    config::FileText cert, key, alt_cert, alt_key, dh;
    io::TlsParameters parameters;
    config::FileText client_ca;  // empty: clients are not asked for a certificate
    std::string username_field;
    bool require_crl = false;
    bool verbose = false;
    bool operator==(const Key&) const = default;
  };
  struct Entry {
    Key key;
    Result<std::shared_ptr<io::TlsContext>> context;
  };
  /// One of ssl_cert_dir. Two names of a certificate have the same.
  struct Named {
    Settings settings;
    std::vector<wire::StoredCertificate> certificates;
    std::shared_ptr<io::TlsContext> context;  // null: it cannot be used
  };
  static Key key_of(const config::LoginSettings& settings);

  std::string protocol_;
  std::vector<Entry> entries_;
  std::unordered_map<Settings, std::size_t> by_settings_;
  Secret ticket_keys_;
  io::MappedMemory store_bytes_;
  wire::CertificateStore store_;
  std::list<Named> named_;  // the last used first
};

}  // namespace postern::login
