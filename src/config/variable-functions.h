#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "lib/result.h"
#include "lib/secret.h"

/// What a %variable's value goes through on its way into the text: modifiers, offset and width,
/// hashes, comparisons. Pure functions; intermediate values live in wiped memory, since %w is a
/// password.
namespace postern::config {

inline constexpr std::size_t kMaxModifiers = 10;  // Dovecot's bound

/// `[offset.]width` and the modifiers before a name.
struct VariableFormat {
  std::array<char, kMaxModifiers> modifiers{};
  std::uint8_t modifier_count = 0;
  int offset = 0;             // bytes to skip; negative: start so many bytes before the end
  int width = 0;              // most bytes; 0: all; negative: all but so many at the end
  bool zero_padding = false;  // pad to `width` with zeros on the left instead of cutting

  bool trivial() const noexcept {
    return modifier_count == 0 && offset == 0 && width == 0 && !zero_padding;
  }
};

/// True for the letters U L E X R H N M D T.
bool is_modifier(char c) noexcept;
/// Appends `value` formatted.
void format_variable(const VariableFormat& format, std::string_view value, WipingBuffer& out);

/// %{sha256;rounds=…:…}
struct HashSpec {
  std::string method;  // OpenSSL's name of the digest; empty: PBKDF2 with HMAC-SHA256 ("pkcs5")
  unsigned rounds = 1;
  unsigned truncate = 0;  // bits to keep, from the left; 0: all
  enum class Form : std::uint8_t { hex, hex_upper, base64 } form = Form::hex;
};
/// The digest Dovecot calls `name`, as OpenSSL names it; nothing if there is none.
std::optional<std::string> hash_method(std::string_view name);
/// True if the library at hand can do it (MD4 is often left out).
bool has_hash_method(const std::string& method);
/// Appends the hash of `value` in text form. False if the library refuses the digest.
bool hash_variable(const HashSpec& spec, std::string_view salt, std::string_view value,
                   WipingBuffer& out);

/// The operators of %{if;…}.
enum class CompareOp : std::uint8_t {
  num_eq,
  num_ne,
  num_lt,
  num_le,
  num_gt,
  num_ge,
  str_eq,
  str_ne,
  str_lt,
  str_le,
  str_gt,
  str_ge,
  wildcard,
  not_wildcard,
  regex,
  not_regex
};
std::optional<CompareOp> compare_op(std::string_view text);

/// A POSIX extended regular expression.
class Regex {
 public:
  static Result<std::shared_ptr<const Regex>> compile(const std::string& pattern);
  explicit Regex(void* compiled) noexcept : compiled_(compiled) {}
  Regex(const Regex&) = delete;
  Regex& operator=(const Regex&) = delete;
  ~Regex();
  bool matches(std::string_view text) const;

 private:
  void* compiled_;  // regex_t
};

/// `a op b`; something that is no number compares as false. Not for regular expressions.
bool compare(std::string_view a, CompareOp op, std::string_view b);
/// `*` is any run of bytes, `?` any one byte.
bool wildcard_match(std::string_view text, std::string_view pattern) noexcept;

}  // namespace postern::config
