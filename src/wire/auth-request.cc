#include "wire/auth-request.h"

#include <algorithm>
#include <limits>

#include "lib/text.h"
#include "wire/tab-line.h"

namespace postern::wire {
namespace {

Error line_error(AuthLineError code, const char* text) {
  return {static_cast<int>(code), text};
}

bool is_name_char(char c) noexcept {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '.' || c == '-';
}

void set_address(std::string_view value, IpAddress& claimed, IpAddress* real) {
  const auto ip = IpAddress::parse(value);
  if (!ip) return;
  claimed = *ip;
  if (real != nullptr && !*real) *real = *ip;
}

void set_port(std::string_view value, std::uint16_t& claimed, std::uint16_t* real) {
  const auto port = decimal(value, 0, 65535);
  if (!port) return;
  claimed = static_cast<std::uint16_t>(*port);
  if (real != nullptr && *real == 0) *real = claimed;
}

void add_forward_fields(std::string_view escaped, AuthProperties& out) {
  const std::string list = tab_unescape(escaped);
  TabFields fields(list);
  while (const auto field = fields.next()) {
    if (out.forward_fields.size() >= kMaxForwardFields) return;
    const std::size_t equals = std::min(field->find('='), field->size());
    const std::string_view name = field->substr(0, equals);
    if (name.empty() || name.size() > kMaxFieldName || !std::ranges::all_of(name, is_name_char))
      continue;
    std::optional<std::string> value;
    if (equals < field->size()) value = tab_unescape(field->substr(equals + 1));
    out.forward_fields.emplace_back("forward_" + std::string(name), std::move(value));
  }
}

/// One parameter of AUTH, USER, PASS or LIST. Keys nobody knows are skipped.
void set_property(std::string_view key, std::string_view escaped, AuthProperties& p) {
  if (key == "service")
    p.service = tab_unescape(escaped);
  else if (key == "lip")
    set_address(escaped, p.lip, &p.real_lip);
  else if (key == "rip")
    set_address(escaped, p.rip, &p.real_rip);
  else if (key == "lport")
    set_port(escaped, p.lport, &p.real_lport);
  else if (key == "rport")
    set_port(escaped, p.rport, &p.real_rport);
  else if (key == "real_lip")
    set_address(escaped, p.real_lip, nullptr);
  else if (key == "real_rip")
    set_address(escaped, p.real_rip, nullptr);
  else if (key == "real_lport")
    set_port(escaped, p.real_lport, nullptr);
  else if (key == "real_rport")
    set_port(escaped, p.real_rport, nullptr);
  else if (key == "session")
    p.session = tab_unescape(escaped);
  else if (key == "local_name")
    p.local_name = tab_unescape(escaped);
  else if (key == "client_id")
    p.client_id = tab_unescape(escaped);
  else if (key == "secured")
    p.secured = true, p.secured_tls = escaped == "tls";
  else if (key == "valid-client-cert")
    p.valid_client_cert = true;
  else if (key == "cert_username")
    p.cert_username = tab_unescape(escaped);
  else if (key == "no-penalty")
    p.no_penalty = true;
  else if (key == "final-resp-ok")
    p.final_resp_ok = true;
  else if (key == "debug")
    p.debug = true;
  else if (key == "forward_fields")
    add_forward_fields(escaped, p);
}

std::pair<std::string_view, std::string_view> key_value(std::string_view field) noexcept {
  const std::size_t equals = std::min(field.find('='), field.size());
  return {field.substr(0, equals), field.substr(std::min(field.size(), equals + 1))};
}

}  // namespace

bool is_field_name(std::string_view name) noexcept {
  return !name.empty() && name.size() <= kMaxFieldName &&
         std::ranges::all_of(name, [](char c) { return is_name_char(c) || c == ':'; });
}

std::optional<AuthVersion> parse_auth_version(std::string_view args) noexcept {
  TabFields fields(args);
  const auto major = fields.next();
  const auto minor = fields.next();
  if (!major || !minor || fields.next()) return std::nullopt;
  constexpr std::uint64_t kMost = std::numeric_limits<std::uint32_t>::max();
  const auto a = decimal(*major, 0, kMost);
  const auto b = decimal(*minor, 0, kMost);
  if (!a || !b) return std::nullopt;
  return AuthVersion{static_cast<unsigned>(*a), static_cast<unsigned>(*b)};
}

std::optional<std::uint32_t> parse_auth_id(std::string_view text) noexcept {
  const auto id = decimal(text, 1, std::numeric_limits<std::uint32_t>::max());
  if (!id) return std::nullopt;
  return static_cast<std::uint32_t>(*id);
}

Result<AuthCommand> parse_auth_command(std::string_view args) {
  AuthCommand out;
  TabFields fields(args);
  const auto id = parse_auth_id(fields.next().value_or(""));
  const auto mech = fields.next();
  if (!id || !mech || mech->empty())
    return line_error(AuthLineError::broken, "broken AUTH request");
  out.id = *id;
  out.mech = to_upper(*mech);
  while (const auto field = fields.next()) {
    if (out.has_resp) return line_error(AuthLineError::after_resp, "AUTH parameters after 'resp'");
    const auto [key, value] = key_value(*field);
    if (key == "resp" && field->size() > key.size()) {
      out.has_resp = true;
      out.resp = value;
      continue;
    }
    set_property(key, value, out.properties);
  }
  if (out.properties.service.empty())
    return line_error(AuthLineError::no_service, "no service in request");
  return out;
}

std::optional<AuthContinue> parse_auth_continue(std::string_view args) noexcept {
  const std::size_t tab = args.find('\t');
  if (tab == std::string_view::npos) return std::nullopt;
  const auto id = parse_auth_id(args.substr(0, tab));
  if (!id) return std::nullopt;
  return AuthContinue{*id, args.substr(tab + 1)};
}

Result<MasterLookup> parse_master_lookup(std::string_view args, bool has_user) {
  MasterLookup out;
  TabFields fields(args);
  const auto id = parse_auth_id(fields.next().value_or(""));
  if (!id) return line_error(AuthLineError::broken, "broken request");
  out.id = *id;
  if (has_user) {
    const auto user = fields.next();
    if (!user) return line_error(AuthLineError::broken, "broken request");
    out.user = tab_unescape(*user);
  }
  while (const auto field = fields.next()) {
    const auto [key, value] = key_value(*field);
    if (key == "user" && !has_user)
      out.user = tab_unescape(value);
    else
      set_property(key, value, out.properties);
  }
  if (out.properties.service.empty())
    return line_error(AuthLineError::no_service, "request without service");
  return out;
}

std::optional<MasterRequest> parse_master_request(std::string_view args) {
  MasterRequest out;
  TabFields fields(args);
  const auto id = parse_auth_id(fields.next().value_or(""));
  const auto pid = parse_auth_id(fields.next().value_or(""));
  const auto client_id = parse_auth_id(fields.next().value_or(""));
  const auto cookie = fields.next();
  if (!id || !pid || !client_id || !cookie) return std::nullopt;
  out.id = *id;
  out.client_pid = *pid;
  out.client_id = *client_id;
  out.cookie = std::string(*cookie);
  while (const auto field = fields.next()) {
    const auto [key, value] = key_value(*field);
    if (key == "session_pid") {
      out.session_pid = parse_auth_id(value);
      if (!out.session_pid) return std::nullopt;
    } else if (key == "request_auth_token") {
      out.request_auth_token = true;
    }
  }
  return out;
}

}  // namespace postern::wire
