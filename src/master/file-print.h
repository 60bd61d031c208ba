#pragma once

#include <cstdint>
#include <string>

#include "master/packed.h"

/// What tells that a file is not what it was.
namespace postern::master {

struct FilePrint {
  std::uint64_t device = 0, inode = 0, size = 0;
  std::int64_t changed_ns = 0, modified_ns = 0;
  bool operator==(const FilePrint&) const = default;

  /// Links are followed: certbot and others change where one points. All zero: it is not there.
  static FilePrint of(const std::string& path) noexcept;

  /// As no file is, nor one that is not there: of a file that was not looked at.
  static FilePrint none() noexcept;

  void pack(PackWriter& out) const;
  static FilePrint unpack(PackReader& in) noexcept;
};

}  // namespace postern::master
