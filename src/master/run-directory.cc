#include "master/run-directory.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string_view>

#include "lib/text.h"
#include "master/listener.h"

namespace postern::master {
namespace {

constexpr int kLockAttempts = 10;

Status prepare_directory(const std::string& path, mode_t mode, gid_t group) {
  const bool made = mkdir(path.c_str(), mode) == 0;
  if (!made && errno != EEXIST) return system_error("mkdir(" + log_safe(path) + ")", errno);
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) return system_error(log_safe(path), errno);
  struct stat found {};
  if (fstat(fd.get(), &found) != 0) return system_error(log_safe(path), errno);
  if (found.st_uid != geteuid() && found.st_uid != 0) {
    return Error{EPERM, log_safe(path) + " belongs to another user"};
  }
  if (found.st_uid != geteuid()) return Done{};  // root's; what we may do there, bind() will say
  if ((found.st_mode & S_IWOTH) != 0) {
    return Error{EPERM, log_safe(path) + " can be written to by everyone"};
  }
  if (fchown(fd.get(), static_cast<uid_t>(-1), group) != 0) {
    return system_error("chown(" + log_safe(path) + ")", errno);
  }
  // An operator's own mode stays, unless it shuts the processes out.
  const mode_t wanted = made ? mode : (found.st_mode & 07777) | mode;
  if ((found.st_mode & 07777) != wanted && fchmod(fd.get(), wanted) != 0) {
    return system_error("chmod(" + log_safe(path) + ")", errno);
  }
  return Done{};
}

}  // namespace

Status prepare_run_directory(const std::string& base_dir, gid_t login_group) {
  if (!base_dir.starts_with('/')) return Error{EINVAL, "base_dir is not an absolute path"};
  if (auto made = make_parents(base_dir); !made.ok()) return made;
  const auto none = static_cast<gid_t>(-1);
  if (auto made = prepare_directory(base_dir, 0755, none); !made.ok()) return made;
  if (auto made = prepare_directory(base_dir + "/empty", 0755, none); !made.ok()) return made;
  // What only the master connects to.
  if (auto made = prepare_directory(base_dir + "/internal", 0700, none); !made.ok()) return made;
  return prepare_directory(base_dir + "/login", 0750, login_group);
}

PidFile::PidFile(PidFile&& other) noexcept
    : fd_(std::move(other.fd_)), path_(std::move(other.path_)), was_left_(other.was_left_) {}

PidFile::~PidFile() {
  if (fd_) unlink(path_.c_str());
}

Result<PidFile> PidFile::lock(const std::string& path) {
  for (int attempt = 0; attempt < kLockAttempts; ++attempt) {
    UniqueFd fd(open(path.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0644));
    if (!fd) return system_error(log_safe(path), errno);
    if (flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
      if (errno != EWOULDBLOCK) return system_error("flock(" + log_safe(path) + ")", errno);
      char text[32];
      const ssize_t got = pread(fd.get(), text, sizeof text, 0);
      const auto pid =
          decimal(trim(std::string_view(text, got > 0 ? static_cast<std::size_t>(got - 1) : 0)), 1,
                  0x7fffffff);
      return Error{EWOULDBLOCK, "Postern is already running with PID " +
                                    (pid ? std::to_string(*pid) : std::string("?")) +
                                    " (read from " + log_safe(path) + ")"};
    }
    // Its last owner may have removed it between our open and our lock.
    struct stat opened {};
    struct stat named {};
    if (fstat(fd.get(), &opened) != 0) return system_error(log_safe(path), errno);
    if (stat(path.c_str(), &named) == 0 && opened.st_dev == named.st_dev &&
        opened.st_ino == named.st_ino) {
      return PidFile(std::move(fd), path, opened.st_size > 0);
    }
  }
  return Error{EAGAIN, log_safe(path) + " keeps being replaced"};
}

Status PidFile::write_pid() const {
  const std::string text = std::to_string(getpid()) + '\n';
  if (ftruncate(fd_.get(), 0) != 0 ||
      pwrite(fd_.get(), text.data(), text.size(), 0) != static_cast<ssize_t>(text.size())) {
    return system_error(log_safe(path_), errno);
  }
  return Done{};
}

}  // namespace postern::master
