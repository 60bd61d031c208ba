#include "config/variable-functions.h"

#include <fmt/format.h>
#include <openssl/evp.h>
#include <regex.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "lib/handle.h"
#include "lib/text.h"

namespace postern::config {
namespace {

using Digest = Handle<EVP_MD, EVP_MD_free>;
using DigestContext = Handle<EVP_MD_CTX, EVP_MD_CTX_free>;
using Bytes = std::array<unsigned char, EVP_MAX_MD_SIZE>;

std::string_view as_text(const unsigned char* bytes, std::size_t n) {
  return {reinterpret_cast<const char*>(bytes), n};
}

/// The digest of the concatenation of `a` and `b`; empty if the library has no such digest.
std::size_t digest(const std::string& method, std::string_view a, std::string_view b, Bytes& out) {
  const Digest md(EVP_MD_fetch(nullptr, method.c_str(), nullptr));
  const DigestContext context(EVP_MD_CTX_new());
  unsigned size = 0;
  if (!md || !context || EVP_DigestInit_ex(context.get(), md.get(), nullptr) != 1 ||
      EVP_DigestUpdate(context.get(), a.data(), a.size()) != 1 ||
      EVP_DigestUpdate(context.get(), b.data(), b.size()) != 1 ||
      EVP_DigestFinal_ex(context.get(), out.data(), &size) != 1) {
    return 0;
  }
  return size;
}

void append_hex(std::string_view bytes, bool upper, WipingBuffer& out) {
  const std::string_view digits = upper ? "0123456789ABCDEF" : "0123456789abcdef";
  for (const char c : bytes) {
    const auto b = static_cast<unsigned char>(c);
    out += digits[b >> 4U];
    out += digits[b & 15U];
  }
}

/// The hash of Dovecot's str_hash(), which is that of ELF symbol tables (System V ABI, "Hash
/// Table").
std::uint32_t elf_hash(std::string_view text) noexcept {
  std::uint32_t h = 0;
  for (const char c : text) {
    h = (h << 4U) + static_cast<unsigned char>(c);
    const std::uint32_t high = h & 0xf0000000U;
    h ^= high >> 24U;
    h ^= high;
  }
  return h;
}

/// The first eight bytes of the MD5, most significant first.
std::uint64_t md5_hash(std::string_view text) {
  Bytes bytes{};
  digest("MD5", text, {}, bytes);
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < sizeof(value); i++) value = value << 8U | bytes.at(i);
  return value;
}

/// %H and %N take the width as a modulus and the offset as the least number of digits.
void append_hash(std::uint64_t hash, VariableFormat& format, WipingBuffer& out) {
  if (format.width > 0) hash %= static_cast<std::uint64_t>(format.width);
  out += fmt::format("{:0{}x}", static_cast<std::uint32_t>(hash), std::max(format.offset, 1));
  format.width = 0;
  format.offset = 0;
}

void append_escaped(std::string_view value, WipingBuffer& out) {
  for (const char c : value) {
    if (c == '"' || c == '\'' || c == '\\') out += '\\';
    out += c;
  }
}

/// example.org as the tail of an LDAP name: example,dc=org.
void append_ldap(std::string_view value, WipingBuffer& out) {
  for (const char c : value) {
    if (c == '.') {
      out += ",dc=";
    } else {
      out += c;
    }
  }
}

void apply_modifier(char modifier, std::string_view value, VariableFormat& format,
                    WipingBuffer& out) {
  switch (modifier) {
    case 'U':
      for (const char c : value) out += ascii_upper(c);
      return;
    case 'L':
      for (const char c : value) out += ascii_lower(c);
      return;
    case 'E':
      append_escaped(value, out);
      return;
    case 'X':
      out += fmt::format("{:x}", decimal(value, 0, UINT64_MAX).value_or(0));
      return;
    case 'R':
      for (std::size_t i = value.size(); i > 0; i--) out += value[i - 1];
      return;
    case 'H':
      append_hash(elf_hash(value), format, out);
      return;
    case 'N':
      append_hash(md5_hash(value), format, out);
      return;
    case 'M': {
      Bytes bytes{};
      const std::size_t size = digest("MD5", value, {}, bytes);
      append_hex(as_text(bytes.data(), size), false, out);
      return;
    }
    case 'D':
      append_ldap(value, out);
      return;
    case 'T':
      out += value.substr(0, value.find_last_not_of(" \t\r\n") + 1);
      return;
    default:
      out += value;
      return;
  }
}

/// The part of `value` that offset and width leave.
std::string_view cut(const VariableFormat& format, std::string_view value) noexcept {
  const auto skip = static_cast<std::size_t>(format.offset < 0 ? -format.offset : format.offset);
  if (format.offset < 0) {
    if (value.size() > skip) value.remove_prefix(value.size() - skip);
  } else {
    value.remove_prefix(std::min(skip, value.size()));
  }
  if (format.zero_padding || format.width == 0) return value;
  if (format.width > 0) return value.substr(0, static_cast<std::size_t>(format.width));
  const auto drop = static_cast<std::size_t>(-format.width);
  return value.size() > drop ? value.substr(0, value.size() - drop) : std::string_view{};
}

/// Keeps the first `bits` bits, moved to the right so that they fill whole bytes (as the policy
/// server's pwhash wants it).
void truncate_bits(std::string& bytes, unsigned bits) {
  if (bits >= bytes.size() * 8) return;
  bytes.resize((bits + 7) / 8);
  const unsigned shift = (8 - bits % 8) % 8;
  if (shift == 0) return;
  unsigned carry = 0;
  for (char& c : bytes) {
    const auto b = static_cast<unsigned char>(c);
    c = static_cast<char>((carry | b >> shift) & 0xffU);
    carry = static_cast<unsigned>(b) << (8 - shift);
  }
}

/// Dovecot's pkcs5 method always derives this many bytes (transcript auth-variables, user al54).
constexpr std::size_t kPkcs5Bytes = 336;

bool pbkdf2(const HashSpec& spec, std::string_view salt, std::string_view value,
            std::string& bytes) {
  bytes.resize(kPkcs5Bytes);
  return PKCS5_PBKDF2_HMAC(value.data(), static_cast<int>(value.size()),
                           reinterpret_cast<const unsigned char*>(salt.data()),
                           static_cast<int>(salt.size()), static_cast<int>(spec.rounds),
                           EVP_sha256(), static_cast<int>(bytes.size()),
                           reinterpret_cast<unsigned char*>(bytes.data())) == 1;
}

bool rounds_of(const HashSpec& spec, std::string_view salt, std::string_view value,
               std::string& bytes) {
  Bytes raw{};
  std::size_t size = digest(spec.method, salt, value, raw);
  for (unsigned i = 1; i < spec.rounds && size > 0; i++) {
    const Bytes before = raw;
    size = digest(spec.method, salt, as_text(before.data(), size), raw);
  }
  bytes = as_text(raw.data(), size);
  return size > 0;
}

std::optional<std::int64_t> signed_number(std::string_view text) noexcept {
  std::int64_t n = 0;
  const auto [stop, ec] = std::from_chars(text.data(), text.data() + text.size(), n);
  if (ec != std::errc{} || stop != text.data() + text.size()) return std::nullopt;
  return n;
}

}  // namespace

