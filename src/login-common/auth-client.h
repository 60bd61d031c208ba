#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "io/loop.h"
#include "lib/handle.h"
#include "lib/result.h"
#include "lib/secret.h"
#include "login-common/client-dialogue.h"
#include "wire/auth-reply.h"

/// The login process's end of the auth protocol: one pipelined connection for all its clients.
/// Auth is a stranger like any other: what it says that is not the protocol ends the connection
/// with a line in the log, and the requests with a temporary failure, never as a wrong password.
namespace postern::login {

/// Who asked. Exactly one of ok, fail and lost is called for a request, unless it is cancelled; any
/// may start another request or cancel its own, but destroys nothing before it returns.
class AuthListener {
 public:
  virtual void on_auth_continue(std::string_view base64) noexcept = 0;
  virtual void on_auth_ok(wire::AuthReplyOk&& reply) noexcept = 0;
  virtual void on_auth_fail(wire::AuthReplyFail&& reply) noexcept = 0;
  /// Auth died, or was silent for too long.
  virtual void on_auth_lost() noexcept = 0;

 protected:
  ~AuthListener() = default;
};

class AuthClient {
 public:
  static constexpr std::size_t kMaxOpen = 10000;               // requests in this process
  static constexpr std::chrono::seconds kRequestTimeout{155};  // auth itself gives up after 150
  static constexpr std::chrono::seconds kHandshakeTimeout{30};
  static constexpr std::chrono::milliseconds kFirstBackOff{100};
  static constexpr std::chrono::milliseconds kLastBackOff{5000};
  static constexpr std::size_t kMaxUnsent = 1024UL * 1024;  // bytes that auth does not take

  /// Gets a connected socket, or says why not; never before it returns.
  using Connect = std::function<void(std::function<void(Result<UniqueFd>)>)>;

  /// @param name  of the socket, for the log
  AuthClient(io::Loop& loop, Connect connect, std::string name);
  ~AuthClient();
  AuthClient(const AuthClient&) = delete;
  AuthClient& operator=(const AuthClient&) = delete;

  /// Begins to connect, and stays connected from then on.
  void start();
  /// Nobody will ask any more, and no request is open: gives the connection up. Auth has room for
  /// so many, and one of an earlier configuration waits for it to end.
  void stop() noexcept;
  /// The handshake is done: mechanisms() is what auth offers now.
  bool ready() const noexcept { return state_ == State::ready; }
  /// True once a handshake has been completed in this process.
  bool was_ready() const noexcept { return was_ready_; }
  /// Which connection to which process it is: what auth offers a challenge for holds only on it.
  struct Server {
    std::uint32_t pid = 0;
    std::uint32_t connection = 0;  // CUID
    bool operator==(const Server&) const = default;
  };
  const Server& server() const noexcept { return server_; }
  /// Of the last handshake; the vector stays where it is.
  const std::vector<Mechanism>& mechanisms() const noexcept { return mechanisms_; }
  /// `ready` is called after each handshake; `broken` if a connection ends before this process ever
  /// completed one.
  void on_change(std::function<void()> ready, std::function<void()> broken);

  /// Asks. While auth is away the request waits for it, up to the time-out. The listener must live
  /// until it was answered or the request cancelled.
  /// @return the request's number; an Error if there are too many, or if it is longer than auth
  ///         reads, which would end the connection and all other logins with it. The caller fails
  ///         it as temporary
  Result<std::uint32_t> request(std::string_view mech, const wire::AuthRequestInfo& info,
                                const std::optional<Secret>& initial, AuthListener& listener);
  /// The client's answer to a challenge; base64, verified.
  void respond(std::uint32_t id, const Secret& response);
  /// Forgets the request and tells auth so.
  void cancel(std::uint32_t id);
  /// Tells auth that a login it has answered with OK is not wanted after all.
  void release(std::uint32_t id);

  std::size_t open_requests() const noexcept { return open_.size(); }
  /// Fails what is overdue at `now`; called by a timer, public for tests.
  void sweep(io::TimePoint now);

 private:
  enum class State : std::uint8_t { idle, connecting, handshake, ready };
  struct Open {
    AuthListener* listener = nullptr;
    io::TimePoint deadline, started;
    WipingBuffer unsent;  // the line, while auth is away
  };

  void connect();
  void on_connected(Result<UniqueFd> fd);
  void on_ready(unsigned what) noexcept;
  void on_retry() noexcept;
  void on_flush() noexcept;
  void on_sweep() noexcept;
  void read();
  bool take(std::string_view line);
  bool handle(wire::AuthReply& reply);
  bool handshake(wire::AuthReply& reply);
  bool become_ready();
  void write();
  void drop(std::string_view why);
  void fail_sent(std::string_view why);
  void arm_sweep();
  void queue_flush() { flush_.trigger(); }

  io::Loop& loop_;
  Connect connect_;
  std::string name_;
  State state_ = State::idle;
  bool started_ = false;
  bool was_ready_ = false;
  std::uint64_t generation_ = 0;  // of the connection; a late answer to connect() is told by it
  Server server_;
  UniqueFd fd_;
  wire::AuthReplyReader reader_;
  WipingBuffer out_;
  io::FdWatch watch_;
  io::Deferred flush_;
  io::Timer retry_, handshake_timer_, sweep_timer_;
  std::chrono::milliseconds back_off_ = kFirstBackOff;
  bool failure_logged_ = false;  // of connecting: once until it works again
  std::vector<Mechanism> mechanisms_, offered_;
  bool got_version_ = false, got_pid_ = false;
  std::function<void()> on_ready_, on_broken_;
  std::uint32_t last_id_ = 0;
  std::unordered_map<std::uint32_t, Open> open_;
  std::shared_ptr<bool> alive_;  // for answers that come after we are gone
  std::array<char, 16384> buffer_;
};

}  // namespace postern::login
