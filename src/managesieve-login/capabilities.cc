#include "managesieve-login/capabilities.h"

#include <string>
#include <string_view>

#include "config/settings.h"
#include "login-common/offer.h"
#include "wire/sieve-arguments.h"

namespace postern::managesieve_login {
namespace {

void append_capability(std::string_view name, std::string_view value, WipingBuffer& out) {
  out.append('"').append(name).append("\" ");
  wire::append_sieve_string(value, out);
  out.append("\r\n");
}

std::string offered_mechanisms(const login::ClientContext& context) {
  std::string out;
  for (const login::Mechanism& mechanism : *context.mechanisms) {
    // Whose scripts would an anonymous user edit?
    if (mechanism.anonymous || !login::is_advertised(context, mechanism)) continue;
    if (!out.empty()) out += ' ';
    out += mechanism.name;
  }
  return out;
}

}  // namespace

void append_capabilities(const login::ClientContext& context, WipingBuffer& out) {
  const config::LoginSettings& settings = *context.settings;
  append_capability("IMPLEMENTATION", settings.managesieve_implementation_string, out);
  append_capability("SIEVE", settings.managesieve_sieve_capability, out);
  if (!settings.managesieve_notify_capability.empty()) {
    append_capability("NOTIFY", settings.managesieve_notify_capability, out);
  }
  append_capability("SASL", offered_mechanisms(context), out);
  if (login::can_start_tls(context)) out.append("\"STARTTLS\"\r\n");
  out.append("\"VERSION\" \"1.0\"\r\n");
  if (context.security.trusted) out.append("\"XCLIENT\"\r\n");
}

}  // namespace postern::managesieve_login
