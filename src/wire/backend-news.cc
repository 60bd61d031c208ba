#include "wire/backend-news.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <vector>

#include "lib/text.h"

namespace postern::wire {
namespace {

constexpr std::array<std::string_view, 6> kKinds{"up",   "failing",  "down",
                                                 "full", "disabled", "enabled"};
static_assert(kKinds.size() == static_cast<std::size_t>(BackendNewsKind::enabled) + 1);

std::optional<std::int64_t> time_of(std::string_view text) {
  const auto seconds = decimal(text, 0, INT64_MAX);
  if (!seconds) return std::nullopt;
  return static_cast<std::int64_t>(*seconds);
}

}  // namespace

std::string backend_news_text(const BackendNews& news) {
  std::string out = news.backend.ip.text();
  out.append(" ").append(std::to_string(news.backend.port));
  out.append(" ").append(kKinds.at(static_cast<std::size_t>(news.kind)));
  out.append(" ").append(std::to_string(std::max<std::int64_t>(news.since, 0)));
  return out.append(" ").append(std::to_string(std::max<std::int64_t>(news.last_success, 0)));
}

std::optional<BackendNews> parse_backend_news(std::string_view text) {
  const std::vector<std::string_view> parts = words(text, " ");
  if (parts.size() != 5) return std::nullopt;
  const auto ip = IpAddress::parse(parts[0]);
  const auto port = decimal(parts[1], 0, 65535);
  const auto* const kind = std::find(kKinds.begin(), kKinds.end(), parts[2]);
  const auto since = time_of(parts[3]);
  const auto success = time_of(parts[4]);
  if (!ip || !port || kind == kKinds.end() || !since || !success) return std::nullopt;
  BackendNews out;
  out.backend = {*ip, static_cast<std::uint16_t>(*port)};
  out.kind = static_cast<BackendNewsKind>(kind - kKinds.begin());
  out.since = *since;
  out.last_success = *success;
  const bool by_hand =
      out.kind == BackendNewsKind::disabled || out.kind == BackendNewsKind::enabled;
  if (out.backend.port == 0 && !by_hand) return std::nullopt;
  return out;
}

}  // namespace postern::wire
