#include "login-common/session-id.h"

#include <chrono>

#include "lib/text.h"

namespace postern::login {
namespace {

constexpr std::uint64_t kClockMask = (std::uint64_t{1} << 48) - 1;

void append_little_endian(std::uint64_t value, unsigned bytes, std::string& out) {
  for (unsigned i = 0; i < bytes; ++i) {
    out += static_cast<char>(static_cast<unsigned char>(value >> (8 * i)));
  }
}

}  // namespace

std::string SessionIds::make(const Endpoint& client, std::uint64_t microseconds) {
  std::uint64_t stamp = microseconds & kClockMask;
  // The clock may stand still between two clients of one address, or be set back a little.
  if (stamp <= last_ && last_ - stamp < 1'000'000) stamp = (last_ + 1) & kClockMask;
  last_ = stamp;
  std::string bytes;
  append_little_endian(stamp, 6, bytes);
  append_little_endian(client.port, 2, bytes);
  bytes += client.ip.bytes();
  return base64_encode(bytes);
}

std::string SessionIds::make(const Endpoint& client) {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return make(client, static_cast<std::uint64_t>(
                          std::chrono::duration_cast<std::chrono::microseconds>(now).count()));
}

}  // namespace postern::login
