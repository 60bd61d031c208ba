#include "master/log-outputs.h"

#include <fcntl.h>

#include <array>
#include <cerrno>

#include "lib/text.h"

namespace postern::master {

Result<LogOutputs> open_log_outputs(const config::MasterSettings& settings, int stderr_fd) {
  const std::string& error = settings.log_path;
  const std::string& info = settings.info_log_path.empty() ? error : settings.info_log_path;
  const std::string& debug = settings.debug_log_path.empty() ? info : settings.debug_log_path;
  const std::array<std::pair<const char*, const std::string*>, 3> wanted{
      {{"error", &error}, {"info", &info}, {"debug", &debug}}};
  LogOutputs out;
  for (const auto& [level, path] : wanted) {
    if (*path == "syslog") continue;
    UniqueFd fd(
        *path == "/dev/stderr"
            ? fcntl(stderr_fd, F_DUPFD_CLOEXEC, 3)
            : ::open(path->c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0600));
    if (!fd) return system_error("open the log file " + log_safe(*path, 200), errno);
    out.emplace_back(level, std::move(fd));
  }
  return out;
}

}  // namespace postern::master
