#pragma once

#include <sys/stat.h>

#include <chrono>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "auth/environment.h"
#include "lib/result.h"
#include "lib/secret.h"

namespace postern::auth {

/// One line of a passwd-file: `user:password:uid:gid:gecos:home:shell:extra fields`.
struct PasswdEntry {
  std::string user;
  Secret password;
  bool has_password = false;  // a second part, even an empty one
  std::string uid, gid, home;
  std::vector<std::string> extra;  // KEY=VALUE, not expanded; of the old format: userdb_mail=…
};

/// The users of one file, in its order.
class PasswdTable {
 public:
  /// Reads the text of a file. Lines that are empty or begin with `#` or `:` are skipped; of two
  /// lines for one user the first counts.
  /// @param problems  "line N: what is wrong", for each line that was skipped as bad
  static PasswdTable parse(std::string_view text, std::vector<std::string>& problems);

  const PasswdEntry* find(std::string_view user) const noexcept;
  const std::vector<PasswdEntry>& entries() const noexcept { return entries_; }

 private:
  std::vector<PasswdEntry> entries_;
  std::unordered_map<std::string, std::size_t> by_name_;
};

/// A file that is read again when it has changed (modification and change time, size, inode; looked
/// at once a second at most). A file that cannot be read any more keeps what it last held.
class PasswdFile {
 public:
  explicit PasswdFile(std::string path) : path_(std::move(path)) {}
  /// The table as of now, or an Error whose code is the errno (ENOENT …) when there is none.
  Result<const PasswdTable*> table(TimePoint now);
  const std::string& path() const noexcept { return path_; }
  TimePoint last_used() const noexcept { return last_used_; }

 private:
  Status reload(const struct stat& status);

  std::string path_;
  PasswdTable table_;
  bool loaded_ = false;
  bool complained_ = false;
  TimePoint checked_{};
  TimePoint last_used_{};
  bool ever_checked_ = false;
  struct stat status_ {};
  Error error_;
};

/// The name as it stands in a file: `:`, backslash and line ends get a backslash.
std::string escape_passwd_name(std::string_view name);

}  // namespace postern::auth
