#pragma once

#include <string>

#include "login-common/client-dialogue.h"

namespace postern::imap_login {

/// The capability list before login: base words (or imap_capability; IMAP4rev2 with
/// imap4rev2_enable), LITERAL+ or LITERAL-,
/// STARTTLS and LOGINDISABLED where they apply, and AUTH= for each mechanism that may be used as
/// the connection stands, in the auth server's order.
std::string pre_login_capabilities(const login::ClientContext& context);

}  // namespace postern::imap_login
