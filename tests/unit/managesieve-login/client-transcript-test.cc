// Replays the recorded dialogues of clients with Dovecot's managesieve-login against ours.
#include <gtest/gtest.h>

#include "../transcript/client-replay.h"
#include "managesieve-login/sieve-dialogues.h"

namespace postern::managesieve_login {
namespace {

using namespace postern::test;

/// What stands between the last two quotes of a line.
std::string_view last_string(std::string_view line) {
  if (!line.ends_with('"')) return "";
  line.remove_suffix(1);
  return line.substr(line.rfind('"') + 1);
}

/// Capabilities a line each, then `OK "greeting"`.
void read_greeting(const std::vector<std::string>& said, login::ClientContext& context,
                   config::LoginSettings& settings) {
  for (const std::string& line : said) {
    const std::string_view value = last_string(line);
    if (line.starts_with("\"IMPLEMENTATION\" ")) settings.managesieve_implementation_string = value;
    if (line.starts_with("\"SIEVE\" ")) settings.managesieve_sieve_capability = value;
    if (line.starts_with("\"NOTIFY\" ")) settings.managesieve_notify_capability = value;
    if (!line.starts_with("OK ")) continue;
    context.greeting = value;
    return;
  }
}

const RecordedProtocol kSieve{
    .name = "managesieve",
    .tls_listener = "sieves",
    .make = make_sieve_client_dialogue,
    .settings = {},
    .greeting_starts = "\"IMPLEMENTATION\" ",
    .challenge_starts = "\"",
    .not_a_challenge = "",
    .refuse_anonymous = true,
    .least = 80,
    .read_greeting = read_greeting,
    .challenge = last_string,
    .succeeds = [](std::string_view line,
                   const login::LoginFacts&) { return line.starts_with("OK "); },
    .parting_text =
        [](std::string_view line) { return line.starts_with("BYE ") ? last_string(line) : ""; },
};

TEST(SieveClientTranscripts, AreRepeatedByteForByteHoweverTheyAreCut) {
  replay_clients(kSieve);
}

TEST(SieveTranscripts, ThatAreLeftOutAreThereAndHaveAReason) {
  check_left_out("managesieve");
}

}  // namespace
}  // namespace postern::managesieve_login
