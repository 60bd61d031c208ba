#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "auth/line-session.h"
#include "auth/request.h"
#include "auth/server-context.h"
#include "sasl/server.h"
#include "wire/auth-request.h"

namespace postern::auth {

/// The server's end of one auth-client connection (protocol 1.2): the handshake, then any number of
/// exchanges at a time, each for itself. A client's mistake about one request is that request's
/// failure; only what makes the connection itself unreadable closes it.
/// Source: tests/transcripts/auth-handshake.txt, auth-proto-*.txt, auth-timeouts.txt.
class ClientSession final : public LineSession, private Request::Owner {
 public:
  static constexpr std::size_t kMaxInFlight = 1000;  // requests of one connection

  /// @param login  the peer logs users in: it may ask for what opens a backend, and successes wait
  ///               for the mail process that takes them over (REQUEST)
  ClientSession(ServerContext& server, bool login);
  ~ClientSession() override;

  void on_peer_gone() override;

  /// REQUEST: a successful exchange, handed over once. Null: there is none.
  /// @param unfinished  set if there is one that has not ended
  std::unique_ptr<Request> take_finished(std::uint32_t id, bool& unfinished);
  const std::string& cookie() const noexcept { return cookie_; }
  std::size_t in_flight() const noexcept { return exchanges_.size(); }

 protected:
  void on_line(std::string_view line) override;
  void on_line_too_long() override;

 private:
  enum class State : std::uint8_t { handshake_version, handshake_cpid, ready };
  enum class Phase : std::uint8_t {
    penalty,   // waits because of earlier failures from its address
    client,    // the client is to send CONT
    lookup,    // databases, workers, DNS
    failed,    // the failure delay
    finished,  // a success that waits for REQUEST
  };
  struct Exchange {
    std::uint32_t id = 0;
    Phase phase = Phase::lookup;
    std::unique_ptr<Request> request;
    std::unique_ptr<sasl::ServerMech> mech;
    const sasl::ServerMechRow* row = nullptr;
    sasl::Credentials credentials;
    bool has_first = false;
    Secret first;  // the initial response until the mechanism begins
    TimePoint began;
    TimePoint deadline;
    std::string asked;       // who, before a database gave another name; empty: not known yet
    bool penalised = false;  // its address is
    Milliseconds waited{0};  // for the penalty
    Milliseconds spared{0};  // of what others wait before they are looked at
    std::uint64_t timer = 0;
  };

  void on_handshake(std::string_view line);
  void on_auth(std::string_view args);
  void on_continue(std::string_view args);
  void on_cancel(std::string_view args);
  void step(Exchange& exchange, std::optional<std::string_view> response);
  void verify(Exchange& exchange);
  void wait_for_penalty(Exchange& exchange);
  void on_penalty(std::uint32_t id, PenaltyLevels levels);
  void check(Exchange& exchange);
  void send_continue(Exchange& exchange, std::string_view challenge);
  /// Wrong, refused or impossible: answers after the failure delay.
  void fail(Exchange& exchange, PassdbResult result);
  void send_failure(std::uint32_t id);
  Milliseconds failure_wait(const Exchange& exchange, bool internal);
  void fail_now(std::uint32_t id, std::string_view code, std::string_view reason);
  void forget(std::uint32_t id);
  void on_passdb_done(Request& request, PassdbResult result) override;
  void on_userdb_done(Request& request, UserdbResult result) override;
  Exchange* find(const Request& request) noexcept;
  void arm_sweep();
  void sweep();
  void protocol_error(std::string_view text);
  void debug_out(std::size_t from);

  ServerContext& server_;
  Environment& environment_;
  bool login_;
  State state_ = State::handshake_version;
  unsigned minor_ = 0;
  std::uint32_t pid_ = 0;     // of a login client
  std::uint64_t connection_;  // CUID
  std::string cookie_;
  std::map<std::uint32_t, Exchange> exchanges_;
  std::map<std::uint32_t, PassdbResult> failures_;  // results of those in the failure delay
  std::uint64_t sweep_timer_ = 0;
};

}  // namespace postern::auth
