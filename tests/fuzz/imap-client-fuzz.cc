// What an IMAP client that is not logged in can send.
#include <cstddef>
#include <cstdint>

#include "client-driver.h"
#include "imap-login/client-dialogue.h"
#include "imap-login/imap-dialogues.h"
#include "lib/check.h"

namespace {

using postern::imap_login::ClientId;
using postern::imap_login::ImapClientDialogue;

void configure(std::uint8_t flags, postern::config::LoginSettings& settings,
               postern::login::ClientContext& /*context*/) {
  settings.imap_id_log = (flags & 4U) != 0 ? "*" : "";
  settings.imap_id_retain = (flags & 32U) != 0;
  settings.imap_literal_minus = (flags & 64U) != 0;
}

void check(const postern::login::AuthRequest& request,
           const postern::login::ClientDialogue& dialogue,
           const postern::login::ClientContext& /*context*/, bool /*permitted*/) {
  POSTERN_CHECK(!request.plaintext_command || request.initial);
  const auto facts = dialogue.facts();
  POSTERN_CHECK(!facts.tag.empty() && facts.tag.size() <= ImapClientDialogue::kMaxTag);
}

const postern::fuzz::FuzzedClient kImap{
    .make = postern::imap_login::make_imap_client_dialogue,
    .configure = configure,
    .max_response = ImapClientDialogue::kMaxResponse,
    .max_forward_fields = ClientId::kMaxPairs,
    .max_forwards = 1,
    .max_remark = ClientId::kMaxLog + 16,
    .check = check,
};

}  // namespace

// NOLINTNEXTLINE(readability-identifier-naming): libFuzzer's name
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  postern::fuzz::drive_client(kImap, data, size);
  return 0;
}
