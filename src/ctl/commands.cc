#include <array>

#include "ctl/command.h"

namespace postern::ctl {
namespace {

constexpr std::array<Command, 18> kCommands{{
    {"who", "Show who is logged in.", who_options, who},
    {"kick", "Disconnect sessions.", kick_options, kick},
    {"proxy list", "Show the sessions that are proxied to backends.", proxy_list_options,
     proxy_list},
    {"proxy kick", "Disconnect proxied sessions.", kick_options, proxy_kick},
    {"proxy status", "Show the backends and their health.", proxy_status_options, proxy_status},
    {"proxy disable", "Send no more logins to a backend; its sessions go on.", proxy_switch_options,
     proxy_disable},
    {"proxy enable", "Send logins to a backend again.", proxy_switch_options, proxy_enable},
    {"auth test", "Check a user's password.", auth_test_options, auth_test},
    {"auth lookup", "Show what the passdbs say of users.", auth_lookup_options, auth_lookup},
    {"reload", "Read the configuration again.", no_options, reload},
    {"stop", "Stop Postern.", stop_options, stop},
    {"service status", "Show the services and their limits.", names_options, service_status},
    {"process status", "Show the processes.", names_options, process_status},
    {"log errors", "Show the last warnings and errors.", log_errors_options, log_errors},
    {"log reopen", "Open the log files again, after they were moved.", no_options, log_reopen},
    {"tls list", "Show the certificates, and when they expire.", no_options, tls_list},
    {"tls reload", "Read certificates, keys and CA files again, and nothing else.", no_options,
     tls_reload},
    {"config", "Show the configuration, as postern -n does.", config_options, config},
}};

}  // namespace

std::span<const Command> commands() {
  return kCommands;
}

}  // namespace postern::ctl
