#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "lib/result.h"
#include "lib/secret.h"
#include "login-common/backend-dialogue.h"
#include "login-common/client-dialogue.h"

/// XCLIENT: what a trusted hop says of the client behind it. POP3 and ManageSieve write the words
/// as they are; submission's are in xtext, and it has words of its own. Source: Dovecot,
/// Design.ParameterForwarding.
namespace postern::login {

inline constexpr std::size_t kMaxSessionId = 64;      // bytes
inline constexpr std::size_t kMaxForwardFields = 30;  // of one FORWARD; more are dropped
inline constexpr std::size_t kMaxForwardName = 30;    // bytes; as IMAP's ID has it
inline constexpr std::size_t kMaxXclientLine = 1024;  // bytes with CRLF; what Dovecot reads

/// 1..kMaxSessionId bytes that may stand in log lines (between angle brackets) and in other hosts'
/// as they are.
bool is_session_id(std::string_view text) noexcept;

/// Takes one word of XCLIENT, its key in any case and its value decoded: ADDR, PORT, SESSION, TTL,
/// FORWARD, and of Dovecot 2.4 DESTADDR, DESTPORT, DESTNAME and CLIENT-TRANSPORT. A key that is not
/// known, and a session id or name that could not stand in a log, are skipped. Of FORWARD only
/// fields `name=value` with a plain name are taken: a bare word could stand for one of auth's own
/// fields.
/// @return false: the value is wrong, and nothing of the line may be applied
bool take_xclient(std::string_view key, std::string_view value, Forwarded& out);

/// Reads a whole line of words `KEY=VALUE` between blanks; a word without `=` is skipped. All or
/// nothing: one bad value fails the line (Dovecot applies the others).
/// @return the fields, or an Error that names the key and quotes no value
Result<Forwarded> parse_xclient(std::string_view arguments);

/// The value of FORWARD: base64 of the fields `name=value`, tab-escaped and joined by tabs; empty
/// if there are none.
std::string forward_text(const BackendTarget& target);

/// Appends the command as POP3 and ManageSieve have it: Dovecot 2.3's words in its order, then
/// those that 2.4 added. A value that would need quoting, of which there is none, is left out.
/// @return false if the forwarded fields did not fit and were left out
bool append_xclient(const BackendTarget& target, WipingBuffer& out);

}  // namespace postern::login
