#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "login-common/backend-dialogue.h"

namespace postern::submission_login {

inline constexpr std::size_t kMaxCommand = 512;  // bytes with CRLF (RFC 5321 section 4.5.3.1.4)
/// Bytes of one attribute that stands in a command of its own; what Dovecot reads.
inline constexpr std::size_t kMaxAttribute = 1024;

/// The names behind XCLIENT in the backend's EHLO, and whether there was one at all.
struct XclientOffer {
  bool offered = false;
  std::vector<std::string> names;
  bool has(std::string_view name) const;
};

/// XCLIENT as it is to be said.
struct XclientCommands {
  std::vector<std::string>
      lines;                // with CRLF, each to be answered; none if there is nothing to say
  bool login_said = false;  // who logs in is among it
  bool left_out = false;    // the forwarded fields did not fit into a command
};

/// Says what is known of the client, in Dovecot 2.3's order and then the names that 2.4 added, and
/// only what the backend has named. A HELO that nobody knows is `[UNAVAILABLE]`; the login name
/// goes along only if there is no AUTH to say it (proxy_noauth). An attribute that would make a
/// command too long begins another one.
XclientCommands xclient_commands(const login::BackendTarget& target, const XclientOffer& offer);

}  // namespace postern::submission_login
