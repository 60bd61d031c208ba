#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "lib/key-pin.h"
#include "lib/result.h"
#include "lib/secret.h"

/// TLS contexts: what connections share. OpenSSL is behind this header and io/stream.h.
namespace postern::io {

/// A certificate chain and its key, PEM text. Borrowed for the call.
struct CertificatePem {
  std::string_view chain;
  std::string_view key;
  std::string_view key_password;  // empty: none
};

/// The knobs both directions have, in OpenSSL's words (settings ssl_*).
struct TlsParameters {
  int min_version = 0;  // TLS1_2_VERSION …; 0: anything the library has
  std::string cipher_list;
  std::string cipher_suites;
  std::string curves;
  bool prefer_server_ciphers = false;
  bool no_tickets = false;
  bool compression = false;
  /// Server: the one protocol it speaks (RFC 7301), by its names with blanks between. A client that
  /// offers others only is refused (ALPACA); one that offers none is not asked. Empty: what is
  /// offered is not looked at.
  std::string alpn;
  bool operator==(const TlsParameters&) const = default;
};

/// What only servers have. Texts are borrowed for the call.
struct ServerOptions {
  std::string_view dh;  // PEM parameters (ssl_dh); empty: no key exchange that needs them
  /// Ask clients for a certificate. A connection never fails because of it: what came of it is
  /// Stream::client_certificate(). Sessions of such a context are not resumed, so that each
  /// connection shows its certificate again.
  bool ask_client_certificate = false;
  std::string_view client_ca;  // PEM: the CAs that sign them, and their CRLs
  bool require_crl = true;     // a certificate is valid only if each of its CAs has a CRL
  std::string username_field = "commonName";
  bool log_handshakes = false;  // each step, as debug lines
};

class TlsContextImpl;

/// A context, shared by the connections that use it: hold it by shared_ptr. Immutable but for
/// ticket keys.
class TlsContext {
 public:
  /// For clients that connect to us. The private keys enter the process here and nowhere else, so
  /// that they can move to a process of their own.
  /// @param certificates  one, or two of different key types (RSA beside ECDSA); an unreadable
  ///                      chain, or a key that does not fit its certificate, is an Error. One that
  ///                      has expired is not: who cares asks not_after().
  static Result<std::shared_ptr<TlsContext>> server(const std::vector<CertificatePem>& certificates,
                                                    const TlsParameters& parameters,
                                                    const ServerOptions& options = {});
  /// What a connection to a backend trusts. Loading many CA certificates is slow (one bundle: 0.1 s
  /// of CPU): make it once per process, before it forks.
  struct ClientTrust {
    std::string_view ca_pem;     // concatenated CA certificates, and their CRLs
    CertificatePem certificate;  // shown when asked; chain empty: none
    std::string where;           // names the CA file in errors
    bool require_crl = false;    // a CA without a CRL is an error; those there are always count
  };
  static Result<std::shared_ptr<TlsContext>> client(const ClientTrust& trust,
                                                    const TlsParameters& parameters);
  ~TlsContext();
  TlsContext(const TlsContext&) = delete;
  TlsContext& operator=(const TlsContext&) = delete;

  bool has_ca() const noexcept;  // a client context that can verify anything at all
  /// When the first of the certificates expires; the epoch if there are none.
  std::chrono::system_clock::time_point not_after() const noexcept;
  /// The ticket keys (kTicketKeyBytes each: 16 of name, 32 of HMAC-SHA256, 32 of AES-256), newest
  /// first; shared by all login processes. New tickets are made with the first, the others still
  /// open old ones. Until the first call the library makes a key of its own. An Error if the length
  /// is not that of one to kMaxTicketKeys keys; nothing is changed then.
  static constexpr std::size_t kTicketKeyBytes = 80;
  static constexpr std::size_t kMaxTicketKeys = 8;
  Status set_ticket_keys(std::string_view keys);
  TlsContextImpl& impl() noexcept { return *impl_; }

 private:
  explicit TlsContext(std::unique_ptr<TlsContextImpl> impl) noexcept;
  friend class TlsContextImpl;
  std::unique_ptr<TlsContextImpl> impl_;
};

/// How a backend's certificate is judged.
enum class Verify : std::uint8_t {
  none,   // any-cert
  chain,  // signed by a known CA; its name does not matter
  chain_and_name,
};

/// Whom a connection to a backend is meant for.
struct TlsPeer {
  std::string name;  // sent as SNI unless it is an address, and checked against the certificate
  Verify verify = Verify::chain_and_name;
  /// If there are any, the certificate must have one of these keys, whatever `verify` says.
  std::vector<KeyPin> pins;
};

/// What a client has shown of itself in the handshake.
struct ClientCertificate {
  enum class State : std::uint8_t { none, invalid, valid };
  State state = State::none;
  /// Of a valid one: the first value of ServerOptions::username_field in its subject. Empty if
  /// there is none, or it is no text of one line.
  std::string username;
  std::string problem;  // of an invalid one; safe to log
};

/// Of an established TLS connection, for the log and auth.
struct TlsInfo {
  std::string protocol;      // "TLSv1.3"
  std::string cipher;        // "TLS_AES_256_GCM_SHA384"
  int bits = 0;              // of the key in use
  int max_bits = 0;          // of the algorithm
  std::string key_exchange;  // "X25519", may be empty
  std::string server_name;   // SNI, lower case, empty: none
  bool resumed = false;
  /// "TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits)", as Dovecot logs it.
  std::string text() const;
};

}  // namespace postern::io
