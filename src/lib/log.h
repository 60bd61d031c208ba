#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

/// The writing half of logging. Each process writes lines to descriptor 2; in a child of the master
/// that is a pipe to the log process, and a line there is `\001` LEVEL PID SPACE TEXT LF (Dovecot's
/// form). Lines gather in memory and go out in one write per turn of the event loop; nothing ever
/// waits for the log: what the pipe does not take stays in a 64 KiB ring, and past that lines are
/// dropped and counted ("N lines dropped").
namespace postern::log {

/// By who must act: developer, audit, operator soon, operator now, the process ends, a bug.
enum class Level : std::uint8_t { debug = 1, info, warning, error, fatal, panic };

/// "Debug", "Info", …
std::string_view level_name(Level level) noexcept;

/// Says where lines go. Before the call they go to stderr as "NAME: Level: text".
/// @param name     process name, the prefix of lines written to a plain stderr
/// @param to_log_process  descriptor 2 is a pipe to the log process
void open(std::string_view name, bool to_log_process);

/// Writes one line; any bytes below 0x20 in `text` are escaped. Fatal and panic lines are flushed.
void write(Level level, std::string_view text);

/// Writes out what has gathered, as far as the pipe takes it without waiting. The event loop calls
/// it at the end of every turn; a process calls it before it ends.
void flush() noexcept;

/// Debug lines are formatted only if this is on (auth_debug, log_debug …).
void set_debug(bool on) noexcept;
bool debug_enabled() noexcept;

template <class... Args>
void debug(fmt::format_string<Args...> format, Args&&... args) {
  if (debug_enabled()) write(Level::debug, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void info(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::info, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void warning(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::warning, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void error(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::error, fmt::format(format, std::forward<Args>(args)...));
}
/// Writes the line and ends the process with `exit_code` (sysexits.h).
template <class... Args>
[[noreturn]] void fatal(int exit_code, fmt::format_string<Args...> format, Args&&... args) {
  write(Level::fatal, fmt::format(format, std::forward<Args>(args)...));
  flush();
  ::_Exit(exit_code);
}

}  // namespace postern::log
