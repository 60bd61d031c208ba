// Replays the recorded dialogues of clients with Dovecot's submission-login against ours.
#include <gtest/gtest.h>

#include "../transcript/client-replay.h"
#include "lib/text.h"
#include "submission-login/submission-dialogues.h"

namespace postern::submission_login {
namespace {

using namespace postern::test;

/// "220 host greeting", or "421 4.3.2 host text" where there was none.
void read_greeting(const std::vector<std::string>& said, login::ClientContext& context,
                   config::LoginSettings& /*settings*/) {
  const auto parts = words(said[0]);
  const bool greeted = said[0].starts_with("220 ");
  context.host_name = parts.at(greeted ? 1 : 2);
  if (greeted) context.greeting = said[0].substr(5 + context.host_name.size());
}

bool succeeds(std::string_view line, const login::LoginFacts& facts) {
  return line.starts_with("235 ") || (!facts.replay.empty() && line.starts_with("250 "));
}

/// Behind "421 4.4.2 host ".
std::string_view parting_text(std::string_view line) {
  constexpr std::string_view kHost = " mail.example.test ";
  const std::size_t host = line.find(kHost);
  if (!line.starts_with("421 ") || host == std::string_view::npos) return "";
  return line.substr(host + kHost.size());
}

const RecordedProtocol kSubmission{
    .name = "submission",
    .tls_listener = "submissions",
    .make = make_submission_client_dialogue,
    .settings = {"submission_max_mail_size", "submission_client_workarounds",
                 "submission_backend_capabilities"},
    .greeting_starts = "220 ",
    .challenge_starts = "334 ",
    .not_a_challenge = "",
    .refuse_anonymous = true,
    .least = 75,
    .read_greeting = read_greeting,
    .challenge = [](std::string_view line) { return line.substr(4); },
    .succeeds = succeeds,
    .parting_text = parting_text,
};

TEST(SubmissionClientTranscripts, AreRepeatedByteForByteHoweverTheyAreCut) {
  replay_clients(kSubmission);
}

TEST(SubmissionTranscripts, ThatAreLeftOutAreThereAndHaveAReason) {
  check_left_out("submission");
}

}  // namespace
}  // namespace postern::submission_login
