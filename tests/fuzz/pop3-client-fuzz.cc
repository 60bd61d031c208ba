// What a POP3 client that is not logged in can send.
#include <cstddef>
#include <cstdint>
#include <limits>

#include "client-driver.h"
#include "lib/check.h"
#include "login-common/xclient.h"
#include "pop3-login/client-dialogue.h"

#include "pop3-login/pop3-dialogues.h"

namespace {

using postern::pop3_login::Pop3ClientDialogue;

void configure(std::uint8_t flags, postern::config::LoginSettings& /*settings*/,
               postern::login::ClientContext& context) {
  context.challenge = (flags & 4U) != 0 ? "<1.2.3.x@host>" : "";
}

void check(const postern::login::AuthRequest& request,
           const postern::login::ClientDialogue& /*dialogue*/,
           const postern::login::ClientContext& /*context*/, bool permitted) {
  // Without one the driver refuses.
  POSTERN_CHECK(!request.plaintext_command || request.initial.has_value() == permitted);
}

const postern::fuzz::FuzzedClient kPop3{
    .make = postern::pop3_login::make_pop3_client_dialogue,
    .configure = configure,
    .max_response = Pop3ClientDialogue::kMaxResponse,
    .max_forward_fields = postern::login::kMaxForwardFields,
    .max_forwards = std::numeric_limits<std::size_t>::max(),
    .max_remark = 64,
    .check = check,
};

}  // namespace

// NOLINTNEXTLINE(readability-identifier-naming): libFuzzer's name
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  postern::fuzz::drive_client(kPop3, data, size);
  return 0;
}
