// After the passdbs said yes: delay_until, and where the session is to be carried.
#include <algorithm>
#include <array>

#include "auth/request.h"
#include "lib/text.h"

namespace postern::auth {
namespace {

constexpr Milliseconds kResolveTimeout{10'000};
constexpr Milliseconds kSlowResolve{500};
constexpr std::uint64_t kMaxProxyTimeout = 3600;  // seconds
constexpr std::size_t kMaxHostIps = 16;           // addresses of one name that are passed on

bool is_host_name(std::string_view name) noexcept {
  return !name.empty() && name.size() <= 253 && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '-' || c == '_';
  });
}

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
  if (fields.has("hostip") && !IpAddress::parse(fields.value("hostip"))) {
    log_error("auth", "Invalid hostip in passdb: " + log_safe(fields.value("hostip")));
    remove_proxy_fields();
    return done(mode_ == Mode::lookup ? PassdbResult::internal : PassdbResult::mismatch);
  }
  if (!check_proxy_fields()) {
    remove_proxy_fields();
    return done(PassdbResult::internal);
  }
  const std::string host(fields.value("host"));
  if (host.empty()) {
    // For whoever decides the destination instead of us.
    if (properties_.lip) fields.set("lip", properties_.lip.text());
    if (properties_.lport != 0) fields.set("lport", std::to_string(properties_.lport));
    if (fields.has("proxy_maybe")) {
      fields.remove("proxy_maybe");
      fields.set(Field("proxy"));
    }
    return done(PassdbResult::ok);
  }
  if (const auto ip = IpAddress::parse(host)) return decide_self({*ip});
  if (const auto ip = IpAddress::parse(fields.value("hostip"))) return decide_self({*ip});

  Milliseconds timeout = kResolveTimeout;
  if (const auto given = proxy_timeout(fields.value("proxy_timeout")); given && *given > 0) {
    timeout = Milliseconds(static_cast<std::int64_t>(*given));
  }
  resolve_began_ = context_.environment.now();
  waiting_ =
      context_.environment.resolve(host, timeout, [this](Result<std::vector<IpAddress>> answer) {
        waiting_ = 0;
        on_resolved(std::move(answer));
      });
}

/// What a login process would otherwise have to refuse after it had said yes to the client.
bool Request::check_proxy_fields() {
  const FieldList& fields = state_.fields;
  const auto bad = [this](std::string_view what) {
    log_error("auth", "Invalid " + std::string(what) +
                          " in passdb: " + log_safe(state_.fields.value(what)));
    return false;
  };
  if (fields.has("host") && !fields.value("host").empty() &&
      !IpAddress::parse(fields.value("host")) && !is_host_name(fields.value("host"))) {
    return bad("host");
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

void Request::on_resolved(Result<std::vector<IpAddress>> answer) {
  const auto took =
      std::chrono::duration_cast<Milliseconds>(context_.environment.now() - resolve_began_);
  const std::string host = log_safe(state_.fields.value("host"));
  if (!answer.ok() || answer.value().empty()) {
    std::string why = answer.ok() ? "no addresses" : answer.error().text;
    // The resolver says the name as well.
    if (const std::size_t at = why.find("failed: "); at != std::string::npos) why.erase(0, at + 8);
    log_error("auth", "DNS lookup for " + host + " failed: " + why);
    remove_proxy_fields();
    return done(PassdbResult::internal);
  }
  if (took > kSlowResolve) {
    context_.environment.log(log::Level::warning,
                             fmt::format("DNS lookup for {} took {}.{:03} s", host,
                                         took.count() / 1000, took.count() % 1000));
  }
  std::vector<IpAddress>& addresses = answer.value();
  const auto pick = context_.environment.random(static_cast<std::uint32_t>(addresses.size()));
  std::rotate(addresses.begin(), addresses.begin() + pick, addresses.end());
  state_.fields.set("hostip", addresses.front().text());
  // The others are for our own login processes: one that cannot be reached is not the end.
  if (addresses.size() > 1 && mode_ == Mode::verify && !state_.fields.has("hostips")) {
    std::string list;
    for (std::size_t i = 0; i < std::min(addresses.size(), kMaxHostIps); i++) {
      list += (i > 0 ? "," : "") + addresses[i].text();
    }
    state_.fields.set("hostips", list);
  }
  decide_self(addresses);
}

void Request::decide_self(const std::vector<IpAddress>& addresses) {
  FieldList& fields = state_.fields;
  if (!fields.has("proxy_maybe")) return done(PassdbResult::ok);
  const auto& own = context_.settings.settings->auth_proxy_self;
  const bool is_self = std::ranges::any_of(addresses, [&](const IpAddress& ip) {
    return (properties_.real_lip && ip == properties_.real_lip) || any_contains(own, ip);
  });
  const bool same_port =
      !fields.has("port") || fields.value("port") == std::to_string(properties_.lport);
  const bool always = fields.has("proxy_always");
  if (is_self && same_port) {
    remove_proxy_fields();
    fields.remove("hostip");
    fields.remove("hostips");
    if (always) fields.set(Field("proxy"));
  } else {
    fields.remove("proxy_maybe");
    fields.set(Field("proxy"));
  }
  done(PassdbResult::ok);
}

void Request::remove_proxy_fields() noexcept {
  for (const std::string_view name :
       {"proxy", "proxy_maybe", "proxy_always", "host", "port", "destuser"}) {
    state_.fields.remove(name);
  }
}

}  // namespace postern::auth
