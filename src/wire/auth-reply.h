#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "lib/ip.h"
#include "lib/result.h"
#include "lib/secret.h"

/// The client's end of Dovecot's auth-client protocol 1.x: reading what the server says, and
/// building what is said to it. (The server's end is wire/auth-request.h.)
/// Source: Dovecot "Auth Protocol"; tests/transcripts/auth-handshake.txt and imap-auth-*.txt.
namespace postern::wire {

/// The longest line believed from a server. An OK carries passdb fields and perhaps a token.
inline constexpr std::size_t kMaxAuthReply = 64UL * 1024;  // bytes, without LF
inline constexpr std::size_t kMaxAuthReplyFields = 256;    // of one reply
inline constexpr std::size_t kMaxAuthMechanisms = 64;      // of one handshake

/// Cuts a stream into lines, however it is chopped. What is kept is wiped: an OK has passwords.
class AuthReplyReader {
 public:
  enum class Event : std::uint8_t {
    more,      // the input is used up
    line,      // line() holds one, without LF
    too_long,  // more than kMaxAuthReply bytes without LF; the connection is to be closed
  };
  /// Takes bytes off the front of `input` up to the next event.
  Event next(std::string_view& input);
  /// Of the last Event::line; valid until next() is called, and as long as its input.
  std::string_view line() const noexcept { return line_; }
  void reset() noexcept;

 private:
  WipingBuffer pending_;
  std::string_view line_;
  bool delivered_ = false;  // pending_ was handed out by the last event
};

// The lines of the handshake.
struct AuthServerVersion {
  unsigned major = 0, minor = 0;
};
struct AuthServerMech {
  std::string name;  // upper case, 1..64 printable bytes without blanks
  bool plaintext = false;
  bool private_use = false;
  bool anonymous = false;
};
struct AuthServerPid {
  std::uint32_t pid = 0;
};
struct AuthServerCuid {
  std::uint32_t id = 0;
};
struct AuthServerCookie {
  Secret cookie;  // 32 hexadecimal digits
};
struct AuthServerDone {};

/// `CONT ID BASE64`: a challenge.
struct AuthReplyContinue {
  std::uint32_t id = 0;
  std::string_view base64;  // verified; may be empty; borrows the line
};
/// `OK ID user=… …`.
struct AuthReplyOk {
  std::uint32_t id = 0;
  std::string user;
  std::string original_user;  // the name as typed, if it differs; empty: it does not
  std::string auth_user;      // master login: whose password it was
  /// Everything but user and pass, in order; a bare word has an empty value.
  std::vector<std::pair<std::string, std::string>> fields;
  std::optional<Secret> pass;
  /// The value of the first field `name`; nothing if there is none.
  std::optional<std::string_view> field(std::string_view name) const noexcept;
};
/// `FAIL ID …`.
struct AuthReplyFail {
  enum class Code : std::uint8_t {
    none,
    temp_fail,
    authz_fail,
    user_disabled,
    pass_expired,
    invalid_base64,
    mech_invalid,
    mech_ssl_required,
    anonymous_denied,
  };
  std::uint32_t id = 0;
  std::string user, original_user, auth_user;
  Code code = Code::none;  // unknown ones count as none
  std::optional<std::string> reason;
  bool nodelay = false;
  /// What is wrong with a reply that names its request and still is none (static text): that
  /// request has failed (temp_fail), the others need not.
  std::string_view broken;
};
/// A command that we do not know: to be skipped, as Dovecot does.
struct AuthReplyUnknown {};

using AuthReply =
    std::variant<AuthReplyUnknown, AuthServerVersion, AuthServerMech, AuthServerPid, AuthServerCuid,
                 AuthServerCookie, AuthServerDone, AuthReplyContinue, AuthReplyOk, AuthReplyFail>;

/// Reads one line. An Error means that the peer does not speak the protocol; its text quotes
/// nothing of the line.
/// @param line  without LF; may hold any byte
Result<AuthReply> parse_auth_reply(std::string_view line);

/// What an AUTH request says of the client. Empty values and addresses are not sent.
struct AuthRequestInfo {
  std::string_view service;  // "imap"
  std::string_view session;
  Endpoint local, remote;            // as claimed
  Endpoint real_local, real_remote;  // of the connection; sent where they differ
  std::string_view local_name;       // SNI
  bool secured = false;
  bool secured_tls = false;
  bool valid_client_cert = false;  // shown, and verified by whoever ends the client's TLS
  std::string_view cert_username;  // of a valid one
  bool final_resp_ok = false;
  bool no_penalty = false;
  std::string_view client_id;                                // an IMAP list's inside
  std::vector<std::pair<std::string, std::string>> forward;  // names without forward_
};

/// Appends an AUTH line. `initial` is base64 as the client sent it.
void append_auth_request(std::uint32_t id, std::string_view mech, const AuthRequestInfo& info,
                         const std::optional<Secret>& initial, WipingBuffer& out);
/// Appends a CONT line.
void append_auth_continue(std::uint32_t id, std::string_view base64, WipingBuffer& out);
/// Appends a CANCEL line.
void append_auth_cancel(std::uint32_t id, WipingBuffer& out);
/// Appends the client's half of the handshake.
void append_auth_hello(std::uint32_t pid, WipingBuffer& out);

}  // namespace postern::wire
