#include "submission-login/client-xclient.h"

#include <algorithm>
#include <cerrno>
#include <limits>

#include "lib/text.h"
#include "login-common/xclient.h"
#include "wire/smtp-text.h"

namespace postern::submission_login {
namespace {

Error bad(std::string text) {
  return {EINVAL, std::move(text)};
}

/// RFC 5321 esmtp-keyword, and the `_` of Postfix's names.
bool is_keyword(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= '0' && c <= '9') || (ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z') || c == '-' ||
           c == '_';
  });
}

/// An address after `IPV6:` must be one; without it, it may.
bool take_address(std::string_view key, std::string_view value, login::Forwarded& out) {
  constexpr std::string_view kV6 = "IPV6:";
  const bool v6 = starts_with_text(value, kV6);
  if (v6) value.remove_prefix(kV6.size());
  if (v6 && value.find(':') == std::string_view::npos) return false;
  return login::take_xclient(key, value, out);
}

bool take_protocol(std::string_view value, Xclient& out) {
  for (const std::string_view known : {"SMTP", "ESMTP", "LMTP"}) {
    if (!same_text(value, known)) continue;
    out.protocol = std::string(known);
    return true;
  }
  return false;
}

/// False: the value of this name is wrong.
bool take(std::string_view key, std::string_view value, Xclient& out) {
  if (same_text(key, "ADDR") || same_text(key, "DESTADDR")) {
    return take_address(key, value, out.forwarded);
  }
  if (same_text(key, "PROTO")) return take_protocol(value, out);
  if (same_text(key, "TIMEOUT")) {
    return decimal(value, 0, std::numeric_limits<unsigned>::max()).has_value();
  }
  if (same_text(key, "HELO")) {
    if (wire::is_smtp_domain(value) || wire::is_smtp_address_literal(value)) {
      out.helo = std::string(value);
    }
    return true;
  }
  // Recorded: a FORWARD that is none is no error.
  return login::take_xclient(key, value, out.forwarded) || same_text(key, "FORWARD");
}

}  // namespace

Result<Xclient> parse_xclient(std::string_view arguments) {
  Xclient out;
  for (const std::string_view word : words(arguments, " ")) {
    const std::size_t equals = std::min(word.size(), word.find('='));
    const std::string_view key = word.substr(0, equals);
    if (!is_keyword(key)) return bad("Invalid parameter: Invalid character in parameter name");
    const std::string name = to_upper(key);
    const auto value = wire::xtext_decode(word.substr(std::min(word.size(), equals + 1)));
    if (!value) {
      return bad("Invalid " + name + " parameter: Invalid hexchar after '+' in xtext");
    }
    if (*value == "[UNAVAILABLE]") continue;
    if (!take(name, *value, out)) return bad("Invalid " + name + " parameter");
  }
  return out;
}

}  // namespace postern::submission_login
