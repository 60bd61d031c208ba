#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "lib/secret.h"

/// SASL mechanisms, the server's side, without I/O: bytes of the client in (after base64), bytes
/// for it out. A mechanism knows nothing of users; whoever drives it checks what it extracts.
namespace postern::sasl {

/// What shows that the client knows a password without being it. To be compared with the password
/// in clear, so only a database that stores it that way can.
class PasswordProof {
 public:
  virtual ~PasswordProof() = default;
  /// In constant time for all proofs of one length.
  virtual bool matches(std::string_view password) const = 0;
};

/// What a mechanism has learnt from the client.
struct Credentials {
  std::string authcid;  // whose password it is
  std::string authzid;  // as whom to log in; empty: the same
  Secret password;
  std::unique_ptr<PasswordProof> proof;  // instead of the password, where the mechanism has one
};

/// What an exchange is bound to: challenges of other servers, connections and times are not ours.
struct ServerBinding {
  std::uint64_t server = 0;      // pid of the auth process, as SPID told it
  std::uint64_t connection = 0;  // of the login process, as CUID told it
  std::int64_t started = 0;      // unix time at which the auth process began
};

/// What to do after a step.
enum class ServerStep : std::uint8_t {
  challenge,  // send the challenge, which may be empty, and wait
  name,       // authcid is known: check it, then send the challenge
  verify,     // the credentials are complete
  invalid,    // the client broke the exchange
};

/// One exchange. Source: RFC 4616 (PLAIN), draft-murchison-sasl-login-00 (LOGIN), RFC 4422 appendix
/// A (EXTERNAL), RFC 1939 (APOP).
class ServerMech {
 public:
  virtual ~ServerMech() = default;
  /// @param response   what the client sent; nothing when it sent no initial response
  /// @param out        filled as far as known
  /// @param challenge  appended to
  virtual ServerStep step(std::optional<std::string_view> response, Credentials& out,
                          WipingBuffer& challenge) = 0;
};

/// A row of the table of mechanisms.
struct ServerMechRow {
  std::string_view name;   // upper case
  std::string_view flags;  // of the MECH line, TAB-separated
  bool nul_allowed;        // a NUL byte in what the client sends is part of the mechanism
  bool external;           // who it is, is known from outside: its certificate
  std::unique_ptr<ServerMech> (*make)(const ServerBinding& binding);
};

/// The row of a mechanism, by its name in any case; nullptr if there is none.
const ServerMechRow* find_server_mech(std::string_view name) noexcept;

std::unique_ptr<ServerMech> make_plain_server(const ServerBinding& binding);     // mech-plain.cc
std::unique_ptr<ServerMech> make_login_server(const ServerBinding& binding);     // mech-login.cc
std::unique_ptr<ServerMech> make_external_server(const ServerBinding& binding);  // mech-external.cc
std::unique_ptr<ServerMech> make_apop_server(const ServerBinding& binding);      // mech-apop.cc

}  // namespace postern::sasl
