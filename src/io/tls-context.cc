#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/params.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <ctime>

#include "io/tls-impl.h"
#include "io/tls.h"
#include "lib/check.h"
#include "lib/text.h"

namespace postern::io {
namespace {

using Bio = Handle<BIO, BIO_free>;
using Crl = Handle<X509_CRL, X509_CRL_free>;

constexpr std::size_t kMaxSessions = 256;  // kept for backends

Bio memory(std::string_view pem) {
  // An empty text may have no memory at all.
  Bio bio(BIO_new_mem_buf(pem.empty() ? "" : pem.data(), static_cast<int>(pem.size())));
  POSTERN_CHECK(bio != nullptr);
  return bio;
}

/// Gives the key's password; without one nobody is asked (OpenSSL would ask the terminal).
int give_password(char* to, int size, int, void* password) {
  const auto& text = *static_cast<const std::string_view*>(password);
  if (text.empty() || text.size() > static_cast<std::size_t>(size)) return -1;
  std::memcpy(to, text.data(), text.size());
  return static_cast<int>(text.size());
}

Error tls_error(const std::string& what) {
  return Error{EINVAL, what + ": " + openssl_error()};
}

std::chrono::system_clock::time_point expiry(const X509* certificate) {
  tm when{};
  if (ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &when) != 1) return {};
  return std::chrono::system_clock::from_time_t(timegm(&when));
}

int on_ticket(SSL* ssl, unsigned char* name, unsigned char* iv, EVP_CIPHER_CTX* cipher,
              EVP_MAC_CTX* mac, int sealing) noexcept;

int on_new_session(SSL* ssl, SSL_SESSION* session) noexcept {
  StreamTls* tls = StreamTls::of(ssl);
  if (tls == nullptr || tls->session_key.empty()) return 0;
  // Ours from now on. Without a ticket nobody could resume it: the servers' memory is not ours.
  tls->context->impl().keep_session(tls->session_key, SslSession(session));
  return 1;
}

/// The name a client asks for, from the raw extension (RFC 6066 section 3); empty if there is none.
std::string_view asked_name(SSL* ssl) noexcept {
  const unsigned char* data = nullptr;
  std::size_t size = 0;
  if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &data, &size) != 1) return {};
  // list length, then type 0, length, name
  const auto at = [data](std::size_t i) { return static_cast<std::size_t>(data[i]); };
  if (size < 5 || (at(0) << 8U | at(1)) != size - 2 || at(2) != TLSEXT_NAMETYPE_host_name) {
    return {};
  }
  const std::size_t length = at(3) << 8U | at(4);
  if (length == 0 || length > size - 5 || length > TLSEXT_MAXLEN_host_name) return {};
  return {reinterpret_cast<const char*>(data) + 5, length};
}

/// What a connection has copied from its first context and does not take from another by itself.
bool use_parameters(SSL* ssl, const TlsParameters& before, const TlsParameters& now) noexcept {
  SSL_set_num_tickets(ssl, now.no_tickets ? 0 : 1);
  if (now.cipher_suites != before.cipher_suites) {
    const char* suites =
        now.cipher_suites.empty() ? OSSL_default_ciphersuites() : now.cipher_suites.c_str();
    if (SSL_set_ciphersuites(ssl, suites) != 1) return false;
  }
  if (now.curves == before.curves) return true;
  // The library's own, which it has no function for.
  const char* curves = now.curves.empty() ? "X25519:P-256:X448:P-521:P-384" : now.curves.c_str();
  return SSL_set1_groups_list(ssl, const_cast<char*>(curves)) == 1;
}

