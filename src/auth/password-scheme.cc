#include "auth/password-scheme.h"

#include <openssl/evp.h>

#include <array>
#include <optional>

#include "lib/text.h"

namespace postern::auth {
namespace {

using Encoding = PasswordScheme::Encoding;

VerifyResult compare(std::string_view a, std::string_view b) {
  return {equal_in_constant_time(a, b) ? Verdict::match : Verdict::mismatch, {}};
}

std::uint64_t cheap(std::string_view /*stored*/) {
  return 0;
}

/// H(password ‖ salt) as raw bytes; empty if OpenSSL refuses the digest.
std::string digest(const EVP_MD* md, std::string_view password, std::string_view salt) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> out{};
  unsigned size = 0;
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  const bool done = context != nullptr && EVP_DigestInit_ex(context, md, nullptr) == 1 &&
                    EVP_DigestUpdate(context, password.data(), password.size()) == 1 &&
                    EVP_DigestUpdate(context, salt.data(), salt.size()) == 1 &&
                    EVP_DigestFinal_ex(context, out.data(), &size) == 1;
  EVP_MD_CTX_free(context);
  return done ? std::string(out.begin(), out.begin() + size) : std::string();
}

template <const EVP_MD* (*Md)()>
VerifyResult verify_digest(const PasswordScheme& scheme, std::string_view stored,
                           std::string_view password) {
  const std::string hash = digest(Md(), password, {});
  if (hash.empty()) return {Verdict::failed, "no digest for " + std::string(scheme.name)};
  return compare(hash, stored);
}

template <const EVP_MD* (*Md)()>
VerifyResult verify_salted(const PasswordScheme& scheme, std::string_view stored,
                           std::string_view password) {
  const auto size = static_cast<std::size_t>(EVP_MD_get_size(Md()));
  if (stored.size() <= size)
    return {Verdict::broken, std::string(scheme.name) + " password is too short"};
  const std::string hash = digest(Md(), password, stored.substr(size));
  if (hash.empty()) return {Verdict::failed, "no digest for " + std::string(scheme.name)};
  return compare(hash, stored.substr(0, size));
}

/// An empty stored password matches nothing: only `nopassword` lets anybody in.
VerifyResult verify_plain(const PasswordScheme& /*scheme*/, std::string_view stored,
                          std::string_view password) {
  if (stored.empty()) return {Verdict::mismatch, {}};
  return compare(stored, password);
}

/// `$1$…` or 32 hexadecimal digits.
VerifyResult verify_md5(const PasswordScheme& scheme, std::string_view stored,
                        std::string_view password) {
  if (stored.starts_with("$1$")) return verify_crypt(scheme, stored, password);
  const auto raw = hex_decode(stored);
  if (!raw || raw->size() != 16) {
    return {Verdict::broken, "Password data is not valid for scheme " + std::string(scheme.name)};
  }
  return verify_digest<&EVP_md5>(scheme, *raw, password);
}

constexpr std::array kSchemes{
    PasswordScheme{"PLAIN", Encoding::none, 0, &verify_plain, &cheap},
    PasswordScheme{"CLEAR", Encoding::none, 0, &verify_plain, &cheap},
    PasswordScheme{"CLEARTEXT", Encoding::none, 0, &verify_plain, &cheap},
    PasswordScheme{"CRYPT", Encoding::none, 0, &verify_crypt, &crypt_work},
    PasswordScheme{"DES-CRYPT", Encoding::none, 0, &verify_crypt, &crypt_work},
    PasswordScheme{"MD5-CRYPT", Encoding::none, 0, &verify_crypt, &crypt_work},
    PasswordScheme{"SHA256-CRYPT", Encoding::none, 0, &verify_crypt, &crypt_work},
    PasswordScheme{"SHA512-CRYPT", Encoding::none, 0, &verify_crypt, &crypt_work},
    PasswordScheme{"BLF-CRYPT", Encoding::none, 0, &verify_crypt, &crypt_work},
    PasswordScheme{"MD5", Encoding::none, 0, &verify_md5, &crypt_work},
    PasswordScheme{"PLAIN-MD5", Encoding::hex, 16, &verify_digest<&EVP_md5>, &cheap},
    PasswordScheme{"LDAP-MD5", Encoding::base64, 16, &verify_digest<&EVP_md5>, &cheap},
    PasswordScheme{"SMD5", Encoding::base64, 0, &verify_salted<&EVP_md5>, &cheap},
    PasswordScheme{"SHA", Encoding::base64, 20, &verify_digest<&EVP_sha1>, &cheap},
    PasswordScheme{"SHA1", Encoding::base64, 20, &verify_digest<&EVP_sha1>, &cheap},
    PasswordScheme{"SHA256", Encoding::base64, 32, &verify_digest<&EVP_sha256>, &cheap},
    PasswordScheme{"SHA512", Encoding::base64, 64, &verify_digest<&EVP_sha512>, &cheap},
    PasswordScheme{"SSHA", Encoding::base64, 0, &verify_salted<&EVP_sha1>, &cheap},
    PasswordScheme{"SSHA256", Encoding::base64, 0, &verify_salted<&EVP_sha256>, &cheap},
    PasswordScheme{"SSHA512", Encoding::base64, 0, &verify_salted<&EVP_sha512>, &cheap},
    PasswordScheme{"ARGON2", Encoding::none, 0, &verify_argon2, &argon2_work},
    PasswordScheme{"ARGON2I", Encoding::none, 0, &verify_argon2, &argon2_work},
    PasswordScheme{"ARGON2ID", Encoding::none, 0, &verify_argon2, &argon2_work},
    PasswordScheme{"PBKDF2", Encoding::none, 0, &verify_pbkdf2, &pbkdf2_work},
};

std::string not_valid(std::string_view scheme) {
  return "Password data is not valid for scheme " + std::string(scheme);
}

/// Removes the encoding. An empty text is success.
std::string decode(Encoding encoding, std::string_view name, std::string_view data,
                   StoredPassword& out) {
  switch (encoding) {
    case Encoding::none:
      out.data = Secret(data);
      break;
    case Encoding::hex: {
      const auto raw = hex_decode(data);
      if (!raw) return not_valid(name) + ": Input isn't valid HEX data";
      out.data = Secret(*raw);
      break;
    }
    case Encoding::base64: {
      auto raw = base64_decode(data);
      if (!raw) return not_valid(name) + ": Input isn't valid base64 data";
      out.data = Secret(std::move(*raw));
      break;
    }
  }
  const std::size_t size = out.scheme->size;
  if (size != 0 && out.data.size() != size) {
    return not_valid(name) + ": Input length isn't valid (" + std::to_string(out.data.size()) +
           " instead of " + std::to_string(size) + ")";
  }
  return {};
}

std::optional<Encoding> encoding_of(std::string_view name) {
  if (same_text(name, "b64") || same_text(name, "base64")) return Encoding::base64;
  if (same_text(name, "hex")) return Encoding::hex;
  return std::nullopt;
}

}  // namespace

