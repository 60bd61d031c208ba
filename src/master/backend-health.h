#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "io/loop.h"
#include "lib/ip.h"
#include "lib/result.h"
#include "wire/backend-news.h"

/// Which backends work, for all login processes of the instance: a breaker for each address, port
/// and protocol. No I/O; the clocks are the caller's.
///
/// Login processes tell of failures, and of the first success after one. After so many failures in
/// a row, or failures for so long, a backend is down: logins there fail at once, but for one a
/// second that probes. What they say is believed, whoever has taken one over can mislead about
/// backends and about nothing else.
namespace postern::master {

/// The same moment on both clocks.
struct Moment {
  io::TimePoint now{};
  std::int64_t unix_time = 0;
};

/// A backend of one protocol.
struct BackendKey {
  std::string protocol;
  Endpoint backend;
  // NOLINTNEXTLINE(modernize-use-nullptr): the 0 is the compiler's
  auto operator<=>(const BackendKey&) const = default;
};

/// What a login process says of a login that came to no verdict (wire/channel.h).
struct BackendFailure {
  std::chrono::milliseconds took{0};
  std::chrono::milliseconds since_success{0};
  std::chrono::milliseconds patience{0};  // 0: only the number of failures counts
  std::string text;                       // any bytes
};

class BackendHealth {
 public:
  static constexpr std::size_t kMost = 4096;         // backends known
  static constexpr std::size_t kMostDisabled = 256;  // by hand
  static constexpr std::size_t kMaxText = 200;       // bytes of a failure's text
  static constexpr std::chrono::seconds kProbeEvery{1};
  /// After it has worked failures do not count for so long: who has just worked is not down, and
  /// what flaps is told twice a second at most.
  static constexpr std::chrono::seconds kTrust{1};
  /// Backends that begin to fail, in a second: more is not told, so that nobody keeps all processes
  /// busy with made-up addresses.
  static constexpr unsigned kNewsPerSecond = 256;

  enum class State : std::uint8_t { up, failing, down };
  struct Row {
    BackendKey key;
    std::string state;           // up, down, probing, full or disabled
    std::int64_t since = 0;      // unix time; 0: from the start
    unsigned failures = 0;       // in a row
    std::int64_t failed_at = 0;  // unix time of the last failure; 0: never
    std::string error;           // its text, fit for a log
  };

  /// @param tell  is called for what login processes of that protocol are to be told; an empty
  ///              protocol is all of them
  explicit BackendHealth(
      std::function<void(std::string_view protocol, const wire::BackendNews&)> tell)
      : tell_(std::move(tell)) {}

  /// @param failures  in a row that make a backend down; 0: their number does not
  void set_limit(unsigned failures) noexcept { limit_ = failures; }

  void on_failed(const BackendKey& key, const BackendFailure& failure, Moment at);
  void on_worked(const BackendKey& key, Moment at);
  /// May a login try it? If not, `wait` is how long until the next one may.
  bool may_probe(const BackendKey& key, Moment at, std::chrono::milliseconds& wait);
  /// `process` has so many logins that wait for it.
  /// @param limit  of all processes together, from which on no more may; 0: none
  void on_slow(const void* process, const BackendKey& key, unsigned count, unsigned limit,
               Moment at);
  void on_process_gone(const void* process, Moment at);

  /// No logins there until enable(). @param backend  port 0: every port
  /// @return an Error if there are too many already
  Status disable(const Endpoint& backend, Moment at);
  /// False: it was not disabled.
  bool enable(const Endpoint& backend, Moment at);

  /// What a process of `protocol` that starts now has to be told.
  std::vector<wire::BackendNews> news(std::string_view protocol) const;
  /// All that is known, in the order of the keys, and what is disabled (with an empty protocol) if
  /// nothing else is known of it.
  std::vector<Row> rows(Moment at) const;
  /// How `key` stands; for a backend that is not in rows().
  Row row(const BackendKey& key, Moment at) const;
  std::size_t size() const noexcept { return entries_.size(); }

 private:
  struct Slow {
    const void* process = nullptr;
    unsigned count = 0;
    unsigned limit = 0;
  };
  struct Entry {
    State state = State::up;
    unsigned failures = 0;
    io::TimePoint row_began{};  // of failures: when the first began
    io::TimePoint changed{};
    io::TimePoint worked{};
    io::TimePoint next_probe{};
    bool probing = false;
    std::int64_t since = 0, last_success = 0, failed_at = 0;
    std::string error;
    std::vector<Slow> slow;
    bool full = false;
  };
  using Entries = std::map<BackendKey, Entry>;

  Entry* find(const BackendKey& key);
  Entry* make(const BackendKey& key, Moment at);
  void make_room();
  void go_down(const BackendKey& key, Entry& entry, Moment at);
  void weigh(const BackendKey& key, Entry& entry, Moment at);
  void tell(const BackendKey& key, const Entry& entry) const {
    tell_(key.protocol, news_of(key, entry));
  }
  static wire::BackendNews news_of(const BackendKey& key, const Entry& entry);
  bool is_disabled(const Endpoint& backend) const;
  Row row_of(const BackendKey& key, const Entry& entry, Moment at) const;

  std::function<void(std::string_view, const wire::BackendNews&)> tell_;
  unsigned limit_ = 5;
  Entries entries_;
  std::map<Endpoint, std::int64_t> disabled_;  // since when
  io::TimePoint second_{};
  unsigned told_ = 0;  // in that second
};

}  // namespace postern::master
