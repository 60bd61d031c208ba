#include "io/certificate.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <limits>

#include "io/tls-impl.h"
#include "lib/handle.h"
#include "lib/text.h"

namespace postern::io {
namespace {

using Bio = Handle<BIO, BIO_free>;
using Names = Handle<GENERAL_NAMES, GENERAL_NAMES_free>;

constexpr std::size_t kMaxNames = 1000;

/// A host name, maybe with `*.` before it; lower case. Anything else is no name a client asks for.
std::string host_name(const ASN1_STRING* text) {
  std::string out = to_lower({reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
                              static_cast<std::size_t>(ASN1_STRING_length(text))});
  std::string_view rest = out;
  if (rest.starts_with("*.")) rest.remove_prefix(2);
  const bool good =
      !rest.empty() && rest.size() <= 253 && std::all_of(rest.begin(), rest.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_';
      });
  return good ? out : std::string();
}

std::vector<std::string> names_of(X509* certificate) {
  std::vector<std::string> out;
  const Names names(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  const int count = names ? sk_GENERAL_NAME_num(names.get()) : 0;
  for (int i = 0; i < count && out.size() < kMaxNames; i++) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type != GEN_DNS) continue;
    std::string text = host_name(name->d.dNSName);
    if (!text.empty()) out.push_back(std::move(text));
  }
  if (!out.empty()) return out;
  const X509_NAME* const subject = X509_get_subject_name(certificate);
  const int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
  if (at < 0) return out;
  std::string text = host_name(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
  if (text.find('.') != std::string::npos) out.push_back(std::move(text));
  return out;
}

std::string key_of(X509* certificate) {
  EVP_PKEY* const key = X509_get0_pubkey(certificate);
  if (key == nullptr) return "unknown";
  char group[64] = "";
  std::size_t size = 0;
  if (EVP_PKEY_get_group_name(key, group, sizeof group, &size) == 1) {
    return "EC " + std::string(group, size);
  }
  ERR_clear_error();
  const char* kind = EVP_PKEY_get0_type_name(key);
  const std::string name = kind == nullptr ? "unknown" : kind;
  return name == "RSA" ? name + " " + std::to_string(EVP_PKEY_get_bits(key)) : name;
}

std::string issuer_of(X509* certificate) {
  const X509_NAME* const issuer = X509_get_issuer_name(certificate);
  const int at = X509_NAME_get_index_by_NID(issuer, NID_commonName, -1);
  if (at >= 0) {
    const ASN1_STRING* text = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(issuer, at));
    return log_safe_line({reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
                          static_cast<std::size_t>(ASN1_STRING_length(text))},
                         120);
  }
  struct FreeText {
    void operator()(char* text) const noexcept { OPENSSL_free(text); }
  };
  const std::unique_ptr<char, FreeText> line(X509_NAME_oneline(issuer, nullptr, 0));
  return line ? log_safe_line(line.get(), 120) : std::string();
}

std::chrono::system_clock::time_point time_of(const ASN1_TIME* time) {
  std::tm when{};
  if (ASN1_TIME_to_tm(time, &when) != 1) return {};
  return std::chrono::system_clock::from_time_t(::timegm(&when));
}

}  // namespace

Result<CertificateFacts> certificate_facts(std::string_view pem) {
  if (pem.size() > static_cast<std::size_t>(std::numeric_limits<int>::max())) {
    return Error{EFBIG, "certificate: too long"};
  }
  ERR_clear_error();
  const Bio in(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  const Certificate certificate(in ? PEM_read_bio_X509_AUX(in.get(), nullptr, nullptr, nullptr)
                                   : nullptr);
  if (!certificate) return Error{EINVAL, "certificate: " + openssl_error()};
  CertificateFacts out;
  out.names = names_of(certificate.get());
  out.key = key_of(certificate.get());
  out.issuer = issuer_of(certificate.get());
  out.not_before = time_of(X509_get0_notBefore(certificate.get()));
  out.not_after = time_of(X509_get0_notAfter(certificate.get()));
  return out;
}

Status check_pair(const CertificatePem& pem) {
  const auto chain = read_certificates(pem.chain);
  if (!chain.ok()) return Error{EINVAL, "certificate: " + chain.error().text};
  const PrivateKey key = read_key(pem);
  if (!key) return Error{EINVAL, "private key: " + openssl_error()};
  if (X509_check_private_key(chain.value().front().get(), key.get()) == 1) return Done{};
  ERR_clear_error();
  return Error{EINVAL, "the private key does not belong to the certificate"};
}

}  // namespace postern::io
