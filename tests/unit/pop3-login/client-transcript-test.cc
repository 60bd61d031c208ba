// Replays the recorded dialogues of clients with Dovecot's pop3-login against ours.
#include <gtest/gtest.h>

#include <algorithm>

#include "../transcript/client-replay.h"
#include "pop3-login/pop3-dialogues.h"

namespace postern::pop3_login {
namespace {

using namespace postern::test;

/// "+OK [XCLIENT] greeting <challenge>".
void read_greeting(const std::vector<std::string>& said, login::ClientContext& context,
                   config::LoginSettings& /*settings*/) {
  constexpr std::string_view kXclient = "[XCLIENT] ";
  std::string_view line = said[0];
  line.remove_prefix(std::min<std::size_t>(line.size(), 4));
  if (line.starts_with(kXclient)) line.remove_prefix(kXclient.size());
  const std::size_t challenge = line.ends_with("@vm>") ? line.rfind(" <") : std::string::npos;
  context.greeting = line.substr(0, challenge);
  if (challenge != std::string::npos) context.challenge = line.substr(challenge + 1);
}

const RecordedProtocol kPop3{
    .name = "pop3",
    .tls_listener = "pop3s",
    .make = make_pop3_client_dialogue,
    .settings = {},
    .greeting_starts = "+OK ",
    .challenge_starts = "+ ",
    .not_a_challenge = "",
    .least = 60,
    .read_greeting = read_greeting,
    .challenge = [](std::string_view line) { return line.substr(2); },
    .succeeds = [](std::string_view line,
                   const login::LoginFacts&) { return line.starts_with("+OK "); },
    .parting_text =
        [](std::string_view line) { return line.starts_with("-ERR ") ? line.substr(5) : ""; },
};

TEST(Pop3ClientTranscripts, AreRepeatedByteForByteHoweverTheyAreCut) {
  replay_clients(kPop3);
}

TEST(Pop3Transcripts, ThatAreLeftOutAreThereAndHaveAReason) {
  check_left_out("pop3");
}

}  // namespace
}  // namespace postern::pop3_login
