// What a login process that was taken over could send to the master.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "lib/check.h"
#include "master/child-message.h"

// NOLINTNEXTLINE(readability-identifier-naming): libFuzzer's name
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const void* bytes = data;
  const auto parsed =
      postern::master::parse_child_message(std::string_view(static_cast<const char*>(bytes), size));
  if (parsed.ok()) {
    if (const auto* row = std::get_if<postern::master::RowMessage>(&parsed.value())) {
      POSTERN_CHECK(row->fields.size() <= postern::master::kMaxRowFields);
    }
    if (const auto* connect = std::get_if<postern::master::ConnectMessage>(&parsed.value())) {
      POSTERN_CHECK(connect->name.find("..") == std::string::npos);
    }
  }
  return 0;
}
