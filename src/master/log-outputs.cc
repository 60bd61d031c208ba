#include "master/log-outputs.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "lib/text.h"

namespace postern::master {
namespace {

constexpr std::string_view kStdout = "/dev/stdout";
constexpr std::string_view kStderr = "/dev/stderr";

struct Paths {
  std::string error, info, debug;
};

Paths paths_of(const config::MasterSettings& settings) {
  Paths out;
  out.error = settings.log_path;
  out.info = settings.info_log_path.empty() ? out.error : settings.info_log_path;
  out.debug = settings.debug_log_path.empty() ? out.info : settings.debug_log_path;
  return out;
}

/// For appending. A symbolic link is followed if it is root's or ours: others could aim it at any
/// file. A named pipe that nobody reads is an Error and not waited for.
UniqueFd open_file(const std::string& path) {
  constexpr int kFlags = O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
  UniqueFd fd(::open(path.c_str(), kFlags | O_NOFOLLOW, 0600));
  if (fd || errno != ELOOP) return fd;
  struct stat link {};
  if (lstat(path.c_str(), &link) != 0) return {};
  if (link.st_uid != 0 && link.st_uid != geteuid()) {
    errno = ELOOP;
    return {};
  }
  fd.reset(::open(path.c_str(), kFlags, 0600));
  return fd;
}

}  // namespace

Result<LogOutputs> open_log_outputs(const config::MasterSettings& settings, int stderr_fd,
                                    int stdout_fd) {
  const Paths paths = paths_of(settings);
  const std::array<std::pair<const char*, const std::string*>, 3> wanted{
      {{"error", &paths.error}, {"info", &paths.info}, {"debug", &paths.debug}}};
  LogOutputs out;
  for (const auto& [level, path] : wanted) {
    if (*path == "syslog") continue;
    UniqueFd fd;
    if (*path == kStderr || (*path == kStdout && stdout_fd < 0)) {
      fd.reset(fcntl(stderr_fd, F_DUPFD_CLOEXEC, 3));
    } else if (*path == kStdout) {
      fd.reset(fcntl(stdout_fd, F_DUPFD_CLOEXEC, 3));
    } else {
      fd = open_file(*path);
    }
    if (!fd) return system_error("open the log file " + log_safe(*path, 200), errno);
    out.emplace_back(level, std::move(fd));
  }
  return out;
}

bool needs_foreground(const config::MasterSettings& settings) {
  const Paths paths = paths_of(settings);
  for (const std::string* path : {&paths.error, &paths.info, &paths.debug}) {
    if (*path == kStdout || *path == kStderr) return true;
  }
  return false;
}

}  // namespace postern::master
