#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "io/loop.h"
#include "lib/ip.h"
#include "wire/backend-news.h"

/// What this process remembers of each backend, and what the master says of it: a dead one costs
/// later clients milliseconds. Nothing is sent for a login that works.
namespace postern::login {

/// One per address and port (not per host name: two names of one address share it).
struct BackendRecord {
  Endpoint backend;
  io::TimePoint last_success{};  // of a dialogue that came to a verdict, whatever the verdict
  unsigned attempts = 0;         // connecting or in the dialogue now
  unsigned sessions = 0;         // being relayed
  std::uint64_t logins = 0;      // done
  // What the master says.
  wire::BackendNewsKind health = wire::BackendNewsKind::up;  // up, failing, down or full
  bool disabled = false;
  bool tell_success = false;        // the master waits for one
  std::int64_t success_known = 0;   // unix time of the last anywhere
  io::TimePoint no_probe_before{};  // down: the master has refused one
  // Of attempts, for what the master is told.
  unsigned fresh = 0;  // begun since the last tick
  unsigned slow = 0;   // told to be slow
  // Of the sessions it has ended itself since it was last connected to:
  unsigned disconnects = 0;           // how many
  io::TimePoint disconnects_start{};  // when the first client was to learn of it
  unsigned lingering = 0;             // how many clients have not learned of it yet

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

/// The records, made on demand, and the process's half of the breaker (wire/channel.h,
/// `backend-…` and `backends`). References stay valid while attempts, sessions or lingering is not
/// 0.
class BackendRecords {
 public:
  /// Records kept at most of backends that nobody uses now and that work.
  static constexpr std::size_t kMaxIdle = 4096;
  /// An attempt that is older is slow.
  static constexpr io::Milliseconds kSlow{1000};

  using Tell = std::function<void(std::string_view verb, const std::vector<std::string>& fields)>;

  explicit BackendRecords(io::Loop& loop) : loop_(loop) {
    tick_.start(loop_, io::Callback<>::to<&BackendRecords::on_tick>(*this));
  }
  BackendRecords(const BackendRecords&) = delete;
  BackendRecords& operator=(const BackendRecords&) = delete;

  /// Where messages to the master go; nowhere at first.
  void use(Tell tell) { tell_ = std::move(tell); }

  BackendRecord& get(const Endpoint& backend);
  std::size_t size() const noexcept { return records_.size(); }
  void for_each(const std::function<void(const BackendRecord&)>& visit) const;

  /// An attempt begins. A backend never tried counts as having worked a second ago.
  void enter(BackendRecord& record);
  /// It has ended.
  void leave(BackendRecord& record) noexcept;
  /// It came to a verdict.
  void worked(BackendRecord& record);
  /// It came to none. @param began  the attempt: if the backend has worked since, that is the newer
  /// news; @param patience  of failures, after which it is down; 0: that is not for time to say
  void failed(BackendRecord& record, io::TimePoint began, std::chrono::milliseconds patience,
              std::string_view text);

  /// Asks whether a login may try what is down. `answer` is called later, unless it is cancelled or
  /// the master is gone.
  /// @return for cancel(), never 0
  std::uint64_t ask_probe(BackendRecord& record, std::function<void(bool)> answer);
  void cancel(std::uint64_t question) noexcept { questions_.erase(question); }

  /// A message from the master. False: it is none of these.
  bool on_packet(std::string_view verb, const std::vector<std::string>& fields);

 private:
  struct Question {
    Endpoint backend;
    std::function<void(bool)> answer;
  };
  bool on_news(const std::vector<std::string>& fields);
  bool on_probe(const std::vector<std::string>& fields);
  void take(const wire::BackendNews& news);
  void set_disabled(const wire::BackendNews& news);
  bool is_disabled(const Endpoint& backend) const;
  void tell(std::string_view verb, BackendRecord& record, std::vector<std::string> more = {});
  void tell_slow(BackendRecord& record, unsigned count);
  void on_tick() noexcept;

  io::Loop& loop_;
  Tell tell_;
  std::map<Endpoint, BackendRecord> records_;
  std::set<Endpoint> disabled_;  // port 0: every port
  std::map<std::uint64_t, Question> questions_;
  std::uint64_t last_question_ = 0;
  io::Timer tick_;         // while there are attempts
  unsigned attempts_ = 0;  // of all records
};

}  // namespace postern::login
