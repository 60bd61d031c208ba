// What whoever may open the control socket could send to the master, and what posternctl could be
// sent instead of an answer.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include "lib/check.h"
#include "wire/control.h"

using namespace postern;

// NOLINTNEXTLINE(readability-identifier-naming): libFuzzer's name
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const void* bytes = data;
  const std::string_view line(static_cast<const char*>(bytes), size);
  if (const auto request = wire::parse_control_request(line); request.ok()) {
    POSTERN_CHECK(request.value().args.size() <= wire::kMaxControlArgs);
    // What was understood can be said again, and is understood the same.
    const std::string again = wire::control_request_line(request.value());
    POSTERN_CHECK(again.find('\n') == again.size() - 1);
    if (again.size() <= wire::kMaxControlLine) {
      const auto second = wire::parse_control_request(again.substr(0, again.size() - 1));
      POSTERN_CHECK(second.ok() && second.value().command == request.value().command);
      POSTERN_CHECK(second.value().args.size() == request.value().args.size());
    }
  }
  if (const auto reply = wire::parse_control_reply(line); reply.ok()) {
    if (const auto* end = std::get_if<wire::ControlEnd>(&reply.value())) {
      POSTERN_CHECK(end->code >= 0 && end->code <= 255);
    }
  }
  return 0;
}
