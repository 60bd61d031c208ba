// What a submission backend can say before it has accepted the login.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "backend-driver.h"
#include "submission-login/backend-dialogue.h"
#include "submission-login/submission-dialogues.h"

namespace {

void configure(std::uint8_t flags, postern::login::BackendTarget& target) {
  target.host_name = "proxy.example";
  target.noauth = (flags & 64U) != 0;
  if ((flags & 128U) == 0) return;
  target.helo = "c.example";
  target.helo_protocol = "ESMTP";
}

bool logs_in(std::string_view sent) {
  return sent.find("AUTH ") != std::string_view::npos ||
         sent.find(" LOGIN=") != std::string_view::npos;
}

bool precedes_tls(std::string_view sent) {
  return sent == "EHLO proxy.example\r\n" || sent == "STARTTLS\r\n";
}

bool is_state(std::string_view state) {
  constexpr std::array<std::string_view, 7> kStates{
      "banner", "ehlo", "starttls", "tls-ehlo", "xclient", "xclient-ehlo", "authenticate"};
  return std::find(kStates.begin(), kStates.end(), state) != kStates.end();
}

const postern::fuzz::FuzzedBackend kSubmission{
    .make = postern::submission_login::make_submission_backend_dialogue,
    .configure = configure,
    .logs_in = logs_in,
    .precedes_tls = precedes_tls,
    .reports_success = [](std::string_view said) { return said.starts_with('2'); },
    .is_state = is_state,
};

}  // namespace

// NOLINTNEXTLINE(readability-identifier-naming): libFuzzer's name
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  postern::fuzz::drive_backend(kSubmission, data, size);
  return 0;
}
