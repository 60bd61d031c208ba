#pragma once

#include <memory>
#include <string>
#include <vector>

#include "config/settings.h"
#include "io/tls.h"
#include "lib/result.h"

/// TLS contexts towards backends, one for each different set of settings.
namespace postern::login {

/// The settings ssl_* of connections to clients, as io takes them.
io::TlsParameters tls_parameters(const config::LoginSettings& settings);
/// Those of connections to backends: ssl_client_*, and where they are not set, the clients'.
io::TlsParameters backend_tls_parameters(const config::LoginSettings& settings);

class BackendTlsContexts {
 public:
  /// The context for `settings`, made once for equal ones. With many CA certificates making it
  /// costs 0.1 s of CPU: ask for it before the process forks.
  /// @param verify  it knows what backends are checked against: ssl_client_ca_file and
  ///                ssl_client_ca_dir, else ssl_ca (as Dovecot 2.3 does); without, it trusts nobody
  /// @return an Error that says what could not be loaded, the same one every time
  Result<std::shared_ptr<io::TlsContext>> get(const config::LoginSettings& settings, bool verify);
  std::size_t size() const noexcept { return entries_.size(); }
  /// Files have new content: what get() is not asked for between the two calls is forgotten. (What
  /// is equal stays, with the sessions that can be resumed.)
  void begin_again() noexcept;
  void forget_unused() noexcept;

 private:
  /// Settings that make a context.
  struct Key {
    config::FileText ca_file, ca_dir, ca, cert, key;
    io::TlsParameters parameters;
    bool require_crl = false;
    bool operator==(const Key&) const = default;
  };
  struct Entry {
    Key key;
    Result<std::shared_ptr<io::TlsContext>> context;
    bool used = true;
  };
  static Key key_of(const config::LoginSettings& settings, bool verify);
  std::vector<Entry> entries_;
};

}  // namespace postern::login
