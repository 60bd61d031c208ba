#pragma once

#include <sys/types.h>

#include <string>

#include "lib/handle.h"
#include "lib/result.h"

/// `base_dir` and what shows that a master runs there. Spec: master.md section 1.1.
namespace postern::master {

/// Makes base_dir (0755), base_dir/empty (0755, the chroot of processes that need no file),
/// base_dir/internal (0700, sockets that only the master connects to) and base_dir/login (0750, of
/// `login_group`; -1 leaves the group). Refuses directories that are symbolic links, belong to
/// somebody else or can be written to by others: who can write there can put a socket in front of
/// ours.
Status prepare_run_directory(const std::string& base_dir, gid_t login_group);

/// base_dir/master.pid, locked as long as the master lives: the lock, not the number, says that it
/// does.
class PidFile {
 public:
  PidFile() = default;
  ~PidFile();
  PidFile(PidFile&& other) noexcept;
  PidFile& operator=(PidFile&&) = delete;
  PidFile(const PidFile&) = delete;
  PidFile& operator=(const PidFile&) = delete;

  /// Takes the lock and leaves the number alone. EWOULDBLOCK in the Error: "Postern is already
  /// running with PID N (read from …)".
  static Result<PidFile> lock(const std::string& path);
  /// Writes this process's number; call it after the last fork of the start.
  Status write_pid() const;
  /// The last owner did not remove the file: it was killed.
  bool was_left() const noexcept { return was_left_; }

 private:
  PidFile(UniqueFd fd, std::string path, bool was_left)
      : fd_(std::move(fd)), path_(std::move(path)), was_left_(was_left) {}
  UniqueFd fd_;
  std::string path_;
  bool was_left_ = false;
};

}  // namespace postern::master
