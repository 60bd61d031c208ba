#include "login-common/tls-contexts.h"

#include <algorithm>
#include <utility>

#include "lib/log.h"
#include "lib/text.h"
#include "login-common/backend-tls.h"

namespace postern::login {
namespace {

/// Who requires a certificate asks for it (Dovecot).
bool asks_client_certificate(const config::LoginSettings& settings) noexcept {
  return settings.ssl_verify_client_cert || settings.auth_ssl_require_client_cert;
}

Result<std::shared_ptr<io::TlsContext>> make_of(const std::vector<io::CertificatePem>& pems,
                                                const config::LoginSettings& settings,
                                                const std::string& protocol) {
  io::TlsParameters parameters = tls_parameters(settings);
  parameters.alpn = protocol;
  io::ServerOptions options;
  options.dh = settings.ssl_dh.reveal();
  options.ask_client_certificate = asks_client_certificate(settings);
  options.client_ca = settings.ssl_ca.reveal();
  options.require_crl = settings.ssl_require_crl;
  options.username_field = settings.ssl_cert_username_field;
  options.log_handshakes = settings.verbose_ssl;
  return io::TlsContext::server(pems, parameters, options);
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
  return make_of(pems, settings, protocol);
}

}  // namespace

TlsContexts::Key TlsContexts::key_of(const config::LoginSettings& settings) {
  Key key;
  key.cert = settings.ssl_cert;
  key.key = settings.ssl_key;
  key.alt_cert = settings.ssl_alt_cert;
  key.alt_key = settings.ssl_alt_key;
  key.dh = settings.ssl_dh;
  key.parameters = tls_parameters(settings);
  key.verbose = settings.verbose_ssl;
  if (!asks_client_certificate(settings)) return key;
  key.client_ca = settings.ssl_ca;
  key.username_field = settings.ssl_cert_username_field;
  key.require_crl = settings.ssl_require_crl;
  return key;
}

void TlsContexts::load(const std::vector<Settings>& all) {
  by_settings_.clear();
  named_.clear();
  std::vector<Entry> before;
  before.swap(entries_);
  for (const Settings& settings : all) {
    if (settings->ssl == config::Ssl::no || settings->ssl_cert.empty()) continue;
    const std::size_t count = entries_.size();
    // One that is what it was goes on.
    const Key key = key_of(*settings);
    const auto old = std::find_if(before.begin(), before.end(),
                                  [&key](const Entry& one) { return one.key == key; });
    if (old != before.end()) {
      old->key = key;
      entries_.push_back(std::move(*old));
      before.erase(old);
    }
    const auto context = get(settings);
    if (entries_.size() == count || context.ok()) continue;  // told already, or good
    log::error("Failed to initialize SSL server context: {}: {}", settings->ssl_cert.path,
               context.error().text);
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

Status TlsContexts::use_store(int fd) {
  auto bytes = io::MappedMemory::map(fd);
  if (!bytes.ok()) return bytes.error();
  wire::CertificateStore store;
  if (!bytes.value().view().empty()) {
    auto parsed = wire::CertificateStore::parse(bytes.value().view());
    if (!parsed.ok()) return parsed.error();
    store = parsed.value();
  }
  named_.clear();  // they borrow
  store_ = store;
  store_bytes_ = std::move(bytes).value();
  return Done{};
}

std::shared_ptr<io::TlsContext> TlsContexts::named(const Settings& settings,
                                                   std::string_view name) {
  const auto certificates = store_.find(name);
  if (certificates.empty()) return nullptr;
  // Of the same store: the same text is the same place, so that this compares addresses.
  const auto same = [&certificates](const Named& one) {
    return one.certificates.size() == certificates.size() &&
           one.certificates.front().chain.data() == certificates.front().chain.data() &&
           one.certificates.back().chain.data() == certificates.back().chain.data();
  };
  for (auto at = named_.begin(); at != named_.end(); ++at) {
    if (at->settings != settings || !same(*at)) continue;
    named_.splice(named_.begin(), named_, at);
    return named_.front().context;
  }
  std::vector<io::CertificatePem> pems;
  pems.reserve(certificates.size());
  for (const wire::StoredCertificate& one : certificates) {
    pems.push_back({one.chain, one.key, settings->ssl_key_password.reveal()});
  }
  auto context = make_of(pems, *settings, protocol_);
  if (context.ok() && !ticket_keys_.empty()) {
    const Status status = context.value()->set_ticket_keys(ticket_keys_.reveal());
    if (!status.ok()) log::error("TLS ticket keys: {}", status.error().text);
  }
  if (!context.ok()) {
    log::error("Failed to initialize SSL server context: ssl_cert_dir: {}: {}",
               log_safe_line(name, 255), context.error().text);
  }
  if (named_.size() >= kMaxNamed) named_.pop_back();
  named_.push_front({settings, certificates, context.ok() ? context.value() : nullptr});
  return named_.front().context;
}

Status TlsContexts::set_ticket_keys(std::string_view keys) {
  for (Named& one : named_) {
    if (!one.context) continue;
    Status status = one.context->set_ticket_keys(keys);
    if (!status.ok()) return status;
  }
  for (Entry& entry : entries_) {
    if (!entry.context.ok()) continue;
    Status status = entry.context.value()->set_ticket_keys(keys);
    if (!status.ok()) return status;
  }
  ticket_keys_ = Secret(keys);
  return Done{};
}

}  // namespace postern::login
