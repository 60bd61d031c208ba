#include "pop3-login/capabilities.h"

#include "login-common/offer.h"

namespace postern::pop3_login {

using login::can_start_tls;
using login::is_advertised;
using login::plaintext_permitted;

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
