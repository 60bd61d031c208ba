#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config/snapshot.h"
#include "io/loop.h"
#include "io/stream.h"
#include "lib/log.h"
#include "login-common/access-lookup.h"
#include "login-common/address-counts.h"
#include "login-common/auth-client.h"
#include "login-common/client-dialogue.h"
#include "login-common/line-limit.h"
#include "login-common/log-line.h"
#include "login-common/protocol.h"
#include "login-common/proxy.h"
#include "login-common/session-id.h"
#include "login-common/tls-contexts.h"
#include "wire/opening.h"
#include "wire/proxy-header.h"

/// A client from accept() to the end of its login: takes a balancer's word for it, drives the
/// protocol's dialogue, asks auth, and hands both streams to the relay or says why not. One line
/// about it reaches the log.
namespace postern::login {

class Client;

/// What the clients of a process share. Everything outlives them.
struct ClientShared {
  io::Loop& loop;
  const Protocol& protocol;
  config::LoginConfig& config;
  AuthClient& auth;
  ProxyCore& proxy;
  TlsContexts& tls;
  SessionIds& session_ids;
  std::string host_name;         // in the text of temporary failures
  std::string full_host_name{};  // of a protocol that names itself, unless `hostname` is set
  /// Every client reads here; what is left of it is kept by the client.
  std::array<char, 8192> read_buffer{};
  io::Milliseconds handshake_timeout{30'000};  // of TLS, within login_timeout
  LineLimit header_lines{};                    // about PROXY headers
  LineLimit refusal_lines{};                   // about addresses with too many clients
  AddressCounts* counts = nullptr;             // none: nobody is counted
  AccessLookup::Connect connect_access{};
  std::vector<std::string> access_sockets{};  // login_access_sockets
};

/// Who keeps the clients.
class ClientOwner {
 public:
  /// The client has ended and is to be retired (Loop::retire); it does nothing any more.
  virtual void on_client_end(Client& client) noexcept = 0;
  /// address() is the client's own from now on.
  virtual void on_client_known() noexcept = 0;

 protected:
  ~ClientOwner() = default;
};

class Client final : public AuthListener {
 public:
  static constexpr std::size_t kMaxOutput = 4096;  // unsent bytes at which no command is taken
  static constexpr std::chrono::seconds kGreetingNotice{10};
  static constexpr std::chrono::seconds kAuthNotice{30};
  static constexpr std::chrono::seconds kCloseTimeout{5};    // for the last words to leave
  static constexpr std::chrono::seconds kRefusalTimeout{5};  // for a handshake only to be refused
  static constexpr unsigned kReportEvery = 10;               // failures

  /// @param listener  borrowed, outlives the client
  Client(ClientShared& shared, ClientOwner& owner, const config::SocketInfo& listener, UniqueFd fd,
         const Endpoint& remote, const Endpoint& local);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  /// Begins; may end the client.
  void start();
  /// Auth's handshake is done: the greeting can go out.
  void on_auth_ready();
  /// Ends it with a word, in the protocol's form. May be called in any state but its own callback.
  void disconnect(ClientDialogue::Bye kind, std::string_view text, std::string_view reason);
  /// Ends it by an operator's wish.
  void kick(std::string_view reason);
  const IpAddress& address() const noexcept { return remote_.ip; }

  bool waits_for_greeting() const noexcept { return state_ == State::greeting; }
  /// Nothing is under way that anybody waits for, or a handshake at most: such a client goes first
  /// when room is needed.
  bool idle() const noexcept { return state_ <= State::starttls || gone_; }
  /// It has begun to authenticate and leaves us waiting.
  bool owes_response() const noexcept { return state_ == State::response; }
  /// It is on its way out, or relayed already.
  bool ended() const noexcept { return state_ >= State::closing; }
  bool tls() const noexcept { return context_.security.tls; }
  /// For posternctl.
  SessionRow row();

  /// Where it stands in its owner's list.
  std::list<std::unique_ptr<Client>>::iterator position;

  // AuthListener
  void on_auth_continue(std::string_view base64) noexcept override;
  void on_auth_ok(wire::AuthReplyOk&& reply) noexcept override;
  void on_auth_fail(wire::AuthReplyFail&& reply) noexcept override;
  void on_auth_lost() noexcept override;

 private:
  enum class State : std::uint8_t {
    proxy_header,  // of the balancer in front, before anything of the client's
    access,        // other programs are asked whether it may come in
    admission,     // whether its address may have one more is being asked
    handshake,     // TLS from the first byte
    greeting,      // auth's mechanisms are not known yet
    command,
    starttls,  // the reply is on its way, then TLS
    auth,      // auth is busy
    response,  // the client is to send a SASL response
    proxying,
    closing,  // the last words are on their way
    ended,
  };

