#include "login-common/login-server.h"

#include <fmt/format.h>
#include <netdb.h>
#include <sysexits.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "lib/handle.h"
#include "lib/log.h"
#include "lib/text.h"
#include "wire/channel.h"

namespace postern::login {
namespace {

constexpr std::string_view kTemplateOption = "--template";

std::string host_name() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? std::string(name.data()) : "localhost";
}

/// The machine's name with its domain, as /etc/hosts or DNS knows it. May wait for DNS: nobody is
/// served yet.
std::string full_host_name() {
  std::string name = host_name();
  if (name.find('.') != std::string::npos) return name;
  addrinfo hints{};
  hints.ai_flags = AI_CANONNAME;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  if (::getaddrinfo(name.c_str(), nullptr, &hints, &list) != 0) return name;
  const Handle<addrinfo, freeaddrinfo> owner(list);
  if (list != nullptr && list->ai_canonname != nullptr) name = list->ai_canonname;
  return name;
}

ProxyCore::Protocol proxy_protocol(const Protocol& protocol) {
  ProxyCore::Protocol out;
  out.name = protocol.name;
  out.port = protocol.port;
  out.ssl_port = protocol.ssl_port;
  out.make_dialogue = protocol.make_backend_dialogue;
  return out;
}

std::vector<std::pair<std::string, std::string>> row_fields(const SessionRow& row) {
  std::vector<std::pair<std::string, std::string>> out{
      {"user", row.user},       {"service", row.service}, {"rip", row.rip},    {"lip", row.lip},
      {"session", row.session}, {"secured", row.secured}, {"state", row.state}};
  if (!row.dest_ip.empty()) {
    out.emplace_back("dest-user", row.dest_user);
    out.emplace_back("dest-ip", row.dest_ip);
    out.emplace_back("dest-port", row.dest_port);
  }
  return out;
}

}  // namespace

LoginServer::LoginServer(service::Service& service, const Protocol& protocol, int argc, char** argv)
    : service_(service),
      protocol_(protocol),
      config_(service.take_snapshot()),
      global_(config_.global(protocol.name)),
      tls_(std::string(protocol.alpn.empty() ? protocol.name : protocol.alpn)),
      proxy_(ProxyCore::make(service.loop(), proxy_protocol(protocol), service.listeners())),
      auth_(service.loop(), connector("auth"), global_->auth_socket_path),
      counts_(service.loop(), connector("anvil"), std::string(protocol.program)),
      shared_{service.loop(), protocol,     config_,     auth_, *proxy_,
              tls_,           session_ids_, host_name(), {},    {}},
      clients_(shared_),
      title_(argc, argv) {
  log::set_debug(global_->auth_debug);
  shared_.counts = &counts_;
  shared_.access_sockets = global_->login_access_sockets;
  shared_.connect_access = [this](std::size_t index, std::function<void(Result<UniqueFd>)> answer) {
    service_.connect(fmt::format("{}{}", wire::kAccessSocket, index), std::move(answer));
  };
  load_tls();
  if (protocol_.says_host_name && global_->hostname.empty()) {
    shared_.full_host_name = full_host_name();
  }
  changed_.start(service_.loop(), io::Callback<>::to<&LoginServer::on_change>(*this));
  clients_.on_change([this]() { changed_.trigger(); });
  clients_.on_known([this]() { service_.evictable_changed(); });
  proxy_->on_change([this]() { changed_.trigger(); });
  proxy_->use_master([this](std::string_view verb, const std::vector<std::string>& fields) {
    service_.tell_master(verb, fields);
  });
  auth_.on_change([this]() { clients_.auth_ready(); }, [this]() { clients_.auth_broken(); });
}

LoginServer::~LoginServer() = default;

/// Every certificate and CA file that a block of the configuration names.
void LoginServer::load_tls() {
  const auto all = config_.with_certificates(protocol_.name);
  tls_.load(all);
  proxy_->prepare(all);
}

/// Files that the settings name have new content; what begins from now on is served with it.
void LoginServer::renew_settings(int fd) {
  auto loaded = config::Snapshot::load(fd);
  if (!loaded.ok()) {
    log::error("new settings from the master: {}; the old ones stay", loaded.error().text);
    return;
  }
  config_ = config::LoginConfig(std::move(loaded.value()));
  global_ = config_.global(protocol_.name);
  load_tls();
}

/// The master connects: no path leads out of where this process is confined, and which socket it is
/// (auth_socket_path, Postern's own or another program's) is not for this process to choose.
AuthClient::Connect LoginServer::connector(std::string_view name) {
  return [this, name](std::function<void(Result<UniqueFd>)> answer) {
    service_.connect(name, std::move(answer));
  };
}

