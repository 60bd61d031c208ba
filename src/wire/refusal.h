#pragma once

#include <string_view>

namespace postern::wire {

/// What a newcomer reads whom nobody can serve, in the form of its protocol, CRLF included; not for
/// where TLS comes first. Empty: no protocol in which it could be said.
/// @param protocol  as in `protocols`: "imap", "pop3", "submission", "sieve"
std::string_view refusal(std::string_view protocol) noexcept;

}  // namespace postern::wire
