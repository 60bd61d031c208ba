#pragma once

#include "lib/secret.h"
#include "login-common/client-dialogue.h"

namespace postern::managesieve_login {

/// The lines that the greeting, CAPABILITY and the end of STARTTLS have in common, a capability a
/// line as the connection stands, without the OK behind them (RFC 5804 section 1.7).
void append_capabilities(const login::ClientContext& context, WipingBuffer& out);

}  // namespace postern::managesieve_login
