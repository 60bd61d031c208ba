#pragma once

#include <string>

#include "lib/result.h"
#include "lib/secret.h"

namespace postern::ctl {

inline constexpr std::size_t kMaxPassword = 1024;  // bytes

/// A line from standard input, without its LF. On a terminal it is asked for on standard error and
/// not echoed; a signal that ends or stops the program finds the terminal as it was.
/// @return an Error if there is no line or it is longer than kMaxPassword
Result<Secret> ask_password(const std::string& user);

}  // namespace postern::ctl
