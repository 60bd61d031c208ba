#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "lib/ip.h"
#include "lib/result.h"
#include "master/backend-health.h"

/// What a child says on its control channel, parsed; the other end may have been taken over by
/// somebody hostile. Spec: wire/channel.h.
namespace postern::master {

struct ReadyMessage {};
struct FinishedMessage {};
struct StatusMessage {
  unsigned available = 0;
  unsigned clients = 0;
  unsigned relaying = 0;
  bool has_evictable = false;
  unsigned evictable = 0;
  std::string holder;  // 0..kMaxHolder bytes of any kind
  unsigned held = 0;
};
struct ConnectMessage {
  std::uint64_t id = 0;
  std::string name;  // 1..64 bytes of a-z, 0-9, '-' and '/'
};
struct RowMessage {
  std::uint64_t id = 0;
  std::vector<std::pair<std::string, std::string>> fields;  // at most kMaxRowFields
};
struct DoneMessage {
  std::uint64_t id = 0;
  int code = 0;  // 0..255
  std::string text;
};
struct ForkedMessage {
  std::uint64_t id = 0;
  pid_t pid = 0;  // 0: failed
  std::string text;
};

// Of backends; the port is never 0.
struct BackendFailedMessage {
  Endpoint backend;
  BackendFailure failure;  // times of at most a day; the text of any bytes
};
struct BackendWorkedMessage {
  Endpoint backend;
};
struct BackendProbeMessage {
  std::uint64_t id = 0;
  Endpoint backend;
};
struct BackendSlowMessage {
  Endpoint backend;
  unsigned count = 0;
};

using ChildMessage = std::variant<ReadyMessage, FinishedMessage, StatusMessage, ConnectMessage,
                                  RowMessage, DoneMessage, ForkedMessage, BackendFailedMessage,
                                  BackendWorkedMessage, BackendProbeMessage, BackendSlowMessage>;

inline constexpr std::size_t kMaxRowFields = 32;
inline constexpr std::size_t kMaxHolder = 64;

/// Reads one packet. All or nothing; an Error's text quotes no byte of it.
Result<ChildMessage> parse_child_message(std::string_view packet);

}  // namespace postern::master
