#include "master/ticket-keys.h"

#include <openssl/rand.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <utility>

namespace postern::master {

Status TicketKeys::check(std::string_view given) {
  if (!given.empty() && given.size() % kOne == 0 && given.size() / kOne <= kGiven) return Done{};
  return Error{EINVAL, "the file has " + std::to_string(given.size()) + " bytes; one to " +
                           std::to_string(kGiven) + " keys of " + std::to_string(kOne) +
                           " bytes are wanted (openssl rand " + std::to_string(kOne) + ")"};
}

Status TicketKeys::rotate(TimePoint now) {
  WipingBuffer keys;
  char* fresh = keys.reserve(kOne);
  if (RAND_priv_bytes(reinterpret_cast<unsigned char*>(fresh), static_cast<int>(kOne)) != 1) {
    return Error{EIO, "no random numbers for TLS ticket keys; the old ones stay"};
  }
  keys.commit(kOne);
  keys += keys_.reveal().substr(0, (kMade - 1) * kOne);
  keys_ = Secret(std::move(keys));
  made_ = now;
  return Done{};
}

std::chrono::milliseconds TicketKeys::left(TimePoint now,
                                           std::chrono::milliseconds life) const noexcept {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(made_ + life - now);
  return std::clamp(left, std::chrono::milliseconds{0}, life);
}

}  // namespace postern::master
