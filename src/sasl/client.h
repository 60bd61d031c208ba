#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "lib/secret.h"

/// The client's half of SASL mechanisms (RFC 4422), for logging in to backends. No I/O and no
/// base64: bytes in, bytes out. The server's half is in server.h.
namespace postern::sasl {

/// Who logs in. Borrowed by a mechanism; must outlive it.
struct ClientCredentials {
  std::string authzid;  // whose mailbox; PLAIN and EXTERNAL send it even if it equals authid
  std::string authid;   // whose password or token; the master user where there is one
  const Secret* secret = nullptr;  // password, or the token for XOAUTH2 and OAUTHBEARER
};

/// What a mechanism says to a challenge.
struct ClientReply {
  enum class Kind : std::uint8_t {
    respond,  // send `bytes`
    refused,  // the server told us why it refuses (`reason`); send `bytes`, then it ends the login
    broken,   // the server does not keep to the mechanism, or the values do not fit it (`reason`)
  };
  Kind kind = Kind::respond;
  WipingBuffer bytes;
  std::string reason;  // safe to log
};

class ClientMechanism {
 public:
  virtual ~ClientMechanism() = default;
  /// The canonical upper-case name.
  virtual std::string_view name() const noexcept = 0;
  /// The initial response; nothing where the server speaks first. A value that the mechanism cannot
  /// carry (a NUL in PLAIN) gives Kind::broken.
  virtual std::optional<ClientReply> initial() = 0;
  /// The next challenge, decoded. If the initial response was not sent with the command, the first
  /// (empty) challenge asks for it: the caller sends initial() then and does not call this.
  virtual ClientReply challenge(std::string_view bytes) = 0;
};

/// PLAIN (RFC 4616), LOGIN, EXTERNAL (RFC 4422), XOAUTH2 (Google), OAUTHBEARER (RFC 7628).
bool is_client_mechanism(std::string_view name) noexcept;

/// The mechanism `name`, in any case; null if there is none.
std::unique_ptr<ClientMechanism> make_client_mechanism(std::string_view name,
                                                       const ClientCredentials& who);

}  // namespace postern::sasl
