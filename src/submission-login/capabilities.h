#pragma once

#include "lib/secret.h"
#include "login-common/client-dialogue.h"

/// What is offered before login, as the connection stands.
namespace postern::submission_login {

/// The reply to EHLO, from the host's name to the last keyword (RFC 5321 section 4.1.1.1).
void append_ehlo(const login::ClientContext& context, WipingBuffer& out);

}  // namespace postern::submission_login
