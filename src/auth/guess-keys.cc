#include "auth/guess-keys.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <array>
#include <cstring>

#include "lib/secret.h"

namespace postern::auth {
namespace {

std::uint32_t keyed(const WipingBuffer& text) {
  constexpr std::size_t kKey = 32;
  static const std::array<unsigned char, kKey> key = [] {
    std::array<unsigned char, kKey> random{};
    if (RAND_priv_bytes(random.data(), kKey) != 1) random.fill(0);
    return random;
  }();
  const void* const bytes = text.view().data();
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  // Should it fail everybody is one: penalties are longer, and nobody gets in by it.
  static_cast<void>(HMAC(EVP_sha256(), key.data(), kKey, static_cast<const unsigned char*>(bytes),
                         text.size(), digest.data(), &size));
  std::uint32_t out = 0;
  std::memcpy(&out, digest.data(), sizeof out);
  return out == 0 ? 1 : out;
}

}  // namespace

std::uint32_t guess_key(std::string_view user, std::string_view password) {
  WipingBuffer text("p");
  text.append(user).append(std::string_view("\0", 1)).append(password);
  return keyed(text);
}

std::uint32_t user_key(std::string_view user) {
  WipingBuffer text("u");
  text.append(user);
  return keyed(text);
}

}  // namespace postern::auth
