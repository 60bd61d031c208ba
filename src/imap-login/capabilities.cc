#include "imap-login/capabilities.h"

#include <algorithm>

#include "config/settings.h"
#include "lib/text.h"
#include "login-common/offer.h"

namespace postern::imap_login {
namespace {

constexpr std::string_view kFirst = "IMAP4rev1";
constexpr std::string_view kRev2 = " IMAP4rev2";
constexpr std::string_view kBase = " SASL-IR LOGIN-REFERRALS ID ENABLE IDLE";

bool login_is_disabled(const login::ClientContext& context) {
  if (!context.security.secured) return !login::plaintext_permitted(context);
  // LOGIN is PLAIN by another name.
  return std::none_of(context.mechanisms->begin(), context.mechanisms->end(),
                      [](const login::Mechanism& mechanism) { return mechanism.name == "PLAIN"; });
}

}  // namespace

std::string pre_login_capabilities(const login::ClientContext& context) {
  const config::LoginSettings& settings = *context.settings;
  std::string_view own = trim(settings.imap_capability);
  std::string out;
  const bool adds = own.starts_with('+');
  if (own.empty() || adds) {
    out = kFirst;
    if (settings.imap4rev2_enable) out += kRev2;
    out += kBase;
    if (adds) own = trim(own.substr(1));
    if (!own.empty()) out.append(" ").append(own);
    out += settings.imap_literal_minus ? " LITERAL-" : " LITERAL+";
  } else {
    out = own;
  }
  if (login::can_start_tls(context)) out += " STARTTLS";
  if (login_is_disabled(context)) out += " LOGINDISABLED";
  for (const login::Mechanism& mechanism : *context.mechanisms) {
    if (login::is_advertised(context, mechanism)) out.append(" AUTH=").append(mechanism.name);
  }
  return out;
}

}  // namespace postern::imap_login