/// The context is chosen before anything is negotiated, so that its versions and ciphers hold too,
/// not only its certificate.
int on_client_hello(SSL* ssl, int*, void*) noexcept {
  StreamTls* tls = StreamTls::of(ssl);
  tls->server_name = asked_name(ssl);
  if (!tls->choose || tls->server_name.empty()) return SSL_CLIENT_HELLO_SUCCESS;
  std::shared_ptr<TlsContext> chosen;
  tls->choose(tls->server_name, chosen);
  if (!chosen || chosen == tls->context) return SSL_CLIENT_HELLO_SUCCESS;
  SSL_CTX* context = chosen->impl().get();
  if (SSL_set_SSL_CTX(ssl, context) == nullptr) return SSL_CLIENT_HELLO_ERROR;
  SSL_clear_options(ssl, SSL_get_options(ssl));
  SSL_set_options(ssl, SSL_CTX_get_options(context));
  SSL_set_min_proto_version(ssl, SSL_CTX_get_min_proto_version(context));
  const TlsParameters before = tls->context->impl().parameters();
  tls->context = std::move(chosen);
  if (!use_parameters(ssl, before, tls->context->impl().parameters())) {
    return SSL_CLIENT_HELLO_ERROR;
  }
  tls->configure_server();
  return SSL_CLIENT_HELLO_SUCCESS;
}

/// Picks our protocol from the client's list (RFC 7301: each name behind its length).
int on_alpn(SSL* ssl, const unsigned char** out, unsigned char* out_size,
            const unsigned char* offered, unsigned size, void*) noexcept {
  const auto own = words(StreamTls::of(ssl)->context->impl().parameters().alpn, " ");
  std::string_view rest(reinterpret_cast<const char*>(offered), size);
  while (!rest.empty()) {
    const std::size_t length = static_cast<unsigned char>(rest.front());
    rest.remove_prefix(1);
    const std::string_view name = rest.substr(0, length);
    if (std::find(own.begin(), own.end(), name) != own.end()) {
      *out = reinterpret_cast<const unsigned char*>(name.data());
      *out_size = static_cast<unsigned char>(name.size());
      return SSL_TLSEXT_ERR_OK;
    }
    rest.remove_prefix(name.size());
  }
  return SSL_TLSEXT_ERR_ALERT_FATAL;
}

int acknowledge_name(SSL*, int*, void*) noexcept {
  return SSL_TLSEXT_ERR_OK;
}

Status set_parameters(SSL_CTX* context, const TlsParameters& parameters) {
  if (SSL_CTX_set_min_proto_version(context, parameters.min_version) != 1) {
    return tls_error("ssl_min_protocol");
  }
  if (!parameters.cipher_list.empty() &&
      SSL_CTX_set_cipher_list(context, parameters.cipher_list.c_str()) != 1) {
    return tls_error("ssl_cipher_list");
  }
  if (!parameters.cipher_suites.empty() &&
      SSL_CTX_set_ciphersuites(context, parameters.cipher_suites.c_str()) != 1) {
    return tls_error("ssl_cipher_suites");
  }
  if (!parameters.curves.empty() &&
      SSL_CTX_set1_groups_list(context, parameters.curves.c_str()) != 1) {
    return tls_error("ssl_curve_list");
  }
  std::uint64_t options = SSL_OP_NO_RENEGOTIATION;
  if (!parameters.compression) options |= SSL_OP_NO_COMPRESSION;
  if (parameters.prefer_server_ciphers) options |= SSL_OP_CIPHER_SERVER_PREFERENCE;
  if (parameters.no_tickets) options |= SSL_OP_NO_TICKET;
  SSL_CTX_set_options(context, options);
  if (parameters.compression) SSL_CTX_clear_options(context, SSL_OP_NO_COMPRESSION);
  // With TLS 1.3 NO_TICKET means stateful tickets; none at all is what is wanted.
  SSL_CTX_set_num_tickets(context, parameters.no_tickets ? 0 : 1);
  return Done{};
}

}  // namespace

Result<std::vector<Certificate>> read_certificates(std::string_view pem) {
  std::vector<Certificate> out;
  const Bio bio = memory(pem);
  std::string_view no_password;
  while (X509* next = PEM_read_bio_X509_AUX(bio.get(), nullptr, give_password, &no_password)) {
    out.emplace_back(next);
  }
  const unsigned long error = ERR_peek_last_error();
  if (ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_NO_START_LINE) {
    ERR_clear_error();
  } else {
    return tls_error("certificate " + std::to_string(out.size() + 1));
  }
  if (out.empty()) return Error{EINVAL, "there is no PEM certificate"};
  return out;
}

