#pragma once

#include <string>
#include <vector>

#include "lib/secret.h"
#include "login-common/backend-dialogue.h"

namespace postern::imap_login {

/// What is told a backend of the client behind the proxy, and how much a backend takes.
inline constexpr std::size_t kMaxIdPairs = 30;    // RFC 2971
inline constexpr std::size_t kMaxIdKey = 30;      // bytes; Dovecot drops longer ones silently
inline constexpr std::size_t kMaxIdValue = 1024;  // bytes; longer ones end the connection
inline constexpr std::size_t kMaxIdLine = 8000;   // bytes; the backend's parser takes 8192

/// Appends the `I ID (…)` command: the client's own ID, then Dovecot's x- keys in its order.
/// @param non_sync_literals  `{n+}` may be used
/// @return names of fields that do not fit and were left out
/// Source: Dovecot, Design.ParameterForwarding, "IMAP protocol".
std::vector<std::string> append_id_command(const login::BackendTarget& target,
                                           bool non_sync_literals, WipingBuffer& out);

}  // namespace postern::imap_login
