#include "pop3-login/client-xclient.h"

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>

#include "lib/text.h"
#include "wire/tab-line.h"

namespace postern::pop3_login {
namespace {

Error bad(std::string_view key) {
  return {EINVAL, "Invalid " + std::string(key)};
}

/// It stands in log lines and goes to other hosts as it is.
bool is_session(std::string_view text) {
  return !text.empty() && text.size() <= kMaxSession &&
         std::all_of(text.begin(), text.end(), [](char c) {
           return static_cast<unsigned char>(c) > ' ' && static_cast<unsigned char>(c) < 0x7f &&
                  c != '"' && c != '\\' && c != '<' && c != '>';
         });
}

/// A host's name, or a field's.
bool is_name(std::string_view text, std::size_t most) {
  return !text.empty() && text.size() <= most && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= '0' && c <= '9') || (ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z') || c == '-' ||
           c == '.' || c == '_';
  });
}

bool take_ip(std::string_view value, std::optional<IpAddress>& out) {
  out = IpAddress::parse(value);
  return out.has_value();
}

bool take_port(std::string_view value, std::optional<std::uint16_t>& out) {
  const auto port = decimal(value, 1, std::numeric_limits<std::uint16_t>::max());
  if (port) out = static_cast<std::uint16_t>(*port);
  return port.has_value();
}

bool take_ttl(std::string_view value, std::optional<unsigned>& out) {
  const auto ttl = decimal(value, 0, std::numeric_limits<unsigned>::max());
  if (ttl) out = static_cast<unsigned>(*ttl);
  return ttl.has_value();
}

/// Base64 of tab-joined, tab-escaped `name=value`.
bool take_forward(std::string_view value, login::Forwarded& out) {
  const auto decoded = base64_decode(value);
  if (!decoded || decoded->empty() || decoded->view().find('\0') != std::string_view::npos) {
    return false;
  }
  out.fields.clear();
  for (const std::string_view escaped : wire::split_tabs(decoded->view())) {
    const std::string field = wire::tab_unescape(escaped);
    const std::size_t equals = field.find('=');
    if (equals == std::string::npos || out.fields.size() >= kMaxForwardFields) continue;
    std::string name = field.substr(0, equals);
    if (!is_name(name, kMaxForwardName)) continue;
    out.fields.emplace_back(std::move(name), field.substr(equals + 1));
  }
  return true;
}

/// False: the value of this key is wrong.
bool take(std::string_view key, std::string_view value, login::Forwarded& out) {
  constexpr std::size_t kMaxHost = 253;
  if (same_text(key, "ADDR")) return take_ip(value, out.client_ip);
  if (same_text(key, "PORT")) return take_port(value, out.client_port);
  if (same_text(key, "DESTADDR")) return take_ip(value, out.local_ip);
  if (same_text(key, "DESTPORT")) return take_port(value, out.local_port);
  if (same_text(key, "TTL")) return take_ttl(value, out.ttl);
  if (same_text(key, "FORWARD")) return take_forward(value, out);
  if (same_text(key, "SESSION")) {
    if (is_session(value)) out.session = std::string(value);
  } else if (same_text(key, "DESTNAME")) {
    if (is_name(value, kMaxHost)) out.local_name = to_lower(value);
  } else if (same_text(key, "CLIENT-TRANSPORT")) {
    if (same_text(value, "TLS") || same_text(value, "insecure")) {
      out.client_tls = same_text(value, "TLS");
    }
  }
  return true;
}

}  // namespace

Result<login::Forwarded> parse_xclient(std::string_view arguments) {
  login::Forwarded out;
  for (const std::string_view word : words(arguments, " ")) {
    const std::size_t equals = word.find('=');
    if (equals == std::string_view::npos) continue;
    const std::string_view key = word.substr(0, equals);
    if (!take(key, word.substr(equals + 1), out)) return bad(log_safe(key));
  }
  return out;
}

}  // namespace postern::pop3_login
