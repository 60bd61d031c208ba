#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "config/table.h"
#include "config/value.h"
#include "lib/result.h"
#include "lib/secret.h"

/// The files the loader reads.
namespace postern::config {

/// More than this no file the configuration names may hold.
inline constexpr std::size_t kMaxFileBytes = 32UL * 1024 * 1024;

/// The whole of a regular file, into memory that is wiped. The Error names the path.
/// @param most  bytes; more is an Error
Result<WipingBuffer> read_file(const std::string& path, std::size_t most = kMaxFileBytes);
/// The certificates a directory holds under hashed names (5ed36f99.0), one after the other.
Result<WipingBuffer> read_ca_directory(const std::string& path);
/// The value of a setting that names a file or directory, by the kind of the setting.
Result<Value> read_value(const SettingRow& row, const std::string& path);
/// The files a pattern names, sorted; an Error if there are none.
Result<std::vector<std::string>> matching_files(const std::string& pattern);

/// `path` as seen from the directory `file` lies in.
std::string relative_to(const std::string& file, std::string_view path);
/// `path` from the root directory on, its last component as it is (a link stays one).
std::string absolute_path(const std::string& path);
/// What tells two files apart: the path without links, or `path` itself if it cannot be resolved.
std::string real_path(const std::string& path);

}  // namespace postern::config
