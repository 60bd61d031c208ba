#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "lib/secret.h"

/// Stored passwords: `{SCHEME}data`, `{SCHEME.b64}data`, `{SCHEME.hex}data`, or data of a
/// database's default scheme. Comparison goes through libraries (libxcrypt, libargon2, OpenSSL) and
/// is in constant time. Names are Dovecot's. Source: Dovecot "Password Schemes".
namespace postern::auth {

/// Passwords longer than this never reach a hash.
inline constexpr std::size_t kMaxPassword = 4096;  // bytes

/// How a comparison ended.
enum class Verdict : std::uint8_t {
  match,
  mismatch,
  broken,  // the stored data cannot be of its scheme, or asks for more work than is allowed
  failed,  // the library could not do it (memory): an internal failure, never "wrong password"
};

struct VerifyResult {
  Verdict verdict = Verdict::mismatch;
  std::string text;  // of broken and failed: safe to log, names the scheme, quotes nothing stored
};

/// A row of the table of schemes.
struct PasswordScheme {
  enum class Encoding : std::uint8_t { none, hex, base64 };
  std::string_view name;  // upper case
  Encoding encoding;      // of the data when the scheme is named without one
  std::size_t size;       // bytes of the raw data; 0: any
  /// @param stored  raw bytes
  VerifyResult (*verify)(const PasswordScheme& scheme, std::string_view stored,
                         std::string_view password);
  /// About how many microseconds one comparison takes; 0: too few to count. A guess by what
  /// `stored` asks for, on no particular processor: to tell which of two takes longer, and whether
  /// either would hold up an event loop.
  std::uint64_t (*work)(std::string_view stored);
};

const PasswordScheme* find_scheme(std::string_view name) noexcept;

/// Whether what is stored is the password itself.
bool is_in_clear(const PasswordScheme& scheme) noexcept;

/// A stored password taken apart.
struct StoredPassword {
  const PasswordScheme* scheme = nullptr;
  Secret data;  // raw bytes, its encoding removed
};

/// Takes `{SCHEME.ENCODING}data` apart. Data without braces is of `default_scheme`; a value that
/// starts with `{` without a `}` is data.
/// @return an error text ("Unknown scheme X"), or empty
std::string split_stored(std::string_view stored, std::string_view default_scheme,
                         StoredPassword& out);

/// Whether it can be anybody's: not over kMaxPassword, and no NUL in it.
bool can_be_password(std::string_view password) noexcept;

/// Compares. A password over kMaxPassword or with a NUL in it is a mismatch without work.
VerifyResult verify_password(const PasswordScheme& scheme, std::string_view stored,
                             std::string_view password);

// The schemes that live in crypt-scheme.cc.
VerifyResult verify_crypt(const PasswordScheme& scheme, std::string_view stored,
                          std::string_view password);
VerifyResult verify_argon2(const PasswordScheme& scheme, std::string_view stored,
                           std::string_view password);
VerifyResult verify_pbkdf2(const PasswordScheme& scheme, std::string_view stored,
                           std::string_view password);
std::uint64_t crypt_work(std::string_view stored);
std::uint64_t argon2_work(std::string_view stored);
std::uint64_t pbkdf2_work(std::string_view stored);

}  // namespace postern::auth
