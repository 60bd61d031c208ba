#pragma once

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <cstdlib>
#include <string>
#include <utility>

#include "lib/handle.h"

namespace postern::login::test {

/// A certificate and its key, PEM, made on the spot.
struct TestCertificate {
  std::string chain, key;
};

struct TestCertificateSpec {
  TestCertificateSpec() = default;
  explicit TestCertificateSpec(std::string names) : alt_names(std::move(names)) {}
  static TestCertificateSpec ca(std::string name) {
    TestCertificateSpec out;
    out.common_name = std::move(name);
    out.is_ca = true;
    return out;
  }
  TestCertificateSpec&& expired() && {
    not_before = -7200;
    not_after = -3600;
    return std::move(*this);
  }
  TestCertificateSpec&& only_for(std::string purpose) && {
    usage = std::move(purpose);
    return std::move(*this);
  }

  std::string common_name = "test";
  std::string alt_names;  // "DNS:mail.test,IP:127.0.0.1"; empty: none
  bool is_ca = false;
  long not_before = -3600;  // seconds from now
  long not_after = 3600;
  std::string usage;  // extendedKeyUsage; empty: any
};

inline std::string to_pem(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return {data, static_cast<std::size_t>(size)};
}

/// @param issuer  signs it; nullptr: itself
inline TestCertificate make_certificate(const TestCertificateSpec& spec,
                                        const TestCertificate* issuer) {
  const Handle<EVP_PKEY, EVP_PKEY_free> key(EVP_EC_gen("P-256"));
  const Handle<X509, X509_free> cert(X509_new());
  X509_set_version(cert.get(), 2);
  ASN1_INTEGER_set(X509_get_serialNumber(cert.get()), std::rand());  // NOLINT(cert-msc50-cpp)
  X509_gmtime_adj(X509_getm_notBefore(cert.get()), spec.not_before);
  X509_gmtime_adj(X509_getm_notAfter(cert.get()), spec.not_after);
  X509_set_pubkey(cert.get(), key.get());
  X509_NAME* name = X509_get_subject_name(cert.get());
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>(spec.common_name.c_str()), -1,
                             -1, 0);

  Handle<X509, X509_free> issuer_cert;
  Handle<EVP_PKEY, EVP_PKEY_free> issuer_key;
  if (issuer != nullptr) {
    const Handle<BIO, BIO_free> c(
        BIO_new_mem_buf(issuer->chain.data(), static_cast<int>(issuer->chain.size())));
    issuer_cert.reset(PEM_read_bio_X509(c.get(), nullptr, nullptr, nullptr));
    const Handle<BIO, BIO_free> k(
        BIO_new_mem_buf(issuer->key.data(), static_cast<int>(issuer->key.size())));
    issuer_key.reset(PEM_read_bio_PrivateKey(k.get(), nullptr, nullptr, nullptr));
  }
  X509* const by = issuer_cert ? issuer_cert.get() : cert.get();
  X509_set_issuer_name(cert.get(), X509_get_subject_name(by));
  X509V3_CTX context;
  X509V3_set_ctx(&context, by, cert.get(), nullptr, nullptr, 0);
  const auto add = [&](int nid, const std::string& value) {
    if (value.empty()) return;
    const Handle<X509_EXTENSION, X509_EXTENSION_free> extension(
        X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str()));
    X509_add_ext(cert.get(), extension.get(), -1);
  };
  add(NID_basic_constraints, spec.is_ca ? "critical,CA:TRUE" : "CA:FALSE");
  add(NID_subject_alt_name, spec.alt_names);
  add(NID_ext_key_usage, spec.usage);
  X509_sign(cert.get(), issuer_key ? issuer_key.get() : key.get(), EVP_sha256());

  TestCertificate out;
  const Handle<BIO, BIO_free> c(BIO_new(BIO_s_mem()));
  PEM_write_bio_X509(c.get(), cert.get());
  out.chain = to_pem(c.get());
  const Handle<BIO, BIO_free> k(BIO_new(BIO_s_mem()));
  PEM_write_bio_PrivateKey(k.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr);
  out.key = to_pem(k.get());
  return out;
}

}  // namespace postern::login::test
