#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "login-common/auth-result.h"

namespace postern::login {

/// Where else the user of Outcome::referral is to log in: `imap://user;AUTH=PLAIN@host:1143`.
/// @param default_port  of the scheme; left out of the URL
/// Source: RFC 5092 (imap), RFC 5804 section 3 (sieve).
std::string referral_url(std::string_view scheme, std::uint16_t default_port,
                         const AuthResult& result);

}  // namespace postern::login
