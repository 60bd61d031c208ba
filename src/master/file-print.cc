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

FilePrint FilePrint::none() noexcept {
  FilePrint out;
  out.device = ~std::uint64_t{0};
  return out;
}

void FilePrint::pack(PackWriter& out) const {
  for (const std::uint64_t number : {device, inode, size, static_cast<std::uint64_t>(changed_ns),
                                     static_cast<std::uint64_t>(modified_ns)}) {
    out.number(number);
  }
}

FilePrint FilePrint::unpack(PackReader& in) noexcept {
  FilePrint out;
  out.device = in.number();
  out.inode = in.number();
  out.size = in.number();
  out.changed_ns = static_cast<std::int64_t>(in.number());
  out.modified_ns = static_cast<std::int64_t>(in.number());
  return out;
}

}  // namespace postern::master
