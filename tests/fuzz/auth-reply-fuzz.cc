// What an auth server says, in pieces of any size: the first byte is the size of the pieces.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <variant>

#include "lib/check.h"
#include "lib/text.h"
#include "wire/auth-reply.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using postern::wire::AuthReplyReader;
  if (size == 0) return 0;
  const std::size_t piece = std::size_t{data[0]} + 1;
  std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  AuthReplyReader reader;
  while (!rest.empty()) {
    std::string_view input = rest.substr(0, piece);
    rest.remove_prefix(input.size());
    while (true) {
      const std::size_t before = input.size();
      const auto event = reader.next(input);
      if (event == AuthReplyReader::Event::too_long) return 0;
      if (event == AuthReplyReader::Event::more) {
        POSTERN_CHECK(input.empty());
        break;
      }
      POSTERN_CHECK(input.size() < before);
      POSTERN_CHECK(reader.line().find('\n') == std::string_view::npos);
      auto reply = postern::wire::parse_auth_reply(reader.line());
      if (!reply.ok()) continue;
      if (const auto* more = std::get_if<postern::wire::AuthReplyContinue>(&reply.value())) {
        POSTERN_CHECK(more->id != 0 && postern::is_base64(more->base64));
      }
      if (const auto* ok = std::get_if<postern::wire::AuthReplyOk>(&reply.value())) {
        POSTERN_CHECK(ok->id != 0 && !ok->user.empty() && !ok->field("pass"));
      }
    }
  }
  return 0;
}
