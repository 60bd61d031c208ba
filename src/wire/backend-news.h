#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "lib/ip.h"

/// What the master tells its login processes of a backend (wire/channel.h, `backends`).
namespace postern::wire {

enum class BackendNewsKind : std::uint8_t {
  up,        // as far as anybody knows
  failing,   // something has failed since it last worked: say so if it works
  down,      // logins there fail, but for one that probes: ask before
  full,      // too many logins wait for it: no more
  disabled,  // by the operator: no logins until it is
  enabled,   // again
};

/// One piece of news. It replaces what was known of the backend, but for `disabled` and `enabled`,
/// which stand beside the other kinds.
struct BackendNews {
  Endpoint backend;  // port 0: every port of it (disabled and enabled only)
  BackendNewsKind kind = BackendNewsKind::up;
  std::int64_t since = 0;         // unix time
  std::int64_t last_success = 0;  // unix time; 0: unknown
  bool operator==(const BackendNews&) const = default;
};

/// "192.0.2.1 143 down 1764000000 1763999990"
std::string backend_news_text(const BackendNews& news);
/// The reverse; strict.
std::optional<BackendNews> parse_backend_news(std::string_view text);

}  // namespace postern::wire
