// What a ManageSieve client that is not logged in can send.
#include <cstddef>
#include <cstdint>
#include <limits>

#include "client-driver.h"
#include "lib/check.h"
#include "login-common/xclient.h"
#include "managesieve-login/client-dialogue.h"
#include "managesieve-login/sieve-dialogues.h"

namespace {

using postern::managesieve_login::SieveClientDialogue;

void configure(std::uint8_t flags, postern::config::LoginSettings& settings,
               postern::login::ClientContext& /*context*/) {
  settings.managesieve_sieve_capability = "fileinto";
  if ((flags & 4U) != 0) settings.login_compat = postern::config::LoginCompat::dovecot_2_3;
}

void check(const postern::login::AuthRequest& request,
           const postern::login::ClientDialogue& /*dialogue*/,
           const postern::login::ClientContext& /*context*/, bool /*permitted*/) {
  POSTERN_CHECK(!request.plaintext_command && !request.uses_challenge && request.user.empty());
}

const postern::fuzz::FuzzedClient kSieve{
    .make = postern::managesieve_login::make_sieve_client_dialogue,
    .configure = configure,
    .max_response = SieveClientDialogue::kMaxResponse,
    .max_forward_fields = postern::login::kMaxForwardFields,
    .max_forwards = std::numeric_limits<std::size_t>::max(),
    .max_remark = 0,
    .echoes = true,
    .check = check,
};

}  // namespace

// NOLINTNEXTLINE(readability-identifier-naming): libFuzzer's name
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  postern::fuzz::drive_client(kSieve, data, size);
  return 0;
}
