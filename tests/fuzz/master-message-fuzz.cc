// The master is trusted, but a packet that is not the channel's must not be taken for one.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "lib/check.h"
#include "service/master-message.h"

// NOLINTNEXTLINE(readability-identifier-naming): libFuzzer's name
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace postern::service;
  const void* start = data;
  const std::string_view packet(static_cast<const char*>(start), size);
  const auto parsed = parse_master_message(packet, {});
  if (!parsed.ok()) return 0;
  POSTERN_CHECK(!std::holds_alternative<ForkMessage>(parsed.value()));
  if (const auto* call = std::get_if<CallMessage>(&parsed.value())) {
    POSTERN_CHECK(!call->verb.empty());
  }
  return 0;
}
