#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <utility>

namespace postern {

/// A growable run of bytes that is wiped whenever memory leaves it: on growth, consume-to-empty,
/// assignment and destruction. It holds protocol input and output, which may carry credentials.
/// Move-only, so that no copy is made by accident; not printable.
class WipingBuffer {
 public:
  WipingBuffer() = default;
  explicit WipingBuffer(std::string_view text) { append(text); }
  WipingBuffer(WipingBuffer&& other) noexcept { swap(other); }
  WipingBuffer& operator=(WipingBuffer&& other) noexcept {
    if (this != &other) {
      free_all();
      swap(other);
    }
    return *this;
  }
  WipingBuffer(const WipingBuffer&) = delete;
  WipingBuffer& operator=(const WipingBuffer&) = delete;
  ~WipingBuffer() { free_all(); }

  WipingBuffer& append(std::string_view text);
  WipingBuffer& append(char c) { return append(std::string_view(&c, 1)); }
  WipingBuffer& operator+=(std::string_view text) { return append(text); }
  WipingBuffer& operator+=(char c) { return append(c); }

  std::string_view view() const noexcept { return {data_ + begin_, size_}; }
  std::size_t size() const noexcept { return size_; }
  bool empty() const noexcept { return size_ == 0; }

  /// Forgets the first `n` bytes (at most size()); wipes and frees everything once empty.
  void consume(std::size_t n) noexcept;
  /// Wipes and frees everything.
  void clear() noexcept { free_all(); }
  /// Room for at least `n` more bytes at the end; pair it with commit().
  char* reserve(std::size_t n);
  /// Takes over `n` bytes written into the last reserve()d room.
  void commit(std::size_t n) noexcept { size_ += n; }

  void swap(WipingBuffer& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(begin_, other.begin_);
    std::swap(size_, other.size_);
    std::swap(capacity_, other.capacity_);
  }

 private:
  void free_all() noexcept;

  char* data_ = nullptr;
  std::uint32_t begin_ = 0;
  std::uint32_t capacity_ = 0;
  std::size_t size_ = 0;
};

/// A password, token or key from the moment it leaves the parser: move-only, wiped on destruction
/// and assignment, never printed. Only the call that writes or hashes it says reveal().
class Secret {
 public:
  Secret() = default;
  explicit Secret(std::string_view text) : bytes_(text) {}
  explicit Secret(WipingBuffer&& bytes) noexcept : bytes_(std::move(bytes)) {}

  std::string_view reveal() const noexcept { return bytes_.view(); }
  std::size_t size() const noexcept { return bytes_.size(); }
  bool empty() const noexcept { return bytes_.empty(); }
  /// In constant time for equal lengths.
  bool equals(std::string_view other) const noexcept;
  /// A second owner, said aloud.
  Secret copy() const { return Secret(reveal()); }
  void clear() noexcept { bytes_.clear(); }

 private:
  WipingBuffer bytes_;
};

/// Constant-time equality of two byte strings (the lengths are not hidden).
bool equal_in_constant_time(std::string_view a, std::string_view b) noexcept;

}  // namespace postern
