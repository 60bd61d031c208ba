#include "master/file-print.h"

#include <sys/stat.h>

namespace postern::master {
namespace {

std::int64_t nanoseconds(const timespec& time) noexcept {
  return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

}  // namespace

FilePrint FilePrint::of(const std::string& path) noexcept {
  struct stat status {};
  FilePrint out;
  if (::stat(path.c_str(), &status) != 0) return out;
  out.device = status.st_dev;
  out.inode = status.st_ino;
  out.size = static_cast<std::uint64_t>(status.st_size);
  out.changed_ns = nanoseconds(status.st_ctim);
  out.modified_ns = nanoseconds(status.st_mtim);
  return out;
}

}  // namespace postern::master
