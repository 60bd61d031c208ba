#include "pop3-login/capabilities.h"

#include "config/settings.h"

namespace postern::pop3_login {
namespace {

/// A mechanism is announced only if an attempt with it would not be refused for lack of TLS.
bool is_advertised(const login::ClientContext& context, const login::Mechanism& mechanism) {
  if (mechanism.private_use) return false;
  if (context.security.secured) return true;
  if (context.settings->ssl == config::Ssl::required) return false;
  return !mechanism.plaintext || !context.settings->disable_plaintext_auth;
}

}  // namespace

bool can_start_tls(const login::ClientContext& context) noexcept {
  return context.settings->ssl != config::Ssl::no && !context.security.tls &&
         !context.security.ssl_secured;
}

bool plaintext_permitted(const login::ClientContext& context) noexcept {
  return context.security.secured || (!context.settings->disable_plaintext_auth &&
                                      context.settings->ssl != config::Ssl::required);
}

void append_capabilities(const login::ClientContext& context, WipingBuffer& out) {
  out.append("+OK\r\nCAPA\r\nTOP\r\nUIDL\r\nRESP-CODES\r\nPIPELINING\r\nAUTH-RESP-CODE\r\n");
  if (can_start_tls(context)) out.append("STLS\r\n");
  if (plaintext_permitted(context)) out.append("USER\r\n");
  out.append("SASL");
  for (const login::Mechanism& mechanism : *context.mechanisms) {
    if (is_advertised(context, mechanism)) out.append(' ').append(mechanism.name);
  }
  out.append("\r\n.\r\n");
}

void append_mechanisms(const login::ClientContext& context, WipingBuffer& out) {
  out.append("+OK\r\n");
  for (const login::Mechanism& mechanism : *context.mechanisms) {
    if (is_advertised(context, mechanism)) out.append(mechanism.name).append("\r\n");
  }
  out.append(".\r\n");
}

}  // namespace postern::pop3_login
