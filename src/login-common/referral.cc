#include "login-common/referral.h"

#include <fmt/format.h>

#include "lib/text.h"

namespace postern::login {
namespace {

/// What may stand in a user part unescaped (RFC 5092) and does not end ManageSieve's code.
std::string escape_user(std::string_view user) {
  constexpr std::string_view kPlain = "-_.~$+!*',&=";
  std::string out;
  for (const char c : user) {
    const bool letter = (c >= '0' && c <= '9') || (ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z');
    if (letter || kPlain.find(c) != std::string_view::npos) {
      out += c;
    } else {
      out.append("%").append(to_upper(hex_encode({&c, 1})));
    }
  }
  return out;
}

}  // namespace

std::string referral_url(std::string_view scheme, std::uint16_t default_port,
                         const AuthResult& result) {
  const bool v6 = result.referral_host.find(':') != std::string::npos;
  std::string out = fmt::format("{}://{};AUTH={}@{}{}{}", scheme, escape_user(result.user),
                                result.mech, v6 ? "[" : "", result.referral_host, v6 ? "]" : "");
  if (result.referral_port != 0 && result.referral_port != default_port) {
    out += fmt::format(":{}", result.referral_port);
  }
  return out;
}

}  // namespace postern::login
