#pragma once

#include <string>
#include <vector>

#include "master/supervisor.h"
#include "wire/control.h"

/// What posternctl's `service status` and `process status` show. Columns as Dovecot's doveadm has
/// them, and what it does not tell: generation, phase, clients and sessions. Times are unix times,
/// 0 for never.
namespace postern::master {

/// @param names  only these services; empty: all
/// @param emit   called for each row
void service_rows(Supervisor& supervisor, const std::vector<std::string>& names,
                  const std::function<void(const wire::ControlFields&)>& emit);
void process_rows(Supervisor& supervisor, const std::vector<std::string>& names,
                  const std::function<void(const wire::ControlFields&)>& emit);

}  // namespace postern::master
