#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

/// A public key that a server must have, whoever signed its certificate.
namespace postern {

/// SHA-256 over a certificate's SubjectPublicKeyInfo, DER (RFC 7469, section 2.4).
struct KeyPin {
  std::array<unsigned char, 32> digest{};
  bool operator==(const KeyPin&) const = default;

  /// "sha256//BASE64", as curl's --pinnedpubkey has it; nothing if it is not that.
  static std::optional<KeyPin> parse(std::string_view text);
  std::string text() const;
};

/// Pins separated by blanks, commas or semicolons; nothing if one of them is none.
std::optional<std::vector<KeyPin>> parse_pins(std::string_view list);

}  // namespace postern
