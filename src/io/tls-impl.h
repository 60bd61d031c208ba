#pragma once

#include <openssl/ssl.h>

#include <chrono>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "io/loop.h"
#include "io/stream.h"
#include "io/tls.h"
#include "lib/handle.h"
#include "lib/secret.h"

/// The inside of TlsContext and of a Stream's TLS, for the rest of this room.
namespace postern::io {

using Ssl = Handle<SSL, SSL_free>;
using SslContext = Handle<SSL_CTX, SSL_CTX_free>;
using SslSession = Handle<SSL_SESSION, SSL_SESSION_free>;

/// The first error OpenSSL has queued, "error:0A00010B:SSL routines::wrong version number", with
/// its details; empties the queue. Bounded, control bytes escaped.
std::string openssl_error();

using Certificate = Handle<X509, X509_free>;
using PrivateKey = Handle<EVP_PKEY, EVP_PKEY_free>;
/// Every certificate of `pem`, in order. Other PEM objects are passed over.
Result<std::vector<Certificate>> read_certificates(std::string_view pem);
/// Null: openssl_error() says why.
PrivateKey read_key(const CertificatePem& pem);

class TlsContextImpl {
 public:
  static Result<std::shared_ptr<TlsContext>> make_server(
      const std::vector<CertificatePem>& certificates, const TlsParameters& parameters,
      const ServerOptions& options);
  static Result<std::shared_ptr<TlsContext>> make_client(const TlsContext::ClientTrust& trust,
                                                         const TlsParameters& parameters);

  SSL_CTX* get() noexcept { return context_.get(); }
  bool has_ca() const noexcept { return has_ca_; }
  /// Client: a CA without a CRL is no error; one that has revoked the certificate is.
  bool crl_optional() const noexcept { return crl_optional_; }
  std::chrono::system_clock::time_point not_after() const noexcept { return not_after_; }
  const TlsParameters& parameters() const noexcept { return parameters_; }
  bool asks_client_certificate() const noexcept { return asks_client_certificate_; }
  int username_nid() const noexcept { return username_nid_; }
  bool logs_handshakes() const noexcept { return logs_handshakes_; }
  /// Says which sessions a connection may resume: those of the same certificates, the same demands
  /// on clients and the same `scope`.
  void set_session_scope(SSL* ssl, std::string_view scope) const noexcept;
  Status set_ticket_keys(std::string_view keys);
  /// The keys in use, see TlsContext::set_ticket_keys().
  std::string_view ticket_keys() const noexcept { return ticket_keys_.reveal(); }

  /// Takes a session that may be resumed with `key`, if there is one: a ticket is used once (RFC
  /// 8446, C.4).
  SslSession take_session(const std::string& key);
  /// Keeps a session; the oldest knowledge goes when there are too many.
  void keep_session(const std::string& key, SslSession session);

 private:
  Status open(const SSL_METHOD* method, const TlsParameters& parameters);
  Status use(const CertificatePem& certificate);
  Status trust(std::string_view ca_pem, const std::string& where);
  Status ask_clients(const ServerOptions& options);
  Status use_crls(std::string_view pem, const std::string& where);
  void check_crls() noexcept;
  Status use_dh(std::string_view pem);
  void add_to_fingerprint(std::string_view bytes);

  SslContext context_;
  Secret ticket_keys_;
  std::unordered_map<std::string, SslSession> sessions_;
  std::chrono::system_clock::time_point not_after_{};
  std::vector<int> key_kinds_;  // of the certificates in use: EVP_PKEY_RSA, EVP_PKEY_EC …
  bool has_ca_ = false;
  bool has_crls_ = false;
  bool crl_optional_ = false;
  TlsParameters parameters_;
  // What only servers have.
  std::string fingerprint_;  // SHA-256 over certificates and demands on clients
  int username_nid_ = 0;
  bool asks_client_certificate_ = false;
  bool logs_handshakes_ = false;
};

/// A stream's TLS.
struct StreamTls {
  enum class State : std::uint8_t {
    handshaking,
    shaken,  // done, and the owner has yet to be told
    up,
    failed,
  };

  std::shared_ptr<TlsContext> context;  // outlives ssl
  Ssl ssl;
  Stream::ChooseContext choose;
  std::string server_name;      // SNI: as it came (server), as it is checked (client)
  std::string session_key;      // which sessions may be resumed (server: within its context)
  std::string bad_certificate;  // what is wrong with the peer's, if anything
  std::vector<KeyPin> pins;     // client: the keys the server may have; none: any
  Deferred later;               // at the end of the turn: shaken, failed, or bytes are held
  State state = State::handshaking;
  bool server = false;
  bool wants_write = false;       // the handshake's next step
  bool holds_bytes = false;       // OpenSSL may have more to give without the socket
  bool read_needs_write = false;  // a read waits for room to answer the peer
  bool write_needs_read = false;  // and the reverse
  bool flooded = false;           // the peer keeps OpenSSL busy without saying anything
  std::uint8_t key_updates = 0;   // in the minute that began at
  TimePoint key_updates_since;

  static StreamTls* of(const SSL* ssl) noexcept;
  /// Server: makes `ssl` do what the context asks for; again when another one is chosen.
  void configure_server() noexcept;
  ClientCertificate client_certificate() const;
};

}  // namespace postern::io
