// What a POP3 backend can say before it has accepted the login.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "backend-driver.h"
#include "lib/check.h"
#include "pop3-login/backend-dialogue.h"
#include "pop3-login/pop3-dialogues.h"

namespace {

bool logs_in(std::string_view sent) {
  // A password with a line end in it is never sent as it is.
  POSTERN_CHECK(sent.find("X LOGOUT") == std::string_view::npos);
  return sent.find("AUTH ") != std::string_view::npos ||
         sent.find("USER ") != std::string_view::npos;
}

bool is_state(std::string_view state) {
  constexpr std::array<std::string_view, 5> kStates{"banner", "starttls", "xclient", "login1",
                                                    "login2"};
  return std::find(kStates.begin(), kStates.end(), state) != kStates.end();
}

const postern::fuzz::FuzzedBackend kPop3{
    .make = postern::pop3_login::make_pop3_backend_dialogue,
    .logs_in = logs_in,
    .precedes_tls = [](std::string_view sent) { return sent == "STLS\r\n"; },
    .reports_success = [](std::string_view said) { return said.starts_with("+OK"); },
    .is_state = is_state,
};

}  // namespace

// NOLINTNEXTLINE(readability-identifier-naming): libFuzzer's name
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  postern::fuzz::drive_backend(kPop3, data, size);
  return 0;
}
