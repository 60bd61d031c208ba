#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "lib/handle.h"
#include "lib/result.h"

/// login_proxy_rawlog_dir: what goes between us and one backend, inside TLS, in two files that the
/// operator reads. For the search of errors only: it writes to the disk in the event loop.
namespace postern::login {

/// Makes our commands before the login fit to be read by others: what is not known to be harmless
/// is replaced by its size, "L LOGIN <18 octets>".
class SecretMask {
 public:
  /// @param line  the next one, without its end
  std::string mask(std::string_view line);

 private:
  /// Credentials, or a literal, have begun: whatever its words look like, it is none of ours.
  bool begun_ = false;
};

class RawLog {
 public:
  /// Makes DIRECTORY/<YYYYMMDD>-<HHMMSS>.<pid>.<n>.in (of the backend) and .out (to it), readable
  /// by us alone. Their lines begin with the time, "seconds.microseconds ".
  /// @param secrets  commands before the login are written as they are
  static Result<std::unique_ptr<RawLog>> open(const std::string& directory, bool secrets);

  /// Bytes as they came or went. An error ends the file; it is logged once.
  void in(std::string_view bytes);
  void out(std::string_view bytes);
  /// Whole lines that we write before the login.
  void out_commands(std::string_view lines);

 private:
  struct File {
    UniqueFd fd;
    std::string name;
    bool inside_line = false;
  };
  RawLog() = default;
  static void write(File& file, std::string_view bytes);

  File in_, out_;
  SecretMask mask_;
  bool secrets_ = false;
};

}  // namespace postern::login
