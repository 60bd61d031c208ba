#pragma once

#include <cstdint>
#include <string_view>

/// Numbers by which anvil tells guesses apart without knowing them. Keyed with what only this
/// process knows, so that whoever sees what anvil holds can try neither passwords nor names against
/// it.
namespace postern::auth {

/// Of a user name with a password that was wrong: the same pair again is no new guess. Never 0.
std::uint32_t guess_key(std::string_view user, std::string_view password);
/// Of a user name. Never 0.
std::uint32_t user_key(std::string_view user);

}  // namespace postern::auth
