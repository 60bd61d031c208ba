// What a server does with its clients' side of TLS: certificates, floods, a log of the handshake.
#include <fmt/format.h>
#include <netinet/in.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>

#include <algorithm>
#include <chrono>

#include "io/stream.h"
#include "io/tls-impl.h"
#include "lib/check.h"
#include "lib/ip.h"
#include "lib/log.h"
#include "lib/text.h"

namespace postern::io {
namespace {

constexpr std::size_t kMaxUsername = 320;  // bytes, as auth takes them
constexpr unsigned kMaxKeyUpdates = 32;    // a minute; each costs us keys, and an answer
constexpr std::chrono::minutes kKeyUpdateSpan{1};

/// Notes what is wrong with a client's certificate and lets it in: what that means is for who reads
/// client_certificate().
int on_client_certificate(int good, X509_STORE_CTX* store) noexcept {
  if (good == 1) return 1;
  const auto* ssl = static_cast<const SSL*>(
      X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
  StreamTls* tls = StreamTls::of(ssl);
  if (tls != nullptr && tls->bad_certificate.empty()) {
    tls->bad_certificate = X509_verify_cert_error_string(X509_STORE_CTX_get_error(store));
  }
  return 1;
}

/// Counts what costs us more than the peer (RFC 8446 section 4.6.3).
void on_message(int writes, int /*version*/, int type, const void* data, std::size_t size, SSL* ssl,
                void*) noexcept {
  if (writes != 0 || type != SSL3_RT_HANDSHAKE || size == 0) return;
  if (*static_cast<const unsigned char*>(data) != SSL3_MT_KEY_UPDATE) return;
  StreamTls* tls = StreamTls::of(ssl);
  if (tls == nullptr) return;
  const TimePoint now = Clock::now();
  if (now - tls->key_updates_since > kKeyUpdateSpan) {
    tls->key_updates_since = now;
    tls->key_updates = 0;
  }
  if (++tls->key_updates > kMaxKeyUpdates) tls->flooded = true;
}

std::string peer_of(const SSL* ssl) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  void* const room = &address;
  if (::getpeername(SSL_get_fd(ssl), static_cast<sockaddr*>(room), &size) != 0) return "?";
  const void* bytes = room;
  if (address.ss_family == AF_INET) {
    const void* const ip = &static_cast<const sockaddr_in*>(bytes)->sin_addr;
    return IpAddress::from_bytes(IpAddress::Family::v4, ip).text();
  }
  if (address.ss_family == AF_INET6) {
    const void* const ip = &static_cast<const sockaddr_in6*>(bytes)->sin6_addr;
    return IpAddress::from_bytes(IpAddress::Family::v6, ip).text();
  }
  return "?";
}

/// verbose_ssl, in Dovecot's words.
void on_progress(const SSL* ssl, int where, int result) noexcept {
  std::string text;
  if ((where & SSL_CB_ALERT) != 0) {
    text =
        fmt::format("SSL alert: where=0x{:x}, ret={}: {} {}", static_cast<unsigned>(where), result,
                    SSL_alert_type_string_long(result), SSL_alert_desc_string_long(result));
  } else if (result == 0) {
    text = fmt::format("SSL failed: where=0x{:x}: {}", static_cast<unsigned>(where),
                       SSL_state_string_long(ssl));
  } else {
    text = fmt::format("SSL: where=0x{:x}, ret={}: {}", static_cast<unsigned>(where), result,
                       SSL_state_string_long(ssl));
  }
  log::write(log::Level::debug, text + " [" + peer_of(ssl) + "]");
}

/// The first value of a field of the subject. Nothing that has a NUL or a line end in it: to others
/// it would be another name than to us.
std::string subject_field(X509* certificate, int nid) {
  const X509_NAME* const subject = X509_get_subject_name(certificate);
  const int at = X509_NAME_get_index_by_NID(subject, nid, -1);
  if (at < 0) return {};
  const ASN1_STRING* const value = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at));
  std::string out;
  unsigned char* text = nullptr;
  const int size = ASN1_STRING_to_UTF8(&text, value);
  if (size >= 0) {
    out.assign(reinterpret_cast<const char*>(text), static_cast<std::size_t>(size));
    OPENSSL_free(text);
  } else {
    // x500UniqueIdentifier is a string of bits.
    out.assign(reinterpret_cast<const char*>(ASN1_STRING_get0_data(value)),
               static_cast<std::size_t>(ASN1_STRING_length(value)));
  }
  const bool clean = std::all_of(out.begin(), out.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte >= ' ' && byte != 0x7f;
  });
  return clean && out.size() <= kMaxUsername && is_utf8(out) ? out : std::string();
}

}  // namespace

void StreamTls::configure_server() noexcept {
  const TlsContextImpl& impl = context->impl();
  impl.set_session_scope(ssl.get(), session_key);
  SSL_set_msg_callback(ssl.get(), on_message);
  SSL_set_info_callback(ssl.get(), impl.logs_handshakes() ? on_progress : nullptr);
  if (impl.asks_client_certificate()) {
    SSL_set_verify(ssl.get(), SSL_VERIFY_PEER | SSL_VERIFY_CLIENT_ONCE, on_client_certificate);
  } else {
    SSL_set_verify(ssl.get(), SSL_VERIFY_NONE, nullptr);
  }
}

ClientCertificate StreamTls::client_certificate() const {
  ClientCertificate out;
  X509* const certificate = SSL_get0_peer_certificate(ssl.get());
  if (certificate == nullptr || !context->impl().asks_client_certificate()) return out;
  if (!bad_certificate.empty() || SSL_get_verify_result(ssl.get()) != X509_V_OK) {
    out.state = ClientCertificate::State::invalid;
    out.problem = bad_certificate.empty() ? "it could not be verified" : bad_certificate;
    return out;
  }
  out.state = ClientCertificate::State::valid;
  out.username = subject_field(certificate, context->impl().username_nid());
  return out;
}

}  // namespace postern::io
