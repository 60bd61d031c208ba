#pragma once

#include <chrono>
#include <cstddef>
#include <map>

#include "io/loop.h"
#include "lib/ip.h"

/// What this process remembers of each backend: when it last worked, so that a dead one costs later
/// clients milliseconds. No I/O.
namespace postern::login {

/// One per address and port (not per host name: two names of one address share it).
struct BackendRecord {
  io::TimePoint last_success{};  // of a dialogue that came to a verdict, whatever the verdict
  io::TimePoint last_failure{};  // refused, timed out, closed before a verdict
  unsigned attempts = 0;         // connecting or in the dialogue now
  unsigned sessions = 0;         // being relayed
  // Of the sessions it has ended itself since it was last connected to:
  unsigned disconnects = 0;           // how many
  io::TimePoint disconnects_start{};  // when the first client was to learn of it
  unsigned lingering = 0;             // how many clients have not learned of it yet

  /// An attempt begins. A backend never tried counts as having worked a second ago, so that only
  /// time proves it down.
  void on_start(io::TimePoint now) noexcept;
  /// The backend has spoken its verdict.
  void on_success(io::TimePoint now) noexcept;
  /// @param started  when the failed attempt began: a success since then is the newer news
  void on_failure(io::TimePoint now, io::TimePoint started) noexcept;
  /// True if an attempt (already counted in `attempts`) is to fail at once: the backend has been
  /// failing for longer than `after`, and somebody else is already trying it.
  bool is_down(std::chrono::milliseconds after) const noexcept;
  /// A connection to it was made.
  void on_connected() noexcept { disconnects = 0; }
  /// It ended a session, still counted in `sessions`. Its clients are told one after another, so
  /// that they do not come back all at once (Dovecot: login_proxy_max_disconnect_delay).
  /// @param within  how long the last of them may have to wait, at least 1
  /// @param jitter  0..99 ms, so that processes do not keep step
  /// @return after how long the client of this one is to be told; 0: now
  std::chrono::milliseconds on_disconnect(io::TimePoint now, std::chrono::seconds within,
                                          std::chrono::milliseconds jitter) noexcept;
};

/// The records, made on demand. References stay valid while attempts, sessions or lingering is not
/// 0.
class BackendRecords {
 public:
  /// Records kept at most of backends that nobody uses now.
  static constexpr std::size_t kMaxIdle = 4096;
  BackendRecord& get(const Endpoint& backend);
  std::size_t size() const noexcept { return records_.size(); }

 private:
  std::map<Endpoint, BackendRecord> records_;
};

}  // namespace postern::login
