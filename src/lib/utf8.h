#pragma once

#include <cstddef>
#include <string_view>

/// Characters of UTF-8, one by one.
namespace postern {

/// Length of the well-formed character (RFC 3629) at the start of `text`, which is not empty; 0 if
/// there is none.
std::size_t utf8_length(std::string_view text) noexcept;
/// A character, as utf8_length() cuts it, that is no text of its own: C0, DEL, C1, and what makes a
/// terminal end a line or write from right to left (U+061C, U+200E, U+200F, U+2028 to U+202E,
/// U+2066 to U+2069).
bool is_control_character(std::string_view character) noexcept;

}  // namespace postern
