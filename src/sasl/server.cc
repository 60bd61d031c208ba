#include "sasl/server.h"

#include <array>

#include "lib/text.h"

namespace postern::sasl {
namespace {

constexpr std::array<ServerMechRow, 2> kMechs{{
    {"PLAIN", "plaintext", true, &make_plain_server},
    {"LOGIN", "plaintext", false, &make_login_server},
}};

}  // namespace

const ServerMechRow* find_server_mech(std::string_view name) noexcept {
  for (const ServerMechRow& row : kMechs) {
    if (same_text(row.name, name)) return &row;
  }
  return nullptr;
}

}  // namespace postern::sasl
