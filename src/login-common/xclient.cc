#include "login-common/xclient.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>

#include "lib/text.h"
#include "wire/tab-line.h"

namespace postern::login {
namespace {

constexpr std::size_t kMaxHost = 253;  // bytes

/// Nothing that would end the value or the line, or be a nuisance in other hosts' logs.
bool is_word(std::string_view text, std::size_t most) {
  return !text.empty() && text.size() <= most && std::all_of(text.begin(), text.end(), [](char c) {
    return static_cast<unsigned char>(c) > ' ' && static_cast<unsigned char>(c) < 0x7f &&
           c != '"' && c != '\\';
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
bool take_forward(std::string_view value, Forwarded& out) {
  const auto decoded = base64_decode(value);
  if (!decoded || decoded->empty()) return false;
  // A NUL, escaped or not, could end the value in whatever auth asks.
  if (wire::tab_unescape(decoded->view()).find('\0') != std::string::npos) return false;
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

Error bad(std::string_view key) {
  return {EINVAL, "Invalid " + log_safe(key)};
}

void append(std::string_view key, std::string_view value, std::string& line) {
  line.append(" ").append(key).append("=").append(value);
}

void append_endpoint(std::string_view ip, std::string_view port, const Endpoint& endpoint,
                     std::string& line) {
  if (!endpoint.ip) return;
  append(ip, endpoint.ip.text(), line);
  if (endpoint.port != 0) append(port, std::to_string(endpoint.port), line);
}

}  // namespace

bool is_session_id(std::string_view text) noexcept {
  return is_word(text, kMaxSessionId) && text.find_first_of("<>") == std::string_view::npos;
}

bool take_xclient(std::string_view key, std::string_view value, Forwarded& out) {
  if (same_text(key, "ADDR")) return take_ip(value, out.client_ip);
  if (same_text(key, "PORT")) return take_port(value, out.client_port);
  if (same_text(key, "DESTADDR")) return take_ip(value, out.local_ip);
  if (same_text(key, "DESTPORT")) return take_port(value, out.local_port);
  if (same_text(key, "TTL")) return take_ttl(value, out.ttl);
  if (same_text(key, "FORWARD")) return take_forward(value, out);
  if (same_text(key, "SESSION")) {
    if (is_session_id(value)) out.session = std::string(value);
  } else if (same_text(key, "DESTNAME")) {
    if (is_name(value, kMaxHost)) out.local_name = to_lower(value);
  } else if (same_text(key, "CLIENT-TRANSPORT")) {
    if (same_text(value, "TLS") || same_text(value, "insecure")) {
      out.client_tls = same_text(value, "TLS");
    }
  }
  return true;
}

Result<Forwarded> parse_xclient(std::string_view arguments) {
  Forwarded out;
  for (const std::string_view word : words(arguments, " ")) {
    const std::size_t equals = word.find('=');
    if (equals == std::string_view::npos) continue;
    const std::string_view key = word.substr(0, equals);
    if (!take_xclient(key, word.substr(equals + 1), out)) return bad(key);
  }
  return out;
}

std::string forward_text(const BackendTarget& target) {
  std::string joined;
  for (const auto& [name, value] : target.forward) {
    if (!joined.empty()) joined += '\t';
    joined += wire::tab_escape(fmt::format("{}={}", name, value));
  }
  return joined.empty() ? joined : base64_encode(joined);
}

bool append_xclient(const BackendTarget& target, WipingBuffer& out) {
  std::string line = "XCLIENT";
  append_endpoint("ADDR", "PORT", target.client, line);
  if (is_word(target.session, kMaxSessionId)) append("SESSION", target.session, line);
  append("TTL", std::to_string(target.ttl), line);
  if (!target.forward_2_3_only) {
    append("CLIENT-TRANSPORT", target.client_tls ? "TLS" : "insecure", line);
    append_endpoint("DESTADDR", "DESTPORT", target.local, line);
    if (is_word(target.local_name, kMaxHost)) append("DESTNAME", target.local_name, line);
  }
  const std::string forward = forward_text(target);
  constexpr std::string_view kForward = " FORWARD=";
  const bool fits = line.size() + kForward.size() + forward.size() + 2 <= kMaxXclientLine;
  if (!forward.empty() && fits) append("FORWARD", forward, line);
  out.append(line).append("\r\n");
  return fits || forward.empty();
}

}  // namespace postern::login
