#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "config/settings.h"
#include "io/loop.h"
#include "io/stream.h"
#include "lib/secret.h"
#include "login-common/backend-record.h"
#include "login-common/pipe-pool.h"
#include "login-common/proxy.h"
#include "login-common/raw-log.h"
#include "login-common/refresh-notes.h"

/// The relay: logged-in sessions, each two streams and a small record. Bytes go from stream to
/// stream through one buffer of the process; what a side does not take waits in a buffer of the
/// session, and until that is gone nothing more is read from the other side. Sockets without TLS
/// that move many bytes are joined by a pipe (splice(2)) instead.
namespace postern::login {

/// What is kept of a session for its rows and its last log line.
struct SessionIdentity {
  std::string user, rip, lip, session, secured, dest_user;
  Endpoint backend;
  std::string elements;  // of the log lines
};

/// Everything a session begins with.
struct RelayStart {
  std::unique_ptr<io::Stream> client, backend;
  WipingBuffer to_client;   // still to be written, before anything that is read from now on
  WipingBuffer to_backend;  // likewise
  std::uint64_t sent_to_client = 0, sent_to_backend = 0;  // before, for the log
  std::shared_ptr<const config::LoginSettings> settings;
  BackendRecord* record = nullptr;  // outlives the session; its `sessions` is counted here
  SessionIdentity identity;
  std::unique_ptr<RawLog> raw_log;  // may be null
  unsigned refresh = 0;             // seconds, see RefreshNotes; 0: never
};

class RelaySession;

/// The sessions of a process.
class Relay {
 public:
  /// Of the buffer every session reads into. Its half is the most that waits for a slow side.
  static constexpr std::size_t kBufferBytes = 64UL * 1024;
  /// What the kernel may hold unsent for a side that gets many bytes.
  static constexpr unsigned kUnsentBytes = 256 * 1024;
  /// The other direction may go on this long without a byte once one side has stopped sending …
  static constexpr std::chrono::seconds kHalfOpen{30};
  /// … and with proxy_half_close=no what is left may take this long to write.
  static constexpr std::chrono::seconds kFlush{5};

  /// @param service  protocol name, for rows; static text
  Relay(io::Loop& loop, std::string_view service);
  ~Relay();
  Relay(const Relay&) = delete;
  Relay& operator=(const Relay&) = delete;

  /// Takes over two connected streams. The session ends by itself and says so in the log.
  void start(RelayStart start);

  /// Bytes that wait in this process for slow sides, its pipes included.
  std::size_t waiting() const noexcept;
  unsigned count() const noexcept { return static_cast<unsigned>(sessions_.size()); }
  void for_each(const std::function<void(const SessionRow&)>& visit) const;
  /// Sessions whose client has yet to learn that the backend is gone do not count; they end as
  /// well.
  unsigned kick(const std::function<bool(const SessionRow&)>& match, std::string_view reason,
                bool spread = false);
  void on_change(std::function<void()> changed) { changed_ = std::move(changed); }

  /// Looks at every session for what is due: keepalive, idle and half-open limits. Called by a
  /// timer; public for tests.
  void sweep() noexcept;
  /// False after the kernel refused splice(2): bytes are copied from then on.
  bool splices() const noexcept { return splice_works_; }

 private:
  friend class RelaySession;
  void on_sweep() noexcept;
  void arm_sweep() noexcept;
  void on_linger() noexcept;
  void arm_linger(io::TimePoint due) noexcept;
  void remove(RelaySession& session);  // retires it

  io::Loop& loop_;
  std::string_view service_;
  std::vector<std::unique_ptr<RelaySession>> sessions_;  // a session knows its index
  std::unique_ptr<std::array<char, kBufferBytes>> buffer_;
  PipePool pipes_;
  RefreshNotes refresh_notes_;
  io::Timer timer_, linger_timer_;
  io::TimePoint next_linger_{};
  std::function<void()> changed_;
  std::uint64_t next_id_ = 1;
  std::size_t closing_ = 0;       // sessions one side of which has stopped sending
  io::Milliseconds sweep_every_;  // what the idle limits ask for
  bool sweeping_fast_ = false;
  bool splice_works_ = true;
};

}  // namespace postern::login
