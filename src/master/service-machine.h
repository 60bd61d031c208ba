#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/log.h"

/// One service's supervision as a machine without I/O: it is told what happened (a process became
/// ready, reported, ended; somebody waits at a listener) and says what to do next. The clock is the
/// caller's. It knows processes by numbers of its own, never by what a process says it is.
/// Spec: master.md section 1.4 to 1.6.
namespace postern::master {

using TimePoint = std::chrono::steady_clock::time_point;
using ProcessId = std::uint64_t;  // unique in the master's life; 0 is none

/// What the configuration says of a service, in the machine's terms.
struct ServiceLimits {
  std::string name;
  unsigned process_min_avail = 0;  // processes kept with room
  unsigned process_limit = 100;    // processes with clients before login, or room for some
  unsigned relay_limit = 10000;    // processes beyond process_limit that only relay
  unsigned client_limit = 1000;    // clients of one process, for the words of a warning
  unsigned max_sessions = 0;       // sessions there are to be room for; 0: nobody said
  unsigned service_count = 0;      // clients a process serves in its life; 0 unlimited
  std::chrono::milliseconds idle_kill{60000};  // 0 never
  bool login = false;         // has clients to evict and a sentence to refuse newcomers with
  bool worker = false;        // reaching the limit is how it works: no warning
  bool use_template = false;  // processes are copies of a template (wire/channel.h, `fork`)
};

/// starting: not ready yet, counts as having room; ready: accepts while it has room; draining:
/// told to end with its last session, or used up.
enum class Phase : std::uint8_t { starting, ready, draining };
std::string_view phase_name(Phase phase) noexcept;

/// Whom a full process could send away, as it says itself.
struct Evictable {
  bool known = false;
  unsigned clients = 0;  // so many have nothing under way
  std::string holder;    // from where most of its clients come; compared, never read
  unsigned held = 0;     // of them, so many may go
};

/// What the machine knows of one process.
struct ProcessRecord {
  ProcessId id = 0;
  pid_t pid = 0;  // 0 while the template has not answered
  Phase phase = Phase::starting;
  bool is_template = false;
  bool maker_ended = false;  // the template did, before it told the pid
  unsigned available = 0;    // free slots
  unsigned clients = 0;      // before login
  unsigned relaying = 0;     // sessions
  Evictable evictable;
  TimePoint started;
  TimePoint last_status;                   // or started
  std::optional<TimePoint> idle_since;     // ready and neither clients nor sessions
  std::optional<TimePoint> busy_since;     // has clients before login
  std::optional<TimePoint> evict_until;    // asked to evict, no answer seen yet
  std::optional<TimePoint> refused_until;  // had nobody to evict when it was asked
  std::optional<TimePoint> drained;        // when it was told to drain
  std::optional<TimePoint> killed;         // when it was sent SIGKILL
};

/// How a process ended.
struct ProcessEnd {
  bool by_signal = false;
  int code = 0;  // exit status or signal
};

/// A line for the log, under the master's prefix.
struct PlanLine {
  log::Level level = log::Level::error;
  std::string text;
};

/// What to do now. The machine has already noted that it will be done.
struct Plan {
  unsigned start = 0;           // processes to start: then tell started()
  bool start_template = false;  // then tell started() as template
  unsigned fork = 0;            // copies to ask the template for: then tell started() with pid 0
  std::vector<ProcessId> kill;  // SIGKILL
  std::vector<ProcessId> drain;
  std::vector<std::pair<ProcessId, unsigned>> evict;  // so many clients of that process
  bool refuse = false;            // accept and refuse who waits: nobody else can be sent away
  bool watch_listeners = false;   // tell waiting() when somebody connects
  std::optional<TimePoint> wake;  // ask again then, at the latest
  std::vector<PlanLine> lines;
};

inline constexpr std::chrono::seconds kReadyDeadline{30};
inline constexpr std::chrono::seconds kFirstBackOff{2};
inline constexpr std::chrono::seconds kLastBackOff{60};
inline constexpr unsigned kStartsPerTurn = 10;
inline constexpr std::chrono::seconds kRefuseAfter{10};  // full and nobody to evict for so long

class ServiceMachine {
 public:
  explicit ServiceMachine(ServiceLimits limits) : limits_(std::move(limits)) {}

