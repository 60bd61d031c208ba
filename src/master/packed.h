#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "lib/secret.h"

/// Numbers and texts in a row, from a process that reads files (master/file-job.h) to the master:
/// each number is 8 bytes little endian, each text its length and its bytes.
namespace postern::master {

class PackWriter {
 public:
  void number(std::uint64_t value);
  void text(std::string_view bytes);
  WipingBuffer take() noexcept;

 private:
  WipingBuffer bytes_;
};

/// Once something is missing everything is 0 and empty, and good() is false.
class PackReader {
 public:
  /// @param bytes  borrowed: they outlive what text() gives
  explicit PackReader(std::string_view bytes) : bytes_(bytes) {}
  std::uint64_t number() noexcept;
  /// A number of things that follow: each takes at least a byte, so it is bounded by what is there.
  std::size_t count() noexcept;
  std::string_view text() noexcept;
  bool good() const noexcept { return good_; }
  /// All was there, and nothing is left.
  bool at_end() const noexcept { return good_ && bytes_.empty(); }

 private:
  std::string_view take(std::uint64_t size) noexcept;

  std::string_view bytes_;
  bool good_ = true;
};

}  // namespace postern::master
