#pragma once

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <memory>
#include <string>
#include <vector>

/// Certificates made on the spot, for tests.
namespace postern::io::test {

using Key = std::shared_ptr<EVP_PKEY>;
using Cert = std::shared_ptr<X509>;

inline Key make_key(bool rsa = false) {
  EVP_PKEY* key = rsa ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256");
  return {key, EVP_PKEY_free};
}

inline std::string pem_of(const Key& key) {
  BIO* bio = BIO_new(BIO_s_mem());
  PEM_write_bio_PrivateKey(bio, key.get(), nullptr, nullptr, 0, nullptr, nullptr);
  char* data = nullptr;
  const long size = BIO_ctrl(bio, BIO_CTRL_INFO, 0, &data);
  std::string out(data, static_cast<std::size_t>(size));
  BIO_free(bio);
  return out;
}

inline std::string pem_of(const Cert& cert) {
  BIO* bio = BIO_new(BIO_s_mem());
  PEM_write_bio_X509(bio, cert.get());
  char* data = nullptr;
  const long size = BIO_ctrl(bio, BIO_CTRL_INFO, 0, &data);
  std::string out(data, static_cast<std::size_t>(size));
  BIO_free(bio);
  return out;
}

struct CertSpec {
  std::string name = "localhost";     // CN
  std::string alt = "DNS:localhost";  // subjectAltName; empty: none
  long starts = -3600;                // seconds from now
  long ends = 3600;
  bool ca = false;
};

/// Signed by `issuer` with `issuer_key`, or by itself if there is none.
inline Cert make_cert(const Key& key, const CertSpec& spec, const Cert& issuer = nullptr,
                      const Key& issuer_key = nullptr) {
  X509* cert = X509_new();
  static long serial = 1;
  X509_set_version(cert, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(cert), ++serial);
  X509_gmtime_adj(X509_getm_notBefore(cert), spec.starts);
  X509_gmtime_adj(X509_getm_notAfter(cert), spec.ends);
  X509_set_pubkey(cert, key.get());
  X509_NAME* name = X509_get_subject_name(cert);
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>(spec.name.c_str()), -1, -1, 0);
  X509_set_issuer_name(cert, issuer ? X509_get_subject_name(issuer.get()) : name);
  const auto extend = [&](int nid, const std::string& value) {
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer ? issuer.get() : cert, cert, nullptr, nullptr, 0);
    X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str());
    X509_add_ext(cert, extension, -1);
    X509_EXTENSION_free(extension);
  };
  if (spec.ca) extend(NID_basic_constraints, "critical,CA:TRUE");
  if (!spec.alt.empty()) extend(NID_subject_alt_name, spec.alt);
  X509_sign(cert, issuer_key ? issuer_key.get() : key.get(), EVP_sha256());
  return {cert, X509_free};
}

/// What `issuer` has revoked, PEM. `ends` is its nextUpdate, seconds from now.
inline std::string make_crl(const Cert& issuer, const Key& issuer_key,
                            const std::vector<Cert>& revoked, long ends = 3600) {
  const std::unique_ptr<ASN1_TIME, decltype(&ASN1_TIME_free)> then(X509_gmtime_adj(nullptr, -60),
                                                                   ASN1_TIME_free);
  const std::unique_ptr<ASN1_TIME, decltype(&ASN1_TIME_free)> next(X509_gmtime_adj(nullptr, ends),
                                                                   ASN1_TIME_free);
  X509_CRL* crl = X509_CRL_new();
  X509_CRL_set_version(crl, 1);
  X509_CRL_set_issuer_name(crl, X509_get_subject_name(issuer.get()));
  X509_CRL_set1_lastUpdate(crl, then.get());
  X509_CRL_set1_nextUpdate(crl, next.get());
  for (const Cert& one : revoked) {
    X509_REVOKED* entry = X509_REVOKED_new();
    X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(one.get()));
    X509_REVOKED_set_revocationDate(entry, then.get());
    X509_CRL_add0_revoked(crl, entry);
  }
  X509_CRL_sign(crl, issuer_key.get(), EVP_sha256());
  BIO* bio = BIO_new(BIO_s_mem());
  PEM_write_bio_X509_CRL(bio, crl);
  char* data = nullptr;
  const long size = BIO_ctrl(bio, BIO_CTRL_INFO, 0, &data);
  std::string out(data, static_cast<std::size_t>(size));
  BIO_free(bio);
  X509_CRL_free(crl);
  return out;
}

/// A certificate authority and a server certificate of its.
struct Site {
  Key ca_key = make_key();
  // Each has its own name: otherwise a wrong CA would be taken for a bad signature of the right
  // one.
  static inline int made = 0;
  Cert ca = make_cert(ca_key, {"Test CA " + std::to_string(++made), "", -3600, 7200, true});
  Key key;
  Cert cert;

  explicit Site(const CertSpec& spec = {}, bool rsa = false) : key(make_key(rsa)) {
    cert = make_cert(key, spec, ca, ca_key);
  }
};

}  // namespace postern::io::test
