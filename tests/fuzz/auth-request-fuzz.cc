// What a login process that was taken over, an MTA or a mail service could send to auth.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "lib/check.h"
#include "wire/auth-request.h"

// NOLINTNEXTLINE(readability-identifier-naming): libFuzzer's name
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  namespace wire = postern::wire;
  const void* bytes = data;
  const std::string_view line(static_cast<const char*>(bytes), size);
  const auto command = wire::parse_auth_command(line);
  if (command.ok()) {
    POSTERN_CHECK(command.value().id != 0);
    POSTERN_CHECK(!command.value().properties.service.empty());
    for (const auto& [name, value] : command.value().properties.forward_fields) {
      POSTERN_CHECK(name.starts_with("forward_") && name.find('\t') == std::string::npos);
    }
  }
  const auto more = wire::parse_auth_continue(line);
  if (more) POSTERN_CHECK(more->id != 0);
  static_cast<void>(wire::parse_auth_version(line));
  static_cast<void>(wire::parse_master_lookup(line, true).ok());
  static_cast<void>(wire::parse_master_lookup(line, false).ok());
  const auto request = wire::parse_master_request(line);
  if (request) POSTERN_CHECK(request->client_pid != 0 && request->client_id != 0);
  return 0;
}
