#pragma once

#include <cstddef>
#include <string_view>
#include <utility>

#include "lib/result.h"

/// Memory that another process made and sealed, read where it lies: as many processes as map it,
/// it is there once.
namespace postern::io {

class MappedMemory {
 public:
  MappedMemory() = default;
  /// @param fd  a memfd that can neither change nor shrink any more (F_SEAL_WRITE, F_SEAL_SHRINK);
  ///            it may be closed afterwards
  static Result<MappedMemory> map(int fd);
  MappedMemory(MappedMemory&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  MappedMemory& operator=(MappedMemory&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~MappedMemory();
  std::string_view view() const noexcept { return {static_cast<const char*>(data_), size_}; }

 private:
  void* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace postern::io
