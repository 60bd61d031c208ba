#pragma once

#include <unistd.h>

#include <memory>
#include <utility>

namespace postern {

/// The deleter of a C object; as small as the pointer.
template <auto Free>
struct FreeWith {
  template <class T>
  void operator()(T* p) const noexcept {
    Free(p);  // NOLINT(cppcoreguidelines-owning-memory): this is the owner
  }
};

/// Owns a C object: `using Ssl = Handle<SSL, SSL_free>;`
template <class T, auto Free>
using Handle = std::unique_ptr<T, FreeWith<Free>>;

/// Owns a file descriptor; -1 is none. Descriptors are close-on-exec from birth (who opens sees to
/// it).
class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) noexcept : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(other.release()) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) reset(other.release());
    return *this;
  }
  UniqueFd(const UniqueFd&) = delete;
  UniqueFd& operator=(const UniqueFd&) = delete;
  ~UniqueFd() { reset(); }

  int get() const noexcept { return fd_; }
  explicit operator bool() const noexcept { return fd_ >= 0; }
  /// Gives the descriptor away.
  int release() noexcept { return std::exchange(fd_, -1); }
  /// Closes what it held and takes `fd`.
  void reset(int fd = -1) noexcept {
    if (fd_ >= 0) ::close(fd_);
    fd_ = fd;
  }

 private:
  int fd_ = -1;
};

}  // namespace postern