  // What a balancer says (client-proxy-header.cc).
  void wait_for_header();
  void read_header();
  void take_header(const wire::ProxyHeader& header);
  void header_ended();
  void header_late();
  void header_line(log::Level level, std::string_view message);
  void refuse_header(log::Level level, std::string_view message);

  // Life (client.cc).
  void on_event(unsigned events) noexcept;
  void on_time() noexcept;
  void on_server_name(std::string_view name, std::shared_ptr<io::TlsContext>& context) noexcept;
  void select_settings();
  void ask_access();
  void on_access(const AccessLookup::Verdict& verdict);
  void refuse_access(log::Level level, std::string_view line);
  void begin();
  void admit(bool granted);
  void judge_addresses(bool by_balancer);
  void greet();
  void begin_tls();
  void tls_started();
  void read();
  void process(std::string_view bytes);
  bool speaks_another_protocol(std::string_view bytes);
  std::size_t run_commands(std::string_view bytes);
  bool obey(Wish wish, std::string_view rest);
  void apply_forwarded();
  bool flush();
  void settle();
  void arm_timer();
  void notice();
  void say_bye(ClientDialogue::Bye kind, std::string_view text, std::string_view reason);
  void close(std::string_view reason, bool with_remark = true);
  void refuse_address();
  void uncount() noexcept;
  void end();

  // Authentication (client-auth.cc).
  void make_challenge();
  void authenticate();
  std::optional<AuthResult> refuse(const AuthRequest& request);
  bool certificate_has_no_name() const noexcept;
  void send_request(AuthRequest& request);
  void fail(const AuthResult& result);
  void local_failure(const AuthResult& result, std::string_view text);
  void count_failure(Outcome outcome);
  void remember_names(const std::string& user, const std::string& original,
                      const std::string& auth_user);
  void refuse_login(const wire::AuthReplyOk& reply);
  void no_mail_service();
  void start_proxy(wire::AuthReplyOk&& reply);
  void on_verdict(ProxyVerdict verdict);
  void resume();
  void log_failures();
  AuthResult temporary_failure() const;

  // What the log says (client-log.cc).
  const std::string& session();
  std::string elements();
  std::string secured_text() const;
  std::string ssl_text() const;
  void log_line(log::Level level, std::string_view message);
  /// @param prefix  of the line, before what login_log_format makes
  void log_end(std::string_view prefix = {}, std::string_view words = kDisconnected);
  EndFacts::Certificate certificate_fact() const noexcept;
  std::uint64_t seconds_since(io::TimePoint when) const noexcept;
  bool compat() const noexcept;

  ClientShared& shared_;
  ClientOwner& owner_;
  const config::SocketInfo& listener_;
  std::unique_ptr<io::Stream> stream_;
  std::shared_ptr<const config::LoginSettings> settings_;
  ClientContext context_;
  std::unique_ptr<ClientDialogue> dialogue_;
  State state_ = State::greeting;
  Endpoint remote_, local_;             // as a trusted hop says
  Endpoint real_remote_, real_local_;   // of the socket
  IpAddress seen_remote_, seen_local_;  // as the balancer in front says, if there is one
  WipingBuffer input_;                  // read, not yet taken by the dialogue
  WipingBuffer out_;                    // to be written at the end of the wake-up
  std::uint64_t sent_ = 0;              // bytes
  bool blocked_ = false;                // out_ waits for the client to read
  bool tls_handshaking_ = false;
  bool gone_ = false;           // left while auth was busy with it
  std::uint64_t count_id_ = 0;  // of shared_.counts
  bool refused_ = false;        // its address has too many: it only hears that
  wire::Opening opening_;       // of the client's own first bytes, and of those inside TLS
  std::string tls_error_;
  /// What the client has shown of itself in TLS, here or to a balancer in front of us.
  io::ClientCertificate certificate_;

  io::Timer timer_;
  io::TimePoint connected_, deadline_, notice_at_{}, handshake_deadline_{};
  std::string session_, local_name_;
  std::optional<unsigned> ttl_;
  std::optional<bool> client_tls_;  // of the connection that a trusted hop has with its client
  std::vector<std::pair<std::string, std::string>> forward_;

  // The logins it tried.
  AuthClient::Server challenge_server_;  // for which the greeting's challenge was made
  std::uint32_t auth_id_ = 0;
  std::string mech_, user_, original_user_, auth_user_;
  std::vector<std::pair<std::string, std::string>> passdb_fields_;
  std::unique_ptr<ProxyAttempt> attempt_;
  std::unique_ptr<AccessLookup> access_;
  EndFacts facts_;
  unsigned failures_ = 0;
  io::TimePoint first_attempt_{}, auth_started_{};
  std::string close_reason_;
  bool with_remark_ = true;
  bool logged_ = false;
};

}  // namespace postern::login