bool is_modifier(char c) noexcept {
  return std::string_view("ULEXRHNMDT").find(c) != std::string_view::npos;
}

void format_variable(const VariableFormat& format, std::string_view value, WipingBuffer& out) {
  VariableFormat left = format;
  WipingBuffer current;
  for (std::size_t i = 0; i < format.modifier_count; i++) {
    WipingBuffer next;
    apply_modifier(format.modifiers.at(i), value, left, next);
    current = std::move(next);
    value = current.view();
  }
  value = cut(left, value);
  if (left.zero_padding && left.width > 0) {
    for (std::size_t n = value.size(); n < static_cast<std::size_t>(left.width); n++) out += '0';
  }
  out += value;
}

std::optional<std::string> hash_method(std::string_view name) {
  struct Method {
    std::string_view name;
    const char* openssl;
  };
  constexpr std::array<Method, 9> kMethods{{{"md4", "MD4"},
                                            {"md5", "MD5"},
                                            {"sha1", "SHA1"},
                                            {"sha256", "SHA256"},
                                            {"sha384", "SHA384"},
                                            {"sha512", "SHA512"},
                                            {"sha3-256", "SHA3-256"},
                                            {"sha3-512", "SHA3-512"},
                                            {"pkcs5", ""}}};
  for (const Method& method : kMethods) {
    if (method.name == name) return method.openssl;
  }
  return std::nullopt;
}