const PasswordScheme* find_scheme(std::string_view name) noexcept {
  for (const PasswordScheme& scheme : kSchemes) {
    if (same_text(scheme.name, name)) return &scheme;
  }
  return nullptr;
}

bool is_in_clear(const PasswordScheme& scheme) noexcept {
  return scheme.verify == &verify_plain;
}

std::string split_stored(std::string_view stored, std::string_view default_scheme,
                         StoredPassword& out) {
  std::string_view name = default_scheme;
  const std::size_t brace = stored.starts_with('{') ? stored.find('}') : std::string_view::npos;
  if (brace != std::string_view::npos) {
    name = stored.substr(1, brace - 1);
    stored.remove_prefix(brace + 1);
  }
  const std::string_view full = name;
  const std::size_t dot = name.find('.');
  std::optional<Encoding> encoding;
  if (dot != std::string_view::npos) {
    encoding = encoding_of(name.substr(dot + 1));
    name = name.substr(0, dot);
  }
  out.scheme = find_scheme(name);
  if (out.scheme == nullptr || (dot != std::string_view::npos && !encoding)) {
    return "Unknown scheme " + log_safe(full, 32);
  }
  // Digests may stand in hexadecimal as well: twice the length says so.
  if (!encoding && out.scheme->encoding == Encoding::base64 && out.scheme->size != 0 &&
      stored.size() == out.scheme->size * 2) {
    encoding = Encoding::hex;
  }
  return decode(encoding.value_or(out.scheme->encoding), out.scheme->name, stored, out);
}

bool can_be_password(std::string_view password) noexcept {
  return password.size() <= kMaxPassword && password.find('\0') == std::string_view::npos;
}

VerifyResult verify_password(const PasswordScheme& scheme, std::string_view stored,
                             std::string_view password) {
  if (!can_be_password(password)) return {Verdict::mismatch, {}};
  return scheme.verify(scheme, stored, password);
}

}  // namespace postern::auth
