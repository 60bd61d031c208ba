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
/// @return an Error naming the file that cannot be opened
Result<LogOutputs> open_log_outputs(const config::MasterSettings& settings, int stderr_fd);

}  // namespace postern::master
