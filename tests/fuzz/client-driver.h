#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "config/settings.h"
#include "login-common/client-dialogue.h"

/// Drives a client dialogue with invented bytes, as the login process would, and with whatever the
/// auth server and the process may answer in between. All protocols share it.
namespace postern::fuzz {

/// What differs between protocols. All limits are in bytes unless named otherwise.
struct FuzzedClient {
  std::unique_ptr<login::ClientDialogue> (*make)(const login::ClientContext&) = nullptr;
  /// Chooses settings by the bits 2 and 5 to 7 of `flags`; the driver uses the others.
  void (*configure)(std::uint8_t flags, config::LoginSettings& settings,
                    login::ClientContext& context) = nullptr;
  std::size_t max_response = 0;
  std::size_t max_forward_fields = 0;  // pairs of one ID or XCLIENT
  std::size_t max_forwards = 0;        // times a client may forward something
  std::size_t max_remark = 0;
  bool echoes = false;  // a reply may hold bytes of the client's, of whatever kind
  /// Aborts if the request is one that this protocol cannot make; may be null.
  /// @param permitted  plaintext passwords are, on this connection
  void (*check)(const login::AuthRequest& request, const login::ClientDialogue& dialogue,
                const login::ClientContext& context, bool permitted) = nullptr;
};

/// The first byte of `data` chooses the settings, the second and third how the input is cut and
/// which verdicts are given; the rest is the client's. Aborts where an invariant does not hold.
void drive_client(const FuzzedClient& protocol, const std::uint8_t* data, std::size_t size);

}  // namespace postern::fuzz