void LoginServer::on_accept(std::size_t index, io::Accepted connection) noexcept {
  clients_.add(service_.listeners()[index], std::move(connection));
}

void LoginServer::on_change() noexcept {
  service::Load load;
  load.clients = static_cast<unsigned>(clients_.size());
  load.relaying = proxy_->relaying();
  service_.set_load(load);
  if (global_->verbose_proctitle) show_title();
  if (!ending_ || load.clients > 0) return;
  // Whoever is left is relayed.
  auth_.stop();
  counts_.stop();
  if (load.relaying == 0) service_.finish();
}

void LoginServer::show_title() {
  TitleFacts facts;
  facts.instance = global_->instance_name;
  facts.program = protocol_.program;
  facts.pre_login = clients_.size();
  facts.proxies = proxy_->relaying();
  if (facts.pre_login + facts.proxies == 1) {
    const auto take = [&facts](const SessionRow& row) {
      facts.only_ip = row.rip;
      facts.only_tls = row.secured.starts_with("TLS");
    };
    clients_.for_each(take);
    proxy_->for_each(take);
  }
  title_.set(title_text(facts));
}

void LoginServer::on_drain() noexcept {
  ending_ = true;
  changed_.trigger();
}

void LoginServer::on_terminate() noexcept {
  ending_ = true;
  clients_.shut_down();
  proxy_->kick([](const SessionRow&) { return true; }, "Process shutting down", false);
  changed_.trigger();
}

void LoginServer::on_evict(unsigned count) noexcept {
  clients_.evict(count);
}

service::Evictable LoginServer::evictable() const {
  return clients_.evictable();
}

void LoginServer::on_forked() noexcept {
  connect_auth();
}

bool LoginServer::on_packet(std::string_view verb, const std::vector<std::string>& fields,
                            UniqueFd fd) noexcept {
  if (verb == wire::kSettings && fd) {
    renew_settings(fd.get());
    return true;
  }
  if (verb == wire::kCertificates && fd) {
    const Status used = tls_.use_store(fd.get());
    if (!used.ok()) log::error("ssl_cert_dir: {}", used.error().text);
    return true;
  }
  if (proxy_->on_packet(verb, fields)) return true;
  if (verb != wire::kTicketKeys || fields.size() != 1) return false;
  const Status status = tls_.set_ticket_keys(fields.front());
  if (!status.ok()) log::error("TLS ticket keys: {}", status.error().text);
  return true;
}

void LoginServer::on_call(service::Call call) noexcept {
  if (call.verb() == wire::kSessions) return answer_sessions(call);
  if (call.verb() == wire::kKick) return answer_kick(call);
  if (call.verb() == wire::kBackendRows) return answer_backends(call);
  call.done(EX_USAGE, "unknown question");
}

void LoginServer::answer_sessions(service::Call& call) {
  const auto mask = SessionMask::parse(call.arguments());
  if (!mask.ok()) return call.done(EX_USAGE, mask.error().text);
  const auto visit = [&call, &mask](const SessionRow& row) {
    if (mask.value().matches(row)) call.row(row_fields(row));
  };
  clients_.for_each(visit);
  proxy_->for_each(visit);
  call.done(0);
}

void LoginServer::answer_backends(service::Call& call) {
  proxy_->for_each_backend([&call](const BackendRow& row) {
    call.row({{"address", row.backend.ip.text()},
              {"port", fmt::to_string(row.backend.port)},
              {"pending", fmt::to_string(row.pending)},
              {"sessions", fmt::to_string(row.sessions)},
              {"logins", fmt::to_string(row.logins)}});
  });
  call.done(0);
}

void LoginServer::answer_kick(service::Call& call) {
  const auto mask = SessionMask::parse(call.arguments());
  if (!mask.ok()) return call.done(EX_USAGE, mask.error().text);
  // Kicking everybody is what stop is for.
  if (call.arguments().empty()) return call.done(EX_USAGE, "nothing says who is to be kicked");
  const unsigned kicked =
      clients_.kick(mask.value()) +
      proxy_->kick([&mask](const SessionRow& row) { return mask.value().matches(row); },
                   "Kicked by admin", true);
  call.done(0, fmt::to_string(kicked));
}

int run(const Protocol& protocol, int argc, char** argv) {
  service::Service service(protocol.program);
  bool is_template = false;
  for (int i = 1; i < argc; ++i) is_template |= argv[i] == kTemplateOption;
  LoginServer server(service, protocol, argc, argv);
  if (!is_template) server.connect_auth();
  const int status = service.run(server);
#ifndef __SANITIZE_ADDRESS__  // which looks for leaks
  // To free what was made before the fork would first copy the pages it is on, only to end.
  if (is_template) ::_Exit(status);
#endif
  return status;
}

}  // namespace postern::login
