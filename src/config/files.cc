#include "config/files.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <glob.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstdlib>

#include "lib/handle.h"
#include "lib/text.h"

namespace postern::config {
namespace {

std::string shown(const std::string& path) {
  return log_safe_line(path, PATH_MAX);
}

/// Eight hexadecimal digits, a dot, a number: how OpenSSL finds a CA certificate.
bool is_hashed_name(std::string_view name) {
  if (name.size() < 10 || name[8] != '.') return false;
  const bool hex = std::all_of(name.begin(), name.begin() + 8, [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
  });
  return hex && decimal(name.substr(9), 0, 9999).has_value();
}

/// The text of a file as a value: an editor's line end at the end is not meant.
std::string_view without_line_end(std::string_view text) noexcept {
  if (text.ends_with('\n')) text.remove_suffix(1);
  if (text.ends_with('\r')) text.remove_suffix(1);
  return text;
}

}  // namespace

Result<Value> read_value(const SettingRow& row, const std::string& path) {
  const Result<WipingBuffer> content =
      row.content == Content::ca_dir ? read_ca_directory(path) : read_file(path);
  if (!content.ok()) return content.error();
  const std::string_view bytes = content.value().view();
  return Value(row.content == Content::text ? without_line_end(bytes) : bytes, path);
}

Result<WipingBuffer> read_file(const std::string& path, std::size_t most) {
  // O_NONBLOCK: a FIFO must not stop the start.
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) return system_error("cannot read " + shown(path), errno);
  struct stat info {};
  if (fstat(fd.get(), &info) != 0) return system_error("cannot read " + shown(path), errno);
  if (S_ISDIR(info.st_mode)) return system_error("cannot read " + shown(path), EISDIR);
  if (!S_ISREG(info.st_mode)) {
    return Error{EINVAL, fmt::format("cannot read {}: it is not a regular file", shown(path))};
  }
  WipingBuffer out;
  while (out.size() <= most) {
    const std::size_t step = std::max<std::size_t>(
        4096, static_cast<std::size_t>(info.st_size) -
                  std::min<std::size_t>(static_cast<std::size_t>(info.st_size), out.size()));
    const std::size_t room = std::min<std::size_t>(step, 1024UL * 1024);
    const ssize_t n = read(fd.get(), out.reserve(room), room);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return system_error("cannot read " + shown(path), errno);
    if (n == 0) return out;
    out.commit(static_cast<std::size_t>(n));
  }
  return Error{EFBIG,
               fmt::format("cannot read {}: it holds more than {} bytes", shown(path), most)};
}

Result<WipingBuffer> read_ca_directory(const std::string& path) {
  const Handle<DIR, closedir> directory(opendir(path.c_str()));
  if (!directory) return system_error("cannot read " + shown(path), errno);
  std::vector<std::string> names;
  // NOLINTNEXTLINE(concurrency-mt-unsafe): the stream is ours alone
  while (const dirent* entry = readdir(directory.get())) {
    if (is_hashed_name(entry->d_name)) names.emplace_back(entry->d_name);
  }
  if (names.empty()) {
    return Error{ENOENT, fmt::format("{} holds no certificate under its hashed name (openssl "
                                     "rehash makes the names)",
                                     shown(path))};
  }
  std::sort(names.begin(), names.end());
  WipingBuffer out;
  for (const std::string& name : names) {
    Result<WipingBuffer> one = read_file(fmt::format("{}/{}", path, name));
    if (!one.ok()) return one.error();
    if (out.size() + one.value().size() > kMaxFileBytes) {
      return Error{EFBIG, fmt::format("{} holds more than {} bytes", shown(path), kMaxFileBytes)};
    }
    out += one.value().view();
    out += '\n';
  }
  return out;
}

Result<std::vector<std::string>> matching_files(const std::string& pattern) {
  glob_t found{};
  // NOLINTNEXTLINE(concurrency-mt-unsafe): the master has one thread
  const int status = glob(pattern.c_str(), 0, nullptr, &found);
  std::vector<std::string> out;
  if (status == 0) out.assign(found.gl_pathv, found.gl_pathv + found.gl_pathc);
  globfree(&found);
  if (status == 0) {
    // glob() sorts as the locale has it; the order shall be the same everywhere.
    std::sort(out.begin(), out.end());
    return out;
  }
  if (status == GLOB_NOSPACE) return Error{ENOMEM, "out of memory"};
  return Error{ENOENT, fmt::format("no file matches {}", shown(pattern))};
}

std::string relative_to(const std::string& file, std::string_view path) {
  if (path.starts_with('/')) return std::string(path);
  const std::size_t slash = file.rfind('/');
  return slash == std::string::npos ? std::string(path)
                                    : file.substr(0, slash + 1) + std::string(path);
}

std::string absolute_path(const std::string& path) {
  if (path.starts_with('/')) return path;
  std::array<char, PATH_MAX> buffer{};
  if (getcwd(buffer.data(), buffer.size()) == nullptr) return path;
  return std::string(buffer.data()) + "/" + path;
}

std::string real_path(const std::string& path) {
  const Handle<char, std::free> resolved(realpath(path.c_str(), nullptr));
  return resolved ? std::string(resolved.get()) : path;
}

}  // namespace postern::config