  /// A process exists now (or is asked for, pid 0, if it is the template's to make).
  ProcessId started(TimePoint now, pid_t pid, bool is_template = false);
  /// fork, exec or the template failed before there was a process.
  void start_failed(TimePoint now);
  /// The template said which process it made; false if `id` is not waiting for one.
  bool forked(ProcessId id, pid_t pid);
  /// The template could not; the record goes.
  void fork_failed(ProcessId id, TimePoint now);
  void on_ready(ProcessId id, TimePoint now);
  /// Free slots, clients before login, sessions relaying. The first one makes it ready, too.
  void on_status(ProcessId id, unsigned available, unsigned clients, unsigned relaying,
                 TimePoint now, Evictable evictable = {});
  /// It has used up its service_count and only finishes.
  void on_finished(ProcessId id, TimePoint now);
  /// It ended; the record goes.
  void on_end(ProcessId id, ProcessEnd end, TimePoint now);
  /// So many wait in the listeners' queues (at least 1; what the kernel tells).
  void waiting(unsigned clients) { waiting_ = clients; }
  /// No process starts any more; all end with their last session.
  void drain();

  /// What to do at `now`; call it after every event and at `wake`.
  Plan next(TimePoint now);

  bool draining() const noexcept { return draining_; }
  bool empty() const noexcept { return processes_.empty(); }
  const ServiceLimits& limits() const noexcept { return limits_; }
  const std::map<ProcessId, ProcessRecord>& processes() const noexcept { return processes_; }
  const ProcessRecord* find(ProcessId id) const noexcept;
  /// Processes with room, starting ones included.
  unsigned with_room() const noexcept;
  /// Its last clients have logged in, and it takes no others: it meets nobody before login again.
  bool only_relays(ProcessId id) const noexcept;
  /// Processes that count against process_limit.
  unsigned counted() const noexcept;
  /// Zero when processes are started as they are needed.
  std::chrono::milliseconds throttle() const noexcept {
    return throttled_until_ ? back_off_ : std::chrono::milliseconds{0};
  }
  std::uint64_t starts() const noexcept { return starts_; }
  std::uint64_t failures() const noexcept { return failures_; }

 private:
  ProcessRecord* get(ProcessId id) noexcept;
  const ProcessRecord* template_process() const noexcept;
  unsigned room() const noexcept;
  unsigned effective_clients() const noexcept;
  void note_load(ProcessRecord& process, TimePoint now);
  void became_ready(ProcessRecord& process, TimePoint now);
  void throttle_for_failure(TimePoint now);
  void kill_late_starters(TimePoint now, Plan& plan);
  void drain_idle(TimePoint now, Plan& plan);
  void start_what_is_needed(TimePoint now, Plan& plan);
  void full(TimePoint now, Plan& plan);
  bool evict(TimePoint now, Plan& plan);
  void warn_of_usage(TimePoint now);
  bool eviction_pending(TimePoint now) const noexcept;
  void decide_watching(TimePoint now, Plan& plan);

  ServiceLimits limits_;
  std::map<ProcessId, ProcessRecord> processes_;  // by id, hence by age
  unsigned waiting_ = 0;
  bool draining_ = false;
  std::optional<TimePoint> throttled_until_;
  std::chrono::milliseconds back_off_{0};
  bool had_success_ = false;     // a process ended with status 0
  TimePoint failures_second_{};  // the second failures_in_second_ counts
  unsigned failures_in_second_ = 0;
  std::optional<TimePoint> warned_;        // the last "limit reached"
  std::optional<TimePoint> usage_warned_;  // that it comes near
  std::optional<TimePoint> full_since_;    // full, somebody waits and nobody can be sent away
  std::optional<TimePoint> pause_until_;   // listeners are left alone until then
  std::uint64_t starts_ = 0;
  std::uint64_t failures_ = 0;
  std::vector<PlanLine> lines_;  // for the next plan
};

/// "service(NAME): child PID killed with signal 9", "… returned error 78 (Bad configuration)";
/// empty for a good end. A core file is spoken of where the signal makes one.
/// @param core_dumps  the process had a core limit above 0
std::string end_text(std::string_view service, pid_t pid, ProcessEnd end, bool core_dumps);

}  // namespace postern::master
