#include "login-common/destination.h"

#include <fmt/format.h>
#include <ifaddrs.h>
#include <net/if.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>
#include <utility>

#include "config/kinds.h"
#include "config/settings.h"
#include "config/value.h"
#include "lib/handle.h"
#include "lib/text.h"
#include "sasl/client.h"
#include "wire/proxy-hosts.h"

namespace postern::login {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t kMaxHost = 255;  // bytes of a DNS name
constexpr milliseconds kDefaultDownAfter{30'000};
constexpr milliseconds kLongest{24 * 3600 * 1000};

/// Fields of an auth reply that are somebody else's: auth's own, the client's life's, other
/// services', later versions'.
constexpr std::array<std::string_view, 30> kOthers{"user",
                                                   "proxy",
                                                   "proxy_maybe",
                                                   "proxy_always",
                                                   "nopassword",
                                                   "nologin",
                                                   "nodelay",
                                                   "reason",
                                                   "code",
                                                   "delay_until",
                                                   "proxy_redirect_reauth",
                                                   "proxy_no_multiplex",
                                                   "auth_user",
                                                   "original_user",
                                                   "login_user",
                                                   "resp",
                                                   "token",
                                                   "allow_nets",
                                                   "lip",
                                                   "lport",
                                                   "client_id",
                                                   "temp",
                                                   "authz",
                                                   "user_noauth",
                                                   "anonymous",
                                                   "allow_real_nets",
                                                   "k5principals",
                                                   "passdb_import",
                                                   "master_user"};

Error failure(FailureType type, std::string text) {
  return Error{static_cast<int>(type), std::move(text)};
}

bool is_off(std::string_view value) noexcept {
  return value.empty() || value == "0" || same_text(value, "no") || same_text(value, "n") ||
         same_text(value, "off") || same_text(value, "false");
}

bool has_nul(std::string_view text) noexcept {
  return text.find('\0') != std::string_view::npos;
}

/// One field `ssl` or `starttls`.
struct TlsField {
  bool on = false;
  bool any_cert = false;
};

/// What the fields say, before anything follows from it.
struct Reader {
  std::string_view host, hostip, hosts, port, destuser, master, mech, timeout, down_after, source,
      protocol, tls_name, tls_pins, proxy_header, refresh;
  bool has_destuser = false, has_timeout = false, has_port = false;
  TlsField ssl, starttls;
  bool nopipelining = false, not_trusted = false, noauth = false;
  std::vector<std::pair<std::string, std::string>> forward;

  TlsField tls_field(std::string_view name, std::string_view value, std::vector<Remark>& remarks) {
    if (!is_off(value)) return {true, same_text(value, "any-cert")};
    remarks.push_back(
        {log::Level::warning, fmt::format("Passdb field {}={} is taken as no TLS to the backend",
                                          name, log_safe(value))});
    return {};
  }

  void take(const std::string& name, const std::string& value, std::vector<Remark>& remarks) {
    constexpr std::string_view kForward = "forward_";
    if (name == "host") {
      host = value;
    } else if (name == "hostip") {
      hostip = value;
    } else if (name == "proxy_hosts") {
      hosts = value;
    } else if (name == "port") {
      port = value;
      has_port = true;
    } else if (name == "destuser") {
      destuser = value;
      has_destuser = true;
    } else if (name == "master") {
      master = value;
    } else if (name == "proxy_mech") {
      mech = value;
    } else if (name == "proxy_timeout") {
      timeout = value;
      has_timeout = true;
    } else if (name == "proxy_host_immediate_failure_after") {
      down_after = value;
    } else if (name == "source_ip") {
      source = value;
    } else if (name == "protocol") {
      protocol = value;
    } else if (name == "proxy_refresh") {
      refresh = value;
    } else if (name == "proxy_protocol") {
      proxy_header = value;
    } else if (name == "tls_name") {
      tls_name = value;
    } else if (name == "tls_pins") {
      tls_pins = value;
    } else if (name == "ssl") {
      ssl = tls_field(name, value, remarks);
    } else if (name == "starttls") {
      starttls = tls_field(name, value, remarks);
    } else if (name == "proxy_nopipelining") {
      nopipelining = true;
    } else if (name == "proxy_noauth") {
      noauth = true;
    } else if (name == "proxy_not_trusted") {
      not_trusted = true;
    } else if (starts_with_text(name, kForward) && name.size() > kForward.size()) {
      forward.emplace_back(name.substr(kForward.size()), value);
    } else if (log::debug_enabled() && !name.starts_with("user_") && !name.starts_with("event_") &&
               !name.starts_with("userdb_") &&
               std::find(kOthers.begin(), kOthers.end(), name) == kOthers.end()) {
      remarks.push_back({log::Level::debug,
                         fmt::format("Ignoring unknown passdb extra field: {}", log_safe(name))});
    }
  }
};

Result<std::uint16_t> read_port(const Reader& fields, const ProxyCore::Protocol& protocol,
                                BackendTls tls) {
  if (!fields.has_port) return tls == BackendTls::implicit ? protocol.ssl_port : protocol.port;
  const auto port = decimal(fields.port, 1, 65535);
  if (port) return static_cast<std::uint16_t>(*port);
  return failure(FailureType::internal, fmt::format("Auth service returned invalid port number: {}",
                                                    log_safe(fields.port)));
}

/// What our auth says of all hosts (wire/proxy-hosts.h); else `host`, with the address in `hostip`.
Result<std::vector<BackendAddress>> read_addresses(const Reader& fields,
                                                   const ProxyCore::Protocol& protocol,
                                                   BackendTls tls) {
  const Result<std::uint16_t> port = read_port(fields, protocol, tls);
  if (!port.ok()) return port.error();
  std::vector<BackendAddress> out;
  if (!fields.hosts.empty()) {
    const std::uint16_t usual = tls == BackendTls::implicit ? protocol.ssl_port : protocol.port;
    const auto hosts = wire::parse_proxy_hosts(fields.hosts);
    if (!hosts.ok()) {
      return failure(FailureType::internal, "Invalid proxy_hosts: " + hosts.error().text);
    }
    for (const wire::ProxyHost& host : hosts.value()) {
      for (const IpAddress& ip : host.addresses) {
        out.push_back({{ip, host.port != 0 ? host.port : usual}, host.name});
      }
    }
    return out;
  }
  std::optional<IpAddress> ip = IpAddress::parse(fields.host);
  if (!fields.hostip.empty()) {
    ip = IpAddress::parse(fields.hostip);
    if (!ip) {
      return failure(FailureType::internal,
                     fmt::format("Invalid hostip {}", log_safe(fields.hostip)));
    }
  }
  if (!ip) {
    return failure(FailureType::internal,
                   fmt::format("BUG: host {} is not an IP (auth should have changed it)",
                               log_safe(fields.host)));
  }
  out.push_back({{*ip, port.value()}, std::string(fields.host)});
  return out;
}

milliseconds read_timeout(const Reader& fields, milliseconds setting,
                          std::vector<Remark>& remarks) {
  if (!fields.has_timeout) return setting;
  const std::optional<milliseconds> value = read_interval(fields.timeout);
  if (value && value->count() > 0) return *value;
  if (!value) {
    const std::string shown = log_safe(fields.timeout);
    remarks.push_back({log::Level::error,
                       fmt::format("BUG: Auth service returned invalid proxy_timeout value '{}': "
                                   "Invalid time interval: {}",
                                   shown, shown)});
  }
  return setting;
}

/// True if `text` names a protocol of a login process other than `ours`. lmtp and smtp steer
/// deliveries and mean nothing here.
bool is_other_protocol(std::string_view text, std::string_view ours) noexcept {
  constexpr std::array<std::string_view, 5> kLogin{"imap", "pop3", "submission", "managesieve",
                                                   "sieve"};
  const auto sieve = [](std::string_view name) {
    return same_text(name, "sieve") ? std::string_view("managesieve") : name;
  };
  const bool known = std::any_of(kLogin.begin(), kLogin.end(),
                                 [text](std::string_view name) { return same_text(text, name); });
  return known && !same_text(sieve(text), sieve(ours));
}

/// Forwarded fields: those of this login's passdbs, then what came from a trusted hop and was not
/// returned again.
std::vector<std::pair<std::string, std::string>> merge_forward(
    std::vector<std::pair<std::string, std::string>> own, const ProxyClient& client) {
  const std::size_t returned = own.size();
  for (const auto& field : client.forward) {
    const auto end = own.begin() + static_cast<std::ptrdiff_t>(returned);
    const bool again = std::any_of(own.begin(), end, [&field](const auto& mine) {
      return same_text(mine.first, field.first);
    });
    if (!again) own.push_back(field);
  }
  return own;
}

void fill_target(Destination& out, Reader& fields, const ProxyFields& reply,
                 const ProxyClient& client) {
  BackendTarget& target = out.target;
  target.user =
      fields.has_destuser && !fields.destuser.empty() ? std::string(fields.destuser) : reply.user;
  target.master = fields.master;
  target.mech = to_upper(fields.mech);
  // A master user needs an authorization id beside its own name: LOGIN has no place for it.
  if (target.mech.empty() && !target.master.empty()) target.mech = "PLAIN";
  target.nopipelining = fields.nopipelining;
  target.not_trusted = fields.not_trusted;
  target.noauth = fields.noauth;
  target.id_before_starttls = client.settings->proxy_id_before_starttls;
  target.alerts = client.settings->proxy_alerts;
  target.hide_auth_errors = client.settings->proxy_hide_auth_errors;
  target.session = client.session;
  target.client = client.remote;
  target.local = client.local;
  target.ttl = client.ttl > 0 ? client.ttl - 1 : 0;
  target.client_tls = client.tls;
  target.local_name = client.local_name;
  target.forward = merge_forward(std::move(fields.forward), client);
  target.client_id = client.client_id;
  target.forward_2_3_only =
      client.settings->proxy_forward_level == config::ForwardLevel::dovecot_2_3;
  target.client_tag = client.client_tag;
  target.client_used_capability = client.client_used_capability;
  target.host_name = client.host_name;
  target.helo = client.helo;
  target.helo_protocol = client.helo_protocol;
}

bool host_is_clean(std::string_view host) noexcept {
  return host.size() <= kMaxHost &&
         std::all_of(host.begin(), host.end(), [](char c) { return c > ' ' && c < 0x7f; });
}

/// How the backend's certificate is judged.
Status read_tls(const Reader& fields, const config::LoginSettings& settings, Destination& out) {
  out.any_cert = fields.ssl.any_cert || fields.starttls.any_cert;
  if (!host_is_clean(fields.tls_name)) {
    return failure(FailureType::internal,
                   fmt::format("Invalid tls_name {}", log_safe(fields.tls_name)));
  }
  out.tls_name = fields.tls_name;
  out.tls_pins = settings.ssl_client_pins;
  if (fields.tls_pins.empty()) return Done{};
  std::optional<std::vector<KeyPin>> pins = parse_pins(fields.tls_pins);
  if (!pins || pins->empty()) {
    return failure(FailureType::internal,
                   fmt::format("Invalid tls_pins {}", log_safe(fields.tls_pins)));
  }
  out.tls_pins = *std::move(pins);
  return Done{};
}

/// Whether the backend gets a PROXY header, and what it is told besides.
Status read_proxy_header(const Reader& fields, const config::LoginSettings& settings,
                         Destination& out) {
  config::BackendProxyHeader version = settings.proxy_protocol;
  if (!fields.proxy_header.empty()) {
    const auto said = config::kinds::parse_choice(fields.proxy_header, "no v1 v2");
    if (!said.ok()) {
      return failure(FailureType::internal,
                     fmt::format("Invalid proxy_protocol {}", log_safe(fields.proxy_header)));
    }
    version = static_cast<config::BackendProxyHeader>(said.value());
  }
  switch (version) {
    case config::BackendProxyHeader::no:
      return Done{};
    case config::BackendProxyHeader::v1:
      out.proxy_header = 1;
      break;
    case config::BackendProxyHeader::v2:
      out.proxy_header = 2;
      break;
  }
  // A backend that believes the header sees the client itself, which it does not trust.
  if (!settings.proxy_protocol_forward) out.target.not_trusted = true;
  return Done{};
}

Status check_names(const Reader& fields, const ProxyFields& reply) {
  if (!host_is_clean(fields.host)) {
    return failure(FailureType::internal, fmt::format("Invalid host {}", log_safe(fields.host)));
  }
  // No protocol can carry a NUL in a name or password; some would cut there.
  if (has_nul(fields.destuser) || has_nul(fields.master) || has_nul(reply.user)) {
    return failure(FailureType::internal, "user name contains a NUL");
  }
  if (has_nul(reply.pass->reveal())) {
    return failure(FailureType::internal, "password contains a NUL");
  }
  if (!fields.mech.empty() && !sasl::is_client_mechanism(fields.mech)) {
    return failure(FailureType::internal,
                   fmt::format("Unsupported SASL mechanism {}", log_safe(fields.mech)));
  }
  return Done{};
}

}  // namespace

std::optional<milliseconds> read_interval(std::string_view text) {
  text = trim(text);
  if (const auto seconds = decimal(text, 0, static_cast<std::uint64_t>(kLongest.count() / 1000))) {
    return milliseconds(static_cast<std::int64_t>(*seconds) * 1000);
  }
  const Result<milliseconds> parsed = config::kinds::time::parse(config::Value(text), "0-1d");
  if (!parsed.ok()) return std::nullopt;
  return parsed.value();
}

Result<Destination> read_destination(ProxyFields&& fields, const ProxyClient& client,
                                     const ProxyCore::Protocol& protocol,
                                     std::vector<Remark>& remarks) {
  Reader said;
  for (const auto& [name, value] : fields.fields) said.take(name, value, remarks);
  if (!fields.pass) return failure(FailureType::internal, "password not given");
  if (said.host.empty()) return failure(FailureType::internal, "host not given");
  BackendTls tls = BackendTls::none;
  if (said.ssl.on) tls = BackendTls::implicit;
  if (said.starttls.on) tls = BackendTls::starttls;  // also wins if both are there
  auto addresses = read_addresses(said, protocol, tls);
  if (!addresses.ok()) return addresses.error();
  if (const Status names = check_names(said, fields); !names.ok()) return names.error();
  if (is_other_protocol(said.protocol, protocol.name)) {
    return failure(FailureType::internal_config,
                   fmt::format("destination is for protocol {}, not {}", log_safe(said.protocol),
                               protocol.name));
  }

  Destination out;
  if (tls == BackendTls::none && client.settings->proxy_require_encryption) {
    return failure(FailureType::internal_config,
                   "connection to the backend would not be encrypted "
                   "(proxy_require_encryption=yes, and neither ssl nor starttls is set)");
  }
  out.addresses = std::move(addresses).value();
  if (const Status read = read_tls(said, *client.settings, out); !read.ok()) return read.error();
  out.timeout = read_timeout(said, client.settings->login_proxy_timeout, remarks);
  out.down_after = kDefaultDownAfter;
  if (!said.down_after.empty()) {
    const auto value = read_interval(said.down_after);
    if (value) {
      out.down_after = *value;
    } else {
      remarks.push_back({log::Level::warning,
                         fmt::format("Ignoring invalid proxy_host_immediate_failure_after '{}'",
                                     log_safe(said.down_after))});
    }
  }
  if (!said.refresh.empty()) {
    const auto seconds = decimal(said.refresh, 0, 24 * 3600);
    if (seconds) {
      out.refresh = static_cast<unsigned>(*seconds);
    } else {
      const std::string shown = log_safe(said.refresh);
      remarks.push_back(
          {log::Level::error,
           fmt::format("BUG: Auth service returned invalid proxy_refresh value: {}", shown)});
    }
  }
  if (!said.source.empty()) {
    out.source = IpAddress::parse(said.source);
    if (!out.source) {
      remarks.push_back({log::Level::warning,
                         fmt::format("Ignoring invalid source_ip '{}'", log_safe(said.source))});
    }
  }
  fill_target(out, said, fields, client);
  if (const Status read = read_proxy_header(said, *client.settings, out); !read.ok()) {
    return read.error();
  }
  out.target.tls = tls;
  out.target.password = std::move(*fields.pass);
  return out;
}

LoopGuard::LoopGuard(const std::vector<config::SocketInfo>& listeners, std::vector<IpAddress> local)
    : local_(std::move(local)) {
  for (const config::SocketInfo& socket : listeners) {
    if (socket.kind != config::ListenerSettings::Kind::inet) continue;
    (socket.any_address ? wildcards_ : listeners_).push_back(socket.endpoint);
  }
}

bool LoopGuard::is_listener(const Endpoint& to) const noexcept {
  if (std::find(listeners_.begin(), listeners_.end(), to) != listeners_.end()) return true;
  const bool loopback =
      to.ip.is_v4() ? to.ip.bytes().front() == 127 : to.ip.is_v6() && to.ip.text() == "::1";
  const bool ours = loopback || std::find(local_.begin(), local_.end(), to.ip) != local_.end();
  if (!ours) return false;
  return std::any_of(wildcards_.begin(), wildcards_.end(), [&to](const Endpoint& any) {
    return any.port == to.port && any.ip.family() == to.ip.family();  // ours are IPV6_V6ONLY
  });
}

Status LoopGuard::check(Destination& destination, const ProxyClient& client) const {
  if (client.settings->proxy_allow_self) return Done{};
  std::erase_if(destination.addresses, [&](const BackendAddress& address) {
    const Endpoint& to = address.to;
    return is_listener(to) || to == client.local || to == client.real_local;
  });
  if (!destination.addresses.empty()) return Done{};
  return failure(FailureType::internal, "Proxying loops to itself");
}

std::vector<IpAddress> local_addresses() {
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) return {};
  const Handle<ifaddrs, freeifaddrs> owner(list);
  std::vector<IpAddress> out;
  for (const ifaddrs* one = list; one != nullptr; one = one->ifa_next) {
    if (one->ifa_addr == nullptr) continue;
    std::size_t size = 0;
    if (one->ifa_addr->sa_family == AF_INET) size = sizeof(sockaddr_in);
    if (one->ifa_addr->sa_family == AF_INET6) size = sizeof(sockaddr_in6);
    if (size == 0) continue;
    sockaddr_storage address{};
    std::memcpy(&address, one->ifa_addr, size);
    out.push_back(Endpoint::from_sockaddr(address).ip);
  }
  return out;
}

}  // namespace postern::login
