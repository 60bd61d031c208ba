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

/// The certificates towards clients, those that end first at the beginning. Times are as in
/// "2026-11-25T14:03:00Z"; `days` are whole ones that are left.
void certificate_rows(Supervisor& supervisor,
                      const std::function<void(const wire::ControlFields&)>& emit);

}  // namespace postern::master
