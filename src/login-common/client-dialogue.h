#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/ip.h"
#include "lib/secret.h"
#include "login-common/auth-result.h"

namespace postern::config {
struct LoginSettings;
}

/// The dialogue with a client before login, as a machine without I/O. A protocol implements
/// ClientDialogue; client.cc drives it with bytes from a socket, the transcript test with recorded
/// ones, the fuzzer with invented ones.
namespace postern::login {

/// A SASL mechanism the auth server offers (its MECH lines, in its order).
struct Mechanism {
  std::string name;  // upper case
  bool plaintext = false;
  bool private_use = false;  // APOP: accepted, never advertised
  bool anonymous = false;
};

/// What a connection is allowed, as it stands now; the driver changes it (TLS), the dialogue reads
/// it.
struct Security {
  bool trusted = false;      // login_trusted_networks, decided once at connect
  bool tls = false;          // this process ends the TLS
  bool ssl_secured = false;  // tls, or a balancer's TLS
  bool secured = false;      // ssl_secured, trusted, or client address == server address
};

/// What a trusted hop said of the client behind it (IMAP ID, XCLIENT). Parsed whole, then applied.
struct Forwarded {
  std::optional<IpAddress> client_ip;
  std::optional<std::uint16_t> client_port;
  std::optional<IpAddress> local_ip;
  std::optional<std::uint16_t> local_port;
  std::optional<std::string> session;     // 1..64 bytes
  std::optional<unsigned> ttl;            // hops left; 0 refuses proxying
  std::optional<std::string> local_name;  // the server name the client asked for (Dovecot 2.4)
  std::optional<bool> client_tls;         // the client's own transport (Dovecot 2.4)
  std::vector<std::pair<std::string, std::string>> fields;  // forward_NAME, name without the prefix
};

/// What a dialogue may look at. Owned by the driver, outlives the dialogue.
struct ClientContext {
  const config::LoginSettings* settings = nullptr;  // for this connection; changes with SNI
  const std::vector<Mechanism>* mechanisms = nullptr;
  Security security;
  std::string host_name;  // `hostname`, else the machine's
  std::string greeting;   // login_greeting, expanded
  std::string challenge;  // POP3: what APOP is about; empty where auth has no such mechanism
};

/// An authentication the client asks for. The driver has not checked anything yet.
struct AuthRequest {
  std::string mech;               // upper case
  std::optional<Secret> initial;  // base64 as sent, verified to be base64; "" is an empty response
  /// The initial response is not base64 and was dropped. The driver makes its other checks first,
  /// then calls failed(invalid_base64, "Invalid base64 data in initial response").
  bool invalid_initial = false;
  std::string user;  // LOGIN/USER only: the name as typed, for the log of a refused attempt
  bool plaintext_command = false;  // LOGIN, USER/PASS: refusal texts and checks differ
  bool uses_challenge = false;     // APOP: about ClientContext::challenge; may be private
};

/// What the driver is to do after consume().
enum class Wish : std::uint8_t {
  need_more,     // the bytes do not hold a whole command yet
  next,          // something was consumed; call again with what is left
  start_tls,     // flush, then TLS; nothing received behind the command may be used
  authenticate,  // request() says with what; consume() is not called until the verdict is in
  respond,       // response() holds the client's SASL response
  cancel,        // the client gave up the SASL exchange, or sent no base64: cancel_outcome()
  forwarded,     // forwarded() holds what a trusted hop says; apply it and call again
  log_id,        // to be logged (IMAP ID, a malformed APOP): take_id_log() has it; call again
  close,         // flush, then close; close_reason() is for the log
};

/// How much was used up and what follows.
struct Step {
  std::size_t consumed = 0;
  Wish wish = Wish::need_more;
};

/// What is needed of a dialogue once a login has succeeded.
struct LoginFacts {
  std::string tag;   // IMAP: of the command that logged in
  std::string mech;  // after Wish::close: of a login that ended before all of it was read
  bool used_capability = false;  // IMAP: the client asked CAPABILITY itself before any STARTTLS
  /// IMAP with imap_id_retain: what the client said in its last ID (no `x-` keys), in order; no
  /// value is NIL. At most 256 bytes written out.
  std::vector<std::pair<std::string, std::optional<std::string>>> client_id;
  std::string helo;           // submission: what the client calls itself; empty if it is no name
  std::string helo_protocol;  // submission: "ESMTP", "SMTP"; empty if it did not say
  /// Submission: a command that asked for the login without saying so, whole. The backend gets it
  /// once the login has succeeded, and the client reads the reply to it and not the login's.
  std::string replay;
};

/// One protocol towards the client, from the greeting to the end of the login. No I/O, no clock.
/// Output is appended to `out`; the driver writes it once per wake-up.
class ClientDialogue {
 public:
  virtual ~ClientDialogue() = default;

  /// The greeting, once the mechanisms are known (and after an implicit TLS handshake).
  virtual void greet(WipingBuffer& out) = 0;

  /// Takes what it can from the start of `input`, at most one command. While a SASL response is
  /// awaited (after challenge()) the next line is that response. A dialogue that keeps bytes
  /// itself says so by consuming them; otherwise the driver offers them again with more.
  virtual Step consume(std::string_view input, WipingBuffer& out) = 0;

  /// What Wish::authenticate, respond, forwarded, log_id and close refer to; valid until the next
  /// call.
  virtual AuthRequest take_request() = 0;
  virtual Secret take_response() = 0;  // base64, verified
  virtual Forwarded take_forwarded() = 0;
  virtual std::string take_id_log() = 0;  // the whole message: "ID sent: name=x, os=NIL"
  virtual std::string close_reason() const = 0;
  /// After Wish::cancel: what failed() is to be told, aborted or invalid_base64.
  virtual Outcome cancel_outcome() const { return Outcome::aborted; }
  /// After Wish::cancel: what the log says of a response that was none; empty: the client gave up.
  virtual std::string_view cancel_text() const { return {}; }
  virtual LoginFacts facts() const { return {}; }
  /// SMTP: the command whose reply is still to come ("AUTH"); the log names it when the connection
  /// ends meanwhile. Empty if there is none.
  virtual std::string_view unfinished_command() const { return {}; }

  /// The auth server wants more: send `base64` and await a response line.
  virtual void challenge(std::string_view base64, WipingBuffer& out) = 0;
  /// The login failed; the dialogue goes on with the next command.
  virtual void failed(const AuthResult& result, WipingBuffer& out) = 0;

  /// TLS is up after Wish::start_tls: forget the protocol state that plaintext may have shaped.
  virtual void tls_started(WipingBuffer& out) = 0;

  /// Said on the way out (timeouts, shutdown, full queue …): wraps `text` as the protocol does.
  enum class Bye : std::uint8_t { timeout, shutdown, resource, internal };
  virtual void bye(Bye kind, std::string_view text, WipingBuffer& out) = 0;

  /// IMAP: said once when the auth server has kept a client waiting; others say nothing.
  virtual void waiting_for_auth(WipingBuffer& out) = 0;

  /// Largest input consume() may leave unconsumed, in bytes; past it the driver calls
  /// input_full() and closes.
  virtual std::size_t input_limit() const = 0;
  virtual void input_full(WipingBuffer& out) = 0;
};

}  // namespace postern::login
