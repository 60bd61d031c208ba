// After the passdbs said yes: delay_until, and where the session is to be carried.
#include <algorithm>

#include "auth/host-choice.h"
#include "auth/request.h"
#include "lib/check.h"
#include "lib/text.h"

namespace postern::auth {
namespace {

constexpr Milliseconds kResolveTimeout{10'000};
constexpr Milliseconds kSlowResolve{500};
constexpr std::uint64_t kMaxProxyTimeout = 3600;  // seconds

/// "30", or with a unit: "30 secs", "500 ms". In milliseconds.
std::optional<std::uint64_t> proxy_timeout(std::string_view text) {
  if (const auto seconds = decimal(text, 0, kMaxProxyTimeout)) return *seconds * 1000;
  const auto with_unit = config::kinds::time::parse(config::Value(text), "");
  if (!with_unit.ok() || with_unit.value() > std::chrono::seconds(kMaxProxyTimeout))
    return std::nullopt;
  return static_cast<std::uint64_t>(with_unit.value().count());
}

}  // namespace

void Request::after_walk() {
  if (!state_.delay_until) return finish_proxy();
  const std::int64_t wait = *state_.delay_until - context_.environment.unix_time();
  state_.delay_until.reset();
  if (wait <= 0 || mode_ == Mode::lookup) return finish_proxy();
  waiting_ = context_.environment.after(std::chrono::seconds(wait), [this] {
    waiting_ = 0;
    finish_proxy();
  });
}

void Request::finish_proxy() {
  FieldList& fields = state_.fields;
  if (!resolve_proxy_ || (!fields.has("proxy") && !fields.has("proxy_maybe")))
    return done(PassdbResult::ok);
  fields.remove("proxy_hosts");  // ours to say
  if (fields.has("hostip") && !IpAddress::parse(fields.value("hostip"))) {
    log_error("auth", "Invalid hostip in passdb: " + log_safe(fields.value("hostip")));
    remove_proxy_fields();
    return done(mode_ == Mode::lookup ? PassdbResult::internal : PassdbResult::mismatch);
  }
  if (!check_proxy_fields()) {
    remove_proxy_fields();
    return done(PassdbResult::internal);
  }
  if (fields.value("host").empty()) {
    // For whoever decides the destination instead of us.
    if (properties_.lip) fields.set("lip", properties_.lip.text());
    if (properties_.lport != 0) fields.set("lport", std::to_string(properties_.lport));
    if (fields.has("proxy_maybe")) {
      fields.remove("proxy_maybe");
      fields.set(Field("proxy"));
    }
    return done(PassdbResult::ok);
  }
  find_hosts();
}

/// Which hosts, in which order; then their addresses.
void Request::find_hosts() {
  const config::AuthSettings& settings = *context_.settings.settings;
  auto list = wire::parse_host_list(state_.fields.value("host"));
  POSTERN_CHECK(list.ok());  // check_proxy_fields() has read it
  search_ = std::make_unique<HostSearch>();
  search_->hosts = std::move(list).value();
  if (settings.proxy_balance == config::ProxyBalance::hash) order_hosts(search_->hosts, user_);
  // The others might be given what is not theirs: one mailbox opened at two backends may break.
  if (!settings.proxy_failover) search_->hosts.resize(1);
  search_->addresses.resize(search_->hosts.size());
  search_->waiting.resize(search_->hosts.size());
  resolve_hosts();
}

void Request::resolve_hosts() {
  HostSearch& search = *search_;
  Milliseconds timeout = kResolveTimeout;
  if (const auto given = proxy_timeout(state_.fields.value("proxy_timeout")); given && *given > 0) {
    timeout = Milliseconds(static_cast<std::int64_t>(*given));
  }
  search.began = context_.environment.now();
  for (std::size_t i = 0; i < search.hosts.size(); i++) {
    const wire::HostSpec& host = search.hosts[i];
    if (host.ip) {
      search.addresses[i] = {*host.ip};
    } else if (const auto ip = IpAddress::parse(state_.fields.value("hostip"))) {
      search.addresses[i] = {*ip};
    } else {
      search.open++;
      search.waiting[i] = context_.environment.resolve(
          host.name, timeout, [this, i](Result<std::vector<IpAddress>> answer) {
            search_->waiting[i] = 0;
            on_resolved(i, std::move(answer));
          });
    }
  }
  if (search.open == 0) hosts_known();
}

/// What a login process would otherwise have to refuse after it had said yes to the client.
bool Request::check_proxy_fields() {
  const FieldList& fields = state_.fields;
  const auto bad = [this](std::string_view what) {
    log_error("auth", "Invalid " + std::string(what) +
                          " in passdb: " + log_safe(state_.fields.value(what)));
    return false;
  };
  if (!fields.value("host").empty()) {
    const auto hosts = wire::parse_host_list(fields.value("host"));
    if (!hosts.ok()) return bad("host");
    // One address cannot be that of several hosts.
    if (hosts.value().size() > 1 && fields.has("hostip")) return bad("hostip");
  }
  if (fields.has("port") && !decimal(fields.value("port"), 1, 65535)) return bad("port");
  if (fields.has("source_ip") && !fields.value("source_ip").empty() &&
      !IpAddress::parse(fields.value("source_ip"))) {
    return bad("source_ip");
  }
  if (fields.has("proxy_timeout") && !proxy_timeout(fields.value("proxy_timeout")))
    return bad("proxy_timeout");
  return true;
}

void Request::on_resolved(std::size_t index, Result<std::vector<IpAddress>> answer) {
  const auto took =
      std::chrono::duration_cast<Milliseconds>(context_.environment.now() - search_->began);
  const std::string host = log_safe(search_->hosts[index].name);
  if (!answer.ok() || answer.value().empty()) {
    std::string why = answer.ok() ? "no addresses" : answer.error().text;
    // The resolver says the name as well.
    if (const std::size_t at = why.find("failed: "); at != std::string::npos) why.erase(0, at + 8);
    log_error("auth", "DNS lookup for " + host + " failed: " + why);
  } else {
    if (took > kSlowResolve) {
      context_.environment.log(log::Level::warning,
                               fmt::format("DNS lookup for {} took {}.{:03} s", host,
                                           took.count() / 1000, took.count() % 1000));
    }
    std::vector<IpAddress>& addresses = search_->addresses[index];
    addresses = std::move(answer).value();
    if (context_.settings.settings->proxy_balance == config::ProxyBalance::hash) {
      order_addresses(addresses, user_);
    } else {
      const auto pick = context_.environment.random(static_cast<std::uint32_t>(addresses.size()));
      std::rotate(addresses.begin(), addresses.begin() + pick, addresses.end());
    }
  }
  if (--search_->open == 0) hosts_known();
}

/// Every name has its addresses, or has failed, which has been told.
void Request::hosts_known() {
  HostSearch& search = *search_;
  for (std::size_t i = search.hosts.size(); i-- > 0;) {
    if (!search.addresses[i].empty()) continue;
    search.hosts.erase(search.hosts.begin() + static_cast<std::ptrdiff_t>(i));
    search.addresses.erase(search.addresses.begin() + static_cast<std::ptrdiff_t>(i));
  }
  if (search.hosts.empty()) {
    remove_proxy_fields();
    return done(PassdbResult::internal);
  }
  FieldList& fields = state_.fields;
  if (fields.has("proxy_maybe")) {
    const bool always = fields.has("proxy_always");
    // The preferred one decides. Were another one taken for ourselves, a user would be let in at
    // every host of a list that is the same everywhere.
    if (is_self(0)) {
      remove_proxy_fields();
      fields.remove("hostip");
      if (always) fields.set(Field("proxy"));
      return done(PassdbResult::ok);
    }
    for (std::size_t i = search.hosts.size(); i-- > 1;) {
      if (!is_self(i)) continue;
      search.hosts.erase(search.hosts.begin() + static_cast<std::ptrdiff_t>(i));
      search.addresses.erase(search.addresses.begin() + static_cast<std::ptrdiff_t>(i));
    }
  }
  set_hosts();
  if (fields.has("proxy_maybe")) {
    fields.remove("proxy_maybe");
    fields.set(Field("proxy"));
  }
  done(PassdbResult::ok);
}

/// Is that host the one the client is connected to?
bool Request::is_self(std::size_t index) const {
  const FieldList& fields = state_.fields;
  const auto& own = context_.settings.settings->auth_proxy_self;
  const bool ours = std::ranges::any_of(search_->addresses[index], [&](const IpAddress& ip) {
    return (properties_.real_lip && ip == properties_.real_lip) || any_contains(own, ip);
  });
  if (const std::uint16_t port = search_->hosts[index].port; port != 0) {
    return ours && port == properties_.lport;
  }
  return ours && (!fields.has("port") || fields.value("port") == std::to_string(properties_.lport));
}

/// `host`, `hostip` and `port` are the first's, which is all that other programs' login processes
/// know of; ours are told the rest.
void Request::set_hosts() {
  FieldList& fields = state_.fields;
  const auto common = decimal(fields.value("port"), 1, 65535);
  std::vector<wire::ProxyHost> hosts;
  std::size_t room = wire::kMaxProxyAddresses;
  for (std::size_t i = 0; i < search_->hosts.size() && room > 0; i++) {
    wire::HostSpec& host = search_->hosts[i];
    std::vector<IpAddress>& addresses = search_->addresses[i];
    // Something is left for the others.
    const std::size_t most = room - std::min(room - 1, search_->hosts.size() - i - 1);
    if (addresses.size() > most) addresses.resize(most);
    room -= addresses.size();
    const std::uint16_t port =
        host.port != 0 ? host.port : static_cast<std::uint16_t>(common.value_or(0));
    hosts.push_back({std::move(host.name), port, std::move(addresses)});
  }
  const wire::ProxyHost& first = hosts.front();
  if (fields.value("host") != first.name) fields.set("host", first.name);
  if (!fields.has("hostip") && !search_->hosts.front().ip) {
    fields.set("hostip", first.addresses.front().text());
  }
  if (search_->hosts.front().port != 0) fields.set("port", std::to_string(first.port));
  const bool several = hosts.size() > 1 || first.addresses.size() > 1;
  if (several && mode_ == Mode::verify) fields.set("proxy_hosts", wire::proxy_hosts_text(hosts));
  search_.reset();
}

void Request::remove_proxy_fields() noexcept {
  for (const std::string_view name :
       {"proxy", "proxy_maybe", "proxy_always", "host", "port", "destuser"}) {
    state_.fields.remove(name);
  }
}

}  // namespace postern::auth
