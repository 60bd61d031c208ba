#pragma once

#include <cstddef>
#include <string_view>

#include "lib/result.h"
#include "login-common/client-dialogue.h"

namespace postern::pop3_login {

inline constexpr std::size_t kMaxSession = 64;        // bytes; a longer id is ignored
inline constexpr std::size_t kMaxForwardFields = 30;  // of one FORWARD; more are dropped
inline constexpr std::size_t kMaxForwardName = 30;    // bytes; as IMAP's ID has it

/// Reads the arguments of XCLIENT: `KEY=VALUE` between blanks, keys in any case. Words that are
/// not known, and a session id that is too long, are skipped. All or nothing: one bad value fails
/// the line, and nothing of it may be applied (Dovecot applies the others).
/// Known are ADDR, PORT, SESSION, TTL, FORWARD, and of Dovecot 2.4 DESTADDR, DESTPORT, DESTNAME and
/// CLIENT-TRANSPORT. Of FORWARD only fields `name=value` with a plain name are taken: a bare word
/// could stand for one of auth's own fields.
/// @return the fields, or an Error that names the key and quotes no value
/// Source: Dovecot, Design.ParameterForwarding, "POP3 protocol".
Result<login::Forwarded> parse_xclient(std::string_view arguments);

}  // namespace postern::pop3_login