PrivateKey read_key(const CertificatePem& pem) {
  const Bio bio = memory(pem.key);
  std::string_view password = pem.key_password;
  return PrivateKey(PEM_read_bio_PrivateKey(bio.get(), nullptr, give_password, &password));
}

std::string openssl_error() {
  const char* data = nullptr;
  int flags = 0;
  const unsigned long code = ERR_get_error_all(nullptr, nullptr, nullptr, &data, &flags);
  if (code == 0) return "unknown error";
  std::string text;
  // The library number of a system error has no texts of its own.
  if (ERR_SYSTEM_ERROR(code)) {
    text = system_error("system", ERR_GET_REASON(code)).text;
  } else {
    std::array<char, 256> buffer{};
    ERR_error_string_n(code, buffer.data(), buffer.size());
    text = buffer.data();
    if (data != nullptr && (flags & ERR_TXT_STRING) != 0 && *data != '\0') {
      text.append(": ").append(data);
    }
  }
  ERR_clear_error();
  return log_safe_line(text, 300);
}

// --- ticket keys ---

namespace {

constexpr std::size_t kNameBytes = 16;
constexpr std::size_t kMacBytes = 32;

const unsigned char* octets(std::string_view text) noexcept {
  return reinterpret_cast<const unsigned char*>(text.data());
}

bool set_mac_key(EVP_MAC_CTX* mac, std::string_view key) {
  std::string digest = "SHA256";
  WipingBuffer copy(key);  // OSSL_PARAM wants it writable
  const std::array<OSSL_PARAM, 3> parameters{
      OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, const_cast<char*>(copy.view().data()),
                                        copy.size()),
      OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest.data(), 0),
      OSSL_PARAM_construct_end()};
  return EVP_MAC_CTX_set_params(mac, parameters.data()) == 1;
}

int on_ticket(SSL* ssl, unsigned char* name, unsigned char* iv, EVP_CIPHER_CTX* cipher,
              EVP_MAC_CTX* mac, int sealing) noexcept {
  constexpr int kNoTicket = 0;
  constexpr int kUse = 1;
  constexpr int kUseAndRenew = 2;
  const StreamTls* tls = StreamTls::of(ssl);
  if (tls == nullptr) return kNoTicket;
  std::string_view keys = tls->context->impl().ticket_keys();
  bool newest = true;
  if (sealing == 0) {
    const std::string_view wanted(reinterpret_cast<const char*>(name), kNameBytes);
    while (!keys.empty() && keys.substr(0, kNameBytes) != wanted) {
      keys.remove_prefix(TlsContext::kTicketKeyBytes);
      newest = false;
    }
  }
  if (keys.empty()) return kNoTicket;
  const std::string_view mac_key = keys.substr(kNameBytes, kMacBytes);
  const unsigned char* aes_key = octets(keys.substr(kNameBytes + kMacBytes));
  if (!set_mac_key(mac, mac_key)) return -1;
  if (sealing == 0) {
    if (EVP_DecryptInit_ex(cipher, EVP_aes_256_cbc(), nullptr, aes_key, iv) != 1) return -1;
    // RFC 8446, C.4: a ticket is used once, so its user needs another.
    return newest && SSL_version(ssl) < TLS1_3_VERSION ? kUse : kUseAndRenew;
  }
  std::memcpy(name, keys.data(), kNameBytes);
  if (RAND_bytes(iv, EVP_CIPHER_get_iv_length(EVP_aes_256_cbc())) != 1) return -1;
  if (EVP_EncryptInit_ex(cipher, EVP_aes_256_cbc(), nullptr, aes_key, iv) != 1) return -1;
  return kUse;
}

}  // namespace

