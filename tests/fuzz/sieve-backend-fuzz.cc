// What a ManageSieve backend can say before it has accepted the login.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "backend-driver.h"
#include "managesieve-login/backend-dialogue.h"
#include "managesieve-login/sieve-dialogues.h"

namespace {

bool is_state(std::string_view state) {
  constexpr std::array<std::string_view, 5> kStates{"none", "tls-start", "tls-ready", "xclient",
                                                    "auth"};
  return std::find(kStates.begin(), kStates.end(), state) != kStates.end();
}

const postern::fuzz::FuzzedBackend kSieve{
    .make = postern::managesieve_login::make_sieve_backend_dialogue,
    .logs_in = [](std::string_view sent) { return sent.starts_with("AUTHENTICATE "); },
    .precedes_tls = [](std::string_view sent) { return sent == "STARTTLS\r\n"; },
    .reports_success =
        [](std::string_view said) {
          return said.starts_with("OK") || said.find("\r\nOK") != std::string_view::npos;
        },
    .is_state = is_state,
};

}  // namespace

// NOLINTNEXTLINE(readability-identifier-naming): libFuzzer's name
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  postern::fuzz::drive_backend(kSieve, data, size);
  return 0;
}
