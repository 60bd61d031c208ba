#include "master/setup.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "config/settings.h"
#include "io/tls.h"
#include "lib/check.h"
#include "lib/text.h"
#include "master/ticket-keys.h"

namespace postern::master {
namespace {

using config::ListenerSettings;
using config::SocketInfo;

/// Adds the socket's listener to `prepared`; owner and group only mean something to root.
void add_listener(const SocketInfo& socket, Prepared& prepared, std::vector<std::string>& errors) {
  ListenerSpec spec;
  if (socket.kind == ListenerSettings::Kind::inet) {
    spec.endpoint = socket.endpoint;
    spec.reuse_port = socket.reuse_port;
    prepared.listeners.push_back(std::move(spec));
    return;
  }
  spec.is_unix = true;
  spec.path = socket.path;
  spec.mode = static_cast<mode_t>(socket.mode);
  if (geteuid() == 0) {
    const auto uid = find_user(socket.user);
    const auto gid = find_group(socket.group);
    if (!uid.ok()) errors.push_back("unix_listener " + socket.name + ": " + uid.error().text);
    if (!gid.ok()) errors.push_back("unix_listener " + socket.name + ": " + gid.error().text);
    if (!uid.ok() || !gid.ok()) return;
    spec.uid = uid.value();
    spec.gid = gid.value();
  }
  prepared.listeners.push_back(std::move(spec));
}

/// What could only be found out when its first process is started, or ends.
void check_service(const config::ServiceSettings& service, std::vector<std::string>& errors) {
  const auto program = words(service.executable, " ");
  if (program.empty()) return;
  const std::string path(program.front());
  if (access(path.c_str(), X_OK) == 0) return;
  errors.push_back("service(" + service.name + "): cannot run " +
                   system_error(log_safe(path, 200), errno).text);
}

/// Every file that the TLS towards clients is made of.
std::array<const config::FileText*, 6> files_of(const config::LoginSettings& s) {
  return {&s.ssl_cert, &s.ssl_key, &s.ssl_alt_cert, &s.ssl_alt_key, &s.ssl_dh, &s.ssl_ca};
}

/// Every file that the TLS towards backends is made of.
using BackendFiles = std::array<const config::FileText*, 5>;
BackendFiles backend_files_of(const config::LoginSettings& s) {
  return {&s.ssl_client_ca_file, &s.ssl_client_ca_dir, &s.ssl_ca, &s.ssl_client_cert,
          &s.ssl_client_key};
}

template <std::size_t N>
bool same_files(const std::array<const config::FileText*, N>& a,
                const std::array<const config::FileText*, N>& b) {
  return std::equal(a.begin(), a.end(), b.begin(),
                    [](const config::FileText* x, const config::FileText* y) { return *x == *y; });
}

template <std::size_t N>
BadFiles bad_files(const config::Configuration::Tls& entry, const std::string& why,
                   const std::array<const config::FileText*, N>& files) {
  BadFiles out;
  const std::string where = entry.where.empty() ? std::string() : entry.where + ": ";
  out.text = entry.file + ':' + std::to_string(entry.line) + ": " + where + why;
  for (const config::FileText* file : files) {
    if (!file->path.empty()) out.paths.push_back(file->path);
  }
  return out;
}

/// As a login process makes it (login-common/backend-tls.h).
std::optional<BadFiles> check_backend_tls(const config::Configuration::Tls& entry) {
  const config::LoginSettings& settings = *entry.settings;
  WipingBuffer pem;
  for (const config::FileText* file : {&settings.ssl_client_ca_file, &settings.ssl_client_ca_dir}) {
    if (!file->empty()) pem.append(file->reveal()).append('\n');
  }
  if (pem.empty()) pem.append(settings.ssl_ca.reveal());
  io::TlsContext::ClientTrust trust;
  trust.ca_pem = pem.view();
  trust.where = "CA certificates";
  trust.require_crl = settings.ssl_client_require_crl;
  trust.certificate.chain = settings.ssl_client_cert.reveal();
  trust.certificate.key = settings.ssl_client_key.reveal();
  io::TlsParameters parameters;  // those of ssl_* are checked with the certificates of their own
  parameters.cipher_list = settings.ssl_client_cipher_list;
  parameters.cipher_suites = settings.ssl_client_cipher_suites;
  parameters.curves = settings.ssl_client_curve_list;
  const auto context = io::TlsContext::client(trust, parameters);
  if (context.ok()) return std::nullopt;
  return bad_files(entry, "TLS to backends: " + context.error().text, backend_files_of(settings));
}

std::optional<BadFiles> check_tls(const config::Configuration::Tls& entry) {
  const config::LoginSettings& settings = *entry.settings;
  if (settings.ssl == config::Ssl::no || settings.ssl_cert.empty()) return std::nullopt;
  const std::string_view password = settings.ssl_key_password.reveal();
  std::vector<io::CertificatePem> pems{
      {settings.ssl_cert.reveal(), settings.ssl_key.reveal(), password}};
  if (!settings.ssl_alt_cert.empty()) {
    pems.push_back({settings.ssl_alt_cert.reveal(), settings.ssl_alt_key.reveal(), password});
  }
  io::TlsParameters parameters;
  parameters.cipher_list = settings.ssl_cipher_list;
  parameters.cipher_suites = settings.ssl_cipher_suites;
  parameters.curves = settings.ssl_curve_list;
  io::ServerOptions options;
  options.dh = settings.ssl_dh.reveal();
  options.ask_client_certificate =
      settings.ssl_verify_client_cert || settings.auth_ssl_require_client_cert;
  options.client_ca = settings.ssl_ca.reveal();
  options.require_crl = settings.ssl_require_crl;
  options.username_field = settings.ssl_cert_username_field;
  const auto context = io::TlsContext::server(pems, parameters, options);
  if (context.ok()) return std::nullopt;
  return bad_files(entry, context.error().text, files_of(settings));
}

/// Empty if there is nothing wrong with them, or they are not given.
std::string check_ticket_keys(const config::FileText& keys) {
  if (keys.empty()) return {};
  const Status good = TicketKeys::check(keys.reveal());
  return good.ok() ? std::string() : "ssl_ticket_keys: " + good.error().text;
}

ListenerSpec spec_of(const SocketInfo& socket) {
  ListenerSpec spec;
  spec.is_unix = socket.kind == ListenerSettings::Kind::unix_socket;
  spec.endpoint = socket.endpoint;
  spec.path = socket.path;
  return spec;
}

}  // namespace

std::vector<SocketInfo> sockets_of(const config::Configuration& configuration,
                                   const std::string& service) {
  std::vector<SocketInfo> out = configuration.sockets(service);
  const config::ServiceSettings* settings = configuration.service(service);
  if (settings != nullptr && settings->type == config::ServiceType::worker) {
    SocketInfo internal;
    internal.kind = ListenerSettings::Kind::unix_socket;
    internal.name = kWorkerSocket;
    internal.path = configuration.master().base_dir + '/' + std::string(kWorkerSocket);
    internal.mode = 0600;
    out.push_back(std::move(internal));
  }
  return out;
}

std::vector<BadFiles> check_certificates(const config::Configuration& configuration) {
  std::vector<BadFiles> out;
  for (const auto& entry : configuration.tls()) {
    if (auto bad = check_tls(entry)) out.push_back(std::move(*bad));
  }
  return out;
}

std::vector<BadFiles> check_changed_files(const config::Configuration& before,
                                          const config::Configuration& fresh) {
  std::vector<BadFiles> out;
  const auto old = before.tls();
  const auto now = fresh.tls();
  POSTERN_CHECK(old.size() == now.size());
  // Blocks have mostly the same CAs, which take long to read.
  std::vector<BackendFiles> to_backends;
  for (std::size_t i = 0; i < now.size(); i++) {
    const bool same =
        same_files(files_of(*old[i].settings), files_of(*now[i].settings)) &&
        old[i].settings->ssl_key_password.reveal() == now[i].settings->ssl_key_password.reveal();
    if (!same) {
      if (auto bad = check_tls(now[i])) out.push_back(std::move(*bad));
    }
    const BackendFiles files = backend_files_of(*now[i].settings);
    if (same_files(backend_files_of(*old[i].settings), files)) continue;
    const bool checked = std::any_of(to_backends.begin(), to_backends.end(),
                                     [&files](const auto& one) { return same_files(one, files); });
    if (checked) continue;
    to_backends.push_back(files);
    if (auto bad = check_backend_tls(now[i])) out.push_back(std::move(*bad));
  }
  if (!now.empty()) {
    const config::FileText& keys = fresh.master().ssl_ticket_keys;
    if (auto bad = check_ticket_keys(keys); !bad.empty())
      out.push_back({std::move(bad), {keys.path}});
  }
  return out;
}

std::optional<Prepared> prepare(std::shared_ptr<const config::Configuration> configuration,
                                std::vector<std::string>& errors) {
  Prepared out;
  const std::size_t before = errors.size();
  for (BadFiles& bad : check_certificates(*configuration)) errors.push_back(std::move(bad.text));
  if (std::string bad = check_ticket_keys(configuration->master().ssl_ticket_keys); !bad.empty()) {
    errors.push_back(std::move(bad));
  }
  const std::string& directory = configuration->master().ssl_cert_dir;
  if (!directory.empty() && access(directory.c_str(), R_OK | X_OK) != 0) {
    errors.push_back("ssl_cert_dir: " + system_error(log_safe(directory, 200), errno).text);
  }
  const bool root = geteuid() == 0;
  for (const config::ServiceSettings& service : configuration->services()) {
    if (root) {
      auto identity = find_identity(service.user, service.group, service.extra_groups);
      if (identity.ok()) {
        out.identities.emplace(service.name, std::move(identity).value());
      } else {
        errors.push_back("service(" + service.name + "): " + identity.error().text);
      }
    }
    check_service(service, errors);
    for (const SocketInfo& socket : sockets_of(*configuration, service.name)) {
      add_listener(socket, out, errors);
    }
  }
  for (const SocketInfo& socket : configuration->sockets("master"))
    add_listener(socket, out, errors);
  out.configuration = std::move(configuration);
  if (errors.size() != before) return std::nullopt;
  return out;
}

ServiceSetup make_setup(const Prepared& prepared, const config::ServiceSettings& service,
                        const Listeners& opened, std::shared_ptr<LogPipe> log, int stderr_fd) {
  const config::Configuration& configuration = *prepared.configuration;
  ServiceSetup out;
  out.settings = service;
  for (SocketInfo& socket : sockets_of(configuration, service.name)) {
    const auto found = opened.find(spec_of(socket).key());
    if (found == opened.end()) continue;  // a socket whose mode is 0
    out.listeners.push_back(found->second);
    out.sockets.push_back(std::move(socket));
  }
  out.snapshot = configuration.snapshot(service.name, out.sockets);
  if (const auto found = prepared.identities.find(service.name);
      found != prepared.identities.end()) {
    out.identity = found->second;
  }
  out.log = std::move(log);
  out.stderr_fd = stderr_fd;
  out.base_dir = configuration.master().base_dir;
  out.libexec_dir = configuration.master().libexec_dir;
  out.instance_name = configuration.master().instance_name;
  return out;
}

std::string missing_protections() {
  if (geteuid() == 0) return {};
  return "Not started as root: every process runs as the calling user, without users of their own "
         "and without chroot";
}

}  // namespace postern::master