bool has_hash_method(const std::string& method) {
  return method.empty() || Digest(EVP_MD_fetch(nullptr, method.c_str(), nullptr)) != nullptr;
}

bool hash_variable(const HashSpec& spec, std::string_view salt, std::string_view value,
                   WipingBuffer& out) {
  std::string bytes;
  const bool ok =
      spec.method.empty() ? pbkdf2(spec, salt, value, bytes) : rounds_of(spec, salt, value, bytes);
  if (!ok) return false;
  if (spec.truncate > 0) truncate_bits(bytes, spec.truncate);
  if (spec.form == HashSpec::Form::base64) {
    base64_encode(bytes, out);
  } else {
    append_hex(bytes, spec.form == HashSpec::Form::hex_upper, out);
  }
  return true;
}

std::optional<CompareOp> compare_op(std::string_view text) {
  constexpr std::array<std::string_view, 16> kWords{"==", "!=", "<",  "<=", ">", ">=", "eq", "ne",
                                                    "lt", "le", "gt", "ge", "*", "!*", "~",  "!~"};
  const auto* found = std::find(kWords.begin(), kWords.end(), text);
  if (found == kWords.end()) return std::nullopt;
  return static_cast<CompareOp>(found - kWords.begin());
}

bool compare(std::string_view a, CompareOp op, std::string_view b) {
  const auto x = signed_number(a);
  const auto y = signed_number(b);
  const bool numbers = x && y;
  switch (op) {
    case CompareOp::num_eq:
      return numbers && *x == *y;
    case CompareOp::num_ne:
      return numbers && *x != *y;
    case CompareOp::num_lt:
      return numbers && *x < *y;
    case CompareOp::num_le:
      return numbers && *x <= *y;
    case CompareOp::num_gt:
      return numbers && *x > *y;
    case CompareOp::num_ge:
      return numbers && *x >= *y;
    case CompareOp::str_eq:
      return a == b;
    case CompareOp::str_ne:
      return a != b;
    case CompareOp::str_lt:
      return a < b;
    case CompareOp::str_le:
      return a <= b;
    case CompareOp::str_gt:
      return a > b;
    case CompareOp::str_ge:
      return a >= b;
    case CompareOp::wildcard:
      return wildcard_match(a, b);
    case CompareOp::not_wildcard:
      return !wildcard_match(a, b);
    case CompareOp::regex:
    case CompareOp::not_regex:
      return false;  // Regex does these
  }
  return false;
}

bool wildcard_match(std::string_view text, std::string_view pattern) noexcept {
  std::size_t t = 0;
  std::size_t p = 0;
  std::size_t star = std::string_view::npos;  // the last star passed
  std::size_t resume = 0;                     // where the text stood then
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = t;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == text[t])) {
      p++;
      t++;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++resume;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') p++;
  return p == pattern.size();
}

Result<std::shared_ptr<const Regex>> Regex::compile(const std::string& pattern) {
  auto compiled = std::make_unique<regex_t>();
  const int error = regcomp(compiled.get(), pattern.c_str(), REG_EXTENDED | REG_NOSUB);
  if (error != 0) {
    std::array<char, 128> text{};
    regerror(error, compiled.get(), text.data(), text.size());
    return Error{0,
                 fmt::format("regular expression '{}': {}", log_safe_line(pattern), text.data())};
  }
  return std::shared_ptr<const Regex>(std::make_shared<Regex>(compiled.release()));
}

Regex::~Regex() {
  const std::unique_ptr<regex_t> compiled(static_cast<regex_t*>(compiled_));
  regfree(compiled.get());
}

bool Regex::matches(std::string_view text) const {
  WipingBuffer terminated(text);
  terminated += '\0';
  return regexec(static_cast<const regex_t*>(compiled_), terminated.view().data(), 0, nullptr, 0) ==
         0;
}

}  // namespace postern::config
