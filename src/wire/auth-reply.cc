#include "wire/auth-reply.h"

#include <algorithm>
#include <limits>

#include "lib/text.h"
#include "wire/tab-line.h"

namespace postern::wire {
namespace {

constexpr std::size_t kMaxMechName = 64;
constexpr std::size_t kCookieDigits = 32;

Error bad(std::string_view what) {
  return Error{1, std::string(what)};
}

std::optional<std::uint32_t> number(std::optional<std::string_view> text, std::uint64_t min) {
  if (!text) return std::nullopt;
  const auto n = decimal(*text, min, std::numeric_limits<std::uint32_t>::max());
  if (!n) return std::nullopt;
  return static_cast<std::uint32_t>(*n);
}

/// tab_unescape() into memory that is wiped.
WipingBuffer unescape_secret(std::string_view value) {
  WipingBuffer out;
  for (std::size_t i = 0; i < value.size(); ++i) {
    if (value[i] != '\001') {
      out.append(value[i]);
      continue;
    }
    if (++i == value.size()) break;
    switch (value[i]) {
      case '0':
        out.append('\0');
        break;
      case '1':
        out.append('\001');
        break;
      case 't':
        out.append('\t');
        break;
      case 'r':
        out.append('\r');
        break;
      case 'n':
        out.append('\n');
        break;
      default:
        out.append(value[i]);
    }
  }
  return out;
}

struct Field {
  std::string_view key, value;  // still escaped
  bool bare = false;
};
Field field_of(std::string_view text) {
  const std::size_t equals = text.find('=');
  if (equals == std::string_view::npos) return {text, {}, true};
  return {text.substr(0, equals), text.substr(equals + 1), false};
}

Result<AuthReply> parse_version(TabFields& fields) {
  const auto major = number(fields.next(), 0);
  const auto minor = number(fields.next(), 0);
  if (!major || !minor) return bad("broken VERSION");
  return AuthReply(AuthServerVersion{*major, *minor});
}

Result<AuthReply> parse_mech(TabFields& fields) {
  const std::string_view name = fields.next().value_or("");
  const bool printable =
      std::all_of(name.begin(), name.end(), [](char c) { return c > ' ' && c < 0x7f; });
  if (name.empty() || name.size() > kMaxMechName || !printable) return bad("broken MECH");
  AuthServerMech out;
  out.name = to_upper(name);
  while (const auto flag = fields.next()) {
    if (*flag == "plaintext") out.plaintext = true;
    if (*flag == "private") out.private_use = true;
    if (*flag == "anonymous") out.anonymous = true;
  }
  return AuthReply(std::move(out));
}

Result<AuthReply> parse_cookie(TabFields& fields) {
  const std::string_view text = fields.next().value_or("");
  const bool hex = std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= '0' && c <= '9') || (ascii_lower(c) >= 'a' && ascii_lower(c) <= 'f');
  });
  if (text.size() != kCookieDigits || !hex) return bad("broken COOKIE");
  return AuthReply(AuthServerCookie{Secret(text)});
}

/// One reply that cannot be used is not to cost the others their connection.
AuthReply unusable(std::uint32_t id, std::string_view why) {
  AuthReplyFail out;
  out.id = id;
  out.code = AuthReplyFail::Code::temp_fail;
  out.broken = why;
  return out;
}

Result<AuthReply> parse_continue(TabFields& fields) {
  const auto id = number(fields.next(), 1);
  const auto data = fields.next();
  // What goes to the client must not be able to end its line.
  if (!id) return bad("broken CONT");
  if (!data || !is_base64(*data)) return unusable(*id, "CONT that is not base64");
  return AuthReply(AuthReplyContinue{*id, *data});
}

