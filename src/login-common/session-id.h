#pragma once

#include <cstdint>
#include <string>

#include "lib/ip.h"

/// The names of sessions, as Dovecot makes them: base64 of 48 bits of the microsecond clock, the
/// client's port (both little endian) and its address. No two of a process are the same.
namespace postern::login {

class SessionIds {
 public:
  /// @param microseconds  since 1970, of the wall clock
  std::string make(const Endpoint& client, std::uint64_t microseconds);
  /// With the clock of the system.
  std::string make(const Endpoint& client);

 private:
  std::uint64_t last_ = 0;
};

}  // namespace postern::login
