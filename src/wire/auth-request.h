#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/ip.h"
#include "lib/result.h"

/// The lines clients send to an auth server: Dovecot's auth-client protocol 1.2 (login processes,
/// Postfix, Exim) and auth-master protocol 1.1 (post-login services, lmtp, doveadm). The server's
/// end reads them here; how they are built is the client's business (wire/auth-reply.h).
/// Source: Dovecot "Auth Protocol"; tests/transcripts/auth-*.txt.
namespace postern::wire {

inline constexpr std::size_t kMaxAuthLine = 16384;       // bytes of a line from an auth client
inline constexpr std::size_t kMaxAuthMasterLine = 8192;  // of one on an auth-master socket
inline constexpr std::size_t kMaxForwardFields = 32;     // of one request
inline constexpr std::size_t kMaxFieldName = 64;         // bytes of an extra field's name

/// `VERSION MAJOR MINOR`.
struct AuthVersion {
  unsigned major = 0;
  unsigned minor = 0;
};
/// @param args  the line after "VERSION\t"
/// @return nothing unless it is exactly two numbers
std::optional<AuthVersion> parse_auth_version(std::string_view args) noexcept;

/// What a request says of the client it is for. Absent values are empty.
struct AuthProperties {
  std::string service;  // imap, smtp …; never empty once parsed
  IpAddress lip, rip, real_lip, real_rip;
  std::uint16_t lport = 0, rport = 0, real_lport = 0, real_rport = 0;  // 0: not given
  std::string session;
  std::string local_name;  // SNI
  std::string client_id;   // IMAP ID list
  bool secured = false;    // TLS, or a trusted transport
  bool secured_tls = false;
  bool valid_client_cert = false;
  std::optional<std::string> cert_username;
  bool no_penalty = false;
  bool final_resp_ok = false;
  bool debug = false;
  /// Names with their `forward_` prefix; a bare name has no value.
  std::vector<std::pair<std::string, std::optional<std::string>>> forward_fields;
};

/// Why a request cannot be read (Error::code).
enum class AuthLineError : int { broken = 1, no_service, after_resp };

/// `AUTH ID MECHANISM service=… [resp=…]`.
struct AuthCommand {
  std::uint32_t id = 0;  // never 0
  std::string mech;      // upper case
  AuthProperties properties;
  bool has_resp = false;
  std::string_view resp;  // base64, not yet checked; borrows the line
};

/// Reads an AUTH request. Unknown and empty parameters are skipped; addresses and ports that do not
/// parse count as absent; each real_* defaults to its claimed twin unless one was given before it.
/// Every forwarded field gets the prefix `forward_`, with or without a value, so that none can name
/// a field of auth's own; names outside [A-Za-z0-9_.-]{1,64} and those past 32 are dropped.
/// @param args  the line after "AUTH\t"
Result<AuthCommand> parse_auth_command(std::string_view args);

/// `CONT ID BASE64`, `CANCEL ID`: the number, and what follows it.
struct AuthContinue {
  std::uint32_t id = 0;
  std::string_view data;  // base64, not yet checked; borrows the line
};
/// @param args  the line after "CONT\t"; nothing unless a number and a TAB stand there
std::optional<AuthContinue> parse_auth_continue(std::string_view args) noexcept;
/// A request number: 1…2³²−1.
std::optional<std::uint32_t> parse_auth_id(std::string_view text) noexcept;

/// `USER ID NAME …`, `PASS ID NAME …`, `LIST ID …`: a lookup on an auth-master socket.
struct MasterLookup {
  std::uint32_t id = 0;
  std::string user;  // of LIST: the mask (user=…), empty for all
  AuthProperties properties;
};
/// @param args      the line after the command and its TAB
/// @param has_user  the second field is a name (not for LIST)
Result<MasterLookup> parse_master_lookup(std::string_view args, bool has_user);

/// `REQUEST ID CLIENT_PID CLIENT_ID COOKIE [session_pid=…] [request_auth_token]`.
struct MasterRequest {
  std::uint32_t id = 0;
  std::uint32_t client_pid = 0;
  std::uint32_t client_id = 0;
  std::string cookie;  // 32 hexadecimal digits
  std::optional<std::uint32_t> session_pid;
  bool request_auth_token = false;
};
/// @param args  the line after "REQUEST\t"
std::optional<MasterRequest> parse_master_request(std::string_view args);

/// True if `name` may be the name of an extra field: [A-Za-z0-9_.:-]{1,64}.
bool is_field_name(std::string_view name) noexcept;

}  // namespace postern::wire
