#include "lib/text.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <system_error>

#include "lib/utf8.h"

namespace postern {
namespace {

constexpr std::string_view kBase64 =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::uint8_t kNotBase64 = 255;

constexpr std::array<std::uint8_t, 256> make_base64_values() {
  std::array<std::uint8_t, 256> values{};
  values.fill(kNotBase64);
  for (std::size_t i = 0; i < kBase64.size(); i++) {
    values[static_cast<unsigned char>(kBase64[i])] = static_cast<std::uint8_t>(i);
  }
  return values;
}
constexpr std::array<std::uint8_t, 256> kBase64Values = make_base64_values();

std::uint8_t base64_value(char c) noexcept {
  return kBase64Values[static_cast<unsigned char>(c)];
}

std::string safe(std::string_view bytes, std::size_t max, bool keep_angles) {
  std::string out;
  std::size_t i = 0;
  const auto is_plain = [keep_angles](char c) {
    return c >= 0x20 && c < 0x7f && (keep_angles || (c != '<' && c != '>'));
  };
  while (i < bytes.size()) {
    // Nearly always all of it is plain text.
    const std::size_t room = std::min(bytes.size() - i, max - std::min(max, out.size()));
    const auto run = bytes.substr(i, room);
    const auto plain =
        static_cast<std::size_t>(std::find_if_not(run.begin(), run.end(), is_plain) - run.begin());
    out.append(run.substr(0, plain));
    i += plain;
    if (i == bytes.size()) break;
    const std::size_t n = utf8_length(bytes.substr(i));
    if (out.size() + std::max<std::size_t>(n, 1) > max) {
      out += "...";
      return out;
    }
    const char c = bytes[i];
    const bool angle = !keep_angles && (c == '<' || c == '>');
    if (n == 0 || is_control_character(bytes.substr(i, n)) || angle) {
      out += '?';
      i += std::max<std::size_t>(n, 1);
    } else {
      out.append(bytes.substr(i, n));
      i += n;
    }
  }
  return out;
}

}  // namespace

std::string to_lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), ascii_lower);
  return out;
}

std::string to_upper(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), ascii_upper);
  return out;
}

bool same_text(std::string_view a, std::string_view b) noexcept {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](char x, char y) { return ascii_lower(x) == ascii_lower(y); });
}

bool starts_with_text(std::string_view text, std::string_view prefix) noexcept {
  return text.size() >= prefix.size() && same_text(text.substr(0, prefix.size()), prefix);
}

std::string_view trim(std::string_view text) noexcept {
  const std::size_t first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

std::vector<std::string_view> words(std::string_view text, std::string_view separators) {
  const auto separates = [separators](char c) {
    return std::ranges::find(separators, c) != separators.end();
  };
  std::vector<std::string_view> out;
  while (true) {
    const auto first = std::ranges::find_if_not(text, separates);
    if (first == text.end()) return out;
    const auto end = std::find_if(first, text.end(), separates);
    out.emplace_back(first, end);
    text = {end, text.end()};
  }
}

std::optional<std::uint64_t> decimal(std::string_view text, std::uint64_t min,
                                     std::uint64_t max) noexcept {
  std::uint64_t n = 0;
  const char* end = text.data() + text.size();
  const auto [stop, ec] = std::from_chars(text.data(), end, n);
  if (ec != std::errc{} || stop != end || n < min || n > max) return std::nullopt;
  return n;
}

bool is_utf8(std::string_view text) noexcept {
  while (!text.empty()) {
    const std::size_t n = utf8_length(text);
    if (n == 0) return false;
    text.remove_prefix(n);
  }
  return true;
}

std::string log_safe(std::string_view bytes, std::size_t max) {
  return safe(bytes, max, false);
}
std::string log_safe_line(std::string_view bytes, std::size_t max) {
  return safe(bytes, max, true);
}

void base64_encode(std::string_view bytes, WipingBuffer& out) {
  if (bytes.empty()) return;
  char* p = out.reserve((bytes.size() + 2) / 3 * 4);
  const char* start = p;
  const auto byte = [&](std::size_t i) -> unsigned {
    return i < bytes.size() ? static_cast<unsigned char>(bytes[i]) : 0U;
  };
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const unsigned three = byte(i) << 16U | byte(i + 1) << 8U | byte(i + 2);
    *p++ = kBase64[three >> 18U];
    *p++ = kBase64[three >> 12U & 63U];
    *p++ = i + 1 < bytes.size() ? kBase64[three >> 6U & 63U] : '=';
    *p++ = i + 2 < bytes.size() ? kBase64[three & 63U] : '=';
  }
  out.commit(static_cast<std::size_t>(p - start));
}

std::string base64_encode(std::string_view bytes) {
  WipingBuffer out;
  base64_encode(bytes, out);
  return std::string(out.view());
}

bool is_base64(std::string_view text) noexcept {
  if (text.size() % 4 != 0) return false;
  if (text.empty()) return true;
  const std::size_t pad = text.ends_with("==") ? 2 : text.ends_with('=') ? 1 : 0;
  const std::string_view data = text.substr(0, text.size() - pad);
  if (!std::all_of(data.begin(), data.end(), [](char c) { return base64_value(c) != kNotBase64; }))
    return false;
  // The bits that do not make a whole byte must be zero (RFC 4648 section 3.5).
  if (pad == 2) return (base64_value(data.back()) & 15U) == 0;
  if (pad == 1) return (base64_value(data.back()) & 3U) == 0;
  return true;
}

std::optional<WipingBuffer> base64_decode(std::string_view text) {
  if (!is_base64(text)) return std::nullopt;
  WipingBuffer out;
  if (text.empty()) return out;
  char* p = out.reserve(text.size() / 4 * 3);
  const char* start = p;
  for (std::size_t i = 0; i < text.size(); i += 4) {
    const auto value = [&](std::size_t k) -> unsigned {
      return text[i + k] == '=' ? 0U : base64_value(text[i + k]);
    };
    const unsigned three = value(0) << 18U | value(1) << 12U | value(2) << 6U | value(3);
    *p++ = static_cast<char>(three >> 16U & 255U);
    if (text[i + 2] != '=') *p++ = static_cast<char>(three >> 8U & 255U);
    if (text[i + 3] != '=') *p++ = static_cast<char>(three & 255U);
  }
  out.commit(static_cast<std::size_t>(p - start));
  return out;
}

std::string hex_encode(std::string_view bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string out;
  out.reserve(bytes.size() * 2);
  for (const char c : bytes) {
    const auto b = static_cast<unsigned char>(c);
    out += kDigits[b >> 4U];
    out += kDigits[b & 15U];
  }
  return out;
}

std::optional<std::string> hex_decode(std::string_view text) {
  if (text.size() % 2 != 0) return std::nullopt;
  std::string out;
  out.reserve(text.size() / 2);
  for (std::size_t i = 0; i < text.size(); i += 2) {
    unsigned b = 0;
    const auto [stop, ec] = std::from_chars(text.data() + i, text.data() + i + 2, b, 16);
    if (ec != std::errc{} || stop != text.data() + i + 2) return std::nullopt;
    out += static_cast<char>(b);
  }
  return out;
}

}  // namespace postern