Result<AuthReply> parse_ok(TabFields& fields) {
  const auto id = number(fields.next(), 1);
  if (!id) return bad("broken OK");
  AuthReplyOk out;
  out.id = *id;
  bool has_user = false;
  std::size_t count = 0;
  while (const auto text = fields.next()) {
    if (text->empty()) continue;
    if (++count > kMaxAuthReplyFields) return unusable(*id, "OK with too many fields");
    const Field field = field_of(*text);
    if (field.key == "user") {
      out.user = tab_unescape(field.value);
      has_user = !out.user.empty();
    } else if (field.key == "pass") {
      out.pass.emplace(unescape_secret(field.value));
    } else {
      if (field.key == "original_user") out.original_user = tab_unescape(field.value);
      if (field.key == "auth_user") out.auth_user = tab_unescape(field.value);
      out.fields.emplace_back(field.key, tab_unescape(field.value));
    }
  }
  if (!has_user) return unusable(*id, "OK without user");
  return AuthReply(std::move(out));
}

AuthReplyFail::Code code_of(std::string_view word) {
  using Code = AuthReplyFail::Code;
  if (word == "temp_fail") return Code::temp_fail;
  if (word == "authz_fail") return Code::authz_fail;
  if (word == "user_disabled") return Code::user_disabled;
  if (word == "pass_expired") return Code::pass_expired;
  if (word == "invalid_base64") return Code::invalid_base64;
  if (word == "auth_mech_invalid") return Code::mech_invalid;
  if (word == "auth_mech_ssl_required") return Code::mech_ssl_required;
  if (word == "anonymous_denied") return Code::anonymous_denied;
  return Code::none;
}

/// The bare words of Dovecot 2.2 and before.
AuthReplyFail::Code old_code_of(std::string_view word) {
  using Code = AuthReplyFail::Code;
  if (word == "temp") return Code::temp_fail;
  if (word == "authz") return Code::authz_fail;
  if (word == "user_disabled") return Code::user_disabled;
  if (word == "pass_expired") return Code::pass_expired;
  return Code::none;
}

Result<AuthReply> parse_fail(TabFields& fields) {
  const auto id = number(fields.next(), 1);
  if (!id) return bad("broken FAIL");
  AuthReplyFail out;
  out.id = *id;
  auto old_code = AuthReplyFail::Code::none;
  std::size_t count = 0;
  while (const auto text = fields.next()) {
    if (text->empty()) continue;
    if (++count > kMaxAuthReplyFields) return unusable(*id, "FAIL with too many fields");
    const Field field = field_of(*text);
    if (field.bare) {
      if (field.key == "nodelay") out.nodelay = true;
      const auto code = old_code_of(field.key);
      if (code != AuthReplyFail::Code::none) old_code = code;
    } else if (field.key == "user") {
      out.user = tab_unescape(field.value);
    } else if (field.key == "original_user") {
      out.original_user = tab_unescape(field.value);
    } else if (field.key == "auth_user") {
      out.auth_user = tab_unescape(field.value);
    } else if (field.key == "code") {
      out.code = code_of(field.value);
    } else if (field.key == "reason") {
      out.reason = tab_unescape(field.value);
    }
  }
  if (out.code == AuthReplyFail::Code::none) out.code = old_code;
  return AuthReply(std::move(out));
}

void add_endpoint(TabLine& line, std::string_view prefix, const Endpoint& local,
                  const Endpoint& remote, const Endpoint& not_local, const Endpoint& not_remote) {
  const std::string p(prefix);
  if (local.ip && local.ip != not_local.ip) line.key(p + "lip", local.ip.text());
  if (remote.ip && remote.ip != not_remote.ip) line.key(p + "rip", remote.ip.text());
  if (local.port != 0 && local.port != not_local.port) line.key(p + "lport", local.port);
  if (remote.port != 0 && remote.port != not_remote.port) line.key(p + "rport", remote.port);
}

}  // namespace

