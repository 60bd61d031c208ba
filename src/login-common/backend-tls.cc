#include "login-common/backend-tls.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "lib/secret.h"

namespace postern::login {
namespace {

/// The protocol numbers of TLS (RFC 8446 section 4.2.1), which OpenSSL uses too.
int version_number(config::TlsVersion version) noexcept {
  switch (version) {
    case config::TlsVersion::any:
      return 0;
    case config::TlsVersion::tls1:
      return 0x0301;
    case config::TlsVersion::tls1_1:
      return 0x0302;
    case config::TlsVersion::tls1_2:
      return 0x0303;
    case config::TlsVersion::tls1_3:
    case config::TlsVersion::latest:
      return 0x0304;
  }
  return 0;
}

int version_number(config::BackendTlsVersion version, config::TlsVersion as_server) noexcept {
  switch (version) {
    case config::BackendTlsVersion::as_server:
      return version_number(as_server);
    case config::BackendTlsVersion::any:
      return version_number(config::TlsVersion::any);
    case config::BackendTlsVersion::tls1:
      return version_number(config::TlsVersion::tls1);
    case config::BackendTlsVersion::tls1_1:
      return version_number(config::TlsVersion::tls1_1);
    case config::BackendTlsVersion::tls1_2:
      return version_number(config::TlsVersion::tls1_2);
    case config::BackendTlsVersion::tls1_3:
      return version_number(config::TlsVersion::tls1_3);
    case config::BackendTlsVersion::latest:
      return version_number(config::TlsVersion::latest);
  }
  return version_number(as_server);
}

bool has_option(const std::vector<std::string>& options, std::string_view name) noexcept {
  return std::find(options.begin(), options.end(), name) != options.end();
}

void append_pem(const config::FileText& file, WipingBuffer& pem, std::string& where) {
  if (file.empty()) return;
  pem.append(file.reveal());
  if (!pem.view().ends_with('\n')) pem.append('\n');
  if (!where.empty()) where += ", ";
  where += file.path;
}

}  // namespace

io::TlsParameters tls_parameters(const config::LoginSettings& settings) {
  io::TlsParameters out;
  out.min_version = version_number(settings.ssl_min_protocol);
  out.cipher_list = settings.ssl_cipher_list;
  out.cipher_suites = settings.ssl_cipher_suites;
  out.curves = settings.ssl_curve_list;
  out.prefer_server_ciphers = settings.ssl_prefer_server_ciphers;
  out.no_tickets = has_option(settings.ssl_options, "no_ticket");
  out.compression = has_option(settings.ssl_options, "compression");
  return out;
}

io::TlsParameters backend_tls_parameters(const config::LoginSettings& settings) {
  io::TlsParameters out = tls_parameters(settings);
  out.min_version = version_number(settings.ssl_client_min_protocol, settings.ssl_min_protocol);
  const auto own = [](std::string& value, const std::string& setting) {
    if (!setting.empty()) value = setting;
  };
  own(out.cipher_list, settings.ssl_client_cipher_list);
  own(out.cipher_suites, settings.ssl_client_cipher_suites);
  own(out.curves, settings.ssl_client_curve_list);
  return out;
}

BackendTlsContexts::Key BackendTlsContexts::key_of(const config::LoginSettings& settings,
                                                   bool verify) {
  Key key;
  if (verify) {
    key.ca_file = settings.ssl_client_ca_file;
    key.ca_dir = settings.ssl_client_ca_dir;
    if (key.ca_file.empty() && key.ca_dir.empty()) key.ca = settings.ssl_ca;
    key.require_crl = settings.ssl_client_require_crl;
  }
  key.cert = settings.ssl_client_cert;
  key.key = settings.ssl_client_key;
  key.parameters = backend_tls_parameters(settings);
  return key;
}

Result<std::shared_ptr<io::TlsContext>> BackendTlsContexts::get(
    const config::LoginSettings& settings, bool verify) {
  Key key = key_of(settings, verify);
  for (Entry& entry : entries_) {
    if (entry.key != key) continue;
    entry.used = true;
    entry.key = std::move(key);  // files that were read again: compared by pointer from now on
    return entry.context;
  }
  WipingBuffer pem;
  std::string where;
  append_pem(key.ca_file, pem, where);
  append_pem(key.ca_dir, pem, where);
  append_pem(key.ca, pem, where);
  io::TlsContext::ClientTrust trust;
  trust.ca_pem = pem.view();
  trust.where = where;
  trust.require_crl = key.require_crl;
  trust.certificate.chain = key.cert.reveal();
  trust.certificate.key = key.key.reveal();
  auto context = io::TlsContext::client(trust, key.parameters);
  entries_.push_back({std::move(key), std::move(context)});
  return entries_.back().context;
}

void BackendTlsContexts::begin_again() noexcept {
  for (Entry& entry : entries_) entry.used = false;
}

void BackendTlsContexts::forget_unused() noexcept {
  std::erase_if(entries_, [](const Entry& entry) { return !entry.used; });
}

}  // namespace postern::login
