#include "lib/key-pin.h"

#include <algorithm>

#include "lib/text.h"

namespace postern {
namespace {

constexpr std::string_view kSha256 = "sha256//";

}  // namespace

std::optional<KeyPin> KeyPin::parse(std::string_view text) {
  if (!text.starts_with(kSha256)) return std::nullopt;
  const auto bytes = base64_decode(text.substr(kSha256.size()));
  KeyPin out;
  if (!bytes || bytes->size() != out.digest.size()) return std::nullopt;
  std::copy_n(bytes->view().begin(), out.digest.size(), out.digest.begin());
  return out;
}

std::string KeyPin::text() const {
  return std::string(kSha256) +
         base64_encode({reinterpret_cast<const char*>(digest.data()), digest.size()});
}

std::optional<std::vector<KeyPin>> parse_pins(std::string_view list) {
  std::vector<KeyPin> out;
  for (const std::string_view word : words(list, " \t,;")) {
    const std::optional<KeyPin> pin = KeyPin::parse(word);
    if (!pin) return std::nullopt;
    out.push_back(*pin);
  }
  return out;
}

}  // namespace postern
