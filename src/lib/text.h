#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/secret.h"

namespace postern {

/// ASCII case folding, independent of the locale.
constexpr char ascii_lower(char c) noexcept {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}
constexpr char ascii_upper(char c) noexcept {
  return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
}
std::string to_lower(std::string_view text);
std::string to_upper(std::string_view text);
/// Equal but for ASCII case.
bool same_text(std::string_view a, std::string_view b) noexcept;
/// `text` begins with `prefix`, but for ASCII case.
bool starts_with_text(std::string_view text, std::string_view prefix) noexcept;

/// Without leading and trailing blanks and tabs.
std::string_view trim(std::string_view text) noexcept;
/// The words between any of `separators`; empty words are left out. The views borrow `text`.
std::vector<std::string_view> words(std::string_view text, std::string_view separators = " \t");

/// The whole of `text` as a decimal in [min, max]; no sign, no space.
std::optional<std::uint64_t> decimal(std::string_view text, std::uint64_t min,
                                     std::uint64_t max) noexcept;

/// True if all of `text` is well-formed UTF-8 (RFC 3629).
bool is_utf8(std::string_view text) noexcept;

/// Foreign bytes made fit for one log line: control characters (C0, DEL, C1), those that break
/// lines or turn the direction of text, and bytes that are not UTF-8 become `?`, and so do `<` and
/// `>` (they end a `user=<…>` element); cut after `max` bytes with "...".
std::string log_safe(std::string_view bytes, std::size_t max = 80);
/// As log_safe(), but `<` and `>` stay: for a peer's whole reply line.
std::string log_safe_line(std::string_view bytes, std::size_t max = 160);

/// RFC 4648 section 4, with padding, no line ends.
void base64_encode(std::string_view bytes, WipingBuffer& out);
std::string base64_encode(std::string_view bytes);
/// Strict: padding needed, no blanks, no bits left over. Nothing if `text` is not base64.
std::optional<WipingBuffer> base64_decode(std::string_view text);
/// What base64_decode() would accept, without decoding.
bool is_base64(std::string_view text) noexcept;

/// Lower-case hexadecimal.
std::string hex_encode(std::string_view bytes);
std::optional<std::string> hex_decode(std::string_view text);

}  // namespace postern
