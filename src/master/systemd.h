#pragma once

#include <string>
#include <string_view>

/// What an init system is told: sd_notify(3) without libsystemd.
namespace postern::master {

/// Sends `state` (READY=1, STOPPING=1, STATUS=…, lines joined by LF) to $NOTIFY_SOCKET. Does
/// nothing without one, and a failure changes nothing: the init system has its own timeouts.
void notify_init(std::string_view state) noexcept;

/// "RELOADING=1" with the monotonic time systemd wants beside it.
std::string reloading_state();

}  // namespace postern::master
