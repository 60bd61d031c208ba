#include "io/mapped-memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>

namespace postern::io {

Result<MappedMemory> MappedMemory::map(int fd) {
  // Memory that shrinks under us would be a SIGBUS, memory that changes would not be what was
  // checked.
  constexpr int kNeeded = F_SEAL_SHRINK | F_SEAL_WRITE;
  const int seals = ::fcntl(fd, F_GET_SEALS);
  if (seals < 0 || (seals & kNeeded) != kNeeded) return Error{EINVAL, "memory without seals"};
  struct stat status {};
  if (::fstat(fd, &status) != 0) return system_error("fstat", errno);
  MappedMemory out;
  if (status.st_size == 0) return out;
  const auto size = static_cast<std::size_t>(status.st_size);
  void* const data = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, 0);
  if (data == MAP_FAILED) return system_error("mmap", errno);
  out.data_ = data;
  out.size_ = size;
  return out;
}

MappedMemory::~MappedMemory() {
  if (data_ != nullptr) ::munmap(data_, size_);
}

}  // namespace postern::io
