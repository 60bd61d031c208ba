// Replays the recorded dialogues of clients with Dovecot's imap-login against ours.
#include <gtest/gtest.h>

#include "../transcript/client-replay.h"
#include "imap-login/imap-dialogues.h"

namespace postern::imap_login {
namespace {

using namespace postern::test;

/// Behind "* OK [CAPABILITY …] ".
void read_greeting(const std::vector<std::string>& said, login::ClientContext& context,
                   config::LoginSettings& /*settings*/) {
  const std::size_t code = said[0].find("] ");
  if (code != std::string::npos) context.greeting = said[0].substr(code + 2);
}

bool succeeds(std::string_view line, const login::LoginFacts& facts) {
  return line.starts_with(facts.tag + " OK ") || line.starts_with("* CAPABILITY ");
}

std::string_view parting_text(std::string_view line) {
  return line.starts_with("* BYE ") ? line.substr(6) : "";
}

void check(const Transcript& recorded, const ClientReplay& replay) {
  EXPECT_EQ(replay.remarks().size(), recorded.logged("ID sent: ") ? 1U : 0U);
  EXPECT_LE(replay.forwarded().size(), 1U);
  if (replay.success()) {
    EXPECT_EQ(replay.facts().used_capability, replay.success()->starts_with("* "));
  }
}

const RecordedProtocol kImap{
    .name = "imap",
    .tls_listener = "imaps",
    .make = make_imap_client_dialogue,
    .settings = {"imap_capability", "imap_id_send", "imap_id_log", "imap_id_retain",
                 "imap_literal_minus"},
    .greeting_starts = "* OK [CAPABILITY",
    .challenge_starts = "+ ",
    .not_a_challenge = "+ OK",
    .least = 100,
    .read_greeting = read_greeting,
    .challenge = [](std::string_view line) { return line.substr(2); },
    .succeeds = succeeds,
    .parting_text = parting_text,
    .check = check,
};

TEST(ImapClientTranscripts, AreRepeatedByteForByteHoweverTheyAreCut) {
  replay_clients(kImap);
}

TEST(ImapTranscripts, ThatAreLeftOutAreThereAndHaveAReason) {
  check_left_out("imap");
}

}  // namespace
}  // namespace postern::imap_login
