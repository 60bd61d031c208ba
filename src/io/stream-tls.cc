#include <openssl/err.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "io/stream.h"
#include "io/tls-impl.h"
#include "lib/check.h"
#include "lib/ip.h"
#include "lib/text.h"

namespace postern::io {
namespace {

std::string subject_of(X509* certificate) {
  struct FreeText {
    void operator()(char* text) const noexcept { OPENSSL_free(text); }
  };
  if (certificate == nullptr) return "(no certificate)";
  const std::unique_ptr<char, FreeText> text(
      X509_NAME_oneline(X509_get_subject_name(certificate), nullptr, 0));
  return text ? log_safe_line(text.get(), 120) : std::string("(unreadable subject)");
}

/// The names a certificate is for, bounded: "mail.example.com, *.example.org".
std::string names_in(X509* certificate) {
  using Names = Handle<GENERAL_NAMES, GENERAL_NAMES_free>;
  constexpr int kMost = 8;
  const Names names(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  std::string out;
  const int count = names ? sk_GENERAL_NAME_num(names.get()) : 0;
  for (int i = 0; i < count && i < kMost; i++) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    std::string text;
    if (name->type == GEN_DNS) {
      text.assign(reinterpret_cast<const char*>(ASN1_STRING_get0_data(name->d.dNSName)),
                  static_cast<std::size_t>(ASN1_STRING_length(name->d.dNSName)));
    } else if (name->type == GEN_IPADD) {
      const ASN1_OCTET_STRING* ip = name->d.iPAddress;
      const int length = ASN1_STRING_length(ip);
      if (length != 4 && length != 16) continue;
      text = IpAddress::from_bytes(length == 4 ? IpAddress::Family::v4 : IpAddress::Family::v6,
                                   ASN1_STRING_get0_data(ip))
                 .text();
    } else {
      continue;
    }
    if (!out.empty()) out += ", ";
    out += log_safe_line(text, 64);
  }
  if (count > kMost) out += ", ...";
  return out.empty() ? "none" : out;
}

/// Notes what is wrong with the peer's certificate, in the words of the log, and leaves the verdict
/// as it is, unless nothing is missing but a CRL nobody requires.
int on_verify(int good, X509_STORE_CTX* store) noexcept {
  if (good == 1) return good;
  const auto* ssl = static_cast<const SSL*>(
      X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
  StreamTls* tls = StreamTls::of(ssl);
  if (tls == nullptr || !tls->bad_certificate.empty()) return good;
  const int error = X509_STORE_CTX_get_error(store);
  if (error == X509_V_ERR_UNABLE_TO_GET_CRL && tls->context->impl().crl_optional()) {
    X509_STORE_CTX_set_error(store, X509_V_OK);
    return 1;
  }
  X509* certificate = X509_STORE_CTX_get_current_cert(store);
  if (error == X509_V_ERR_HOSTNAME_MISMATCH || error == X509_V_ERR_IP_ADDRESS_MISMATCH) {
    tls->bad_certificate = "SSL certificate doesn't match expected host name " +
                           log_safe_line(tls->server_name, 255) + ": it is for " +
                           names_in(X509_STORE_CTX_get0_cert(store));
  } else {
    tls->bad_certificate = std::string("Received invalid SSL certificate: ") +
                           X509_verify_cert_error_string(error) + ": " + subject_of(certificate) +
                           " (check ssl_client_ca_* settings?)";
  }
  return good;
}

/// Which sessions may be resumed for a connection: the name says whose certificate was checked, the
/// first letter how.
std::string session_key(const std::string& name, Verify verify) {
  return std::string(1, static_cast<char>('a' + static_cast<int>(verify))) + name;
}

bool expect_name(SSL* ssl, const std::string& name) {
  X509_VERIFY_PARAM* parameters = SSL_get0_param(ssl);
  if (IpAddress::parse(name)) {
    return X509_VERIFY_PARAM_set1_ip_asc(parameters, name.c_str()) == 1;
  }
  X509_VERIFY_PARAM_set_hostflags(parameters, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  return !name.empty() && X509_VERIFY_PARAM_set1_host(parameters, name.data(), name.size()) == 1;
}

}  // namespace

StreamTls* StreamTls::of(const SSL* ssl) noexcept {
  return ssl == nullptr ? nullptr : static_cast<StreamTls*>(SSL_get_ex_data(ssl, 0));
}

void Stream::begin_tls(std::shared_ptr<TlsContext> context, bool server) noexcept {
  POSTERN_CHECK(fd_ && !tls_ && context);
  ERR_clear_error();
  tls_ = std::make_unique<StreamTls>();
  tls_->later.start(*loop_, Callback<>::to<&Stream::on_later>(*this));
  tls_->server = server;
  tls_->context = std::move(context);
  tls_->ssl.reset(SSL_new(tls_->context->impl().get()));
  // Out of memory ends the process, as everywhere.
  POSTERN_CHECK(tls_->ssl && SSL_set_ex_data(tls_->ssl.get(), 0, tls_.get()) == 1 &&
                SSL_set_fd(tls_->ssl.get(), fd_.get()) == 1);
}

void Stream::start_tls_server(std::shared_ptr<TlsContext> context, ChooseContext choose,
                              std::string_view received, std::string_view scope) noexcept {
  begin_tls(std::move(context), true);
  tls_->choose = choose;
  tls_->session_key = scope;
  SSL_set_accept_state(tls_->ssl.get());
  tls_->configure_server();
  if (!received.empty() && step_handshake_with(received)) {
    if (tls_->state == StreamTls::State::up) tls_->state = StreamTls::State::shaken;
    tls_->later.trigger();
  }
  update_watch();  // the client speaks first
}

/// A step with bytes that the socket has given away already. OpenSSL reads ahead, so that one step
/// takes them all, and then goes on with the socket.
bool Stream::step_handshake_with(std::string_view received) noexcept {
  SSL* ssl = tls_->ssl.get();
  BIO* const socket = SSL_get_rbio(ssl);
  BIO* const memory = BIO_new_mem_buf(received.data(), static_cast<int>(received.size()));
  POSTERN_CHECK(received.size() <= kMaxReceived && memory != nullptr && BIO_up_ref(socket) == 1);
  // Where it ends is not the end of the connection.
  BIO_ctrl(memory, BIO_C_SET_BUF_MEM_EOF_RETURN, -1, nullptr);
  SSL_set0_rbio(ssl, memory);
  bool ended = step_handshake();
  if (!ended && BIO_ctrl_pending(memory) != 0) {
    tls_->state = StreamTls::State::failed;
    error_code_ = EPROTO;
    error_ = "SSL_accept() failed: too much input";
    ended = true;
  }
  SSL_set0_rbio(ssl, socket);
  return ended;
}

void Stream::start_tls_client(std::shared_ptr<TlsContext> context, const TlsPeer& peer) noexcept {
  begin_tls(std::move(context), false);
  SSL* ssl = tls_->ssl.get();
  SSL_set_connect_state(ssl);
  tls_->server_name = peer.name;
  if (tls_->server_name.ends_with('.')) tls_->server_name.pop_back();
  tls_->pins = peer.pins;
  const Verify verify = peer.verify;
  const std::string& host = tls_->server_name;
  SSL_set_verify(ssl, verify == Verify::none ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, on_verify);
  const bool named = verify != Verify::chain_and_name || expect_name(ssl, host);
  // RFC 6066: no addresses in SNI.
  const bool sni = host.empty() || IpAddress::parse(host) ||
                   SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
                            const_cast<char*>(host.c_str())) == 1;
  if (!named || !sni) {
    tls_->state = StreamTls::State::failed;
    error_code_ = EKEYREJECTED;
    error_ = "a certificate cannot be checked against the name " + log_safe_line(host, 255);
    tls_->later.trigger();
    update_watch();
    return;
  }
  if (!host.empty()) {
    tls_->session_key = session_key(host, verify);
    if (const SslSession old = tls_->context->impl().take_session(tls_->session_key)) {
      SSL_set_session(ssl, old.get());
    }
  }
  // Our hello goes out at once; the rest comes by events. But a quick server's answer may be there
  // when OpenSSL looks for it, and then this call has been the whole handshake.
  if (step_handshake()) {
    if (tls_->state == StreamTls::State::up) tls_->state = StreamTls::State::shaken;
    tls_->later.trigger();
  }
  update_watch();
}

/// Goes on with the handshake. True when it has come to an end, good or bad.
bool Stream::step_handshake() noexcept {
  ERR_clear_error();
  errno = 0;
  const int result = SSL_do_handshake(tls_->ssl.get());
  if (result == 1) {
    if (!accept_key()) return true;
    tls_->state = StreamTls::State::up;
    // The peer's first words may have come with the end of its handshake.
    tls_->holds_bytes = SSL_has_pending(tls_->ssl.get()) == 1;
    if (tls_->server) {
      tls_->server_name = to_lower(tls_->server_name);
      tls_->choose = {};
      tls_->session_key.clear();
    } else if (SSL_session_reused(tls_->ssl.get()) == 1 &&
               SSL_version(tls_->ssl.get()) < TLS1_3_VERSION && !tls_->session_key.empty()) {
      // Before TLS 1.3 a ticket serves as often as the server likes.
      tls_->context->impl().keep_session(tls_->session_key,
                                         SslSession(SSL_get1_session(tls_->ssl.get())));
    }
    return true;
  }
  const int what = SSL_get_error(tls_->ssl.get(), result);
  if (what == SSL_ERROR_WANT_READ || what == SSL_ERROR_WANT_WRITE) {
    tls_->wants_write = what == SSL_ERROR_WANT_WRITE;
    return false;
  }
  fail_tls(tls_->server ? "SSL_accept()" : "SSL_connect()", what);
  return true;
}

/// Client: whether the server has one of the keys it may have; if not, the handshake has failed.
bool Stream::accept_key() noexcept {
  if (tls_->pins.empty()) return true;
  X509* certificate = SSL_get0_peer_certificate(tls_->ssl.get());
  KeyPin key;
  unsigned size = 0;
  unsigned char* der = nullptr;
  const int length =
      certificate == nullptr ? -1 : i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &der);
  if (length > 0) {
    POSTERN_CHECK(EVP_Digest(der, static_cast<std::size_t>(length), key.digest.data(), &size,
                             EVP_sha256(), nullptr) == 1 &&
                  size == key.digest.size());
    OPENSSL_free(der);
    if (std::find(tls_->pins.begin(), tls_->pins.end(), key) != tls_->pins.end()) return true;
  }
  ERR_clear_error();
  tls_->state = StreamTls::State::failed;
  error_code_ = EKEYREJECTED;
  error_ = "SSL certificate has none of the pinned keys: it has " +
           (length > 0 ? key.text() : std::string("none")) + ", " + subject_of(certificate);
  return false;
}

/// Puts into words why OpenSSL has given up. `what` is SSL_get_error's.
void Stream::fail_tls(const char* call, int what) noexcept {
  const int errnum = errno;
  tls_->state = StreamTls::State::failed;
  const unsigned long first = ERR_peek_error();
  const bool ended = ERR_GET_LIB(first) == ERR_LIB_SSL &&
                     ERR_GET_REASON(first) == SSL_R_UNEXPECTED_EOF_WHILE_READING;
  if (tls_->flooded) {
    error_code_ = EPROTO;
    error_ = "The peer renews its keys all the time";
  } else if (!tls_->server && !tls_->bad_certificate.empty() &&
             ERR_GET_REASON(first) == SSL_R_CERTIFICATE_VERIFY_FAILED) {
    error_code_ = EKEYREJECTED;
    error_ = tls_->bad_certificate;
  } else if (ended || what == SSL_ERROR_ZERO_RETURN ||
             (what == SSL_ERROR_SYSCALL && first == 0 && errnum == 0)) {
    error_code_ = EPIPE;
    error_ = "Connection closed";
  } else if (what == SSL_ERROR_SYSCALL && (first == 0 || ERR_SYSTEM_ERROR(first))) {
    error_code_ = errnum != 0 ? errnum : EIO;
    error_ = std::string(call) + " syscall failed: " + strerrordesc_np(error_code_);
  } else {
    error_code_ = EPROTO;
    error_ = std::string(call) + " failed: " + openssl_error();
  }
  ERR_clear_error();
}

void Stream::on_handshake_ready(unsigned ready) noexcept {
  if ((ready & (FdWatch::kRead | FdWatch::kWrite)) == 0) return;
  const bool ended = step_handshake();
  update_watch();
  if (!ended) return;
  if (tls_->state == StreamTls::State::failed) {
    on_event_(kTlsFailed);
    return;
  }
  if (tls_->holds_bytes && want_read_) tls_->later.trigger();
  on_event_(kTlsStarted);
}

/// At the end of a turn: what could not be told when it happened, or bytes that no readiness of the
/// socket will announce.
void Stream::on_later() noexcept {
  if (tls_->state == StreamTls::State::failed) {
    on_event_(kTlsFailed);
  } else if (tls_->state == StreamTls::State::shaken) {
    tls_->state = StreamTls::State::up;
    update_watch();
    if (tls_->holds_bytes && want_read_) tls_->later.trigger();
    on_event_(kTlsStarted);
  } else if (tls_->holds_bytes && want_read_) {
    on_event_(kReadable);
  }
}

/// What a failed SSL_read or SSL_write means.
IoResult Stream::tls_result(int result, const char* call) noexcept {
  const int what = SSL_get_error(tls_->ssl.get(), result);
  const bool again = what == SSL_ERROR_WANT_READ || what == SSL_ERROR_WANT_WRITE;
  if (again && !tls_->flooded) return {IoStatus::again, 0};
  if (what == SSL_ERROR_ZERO_RETURN) return {IoStatus::closed, 0};
  fail_tls(call, what);
  update_watch();
  // A peer that leaves without close_notify; its protocol knows whether it was done.
  if (error_code_ == EPIPE) return {IoStatus::closed, 0};
  if (error_code_ != EPROTO && error_code_ != EKEYREJECTED) {
    error_ = strerrordesc_np(error_code_);
  }
  return {IoStatus::error, 0};
}

IoResult Stream::read_tls(char* to, std::size_t size) noexcept {
  if (tls_->state == StreamTls::State::failed) {
    return {error_code_ == EPIPE ? IoStatus::closed : IoStatus::error, 0};
  }
  if (tls_->state != StreamTls::State::up) return {IoStatus::again, 0};
  SSL* ssl = tls_->ssl.get();
  ERR_clear_error();
  errno = 0;
  if (tls_->flooded) {
    fail_tls("SSL_read()", SSL_ERROR_SSL);
    update_watch();
    return {IoStatus::error, 0};
  }
  std::size_t n = 0;
  const int result = SSL_read_ex(ssl, to, size, &n);
  if (result == 1) {
    tls_->holds_bytes = SSL_has_pending(ssl) == 1;
    if (tls_->holds_bytes && want_read_) tls_->later.trigger();
    return {IoStatus::ok, n};
  }
  tls_->holds_bytes = false;  // or only a part of a record
  tls_->later.cancel();
  const IoResult out = tls_result(result, "SSL_read()");
  if (out.status == IoStatus::again) {
    const bool crossed = SSL_want_write(ssl) != 0;
    if (crossed != tls_->read_needs_write) {
      tls_->read_needs_write = crossed;
      update_watch();
    }
  }
  return out;
}

IoResult Stream::write_tls(std::string_view bytes) noexcept {
  if (tls_->state == StreamTls::State::failed) return {IoStatus::error, 0};
  if (tls_->state != StreamTls::State::up) return {IoStatus::again, 0};
  SSL* ssl = tls_->ssl.get();
  ERR_clear_error();
  errno = 0;
  std::size_t n = 0;
  const int result = SSL_write_ex(ssl, bytes.data(), bytes.size(), &n);
  if (result == 1) return {IoStatus::ok, n};
  IoResult out = tls_result(result, "SSL_write()");
  if (out.status == IoStatus::again) {
    const bool crossed = SSL_want_read(ssl) != 0;
    if (crossed != tls_->write_needs_read) {
      tls_->write_needs_read = crossed;
      update_watch();
    }
  } else if (out.status == IoStatus::closed) {
    out.status = IoStatus::error;  // nothing can be written any more
    if (error_.empty()) {
      error_code_ = EPIPE;
      error_ = "Connection closed";
    }
  }
  return out;
}

void Stream::stop_wiping() noexcept {
  if (tls_) SSL_clear_options(tls_->ssl.get(), SSL_OP_CLEANSE_PLAINTEXT);
}

ClientCertificate Stream::client_certificate() const {
  if (!tls_ || !tls_->server || tls_->state != StreamTls::State::up) return {};
  return tls_->client_certificate();
}

TlsInfo Stream::tls_info() const {
  TlsInfo info;
  if (!tls_ || tls_->state != StreamTls::State::up) return info;
  SSL* ssl = tls_->ssl.get();
  info.protocol = SSL_get_version(ssl);
  if (const SSL_CIPHER* cipher = SSL_get_current_cipher(ssl)) {
    info.cipher = SSL_CIPHER_get_name(cipher);
    info.bits = SSL_CIPHER_get_bits(cipher, &info.max_bits);
  }
  if (const char* group = SSL_group_to_name(ssl, static_cast<int>(SSL_get_negotiated_group(ssl)))) {
    info.key_exchange = group;
  }
  info.server_name = tls_->server_name;
  info.resumed = SSL_session_reused(ssl) == 1;
  return info;
}

}  // namespace postern::io
