#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config/snapshot.h"
#include "io/stream.h"
#include "login-common/auth-result.h"
#include "login-common/backend-dialogue.h"

/// The proxy core: from auth's OK to a relayed session. One piece of code for all protocols; a
/// protocol brings its BackendDialogue. The client's life (client.h) starts an attempt and gets a
/// verdict; on success the relay takes both streams and the client object is destroyed.
namespace postern::login {

/// Auth's OK with `proxy`, as it came: names and values in their order, secrets apart.
struct ProxyFields {
  std::string user;                                         // `user=`
  std::vector<std::pair<std::string, std::string>> fields;  // everything but pass
  std::optional<Secret>
      pass;  // `pass=`: a passdb's or the client's own; none: the field is missing
};

/// What the proxy must know of the client; borrowed for the attempt's life unless a value.
struct ProxyClient {
  std::shared_ptr<const config::LoginSettings> settings;
  std::string protocol;  // "imap"
  std::string session;
  Endpoint remote, local;  // as auth saw them (after forwarding)
  Endpoint real_remote, real_local;
  bool tls = false;     // the client's own connection, wherever it ends
  std::string secured;  // as it is logged: "", "secured" or "TLS"
  std::string local_name;
  unsigned ttl = 5;  // as it arrived; 5 when nobody forwarded one
  std::vector<std::pair<std::string, std::string>> forward;  // from a trusted hop
  std::vector<std::pair<std::string, std::optional<std::string>>>
      client_id;  // IMAP, imap_id_retain
  std::string client_tag;
  bool client_used_capability = false;
  std::string host_name;            // submission: ours
  std::string helo, helo_protocol;  // submission: what the client said of itself
  io::TimePoint connected{};  // when the client connected; not set: the attempt's start counts
  /// The elements of the log line about this session ("user=<…>, method=…, …, session=<…>"): every
  /// line of the proxy ends with it.
  std::function<std::string()> log_elements;
};

/// How an attempt ended for the client.
struct ProxyVerdict {
  bool logged_in = false;
  /// logged_in: the success reply and alerts. Failed with has_reply: the backend's refusal. For the
  /// client as it is.
  WipingBuffer reply;
  bool has_reply =
      false;          // `reply` is the whole answer; else `result` is to be said by the dialogue
  AuthResult result;  // failed: filled in both cases
  /// For the client's own disconnect line: "proxy dest auth failed", or "internal failure" (to
  /// which the client adds ", N successful auths").
  std::string log_reason;
};

class ProxyCore;

/// One attempt to log in at a backend, retries included. Destroying it abandons it silently; it may
/// be destroyed inside `done`. The core must outlive it.
class ProxyAttempt {
 public:
  virtual ~ProxyAttempt() = default;
  /// "connecting", "login/banner" …, for posternctl and verbose_proctitle.
  virtual std::string state() const = 0;
  /// Where it is being tried, and as whom; no address before that is known.
  virtual Endpoint backend() const = 0;
  virtual std::string dest_user() const = 0;
  /// What its log lines begin with: "proxy(alice,192.0.2.1:143): ".
  virtual std::string log_prefix() const = 0;
  /// After the verdict `logged_in`, inside `done` or later: takes both connections into the relay.
  /// The attempt may be destroyed afterwards; nothing of the client's is used any more.
  /// @param client        the client's stream; what it told before is not told again
  /// @param client_input  bytes that were pipelined behind the login
  /// @param to_client     what is still to be written to the client, the verdict's reply included
  /// @param sent_to_client  bytes written to the client before (greeting …), for the log's `out=`
  virtual void relay(std::unique_ptr<io::Stream> client, WipingBuffer client_input,
                     WipingBuffer to_client, std::uint64_t sent_to_client = 0) = 0;
};

/// A session being relayed, as posternctl sees it.
struct SessionRow {
  std::uint64_t id = 0;
  std::string user, service, rip, lip, session, secured, state, dest_user, dest_ip, dest_port;
};

/// What this process has to do with a backend, as posternctl sees it.
struct BackendRow {
  Endpoint backend;
  unsigned pending = 0;      // logins under way
  unsigned sessions = 0;     // being relayed
  std::uint64_t logins = 0;  // that succeeded
};

/// The relay's and connector's shared half; one per login process. Destroyed after every attempt.
class ProxyCore {
 public:
  using MakeDialogue = std::unique_ptr<BackendDialogue> (*)(const BackendTarget&);
  struct Protocol {
    std::string_view name;  // "imap"; static text
    std::uint16_t port = 143;
    std::uint16_t ssl_port = 993;
    MakeDialogue make_dialogue = nullptr;
  };
  /// @param listeners  this instance's sockets: no destination may be one of them. Which addresses
  ///                   a wildcard listener stands for is found out here, once.
  static std::unique_ptr<ProxyCore> make(io::Loop& loop, const Protocol& protocol,
                                         const std::vector<config::SocketInfo>& listeners);
  virtual ~ProxyCore() = default;
  /// Loads what verification needs (CA files, client certificate) and resolves login_source_ips for
  /// `settings` before the process forks or is confined; errors are logged and make connections
  /// that need it fail plainly.
  virtual void prepare(const std::vector<std::shared_ptr<const config::LoginSettings>>& all) = 0;
  /// Starts an attempt. `done` is called at most once (exactly once unless the attempt is destroyed
  /// before), never before start() returns.
  virtual std::unique_ptr<ProxyAttempt> start(ProxyFields fields, ProxyClient client,
                                              std::function<void(ProxyVerdict)> done) = 0;
  virtual unsigned relaying() const noexcept = 0;
  virtual void for_each(const std::function<void(const SessionRow&)>& visit) const = 0;
  /// Ends the sessions `match` picks, telling why in the log ("Kicked by admin", "Process shutting
  /// down"); returns how many. Attempts are the client's to end.
  /// @param spread  their clients may be told one after another (login_proxy_max_disconnect_delay)
  virtual unsigned kick(const std::function<bool(const SessionRow&)>& match,
                        std::string_view reason, bool spread) = 0;
  /// How to tell the master of backends (wire/channel.h); nobody is told before.
  virtual void use_master(
      std::function<void(std::string_view verb, const std::vector<std::string>& fields)> tell) = 0;
  /// What the master says of them. False: the message is none of these, or wrong.
  virtual bool on_packet(std::string_view verb, const std::vector<std::string>& fields) = 0;
  /// The backends that this process has connected to, or was told of.
  virtual void for_each_backend(const std::function<void(const BackendRow&)>& visit) const = 0;
  /// Called whenever relaying() changed, at the end of that turn of the loop or sooner.
  virtual void on_change(std::function<void()> changed) = 0;
};

}  // namespace postern::login
