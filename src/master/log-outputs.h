#pragma once

#include <string>
#include <utility>
#include <vector>

#include "config/settings.h"
#include "lib/handle.h"
#include "lib/result.h"

namespace postern::master {

/// The files that the log process writes to, by the word of wire::kFile ("error", "info", "debug").
/// The master opens them: the log process has no right to. syslog needs none.
using LogOutputs = std::vector<std::pair<std::string, UniqueFd>>;

/// @param stderr_fd  what /dev/stderr means: the master's own at its start
/// @param stdout_fd  what /dev/stdout means; -1: stderr_fd
/// @return an Error naming the file that cannot be opened, or is a link of somebody else's
Result<LogOutputs> open_log_outputs(const config::MasterSettings& settings, int stderr_fd,
                                    int stdout_fd = -1);
/// True if some lines are to go where only a master in the foreground has something.
bool needs_foreground(const config::MasterSettings& settings);

}  // namespace postern::master
