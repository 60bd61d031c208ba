#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "lib/handle.h"
#include "lib/result.h"

/// What the master says on the control channel, parsed. Spec: wire/channel.h.
namespace postern::service {

struct ConnectedMessage {
  std::uint64_t id = 0;
  UniqueFd fd;       // none: it failed
  std::string text;  // why, if it failed
};
struct CallMessage {
  std::uint64_t id = 0;
  std::string verb;
  std::vector<std::string> arguments;
};
struct DrainMessage {};
struct StopMessage {};
struct EvictMessage {
  unsigned count = 0;
};
struct ForkMessage {
  std::uint64_t id = 0;
  UniqueFd channel;
};
/// A verb that is not the runtime's; the program may know it (Handler::on_packet).
struct OtherMessage {
  std::string verb;
  std::vector<std::string> fields;
  UniqueFd fd;
};

using MasterMessage = std::variant<ConnectedMessage, CallMessage, DrainMessage, StopMessage,
                                   EvictMessage, ForkMessage, OtherMessage>;

/// Reads one packet. All or nothing: a field too many, a descriptor where none belongs or a missing
/// one is an Error, which quotes nothing of the packet.
Result<MasterMessage> parse_master_message(std::string_view packet, UniqueFd fd);

}  // namespace postern::service
