#pragma once

#include <cstddef>

#include "lib/secret.h"
#include "login-common/backend-dialogue.h"

namespace postern::pop3_login {

inline constexpr std::size_t kMaxXclientLine = 1024;  // bytes with CRLF; what Dovecot reads

/// Appends the `XCLIENT` command: Dovecot 2.3's words in its order, then those that 2.4 added. A
/// value that would need quoting, of which there is none, is left out.
/// @return false if the forwarded fields did not fit and were left out
/// Source: Dovecot, Design.ParameterForwarding, "POP3 protocol".
bool append_xclient(const login::BackendTarget& target, WipingBuffer& out);

}  // namespace postern::pop3_login
