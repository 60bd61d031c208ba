#include "login-common/tls-contexts.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <limits>
#include <utility>

#include "lib/handle.h"
#include "lib/log.h"
#include "login-common/backend-tls.h"

namespace postern::login {
namespace {

using Bio = Handle<BIO, BIO_free_all>;
using Certificate = Handle<X509, X509_free>;

std::string time_text(const ASN1_TIME* time) {
  const Bio out(BIO_new(BIO_s_mem()));
  if (!out || ASN1_TIME_print(out.get(), time) != 1) return "an unknown time";
  char* data = nullptr;
  const long size = BIO_get_mem_data(out.get(), &data);
  return {data, static_cast<std::size_t>(size)};
}

Result<std::shared_ptr<io::TlsContext>> make(const config::LoginSettings& settings,
                                             const std::string& protocol) {
  if (settings.ssl_cert.empty()) return Error{1, "ssl_cert is not set"};
  const std::string_view password = settings.ssl_key_password.reveal();
  std::vector<io::CertificatePem> pems;
  pems.push_back({settings.ssl_cert.reveal(), settings.ssl_key.reveal(), password});
  if (!settings.ssl_alt_cert.empty()) {
    pems.push_back({settings.ssl_alt_cert.reveal(), settings.ssl_alt_key.reveal(), password});
  }
  io::TlsParameters parameters = tls_parameters(settings);
  parameters.alpn = protocol;
  return io::TlsContext::server(pems, parameters);
}

}  // namespace

std::string certificate_date_problem(std::string_view pem) {
  if (pem.size() > static_cast<std::size_t>(std::numeric_limits<int>::max())) return {};
  const Bio in(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  if (!in) return {};
  const Certificate certificate(PEM_read_bio_X509(in.get(), nullptr, nullptr, nullptr));
  if (!certificate) {
    ERR_clear_error();  // that it cannot be read is told by who makes the context
    return {};
  }
  const ASN1_TIME* const after = X509_get0_notAfter(certificate.get());
  const ASN1_TIME* const before = X509_get0_notBefore(certificate.get());
  if (X509_cmp_current_time(after) < 0) return "expired on " + time_text(after);
  if (X509_cmp_current_time(before) > 0) return "not valid before " + time_text(before);
  return {};
}

TlsContexts::Key TlsContexts::key_of(const config::LoginSettings& settings) {
  Key key;
  key.cert = settings.ssl_cert;
  key.key = settings.ssl_key;
  key.alt_cert = settings.ssl_alt_cert;
  key.alt_key = settings.ssl_alt_key;
  key.parameters = tls_parameters(settings);
  return key;
}

void TlsContexts::load(const std::vector<Settings>& all) {
  for (const Settings& settings : all) {
    if (settings->ssl == config::Ssl::no || settings->ssl_cert.empty()) continue;
    const std::size_t before = entries_.size();
    const auto context = get(settings);
    if (entries_.size() == before) continue;  // told already
    if (!context.ok()) {
      log::error("Failed to initialize SSL server context: {}: {}", settings->ssl_cert.path,
                 context.error().text);
      continue;
    }
    for (const config::FileText* file : {&settings->ssl_cert, &settings->ssl_alt_cert}) {
      const std::string problem = certificate_date_problem(file->reveal());
      if (!problem.empty()) log::warning("ssl_cert {}: the certificate is {}", file->path, problem);
    }
  }
}

Result<std::shared_ptr<io::TlsContext>> TlsContexts::get(const Settings& settings) {
  if (const auto found = by_settings_.find(settings); found != by_settings_.end()) {
    return entries_[found->second].context;
  }
  if (by_settings_.size() >= kMaxSettings) by_settings_.clear();
  Key key = key_of(*settings);
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    if (entries_[i].key == key) {
      by_settings_.emplace(settings, i);
      return entries_[i].context;
    }
  }
  // Distinct ones are as many as the configuration has certificates; the bound is for bugs.
  if (entries_.size() >= kMaxContexts) return Error{1, "too many TLS contexts"};
  auto context = make(*settings, protocol_);
  if (context.ok() && !ticket_keys_.empty()) {
    const Status status = context.value()->set_ticket_keys(ticket_keys_.reveal());
    if (!status.ok()) log::error("TLS ticket keys: {}", status.error().text);
  }
  by_settings_.emplace(settings, entries_.size());
  entries_.push_back({std::move(key), std::move(context)});
  return entries_.back().context;
}

Status TlsContexts::set_ticket_keys(std::string_view keys) {
  for (Entry& entry : entries_) {
    if (!entry.context.ok()) continue;
    Status status = entry.context.value()->set_ticket_keys(keys);
    if (!status.ok()) return status;
  }
  ticket_keys_ = Secret(keys);
  return Done{};
}

}  // namespace postern::login
