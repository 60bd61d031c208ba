// Schemes that cost time on purpose. What a stored hash may ask for is bounded: whoever can write
// into the user database must not be able to occupy a worker for hours or all memory with one row.
#include <argon2.h>
#include <crypt.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <optional>

#include "auth/password-scheme.h"
#include "lib/text.h"

namespace postern::auth {
namespace {

constexpr std::size_t kShortestHash = 13;
constexpr std::uint64_t kMaxShaRounds = 5'000'000;
constexpr std::uint64_t kMaxBcryptCost = 16;
constexpr std::uint64_t kMaxMemoryKiB = std::uint64_t{256} * 1024;  // of one comparison
constexpr std::uint64_t kMaxArgonWork = 8 * kMaxMemoryKiB;          // KiB × passes
constexpr std::uint64_t kMaxPbkdf2Rounds = 10'000'000;

// See PasswordScheme::work.
constexpr std::uint64_t kShaRoundsPerMicrosecond = 3;
constexpr std::uint64_t kBcryptMicroseconds = 60;  // of cost 0
constexpr std::uint64_t kScryptMicroseconds = 3;   // per KiB
constexpr std::uint64_t kPbkdf2RoundsPerMicrosecond = 2;

VerifyResult broken(const PasswordScheme& scheme, std::string_view why) {
  return {Verdict::broken, std::string(scheme.name) + " password " + std::string(why)};
}

/// crypt(5)'s alphabet.
int crypt_digit(char c) noexcept {
  constexpr std::string_view kDigits =
      "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  const std::size_t at = kDigits.find(c);
  return at == std::string_view::npos ? -1 : static_cast<int>(at);
}

/// Memory of (ye)scrypt: N·r·128 bytes.
bool scrypt_too_big(int log2_n, int r) noexcept {
  if (log2_n < 0 || r < 0 || log2_n > 24) return true;
  return ((std::uint64_t{1} << log2_n) * static_cast<std::uint64_t>(r) * 128) / 1024 >
         kMaxMemoryKiB;
}

std::uint64_t scrypt_work(int log2_n, int r) noexcept {
  if (scrypt_too_big(log2_n, r)) return 1;  // refused
  const std::uint64_t bytes = (std::uint64_t{1} << log2_n) * static_cast<std::uint64_t>(r) * 128;
  return 1 + bytes / 1024 * kScryptMicroseconds;
}

/// Empty if the work a libcrypt hash asks for is within bounds.
std::string_view over_budget(std::string_view stored) {
  if (stored.starts_with("$5$") || stored.starts_with("$6$")) {
    std::string_view rest = stored.substr(3);
    if (!rest.starts_with("rounds=")) return {};
    rest.remove_prefix(7);
    return decimal(rest.substr(0, rest.find('$')), 1, kMaxShaRounds) ? std::string_view{}
                                                                     : "asks for too many rounds";
  }
  if (stored.starts_with("$2")) {
    return stored.size() > 6 && decimal(stored.substr(4, 2), 4, kMaxBcryptCost)
               ? std::string_view{}
               : "asks for too high a cost";
  }
  if (stored.starts_with("$y$") || stored.starts_with("$gy$")) {
    const std::string_view p = stored.substr(stored.find('$', 1) + 1);
    if (p.size() < 4 || scrypt_too_big(crypt_digit(p[1]) + 1, crypt_digit(p[2]) + 1))
      return "asks for too much memory";
    return {};
  }
  if (stored.starts_with("$7$")) {
    if (stored.size() < 9) return "is too short";
    int r = 0;
    for (std::size_t i = 0; i < 5; i++) {
      const int digit = crypt_digit(stored[4 + i]);
      if (digit < 0 || (i >= 2 && digit != 0)) return "asks for too much memory";
      r |= digit << (6 * i);
    }
    return scrypt_too_big(crypt_digit(stored[3]), r) ? std::string_view{"asks for too much memory"}
                                                     : std::string_view{};
  }
  // SunMD5, SHA1-crypt, BSDi DES carry free iteration counts; nobody's mail database needs them.
  if (stored.starts_with("$md5") || stored.starts_with("$sha1") || stored.starts_with('_')) {
    return "is of a kind that is not supported";
  }
  return {};
}

/// The prefix a scheme's data must have: a named scheme is not a licence for another.
bool right_kind(std::string_view scheme, std::string_view stored) {
  if (scheme == "SHA256-CRYPT") return stored.starts_with("$5$");
  if (scheme == "SHA512-CRYPT") return stored.starts_with("$6$");
  if (scheme == "BLF-CRYPT") return stored.starts_with("$2");
  if (scheme == "MD5-CRYPT" || scheme == "MD5") return stored.starts_with("$1$");
  if (scheme == "DES-CRYPT") return stored.size() == 13;
  return true;
}

struct WipeCryptData {
  void operator()(crypt_data* p) const noexcept {
    OPENSSL_cleanse(p, sizeof(*p));
    const std::unique_ptr<crypt_data> freed(p);
  }
};

}  // namespace

std::uint64_t crypt_work(std::string_view stored) {
  if (!stored.starts_with('$') || stored.starts_with("$1$")) return 0;
  if (stored.starts_with("$5$") || stored.starts_with("$6$")) {
    constexpr std::uint64_t kDefaultRounds = 5000;
    std::string_view rest = stored.substr(3);
    if (!rest.starts_with("rounds=")) return kDefaultRounds / kShaRoundsPerMicrosecond;
    rest.remove_prefix(7);
    const auto rounds = decimal(rest.substr(0, rest.find('$')), 1, kMaxShaRounds);
    return 1 + rounds.value_or(0) / kShaRoundsPerMicrosecond;
  }
  if (stored.starts_with("$2") && stored.size() > 6) {
    const auto cost = decimal(stored.substr(4, 2), 4, kMaxBcryptCost);
    return cost ? kBcryptMicroseconds << *cost : 1;
  }
  if (stored.starts_with("$y$") || stored.starts_with("$gy$")) {
    const std::string_view p = stored.substr(stored.find('$', 1) + 1);
    return p.size() < 4 ? 1 : scrypt_work(crypt_digit(p[1]) + 1, crypt_digit(p[2]) + 1);
  }
  if (stored.starts_with("$7$") && stored.size() > 8) {
    return scrypt_work(crypt_digit(stored[3]), crypt_digit(stored[4]));
  }
  return 1;
}

VerifyResult verify_crypt(const PasswordScheme& scheme, std::string_view stored,
                          std::string_view password) {
  if (stored.empty() || stored.starts_with('*') || stored.starts_with('!'))
    return {Verdict::mismatch, {}};
  // Shorter than any hash libcrypt makes: the beginning of one, or plaintext that was left without
  // a scheme.
  if (stored.size() < kShortestHash && stored.starts_with('$')) return broken(scheme, "is no hash");
  if (stored.size() < kShortestHash) return {Verdict::mismatch, {}};
  if (!right_kind(scheme.name, stored)) return broken(scheme, "is of another kind");
  const std::string_view too_much = over_budget(stored);
  if (!too_much.empty()) return broken(scheme, too_much);

  const std::string setting(stored);
  const Secret phrase([password] {
    WipingBuffer b(password);
    b += '\0';
    return b;
  }());
  const std::unique_ptr<crypt_data, WipeCryptData> data(new crypt_data{});
  const char* hash =
      ::crypt_rn(phrase.reveal().data(), setting.c_str(), data.get(), sizeof(crypt_data));
  if (hash == nullptr) {
    if (errno == ENOMEM) return {Verdict::failed, "crypt() failed: out of memory"};
    return broken(scheme, "is no hash");
  }
  return {equal_in_constant_time(hash, stored) ? Verdict::match : Verdict::mismatch, {}};
}

namespace {

struct ArgonCost {
  std::uint64_t memory = 0, passes = 0, lanes = 0;
};

/// `$argon2id$v=19$m=65536,t=3,p=1$…`; `v=` may be missing (version 16).
std::optional<ArgonCost> argon_cost(std::string_view stored) {
  std::size_t at = stored.find("$m=");
  if (at == std::string_view::npos) return std::nullopt;
  at += 1;
  ArgonCost cost;
  for (const std::string_view part : words(stored.substr(at, stored.find('$', at) - at), ",")) {
    if (part.size() < 3 || part[1] != '=') return std::nullopt;
    const auto n = decimal(part.substr(2), 1, UINT32_MAX);
    if (!n) return std::nullopt;
    switch (part[0]) {
      case 'm':
        cost.memory = *n;
        break;
      case 't':
        cost.passes = *n;
        break;
      case 'p':
        cost.lanes = *n;
        break;
      default:
        return std::nullopt;
    }
  }
  return cost;
}

bool argon_too_big(const ArgonCost& cost) noexcept {
  return cost.memory > kMaxMemoryKiB || cost.lanes > 64 ||
         cost.memory * cost.passes > kMaxArgonWork;
}

}  // namespace

/// A microsecond for each KiB of each pass.
std::uint64_t argon2_work(std::string_view stored) {
  const auto cost = argon_cost(stored);
  return cost && !argon_too_big(*cost) ? 1 + cost->memory * cost->passes : 1;
}

std::uint64_t pbkdf2_work(std::string_view stored) {
  const std::vector<std::string_view> parts = words(stored, "$");
  const auto rounds = decimal(parts.size() < 3 ? "" : parts[2], 1, kMaxPbkdf2Rounds);
  return 1 + rounds.value_or(0) / kPbkdf2RoundsPerMicrosecond;
}

VerifyResult verify_argon2(const PasswordScheme& scheme, std::string_view stored,
                           std::string_view password) {
  argon2_type type = Argon2_id;
  if (stored.starts_with("$argon2i$"))
    type = Argon2_i;
  else if (!stored.starts_with("$argon2id$"))
    return broken(scheme, "is not an argon2 hash");
  if ((scheme.name == "ARGON2I" && type != Argon2_i) ||
      (scheme.name == "ARGON2ID" && type != Argon2_id)) {
    return broken(scheme, "is of another kind");
  }
  const auto cost = argon_cost(stored);
  if (!cost) return broken(scheme, "has no cost parameters");
  if (argon_too_big(*cost)) return broken(scheme, "asks for too much memory or time");
  const std::string encoded(stored);
  const int rc = argon2_verify(encoded.c_str(), password.data(), password.size(), type);
  if (rc == ARGON2_OK) return {Verdict::match, {}};
  if (rc == ARGON2_VERIFY_MISMATCH) return {Verdict::mismatch, {}};
  if (rc == ARGON2_MEMORY_ALLOCATION_ERROR || rc == ARGON2_THREAD_FAIL) {
    return {Verdict::failed, std::string("argon2 failed: ") + argon2_error_message(rc)};
  }
  return broken(scheme, "cannot be decoded");
}

VerifyResult verify_pbkdf2(const PasswordScheme& scheme, std::string_view stored,
                           std::string_view password) {
  if (!stored.starts_with("$1$")) return broken(scheme, "is not of the form $1$salt$rounds$hash");
  const std::vector<std::string_view> parts = words(stored.substr(3), "$");
  if (parts.size() != 3) return broken(scheme, "is not of the form $1$salt$rounds$hash");
  const auto rounds = decimal(parts[1], 1, kMaxPbkdf2Rounds);
  const auto expected = hex_decode(parts[2]);
  if (!rounds || !expected || expected->size() != 20)
    return broken(scheme, "is not of the form $1$salt$rounds$hash");
  std::array<unsigned char, 20> out{};
  // OpenSSL takes salts as unsigned bytes.
  std::array<unsigned char, 256> salt{};
  if (parts[0].size() > salt.size()) return broken(scheme, "has too long a salt");
  std::copy(parts[0].begin(), parts[0].end(), salt.begin());
  if (PKCS5_PBKDF2_HMAC(password.data(), static_cast<int>(password.size()), salt.data(),
                        static_cast<int>(parts[0].size()), static_cast<int>(*rounds), EVP_sha1(),
                        static_cast<int>(out.size()), out.data()) != 1) {
    return {Verdict::failed, "PBKDF2 failed"};
  }
  const std::string hash(out.begin(), out.end());
  return {equal_in_constant_time(hash, *expected) ? Verdict::match : Verdict::mismatch, {}};
}

}  // namespace postern::auth
