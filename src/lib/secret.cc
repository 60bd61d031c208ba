#include "lib/secret.h"

#include <openssl/crypto.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <limits>

#include "lib/check.h"

namespace postern {

void WipingBuffer::free_all() noexcept {
  if (data_ != nullptr) {
    OPENSSL_cleanse(data_, capacity_);
    std::free(data_);  // NOLINT(cppcoreguidelines-owning-memory): this class is the owner
  }
  data_ = nullptr;
  begin_ = capacity_ = 0;
  size_ = 0;
}

char* WipingBuffer::reserve(std::size_t n) {
  if (begin_ + size_ + n <= capacity_) return data_ + begin_ + size_;
  if (begin_ > 0 && size_ + n <= capacity_) {
    std::memmove(data_, data_ + begin_, size_);
    OPENSSL_cleanse(data_ + size_, begin_);
    begin_ = 0;
    return data_ + size_;
  }
  POSTERN_CHECK(size_ + n <= std::numeric_limits<std::uint32_t>::max() / 2);
  const std::size_t capacity = std::max<std::size_t>(128, std::max(size_ + n, 2 * size_));
  // NOLINTNEXTLINE(cppcoreguidelines-owning-memory)
  auto* const grown = static_cast<char*>(std::malloc(capacity));
  POSTERN_CHECK(grown != nullptr);
  if (size_ > 0) std::memcpy(grown, data_ + begin_, size_);
  const std::size_t size = size_;
  free_all();
  data_ = grown;
  capacity_ = static_cast<std::uint32_t>(capacity);
  size_ = size;
  return data_ + size_;
}

WipingBuffer& WipingBuffer::append(std::string_view text) {
  if (text.empty()) return *this;
  std::memcpy(reserve(text.size()), text.data(), text.size());
  size_ += text.size();
  return *this;
}

void WipingBuffer::consume(std::size_t n) noexcept {
  n = std::min(n, size_);
  if (n == size_) {
    free_all();
    return;
  }
  OPENSSL_cleanse(data_ + begin_, n);
  begin_ += static_cast<std::uint32_t>(n);
  size_ -= n;
}

bool equal_in_constant_time(std::string_view a, std::string_view b) noexcept {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

bool Secret::equals(std::string_view other) const noexcept {
  return equal_in_constant_time(reveal(), other);
}

}  // namespace postern
