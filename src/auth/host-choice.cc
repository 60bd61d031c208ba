#include "auth/host-choice.h"

#include <algorithm>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>

#include "lib/text.h"

namespace postern::auth {
namespace {

/// FNV-1a, 64 bits.
constexpr std::uint64_t kBasis = 0xcbf29ce484222325;
constexpr std::uint64_t kPrime = 0x100000001b3;

std::uint64_t fnv(std::string_view text, std::uint64_t hash) noexcept {
  for (const char c : text) {
    hash ^= static_cast<unsigned char>(ascii_lower(c));
    hash *= kPrime;
  }
  return hash;
}

/// The last step of splitmix64: every bit of `x` changes half of the result's.
std::uint64_t mixed(std::uint64_t x) noexcept {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

/// The best of `weight` draws: of two hosts, the one with twice the weight wins twice as often,
/// and no floating point can round differently elsewhere.
std::uint64_t score(std::string_view user, std::string_view place, unsigned weight) noexcept {
  // A NUL between them: no user name holds one.
  const std::uint64_t seed = mixed(fnv(place, fnv({"\0", 1}, fnv(user, kBasis))));
  std::uint64_t best = 0;
  for (unsigned i = 1; i <= weight; i++) {
    best = std::max(best, mixed(seed + i * 0x9e3779b97f4a7c15U));
  }
  return best;
}

std::string place_of(const wire::HostSpec& host) {
  std::string out = host.ip ? host.ip->text() : host.name;
  if (host.port != 0) out.append(" ").append(std::to_string(host.port));
  return out;
}

template <class T, class Score>
void order(std::vector<T>& what, Score score_of) {
  if (what.size() < 2) return;
  std::vector<std::pair<std::uint64_t, T>> scored;
  scored.reserve(what.size());
  for (T& one : what) {
    const std::uint64_t points = score_of(one);
    scored.emplace_back(points, std::move(one));
  }
  std::ranges::stable_sort(scored, std::greater<>(), &std::pair<std::uint64_t, T>::first);
  for (std::size_t i = 0; i < what.size(); i++) what[i] = std::move(scored[i].second);
}

}  // namespace

void order_hosts(std::vector<wire::HostSpec>& hosts, std::string_view user) {
  order(hosts,
        [user](const wire::HostSpec& host) { return score(user, place_of(host), host.weight); });
}

void order_addresses(std::vector<IpAddress>& addresses, std::string_view user) {
  order(addresses, [user](const IpAddress& ip) { return score(user, ip.text(), 1); });
}

}  // namespace postern::auth