Status TlsContextImpl::set_ticket_keys(std::string_view keys) {
  constexpr std::size_t kOne = TlsContext::kTicketKeyBytes;
  if (keys.empty() || keys.size() % kOne != 0 || keys.size() / kOne > TlsContext::kMaxTicketKeys) {
    return Error{EINVAL, "ticket keys of a wrong length"};
  }
  ticket_keys_ = Secret(keys);
  SSL_CTX_set_tlsext_ticket_key_evp_cb(context_.get(), on_ticket);
  return Done{};
}

// --- making contexts ---

Status TlsContextImpl::open(const SSL_METHOD* method, const TlsParameters& parameters) {
  initialise();
  ERR_clear_error();
  context_.reset(SSL_CTX_new(method));
  if (!context_) return tls_error("SSL_CTX_new");
  SSL_CTX_set_mode(context_.get(), SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                       SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  // One read(2) takes what is there, instead of one for a record's head and one for its body. And
  // one call of ours takes what one read(2) gave: who sends nothing but handshake messages does not
  // keep us from the others.
  SSL_CTX_set_read_ahead(context_.get(), 1);
  SSL_CTX_clear_mode(context_.get(), SSL_MODE_AUTO_RETRY);
  parameters_ = parameters;
  return set_parameters(context_.get(), parameters);
}

Status TlsContextImpl::use(const CertificatePem& pem) {
  auto chain = read_certificates(pem.chain);
  if (!chain.ok()) return Error{EINVAL, "certificate: " + chain.error().text};
  X509* leaf = chain.value().front().get();
  const auto ends = expiry(leaf);
  if (not_after_ == std::chrono::system_clock::time_point{} || ends < not_after_) {
    not_after_ = ends;
  }
  const int kind = EVP_PKEY_get_base_id(X509_get0_pubkey(leaf));
  if (std::find(key_kinds_.begin(), key_kinds_.end(), kind) != key_kinds_.end()) {
    return Error{EINVAL, "the two certificates have the same kind of key"};
  }
  key_kinds_.push_back(kind);
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  if (X509_digest(leaf, EVP_sha256(), digest.data(), &size) != 1) return tls_error("certificate");
  add_to_fingerprint({reinterpret_cast<const char*>(digest.data()), size});
  if (SSL_CTX_use_certificate(context_.get(), leaf) != 1) return tls_error("certificate");
  const PrivateKey key = read_key(pem);
  if (!key) return tls_error("private key");
  if (X509_check_private_key(leaf, key.get()) != 1) {
    ERR_clear_error();
    return Error{EINVAL, "the private key does not belong to the certificate"};
  }
  if (SSL_CTX_use_PrivateKey(context_.get(), key.get()) != 1) return tls_error("private key");
  for (std::size_t i = 1; i < chain.value().size(); i++) {
    if (SSL_CTX_add1_chain_cert(context_.get(), chain.value()[i].get()) != 1) {
      return tls_error("certificate chain");
    }
  }
  return Done{};
}

Status TlsContextImpl::trust(std::string_view ca_pem, const std::string& where) {
  const auto authorities = read_certificates(ca_pem);
  if (!authorities.ok()) return Error{EINVAL, where + ": " + authorities.error().text};
  X509_STORE* store = SSL_CTX_get_cert_store(context_.get());
  for (const Certificate& authority : authorities.value()) {
    if (X509_STORE_add_cert(store, authority.get()) != 1) return tls_error(where);
  }
  // What the operator names is trusted as it stands, also an intermediate without its root.
  X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
  has_ca_ = true;
  return Done{};
}

/// Each piece with its length, so that no two lists of pieces are the same bytes.
void TlsContextImpl::add_to_fingerprint(std::string_view bytes) {
  std::string all = fingerprint_ + std::to_string(bytes.size()) + ":";
  all += bytes;
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest{};
  SHA256(octets(all), all.size(), digest.data());
  fingerprint_.assign(reinterpret_cast<const char*>(digest.data()), digest.size());
}

void TlsContextImpl::set_session_scope(SSL* ssl, std::string_view scope) const noexcept {
  static_assert(SHA256_DIGEST_LENGTH <= SSL_MAX_SID_CTX_LENGTH);
  const std::string all = fingerprint_ + std::string(scope);
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest{};
  SHA256(octets(all), all.size(), digest.data());
  POSTERN_CHECK(SSL_set_session_id_context(ssl, digest.data(), digest.size()) == 1);
}

Status TlsContextImpl::use_dh(std::string_view pem) {
  const Bio bio = memory(pem);
  PrivateKey parameters(PEM_read_bio_Parameters(bio.get(), nullptr));
  if (!parameters) return tls_error("ssl_dh");
  if (SSL_CTX_set0_tmp_dh_pkey(context_.get(), parameters.get()) != 1) return tls_error("ssl_dh");
  static_cast<void>(parameters.release());  // the context's now
  return Done{};
}

/// CRLs of `pem` into the store.
Status TlsContextImpl::use_crls(std::string_view pem, const std::string& where) {
  const Bio bio = memory(pem);
  X509_STORE* store = SSL_CTX_get_cert_store(context_.get());
  std::string_view no_password;
  while (X509_CRL* next = PEM_read_bio_X509_CRL(bio.get(), nullptr, give_password, &no_password)) {
    const Crl crl(next);
    if (X509_STORE_add_crl(store, crl.get()) != 1) return tls_error(where);
    has_crls_ = true;
  }
  const unsigned long error = ERR_peek_last_error();
  if (ERR_GET_LIB(error) != ERR_LIB_PEM || ERR_GET_REASON(error) != PEM_R_NO_START_LINE) {
    return tls_error(where + ": CRL");
  }
  ERR_clear_error();
  return Done{};
}

void TlsContextImpl::check_crls() noexcept {
  X509_STORE_set_flags(SSL_CTX_get_cert_store(context_.get()),
                       X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
}

Status TlsContextImpl::ask_clients(const ServerOptions& options) {
  asks_client_certificate_ = true;
  username_nid_ = OBJ_txt2nid(options.username_field.c_str());
  if (username_nid_ == NID_undef) {
    ERR_clear_error();
    return Error{EINVAL, "ssl_cert_username_field: there is no field " +
                             log_safe_line(options.username_field, 80)};
  }
  if (auto trusted = trust(options.client_ca, "ssl_ca"); !trusted.ok()) return trusted;
  if (auto read = use_crls(options.client_ca, "ssl_ca"); !read.ok()) return read;
  if (options.require_crl) check_crls();
  // The names of the CAs tell a client which of its certificates to show.
  STACK_OF(X509_NAME)* names = sk_X509_NAME_new_null();
  POSTERN_CHECK(names != nullptr);
  auto authorities = read_certificates(options.client_ca);
  if (!authorities.ok()) return authorities.error();
  for (const Certificate& authority : authorities.value()) {
    X509_NAME* name = X509_NAME_dup(X509_get_subject_name(authority.get()));
    POSTERN_CHECK(name != nullptr && sk_X509_NAME_push(names, name) > 0);
  }
  SSL_CTX_set_client_CA_list(context_.get(), names);
  // A session would be taken up without the certificate being looked at again.
  SSL_CTX_set_options(context_.get(), SSL_OP_NO_TICKET);
  SSL_CTX_set_num_tickets(context_.get(), 0);
  parameters_.no_tickets = true;
  return Done{};
}

Result<std::shared_ptr<TlsContext>> TlsContextImpl::make_server(
    const std::vector<CertificatePem>& certificates, const TlsParameters& parameters,
    const ServerOptions& options) {
  if (certificates.empty()) return Error{EINVAL, "no certificate"};
  auto impl = std::make_unique<TlsContextImpl>();
  if (auto opened = impl->open(TLS_server_method(), parameters); !opened.ok()) {
    return opened.error();
  }
  for (const CertificatePem& certificate : certificates) {
    if (auto used = impl->use(certificate); !used.ok()) return used.error();
  }
  SSL_CTX* context = impl->get();
  // See Stream::stop_wiping().
  SSL_CTX_set_options(context, SSL_OP_CLEANSE_PLAINTEXT);
  // Resumption is by tickets alone: a cache would be one process's.
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  impl->logs_handshakes_ = options.log_handshakes;
  if (!options.dh.empty()) {
    if (auto used = impl->use_dh(options.dh); !used.ok()) return used.error();
  }
  if (options.ask_client_certificate) {
    if (auto asked = impl->ask_clients(options); !asked.ok()) return asked.error();
    impl->add_to_fingerprint(options.client_ca);
    impl->add_to_fingerprint(options.username_field);
    impl->add_to_fingerprint(options.require_crl ? "crl" : "");
  }
  impl->add_to_fingerprint(parameters.alpn);
  SSL_CTX_set_client_hello_cb(context, on_client_hello, nullptr);
  if (!parameters.alpn.empty()) SSL_CTX_set_alpn_select_cb(context, on_alpn, nullptr);
  // Says to the client that its name was heard; the choice was made at its hello.
  SSL_CTX_callback_ctrl(context, SSL_CTRL_SET_TLSEXT_SERVERNAME_CB,
                        reinterpret_cast<void (*)()>(&acknowledge_name));
  return std::shared_ptr<TlsContext>(new TlsContext(std::move(impl)));
}

Result<std::shared_ptr<TlsContext>> TlsContextImpl::make_client(
    const TlsContext::ClientTrust& trust, const TlsParameters& parameters) {
  auto impl = std::make_unique<TlsContextImpl>();
  if (auto opened = impl->open(TLS_client_method(), parameters); !opened.ok()) {
    return opened.error();
  }
  if (!trust.ca_pem.empty()) {
    if (auto trusted = impl->trust(trust.ca_pem, trust.where); !trusted.ok()) {
      return trusted.error();
    }
    if (auto read = impl->use_crls(trust.ca_pem, trust.where); !read.ok()) return read.error();
    impl->crl_optional_ = !trust.require_crl;
    if (trust.require_crl || impl->has_crls_) impl->check_crls();
  }
  if (!trust.certificate.chain.empty()) {
    if (auto used = impl->use(trust.certificate); !used.ok()) return used.error();
  }
  SSL_CTX_set_session_cache_mode(impl->get(), SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_sess_set_new_cb(impl->get(), on_new_session);
  return std::shared_ptr<TlsContext>(new TlsContext(std::move(impl)));
}

SslSession TlsContextImpl::take_session(const std::string& key) {
  const auto found = sessions_.find(key);
  if (found == sessions_.end()) return nullptr;
  SslSession session = std::move(found->second);
  sessions_.erase(found);
  return session;
}

void TlsContextImpl::keep_session(const std::string& key, SslSession session) {
  if (SSL_SESSION_is_resumable(session.get()) != 1) return;
  if (sessions_.size() >= kMaxSessions && !sessions_.contains(key)) sessions_.clear();
  sessions_[key] = std::move(session);
}

// --- TlsContext ---

TlsContext::TlsContext(std::unique_ptr<TlsContextImpl> impl) noexcept : impl_(std::move(impl)) {}
TlsContext::~TlsContext() = default;

Result<std::shared_ptr<TlsContext>> TlsContext::server(
    const std::vector<CertificatePem>& certificates, const TlsParameters& parameters,
    const ServerOptions& options) {
  return TlsContextImpl::make_server(certificates, parameters, options);
}
Result<std::shared_ptr<TlsContext>> TlsContext::client(const ClientTrust& trust,
                                                       const TlsParameters& parameters) {
  return TlsContextImpl::make_client(trust, parameters);
}
bool TlsContext::has_ca() const noexcept {
  return impl_->has_ca();
}
std::chrono::system_clock::time_point TlsContext::not_after() const noexcept {
  return impl_->not_after();
}
Status TlsContext::set_ticket_keys(std::string_view keys) {
  return impl_->set_ticket_keys(keys);
}

std::string TlsInfo::text() const {
  return protocol + " with cipher " + cipher + " (" + std::to_string(bits) + "/" +
         std::to_string(max_bits) + " bits)";
}

}  // namespace postern::io
