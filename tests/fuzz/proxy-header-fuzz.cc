// What stands before the first byte of a client's on a listener behind a balancer.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "lib/check.h"
#include "wire/opening.h"
#include "wire/proxy-header.h"

// NOLINTNEXTLINE(readability-identifier-naming): libFuzzer's name
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  namespace wire = postern::wire;
  using Status = wire::ProxyHeaderParse::Status;
  const void* start = data;
  const std::string_view bytes(static_cast<const char*>(start), size);
  const auto parsed = wire::parse_proxy_header(bytes);
  switch (parsed.status) {
    case Status::need_more:
      POSTERN_CHECK(size < wire::kMaxProxyHeaderV2);
      break;
    case Status::bad:
      POSTERN_CHECK(parsed.consumed == 0 && !parsed.error.empty());
      POSTERN_CHECK(!parsed.header.has_addresses && !parsed.header.tls);
      break;
    case Status::done: {
      POSTERN_CHECK(parsed.consumed > 0 && parsed.consumed <= size);
      POSTERN_CHECK(parsed.consumed <= wire::kMaxProxyHeaderV2);
      POSTERN_CHECK(!parsed.header.local || !parsed.header.has_addresses);
      POSTERN_CHECK(parsed.header.valid_certificate || parsed.header.common_name.empty());
      POSTERN_CHECK(parsed.header.tls || !parsed.header.valid_certificate);
      // It means the same however it arrives: no shorter part of it is a header, or wrong.
      for (std::size_t cut = 0; cut < parsed.consumed; ++cut) {
        POSTERN_CHECK(wire::parse_proxy_header(bytes.substr(0, cut)).status == Status::need_more);
      }
      const auto alone = wire::parse_proxy_header(bytes.substr(0, parsed.consumed));
      POSTERN_CHECK(alone.status == Status::done && alone.header.source == parsed.header.source);
      break;
    }
  }
  // Where none is expected it is known, and by the same bytes however they arrive.
  wire::Opening whole;
  wire::Opening pieces;
  whole.add(bytes);
  for (const char& byte : bytes) pieces.add({&byte, 1});
  POSTERN_CHECK(whole.kind() == pieces.kind());
  if (parsed.status == Status::done) {
    POSTERN_CHECK(whole.kind() == wire::Opening::Kind::proxy_header);
  }
  return 0;
}
