#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "lib/result.h"
#include "login-common/client-dialogue.h"

namespace postern::submission_login {

/// What XCLIENT said: what all protocols forward, and SMTP's own.
struct Xclient {
  login::Forwarded forwarded;
  std::optional<std::string> helo;      // the client's own EHLO or HELO, a domain or literal
  std::optional<std::string> protocol;  // SMTP, ESMTP or LMTP
};

/// Reads the arguments of XCLIENT: `NAME=value` between blanks, names in any case, values in xtext,
/// `[UNAVAILABLE]` for one that is not known. Names that are not known are skipped, and so are a
/// FORWARD that cannot be decoded and a session id that is too long. All or nothing: after an error
/// nothing of the line may be applied.
/// Known are ADDR (an IPv6 address with or without `IPV6:` before it), PORT, PROTO, HELO, LOGIN,
/// SESSION, TTL, TIMEOUT and FORWARD, and of Dovecot 2.4 DESTADDR, DESTPORT, DESTNAME and
/// CLIENT-TRANSPORT. LOGIN and TIMEOUT are checked and come to nothing, as in Dovecot.
/// @return the values, or an Error whose text is the reply's ("Invalid ADDR parameter")
/// Source: Postfix, XCLIENT_README; Dovecot, Design.ParameterForwarding.
Result<Xclient> parse_xclient(std::string_view arguments);

}  // namespace postern::submission_login
