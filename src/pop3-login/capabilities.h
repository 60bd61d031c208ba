#pragma once

#include "lib/secret.h"
#include "login-common/client-dialogue.h"

/// What is offered before login, as the connection stands.
namespace postern::pop3_login {

/// The reply to CAPA, from `+OK` to the final dot (RFC 2449).
void append_capabilities(const login::ClientContext& context, WipingBuffer& out);

/// The reply to AUTH without an argument: a mechanism a line. Old clients ask so.
void append_mechanisms(const login::ClientContext& context, WipingBuffer& out);

}  // namespace postern::pop3_login
