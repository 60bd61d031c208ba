// What a submission client that is not logged in can send.
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "client-driver.h"
#include "lib/check.h"
#include "login-common/xclient.h"
#include "submission-login/client-dialogue.h"
#include "submission-login/submission-dialogues.h"

namespace {

using postern::submission_login::SubmissionClientDialogue;

const std::vector<postern::login::Mechanism> kMechanisms{{.name = "PLAIN", .plaintext = true},
                                                         {.name = "EXTERNAL"}};

void configure(std::uint8_t flags, postern::config::LoginSettings& settings,
               postern::login::ClientContext& context) {
  context.host_name = "mail.example";
  if ((flags & 4U) != 0) context.mechanisms = &kMechanisms;
  if ((flags & 32U) != 0) {
    settings.submission_client_workarounds = {"implicit-auth-external", "exotic-backend"};
  }
  if ((flags & 64U) != 0) settings.submission_backend_capabilities = {"DSN", "BINARYMIME"};
  if ((flags & 128U) != 0) settings.submission_max_mail_size = 1;
}

void check(const postern::login::AuthRequest& request,
           const postern::login::ClientDialogue& dialogue,
           const postern::login::ClientContext& /*context*/, bool /*permitted*/) {
  // What is to be said again is one line, and it is not said for AUTH.
  const postern::login::LoginFacts facts = dialogue.facts();
  POSTERN_CHECK(!request.plaintext_command);
  POSTERN_CHECK(facts.replay.empty() || request.mech == "EXTERNAL");
  POSTERN_CHECK(facts.replay.empty() || facts.replay.find('\n') == facts.replay.size() - 1);
  POSTERN_CHECK(facts.replay.empty() || facts.replay.find('\r') == facts.replay.size() - 2);
  POSTERN_CHECK(facts.helo.size() <= 255);
}

const postern::fuzz::FuzzedClient kSubmission{
    .make = postern::submission_login::make_submission_client_dialogue,
    .configure = configure,
    .max_response = SubmissionClientDialogue::kMaxResponse,
    .max_forward_fields = postern::login::kMaxForwardFields,
    .max_forwards = std::numeric_limits<std::size_t>::max(),
    .max_remark = 0,
    .check = check,
};

}  // namespace

// NOLINTNEXTLINE(readability-identifier-naming): libFuzzer's name
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  postern::fuzz::drive_client(kSubmission, data, size);
  return 0;
}
