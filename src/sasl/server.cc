#include "sasl/server.h"

#include <array>

#include "lib/text.h"

namespace postern::sasl {
namespace {

constexpr std::array<ServerMechRow, 4> kMechs{{
    {"PLAIN", "plaintext", true, false, &make_plain_server},
    {"LOGIN", "plaintext", false, false, &make_login_server},
    {"EXTERNAL", "", false, true, &make_external_server},
    {"APOP", "private\tdictionary\tactive", true, false, &make_apop_server},
}};

}  // namespace

const ServerMechRow* find_server_mech(std::string_view name) noexcept {
  for (const ServerMechRow& row : kMechs) {
    if (same_text(row.name, name)) return &row;
  }
  return nullptr;
}

}  // namespace postern::sasl
