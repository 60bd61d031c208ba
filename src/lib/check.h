#pragma once

namespace postern {

/// Logs file, line and the condition at panic level, flushes the log and aborts.
[[noreturn]] void check_failed(const char* file, int line, const char* condition) noexcept;

}  // namespace postern

/// A bug of ours, on in release. Never reachable by bytes from a peer, a file or a database.
#define POSTERN_CHECK(x) \
  ((x) ? static_cast<void>(0) : ::postern::check_failed(__FILE__, __LINE__, #x))
