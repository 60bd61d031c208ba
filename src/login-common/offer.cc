#include "login-common/offer.h"

#include "config/settings.h"

namespace postern::login {

bool can_start_tls(const ClientContext& context) noexcept {
  return context.settings->ssl != config::Ssl::no && !context.security.tls &&
         !context.security.ssl_secured;
}

bool plaintext_permitted(const ClientContext& context) noexcept {
  return context.security.secured || (!context.settings->disable_plaintext_auth &&
                                      context.settings->ssl != config::Ssl::required);
}

bool is_advertised(const ClientContext& context, const Mechanism& mechanism) noexcept {
  if (mechanism.private_use) return false;
  if (context.security.secured) return true;
  if (context.settings->ssl == config::Ssl::required) return false;
  return !mechanism.plaintext || !context.settings->disable_plaintext_auth;
}

}  // namespace postern::login
