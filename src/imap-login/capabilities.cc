#include "imap-login/capabilities.h"

#include <algorithm>

#include "config/settings.h"
#include "lib/text.h"

namespace postern::imap_login {
namespace {

constexpr std::string_view kBase = "IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE";

/// A mechanism is announced only if an attempt with it would not be refused for lack of TLS.
bool is_advertised(const login::ClientContext& context, const login::Mechanism& mechanism) {
  if (mechanism.private_use) return false;
  if (context.security.secured) return true;
  if (context.settings->ssl == config::Ssl::required) return false;
  return !mechanism.plaintext || !context.settings->disable_plaintext_auth;
}

bool login_is_disabled(const login::ClientContext& context) {
  const config::LoginSettings& settings = *context.settings;
  if (!context.security.secured) {
    return settings.disable_plaintext_auth || settings.ssl == config::Ssl::required;
  }
  // LOGIN is PLAIN by another name.
  return std::none_of(context.mechanisms->begin(), context.mechanisms->end(),
                      [](const login::Mechanism& mechanism) { return mechanism.name == "PLAIN"; });
}

}  // namespace

bool can_start_tls(const login::ClientContext& context) noexcept {
  return context.settings->ssl != config::Ssl::no && !context.security.tls &&
         !context.security.ssl_secured;
}

std::string pre_login_capabilities(const login::ClientContext& context) {
  const config::LoginSettings& settings = *context.settings;
  std::string_view own = trim(settings.imap_capability);
  std::string out;
  const bool adds = own.starts_with('+');
  if (own.empty() || adds) {
    out = kBase;
    if (adds) own = trim(own.substr(1));
    if (!own.empty()) out.append(" ").append(own);
    out += settings.imap_literal_minus ? " LITERAL-" : " LITERAL+";
  } else {
    out = own;
  }
  if (can_start_tls(context)) out += " STARTTLS";
  if (login_is_disabled(context)) out += " LOGINDISABLED";
  for (const login::Mechanism& mechanism : *context.mechanisms) {
    if (is_advertised(context, mechanism)) out.append(" AUTH=").append(mechanism.name);
  }
  return out;
}

}  // namespace postern::imap_login
