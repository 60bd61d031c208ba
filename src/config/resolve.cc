// From sections to services with every default filled in, and the checks between values.
#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/un.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "config/sections.h"
#include "config/service-defaults.h"
#include "config/session-limits.h"
#include "lib/text.h"

namespace postern::config {
namespace {

using Kind = Section::Kind;

constexpr std::uint64_t kLeastVsz = 1024UL * 1024;
constexpr std::size_t kLongestSocketPath = sizeof(sockaddr_un::sun_path) - 1;

/// "*", "::", "192.0.2.1" or "[2001:db8::1]"; nothing for anything else.
std::optional<IpAddress> listen_address(std::string_view text) {
  if (text == "*") return IpAddress::parse("0.0.0.0");
  if (text.starts_with('[') && text.ends_with(']')) text = text.substr(1, text.size() - 2);
  return IpAddress::parse(text);
}

/// Letters, digits, '-', '_' and '.', and not all digits (a mistyped address).
bool is_host_name(std::string_view text) {
  const auto fits = [](char c) {
    const char l = ascii_lower(c);
    return (l >= 'a' && l <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
  };
  return !text.empty() && std::all_of(text.begin(), text.end(), fits) &&
         text.find_first_not_of("0123456789.") != std::string_view::npos;
}

bool is_any(const IpAddress& ip) {
  return ip.bytes().find_first_not_of('\0') == std::string_view::npos;
}

/// Without "//" and "/./", so that equal paths look equal.
std::string tidy_path(std::string_view path) {
  std::string out = path.starts_with('/') ? "/" : "";
  for (const std::string_view part : words(path, "/")) {
    if (part == ".") continue;
    if (!out.empty() && out.back() != '/') out += '/';
    out += part;
  }
  return out;
}

template <class S>
void apply(const Section& section, S& settings) {
  for (const auto* entries : {&section.defaults, &section.given}) {
    for (const Entry& e : *entries) {
      static_cast<void>(assign(settings, e.row->name, e.value).ok());
    }
  }
}

class Resolver {
 public:
  Resolver(ConfigurationImpl& impl, Problems& problems) noexcept
      : impl_(impl), problems_(problems) {}

  void run() {
    impl_.master = impl_.global_as<MasterSettings>();
    check_paths();
    check_addresses(impl_.global(), "listen", impl_.master.listen);
    for (const Section& s : impl_.sections) {
      if (s.kind == Kind::service) add_service(s);
    }
    // Logins need the others, so they start last.
    std::stable_partition(impl_.services.begin(), impl_.services.end(),
                          [](const auto& service) { return service.type != ServiceType::login; });
    impl_.master_service.name = kMasterService;
    add_listeners(impl_.master_service);
    check_protocols();
    check_duplicates();
    check_client_limits();
    check_translation();
    check_source_addresses();
    check_mechanisms();
  }

 private:
  const MasterSettings& master() const noexcept { return impl_.master; }

  void check_absolute(std::string_view key, const std::string& path, std::string_view other) {
    if (path.starts_with('/') || (!other.empty() && (path == other || path.empty()))) return;
    problems_.error(impl_.global().where_of(key),
                    fmt::format("{}: {} is not an absolute path{}{}", key,
                                path.empty() ? "nothing" : "'" + log_safe_line(path, 200) + "'",
                                other.empty() ? "" : " nor ", other));
  }

  void check_paths() {
    check_absolute("base_dir", master().base_dir, {});
    check_absolute("libexec_dir", master().libexec_dir, {});
    check_absolute("log_path", master().log_path, "syslog");
    check_absolute("info_log_path", master().info_log_path, "syslog");
    check_absolute("debug_log_path", master().debug_log_path, "syslog");
    impl_.master.base_dir = tidy_path(master().base_dir);
    impl_.master.libexec_dir = tidy_path(master().libexec_dir);
  }

  void check_addresses(const Section& s, std::string_view key,
                       const std::vector<std::string>& addresses) {
    for (const std::string& text : addresses) {
      if (listen_address(text)) continue;
      problems_.error(s.where_of(key),
                      fmt::format("{}: '{}' is not an address (*, ::, 192.0.2.1 or 2001:db8::1; "
                                  "host names are not looked up)",
                                  key, log_safe_line(text, 80)));
    }
  }

  bool is_served(const std::string& protocol) const {
    const auto& list = master().protocols;
    return protocol.empty() || std::find(list.begin(), list.end(), protocol) != list.end();
  }

  /// A user or group, with the names of settings replaced by what they hold.
  std::string account(const Section& s, std::string_view key, std::string name) {
    if (name == "$default_internal_user") return master().default_internal_user;
    if (name == "$default_internal_group") return master().default_internal_group;
    if (name == "$default_login_user") return master().default_login_user;
    if (name.starts_with('$')) {
      problems_.error(s.where_of(key), fmt::format("{}: {} is not one of $default_internal_user, "
                                                   "$default_internal_group, $default_login_user",
                                                   key, log_safe_line(name, 80)));
    }
    return name;
  }

  void add_service(const Section& s) {
    ServiceSettings service;
    service.name = s.service;
    apply(s, service);
    if (!is_served(service.protocol)) return;
    if (service.executable.empty()) {
      if (s.builtin) problems_.error(s.where_of("executable"), "executable: names no program");
      return;  // of another service: told as an unknown one
    }
    resolve_paths(service);
    service.user = account(s, "user", std::move(service.user));
    service.group = account(s, "group", std::move(service.group));
    for (std::string& group : service.extra_groups) {
      group = account(s, "extra_groups", std::move(group));
    }
    resolve_limits(s, service);
    add_listeners(service);
    impl_.services.push_back(std::move(service));
  }

  void resolve_paths(ServiceSettings& service) const {
    if (!service.executable.starts_with('/')) {
      service.executable = master().libexec_dir + "/" + service.executable;
    }
    if (!service.chroot.empty() && !service.chroot.starts_with('/')) {
      service.chroot = tidy_path(master().base_dir + "/" + service.chroot);
    }
  }

  void resolve_limits(const Section& s, ServiceSettings& service) {
    if (service.type == ServiceType::worker && service.process_limit == 0) {
      service.process_limit = impl_.global_as<AuthSettings>().auth_worker_max_count;
    }
    resolve_sessions(s, service);
    if (service.process_limit == 0) service.process_limit = master().default_process_limit;
    if (service.client_limit == 0) service.client_limit = master().default_client_limit;
    if (service.service_count > 0) {
      service.client_limit = std::min(service.client_limit, service.service_count);
    }
    if (service.idle_kill.count() == 0) service.idle_kill = master().default_idle_kill;
    if (service.vsz_limit > 0 && service.vsz_limit < kLeastVsz) {
      const bool own = s.find_given("vsz_limit") != nullptr;
      problems_.error(own ? s.where_of("vsz_limit") : impl_.global().where_of("default_vsz_limit"),
                      fmt::format("service {}: vsz_limit is too low (at least 1 M, or 0 for none)",
                                  service.name));
    }
    const DefaultService* const known = default_service(service.name);
    if (known != nullptr && known->single && service.process_limit > 1) {
      problems_.error(
          s.where_of("process_limit"),
          fmt::format("service {}: process_limit must be 1: there can be only one", service.name));
    }
    if (service.process_min_avail > service.process_limit) {
      problems_.error(
          s.where_of("process_min_avail"),
          fmt::format("service {}: process_min_avail is higher than process_limit ({} > {})",
                      service.name, service.process_min_avail, service.process_limit));
    }
  }

  void resolve_sessions(const Section& s, ServiceSettings& service) {
    const bool own_memory = service.vsz_limit != kDefaultVszLimit;
    if (!own_memory) service.vsz_limit = master().default_vsz_limit;
    if (service.type != ServiceType::login) {
      if (service.max_sessions == 0) return;
      problems_.error(s.where_of("max_sessions"),
                      fmt::format("service {}: max_sessions is for login services", service.name));
      return;
    }
    if (service.max_sessions == 0) service.max_sessions = master().login_max_sessions;
    apply_max_sessions(service, host_facts(), own_memory);
    const std::uint64_t each = service.service_count == 0
                                   ? service.client_limit
                                   : std::min(service.client_limit, service.service_count);
    const std::uint64_t room = service.process_limit * each;
    if (room >= service.max_sessions) return;
    problems_.warning(
        s.where_of(s.find_given("process_limit") != nullptr ? "process_limit" : "client_limit"),
        fmt::format("service {}: process_limit and client_limit leave room for {} "
                    "clients, and max_sessions is {}",
                    service.name, room, service.max_sessions));
  }

  void add_listeners(ServiceSettings& service) {
    for (const Section& s : impl_.sections) {
      const bool inet = s.kind == Kind::inet_listener;
      if (s.service != service.name || (!inet && s.kind != Kind::unix_listener)) continue;
      ListenerSettings listener;
      listener.kind = inet ? ListenerSettings::Kind::inet : ListenerSettings::Kind::unix_socket;
      listener.name = s.name;
      apply(s, listener);
      if (inet ? inet_listener(service, s, listener) : unix_listener(s, listener)) {
        remember(s, listener);
        service.listeners.push_back(std::move(listener));
      }
    }
  }

  /// False if it is switched off.
  bool inet_listener(const ServiceSettings& service, const Section& s,
                     const ListenerSettings& listener) {
    if (s.find("port") == nullptr && !s.is_refused("port")) {
      problems_.error(s.where,
                      fmt::format("[{}] has no port (port = 0 switches it off)", s.head()));
    }
    check_addresses(s, "address", listener.address);
    if (listener.haproxy) check_haproxy(service, s);
    if (listener.port == 0) return false;
    return !(listener.ssl && impl_.global_as<LoginSettings>().ssl == Ssl::no);
  }

  /// Login processes read PROXY headers, from the hops they are told to trust.
  void check_haproxy(const ServiceSettings& service, const Section& s) {
    if (service.type != ServiceType::login) {
      problems_.error(s.where_of("haproxy"),
                      fmt::format("[{}]: haproxy = yes is for login services", s.head()));
      return;
    }
    constexpr std::string_view kKey = "haproxy_trusted_networks";
    const auto sets = [kKey](const Section& block) {
      const Entry* const e = block.kind == Kind::block ? block.find_given(kKey) : nullptr;
      return e != nullptr && !trim(e->value.view()).empty();
    };
    if (std::any_of(impl_.sections.begin(), impl_.sections.end(), sets)) return;
    problems_.warning(s.where_of("haproxy"),
                      fmt::format("[{}]: haproxy = yes, but {} is empty, so every connection is "
                                  "refused",
                                  s.head(), kKey));
  }

  bool unix_listener(const Section& s, ListenerSettings& listener) {
    if (listener.mode == 0) return false;
    listener.user = account(s, "user", std::move(listener.user));
    listener.group = account(s, "group", std::move(listener.group));
    if (listener.name.starts_with(master().base_dir + "/")) {
      problems_.warning(s.where, fmt::format("[{}]: the path is relative to base_dir; leave {} "
                                             "away",
                                             s.head(), master().base_dir));
    }
    const auto sockets = impl_.sockets_of(listener);
    if (sockets.front().path.size() > kLongestSocketPath) {
      problems_.error(s.where,
                      fmt::format("{} is too long for a socket (at most {} bytes)",
                                  log_safe_line(sockets.front().path, 200), kLongestSocketPath));
    }
    return true;
  }

  struct Open {
    SocketInfo socket;
    const Section* section;
  };

  void remember(const Section& s, const ListenerSettings& listener) {
    for (SocketInfo& socket : impl_.sockets_of(listener)) {
      open_.push_back({std::move(socket), &s});
    }
  }

  /// True if both cannot be listened on.
  static bool collide(const SocketInfo& a, const SocketInfo& b) {
    if (a.kind != b.kind) return false;
    if (a.kind == ListenerSettings::Kind::unix_socket) return a.path == b.path;
    if (a.endpoint == b.endpoint) return true;
    const bool same_port =
        a.endpoint.port == b.endpoint.port && a.endpoint.ip.family() == b.endpoint.ip.family();
    return same_port && (a.any_address || b.any_address) && !(a.reuse_port && b.reuse_port);
  }

  void check_duplicates() {
    for (std::size_t i = 0; i < open_.size(); i++) {
      for (std::size_t k = 0; k < i; k++) {
        if (!collide(open_[i].socket, open_[k].socket)) continue;
        const Open* later = &open_[i];
        const Open* earlier = &open_[k];
        // What the operator wrote is to be told, not what was there before.
        if (later->section->where.line == 0) std::swap(later, earlier);
        const std::string_view key =
            later->socket.kind == ListenerSettings::Kind::inet ? "port" : "mode";
        const bool same = later->socket.text() == earlier->socket.text();
        problems_.error(
            later->section->find_given(key) ? later->section->where_of(key) : later->section->where,
            fmt::format("duplicate listener: [{}] {} is also [{}]{}{}; change the port, address or "
                        "path of one, or switch it off",
                        later->section->head(), later->socket.text(), earlier->section->head(),
                        same ? "" : " " + earlier->socket.text(), place(earlier->section->where)));
        break;
      }
    }
  }

  static std::string place(const Where& where) {
    return where.line == 0 ? " (a default)" : fmt::format(" in {}:{}", where.file, where.line);
  }

  void check_protocols() {
    const auto& list = master().protocols;
    const bool none = std::find(list.begin(), list.end(), "none") != list.end();
    if (none && list.size() > 1) {
      problems_.error(impl_.global().where_of("protocols"),
                      "protocols: 'none' cannot stand beside others");
    }
    for (const std::string& protocol : list) {
      const bool found = std::any_of(
          impl_.services.begin(), impl_.services.end(), [&protocol](const ServiceSettings& s) {
            return s.type == ServiceType::login && s.protocol == protocol;
          });
      if (found || protocol == "none") continue;
      problems_.error(impl_.global().where_of("protocols"),
                      fmt::format("protocols: no service of type login has protocol = {0} "
                                  "([service {0}-login])",
                                  protocol));
    }
  }

  /// Dovecot's warnings about what busy login services need of auth and anvil.
  void check_client_limits() {
    unsigned auth_need = 0;
    unsigned anvil_need = 2;
    std::string auth_count;
    std::string anvil_count = "2";
    const auto count = [](unsigned& need, std::string& text, const ServiceSettings& s) {
      need += s.process_limit;
      if (!text.empty()) text += " + ";
      text += fmt::format("service {} {{ process_limit={} }}", s.name, s.process_limit);
    };
    for (const ServiceSettings& s : impl_.services) {
      const bool login = s.type == ServiceType::login;
      if (!s.protocol.empty() && (login || s.service_count != 1)) count(auth_need, auth_count, s);
      if (login || s.name == "auth") count(anvil_need, anvil_count, s);
    }
    warn_client_limit("auth", auth_need,
                      "Counted for protocol services with service_count != 1: " + auth_count);
    warn_client_limit("anvil", anvil_need, "Counted with: " + anvil_count);
  }

  /// Where the operator has said how many sessions there will be, auth and anvil follow.
  void warn_client_limit(std::string_view name, unsigned need, const std::string& counted) {
    const bool derived = std::any_of(impl_.services.begin(), impl_.services.end(),
                                     [](const auto& s) { return s.max_sessions > 0; });
    for (ServiceSettings& s : impl_.services) {
      if (s.name != name || s.client_limit >= need) continue;
      const Section* const section = impl_.find(Kind::service, name, {});
      const bool own = section->find_given("client_limit") != nullptr;
      if (derived && !own) {
        s.client_limit = need;
        continue;
      }
      problems_.warning(
          own ? section->where_of("client_limit") : impl_.global().where_of("default_client_limit"),
          fmt::format("service {} {{ client_limit={} }} is lower than required under "
                      "max. load ({}). {}",
                      name, s.client_limit, need, counted));
    }
  }

  void check_translation() {
    constexpr std::string_view kKey = "auth_username_translation";
    for (const Section& s : impl_.sections) {
      const Entry* const e = s.kind == Kind::block ? s.find_given(kKey) : nullptr;
      if (e == nullptr || e->value.view().size() % 2 == 0) continue;
      problems_.error(e->where, fmt::format("{}: the bytes must come in pairs", kKey));
    }
  }

  /// A word of login_source_ips: an address or a name; the first may begin with '?'.
  void check_source_addresses() {
    constexpr std::string_view kKey = "login_source_ips";
    for (const Section& s : impl_.sections) {
      const Entry* const e = s.kind == Kind::block ? s.find_given(kKey) : nullptr;
      if (e == nullptr) continue;
      bool first = true;
      for (std::string_view word : words(e->value.view(), " \t,")) {
        if (first && word.starts_with('?')) word.remove_prefix(1);
        const bool alone = first && word.empty();  // "? 192.0.2.1"
        first = false;
        if (alone || IpAddress::parse(word) || is_host_name(word)) continue;
        problems_.error(e->where, fmt::format("{}: '{}' is not an address or host name", kKey,
                                              log_safe_line(word, 80)));
      }
    }
  }

  void check_mechanisms() {
    const Entry* const e = impl_.global().find_given("auth_mechanisms");
    if (e == nullptr || !trim(e->value.view()).empty()) return;
    problems_.error(e->where, "auth_mechanisms: names none, so nobody could log in");
  }

  ConfigurationImpl& impl_;
  Problems& problems_;
  std::vector<Open> open_;
};

}  // namespace

std::vector<SocketInfo> ConfigurationImpl::sockets_of(const ListenerSettings& listener) const {
  std::vector<SocketInfo> out;
  if (listener.kind == ListenerSettings::Kind::unix_socket) {
    SocketInfo& s = out.emplace_back();
    s.kind = listener.kind;
    s.name = listener.name;
    s.path = tidy_path(listener.name.starts_with('/') ? listener.name
                                                      : master.base_dir + "/" + listener.name);
    s.mode = listener.mode;
    s.user = listener.user;
    s.group = listener.group;
    return out;
  }
  for (const std::string& text : listener.address.empty() ? master.listen : listener.address) {
    const auto ip = listen_address(text);
    if (!ip) continue;  // told by the resolver
    SocketInfo& s = out.emplace_back();
    s.kind = listener.kind;
    s.name = listener.name;
    s.ssl = listener.ssl;
    s.haproxy = listener.haproxy;
    s.reuse_port = listener.reuse_port;
    s.endpoint = {*ip, static_cast<std::uint16_t>(listener.port)};
    s.any_address = is_any(*ip);
  }
  return out;
}

ConfigurationImpl::Role ConfigurationImpl::role_of(const ServiceSettings& service) noexcept {
  switch (service.type) {
    case ServiceType::log:
      return Role::log;
    case ServiceType::anvil:
      return Role::anvil;
    case ServiceType::login:
      return Role::login;
    case ServiceType::worker:  // is told with each request what it needs
    case ServiceType::none:
    case ServiceType::startup:
      break;
  }
  return service.name == "auth" ? Role::auth : Role::other;
}

void resolve(ConfigurationImpl& impl, Problems& problems) {
  Resolver(impl, problems).run();
}

void check_descriptors(const ConfigurationImpl& impl, Problems& problems) {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_max == RLIM_INFINITY) return;
  const ServiceSettings* worst = nullptr;
  std::uint64_t need = 0;
  for (const ServiceSettings& s : impl.services) {
    // A session that is proxied has two sockets.
    const std::uint64_t n = std::uint64_t{s.client_limit} * (s.type == ServiceType::login ? 2 : 1);
    if (n <= need) continue;
    need = n;
    worst = &s;
  }
  if (worst == nullptr || need <= limit.rlim_max) return;
  const Section* const section = impl.find(Section::Kind::service, worst->name, {});
  problems.warning(section->find_given("client_limit") != nullptr
                       ? section->where_of("client_limit")
                       : impl.global().where_of("default_client_limit"),
                   fmt::format("fd limit (ulimit -n) is lower than required under max. load "
                               "({} < {}), because of service {} {{ client_limit={} }}",
                               limit.rlim_max, need, worst->name, worst->client_limit));
}

}  // namespace postern::config
