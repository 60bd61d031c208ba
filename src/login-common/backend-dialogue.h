#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/ip.h"
#include "lib/secret.h"

/// The dialogue with a backend, from its banner to its verdict on the login, as a machine without
/// I/O. A protocol implements BackendDialogue; the connector drives it line by line.
namespace postern::login {

/// How TLS is to be used towards the backend (passdb fields ssl, starttls).
enum class BackendTls : std::uint8_t { none, implicit, starttls };

/// Everything the dialogue tells the backend. Owned by the proxy attempt, outlives the dialogue.
struct BackendTarget {
  std::string user;    // destuser, else the user after auth
  std::string master;  // authenticates instead of the user; empty: none
  Secret password;     // `pass`, the client's own or a fixed one
  std::string mech;    // proxy_mech, upper case; empty: the protocol's own login command
  BackendTls tls = BackendTls::none;
  bool nopipelining = false;
  bool not_trusted = false;  // tell it nothing of the client
  bool id_before_starttls = false;
  bool alerts = true;            // IMAP: its [ALERT] texts go to the client
  bool hide_auth_errors = true;  // POP3, submission: refusals without a known code are replaced
  bool noauth = false;           // submission: XCLIENT says who logs in, no password is sent
  // What is forwarded.
  std::string session;
  Endpoint client;                                           // as auth saw it (rip, rport)
  Endpoint local;                                            // lip, lport
  unsigned ttl = 0;                                          // already decremented
  bool client_tls = false;                                   // x-client-transport
  std::string local_name;                                    // SNI, empty: none
  std::vector<std::pair<std::string, std::string>> forward;  // names without forward_
  // IMAP, imap_id_retain; no value is NIL.
  std::vector<std::pair<std::string, std::optional<std::string>>> client_id;
  bool forward_2_3_only = false;  // proxy_forward_level=2.3: without the keys Dovecot 2.4 added
  // What the reply to the client needs.
  std::string client_tag;               // IMAP
  bool client_used_capability = false;  // IMAP: the client sent CAPABILITY itself
  // Submission.
  std::string host_name;      // ours, for EHLO
  std::string helo;           // the client's; empty: it said none
  std::string helo_protocol;  // likewise
};

/// Every proxy failure has exactly one type; it decides retry, log level and the client's reply.
enum class FailureType : std::uint8_t {
  connect,
  internal,
  internal_config,
  remote,
  remote_config,
  protocol,
  auth_replied,      // credentials refused, and the reply to the client is in `to_client`
  auth_not_replied,  // credentials refused by our own SASL client: the driver replies
  auth_tempfail,     // the backend's temporary failure; after retries `reply` goes to the client
};

struct Failure {
  FailureType type = FailureType::protocol;
  std::string reason;  // for the log, peer bytes made safe
  std::string reply;   // auth_replied, auth_tempfail: the line(s) for the client, with CRLF
};

/// What the connector does after on_line().
enum class Then : std::uint8_t {
  read_line,
  start_tls,  // flush, then TLS; bytes left in the input are a protocol error
  logged_in,  // `to_client` holds the success reply; what is left in the input is relayed
  failed,     // failure() says how
};

class BackendDialogue {
 public:
  // What a backend may say before its verdict on the login: the connector passes on no more. A
  // hundred lines would be enough for all but a submission login, where the reply to AUTH alone may
  // have 128, behind a banner, EHLO before and after TLS, and XCLIENT. What a flood can cost is
  // bounded by the bytes.
  static constexpr std::size_t kMaxLine = 4096;  // bytes, without the line end
  static constexpr std::size_t kMaxLines = 200;
  static constexpr std::size_t kMaxBytes = 64UL * 1024;

  virtual ~BackendDialogue() = default;

  /// One line from the backend, without its line end. Commands go to `to_backend`; what the client
  /// is to see (the success reply, alerts) goes to `to_client`.
  virtual Then on_line(std::string_view line, WipingBuffer& to_backend,
                       WipingBuffer& to_client) = 0;
  /// TLS asked for by Then::start_tls is up.
  virtual Then on_tls_started(WipingBuffer& to_backend) = 0;

  /// "login/id": what stands after state= in messages.
  virtual std::string state() const = 0;
  /// True if an answer names its command, so that nothing can be taken for the answer to another:
  /// then answers to earlier commands, and what answers nothing, may be there when a command is
  /// written. Otherwise whatever is there is an answer before its question.
  virtual bool answers_are_tagged() const noexcept { return false; }
  /// A remark for the log at error level, behind the proxy's prefix; empty if there is none. Asked
  /// after every call that took a line ("Unexpected input, ignoring: Q OK what").
  virtual std::string take_remark() { return {}; }
  /// After Then::failed.
  virtual const Failure& failure() const = 0;
};

}  // namespace postern::login
