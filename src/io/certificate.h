#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "io/tls.h"
#include "lib/result.h"

/// What a certificate says of itself. OpenSSL is behind this header.
namespace postern::io {

struct CertificateFacts {
  /// Whom it is for, lower case: the DNS names among its alternative names ("*.example.org" too);
  /// without any such name the common name, if it could be one.
  std::vector<std::string> names;
  std::string key;     // "RSA 2048", "EC prime256v1", "ED25519"
  std::string issuer;  // common name, or what else it has; safe to log
  std::chrono::system_clock::time_point not_before, not_after;
};

/// Reads the first certificate of `pem`.
Result<CertificateFacts> certificate_facts(std::string_view pem);
/// Can a server be made of these? Reads all of the chain and the key.
Status check_pair(const CertificatePem& pem);

}  // namespace postern::io
