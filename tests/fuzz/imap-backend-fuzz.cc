// What an IMAP backend can say before it has accepted the login.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "backend-driver.h"
#include "imap-login/backend-dialogue.h"
#include "imap-login/imap-dialogues.h"

namespace {

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

const postern::fuzz::FuzzedBackend kImap{
    .make = postern::imap_login::make_imap_backend_dialogue,
    .configure =
        [](std::uint8_t flags, postern::login::BackendTarget& target) {
          target.id_before_starttls = (flags & 64U) != 0;
          target.client_used_capability = (flags & 128U) != 0;
        },
    .logs_in =
        [](std::string_view sent) {
          return contains(sent, "L LOGIN") || contains(sent, "L AUTHENTICATE");
        },
    .precedes_tls =
        [](std::string_view sent) {
          return !contains(sent, "LOGIN") && !contains(sent, "AUTHENTICATE");
        },
    .reports_success = [](std::string_view said) { return contains(said, "a1 OK "); },
    .is_state =
        [](std::string_view state) {
          return std::count(state.begin(), state.end(), '/') == 1 && !state.ends_with('/');
        },
};

}  // namespace

// NOLINTNEXTLINE(readability-identifier-naming): libFuzzer's name
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  postern::fuzz::drive_backend(kImap, data, size);
  return 0;
}