AuthReplyReader::Event AuthReplyReader::next(std::string_view& input) {
  if (std::exchange(delivered_, false)) pending_.clear();
  const std::size_t end = input.find('\n');
  const std::size_t n = std::min(end, input.size());
  if (pending_.size() + n > kMaxAuthReply) return Event::too_long;
  if (end == std::string_view::npos) {
    pending_.append(input);
    input = {};
    return Event::more;
  }
  if (pending_.empty()) {
    line_ = input.substr(0, n);
  } else {
    pending_.append(input.substr(0, n));
    line_ = pending_.view();
    delivered_ = true;
  }
  input.remove_prefix(n + 1);
  return Event::line;
}

void AuthReplyReader::reset() noexcept {
  pending_.clear();
  line_ = {};
  delivered_ = false;
}

std::optional<std::string_view> AuthReplyOk::field(std::string_view name) const noexcept {
  for (const auto& [key, value] : fields) {
    if (key == name) return value;
  }
  return std::nullopt;
}

Result<AuthReply> parse_auth_reply(std::string_view line) {
  TabFields fields(line);
  const std::string_view verb = fields.next().value_or("");
  if (verb == "OK") return parse_ok(fields);
  if (verb == "FAIL") return parse_fail(fields);
  if (verb == "CONT") return parse_continue(fields);
  if (verb == "VERSION") return parse_version(fields);
  if (verb == "MECH") return parse_mech(fields);
  if (verb == "COOKIE") return parse_cookie(fields);
  if (verb == "DONE") return AuthReply(AuthServerDone{});
  if (verb == "SPID") {
    const auto pid = number(fields.next(), 0);
    if (!pid) return bad("broken SPID");
    return AuthReply(AuthServerPid{*pid});
  }
  if (verb == "CUID") {
    const auto id = number(fields.next(), 0);
    if (!id) return bad("broken CUID");
    return AuthReply(AuthServerCuid{*id});
  }
  return AuthReply(AuthReplyUnknown{});
}

void append_auth_request(std::uint32_t id, std::string_view mech, const AuthRequestInfo& info,
                         const std::optional<Secret>& initial, WipingBuffer& out) {
  TabLine line(out, "AUTH");
  line.add(std::uint64_t{id}).add(mech).key("service", info.service);
  if (info.secured_tls) {
    line.key("secured", "tls");
  } else if (info.secured) {
    line.flag("secured");
  }
  if (info.valid_client_cert) {
    line.flag("valid-client-cert");
    if (!info.cert_username.empty()) line.key("cert_username", info.cert_username);
  }
  if (info.no_penalty) line.flag("no-penalty");
  if (info.final_resp_ok) line.flag("final-resp-ok");
  if (!info.session.empty()) line.key("session", info.session);
  add_endpoint(line, "", info.local, info.remote, {}, {});
  // After the claimed ones: each of those sets its real twin too (spec of the parameters).
  add_endpoint(line, "real_", info.real_local, info.real_remote, info.local, info.remote);
  if (!info.local_name.empty()) line.key("local_name", info.local_name);
  if (!info.client_id.empty()) line.key("client_id", info.client_id);
  if (!info.forward.empty()) {
    std::string list;
    for (const auto& [name, value] : info.forward) {
      if (!list.empty()) list += '\t';
      list += tab_escape(name) + '=' + tab_escape(value);
    }
    line.key("forward_fields", list);
  }
  if (initial) line.key("resp", initial->reveal());
  line.end();
}

void append_auth_continue(std::uint32_t id, std::string_view base64, WipingBuffer& out) {
  TabLine(out, "CONT").add(std::uint64_t{id}).add(base64).end();
}

void append_auth_cancel(std::uint32_t id, WipingBuffer& out) {
  TabLine(out, "CANCEL").add(std::uint64_t{id}).end();
}

void append_auth_hello(std::uint32_t pid, WipingBuffer& out) {
  TabLine(out, "VERSION").add(std::uint64_t{1}).add(std::uint64_t{2}).end();
  TabLine(out, "CPID").add(std::uint64_t{pid}).end();
}

}  // namespace postern::wire
