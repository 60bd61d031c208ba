#include "master/service-machine.h"

#include <fmt/format.h>
#include <sysexits.h>

#include <algorithm>
#include <csignal>
#include <utility>

#include "master/eviction.h"
#include "master/usage.h"

namespace postern::master {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

/// Ids are unique over all services and generations: they name a process in posternctl's world.
ProcessId next_id() noexcept {
  static ProcessId last = 0;
  return ++last;
}

void earlier(std::optional<TimePoint>& wake, TimePoint when) {
  if (!wake || when < *wake) wake = when;
}

constexpr milliseconds kEvictPatience{1000};
constexpr milliseconds kFullPause{100};
constexpr seconds kWarnEvery{1};
constexpr unsigned kFailuresPerSecond = 10;

std::string_view exit_word(int code) {
  switch (code) {
    case EX_USAGE:
      return " (Bad arguments)";
    case EX_UNAVAILABLE:
      return " (Could not listen)";
    case EX_SOFTWARE:
      return " (Internal error)";
    case EX_OSERR:
      return " (System error)";
    case EX_CANTCREAT:
      return " (Cannot create a file)";
    case EX_IOERR:
      return " (Input or output error)";
    case EX_TEMPFAIL:
      return " (Temporary failure)";
    case EX_NOPERM:
      return " (Missing privilege)";
    case EX_CONFIG:
      return " (Bad configuration)";
    case 84:
      return " (exec() failed)";
    default:
      return "";
  }
}

}  // namespace

std::string_view phase_name(Phase phase) noexcept {
  switch (phase) {
    case Phase::starting:
      return "starting";
    case Phase::ready:
      return "ready";
    case Phase::draining:
      return "draining";
  }
  return "";
}

std::string end_text(std::string_view service, pid_t pid, ProcessEnd end, bool core_dumps) {
  if (!end.by_signal) {
    if (end.code == 0) return {};
    return fmt::format("service({}): child {} returned error {}{}", service, pid, end.code,
                       exit_word(end.code));
  }
  std::string text =
      fmt::format("service({}): child {} killed with signal {}", service, pid, end.code);
  const bool dumps = end.code == SIGABRT || end.code == SIGSEGV || end.code == SIGBUS;
  if (dumps) text += core_dumps ? " (core dumped)" : " (core dumps disabled)";
  return text;
}

const ProcessRecord* ServiceMachine::find(ProcessId id) const noexcept {
  const auto found = processes_.find(id);
  return found == processes_.end() ? nullptr : &found->second;
}

bool ServiceMachine::only_relays(ProcessId id) const noexcept {
  const ProcessRecord* process = find(id);
  return process != nullptr && process->phase == Phase::draining && process->clients == 0 &&
         process->relaying > 0;
}

ProcessRecord* ServiceMachine::get(ProcessId id) noexcept {
  const auto found = processes_.find(id);
  return found == processes_.end() ? nullptr : &found->second;
}

const ProcessRecord* ServiceMachine::template_process() const noexcept {
  const auto found = std::find_if(processes_.begin(), processes_.end(), [](const auto& entry) {
    return entry.second.is_template && entry.second.phase != Phase::draining;
  });
  return found == processes_.end() ? nullptr : &found->second;
}

unsigned ServiceMachine::with_room() const noexcept {
  return static_cast<unsigned>(
      std::count_if(processes_.begin(), processes_.end(), [](const auto& entry) {
        const ProcessRecord& p = entry.second;
        return !p.is_template &&
               (p.phase == Phase::starting || (p.phase == Phase::ready && p.available > 0));
      }));
}

unsigned ServiceMachine::counted() const noexcept {
  return static_cast<unsigned>(
      std::count_if(processes_.begin(), processes_.end(), [](const auto& entry) {
        const ProcessRecord& p = entry.second;
        // A process without room that only relays, or only has to end, locks nobody out.
        return !p.is_template &&
               (p.phase == Phase::starting || p.clients > 0 ||
                (p.phase == Phase::ready && (p.available > 0 || p.relaying == 0)));
      }));
}

unsigned ServiceMachine::room() const noexcept {
  const unsigned used = counted();
  const std::size_t all = std::size_t{limits_.process_limit} + limits_.relay_limit;
  if (used >= limits_.process_limit || processes_.size() >= all) return 0;
  return static_cast<unsigned>(
      std::min<std::size_t>(limits_.process_limit - used, all - processes_.size()));
}

unsigned ServiceMachine::effective_clients() const noexcept {
  return limits_.service_count == 0 ? limits_.client_limit
                                    : std::min(limits_.client_limit, limits_.service_count);
}

ProcessId ServiceMachine::started(TimePoint now, pid_t pid, bool is_template) {
  const ProcessId id = next_id();
  ProcessRecord& process = processes_[id];
  process.id = id;
  process.pid = pid;
  process.is_template = is_template;
  process.started = process.last_status = now;
  ++starts_;
  return id;
}

void ServiceMachine::start_failed(TimePoint now) {
  throttle_for_failure(now);
}

bool ServiceMachine::forked(ProcessId id, pid_t pid) {
  ProcessRecord* process = get(id);
  if (process == nullptr || process->pid != 0) return false;
  process->pid = pid;
  return true;
}

void ServiceMachine::fork_failed(ProcessId id, TimePoint now) {
  const ProcessRecord* process = find(id);
  if (process == nullptr || process->pid != 0) return;
  processes_.erase(id);
  if (!draining_) throttle_for_failure(now);
}

void ServiceMachine::became_ready(ProcessRecord& process, TimePoint now) {
  process.phase = Phase::ready;
  process.available = effective_clients();
  process.idle_since = now;
  back_off_ = milliseconds{0};
}

void ServiceMachine::on_ready(ProcessId id, TimePoint now) {
  ProcessRecord* process = get(id);
  if (process == nullptr || process->phase != Phase::starting) return;
  process->last_status = now;
  became_ready(*process, now);
}

void ServiceMachine::note_load(ProcessRecord& process, TimePoint now) {
  if (process.clients == 0) {
    process.busy_since.reset();
  } else if (!process.busy_since) {
    process.busy_since = now;
  }
  if (process.clients > 0 || process.relaying > 0) {
    process.idle_since.reset();
  } else if (!process.idle_since) {
    process.idle_since = now;
  }
}

void ServiceMachine::on_status(ProcessId id, unsigned available, unsigned clients,
                               unsigned relaying, TimePoint now, Evictable evictable) {
  ProcessRecord* process = get(id);
  if (process == nullptr) return;
  if (process->phase == Phase::starting) became_ready(*process, now);
  if (available > 0 || clients < process->clients) {
    process->evict_until.reset();
    process->refused_until.reset();
  } else if (process->evict_until && evictable.known && evictable.clients == 0) {
    process->evict_until.reset();
    process->refused_until = now + kEvictPatience;
  }
  process->evictable = std::move(evictable);
  process->last_status = now;
  process->available = process->phase == Phase::draining ? 0 : available;
  process->clients = clients;
  process->relaying = relaying;
  note_load(*process, now);
}

void ServiceMachine::on_finished(ProcessId id, TimePoint now) {
  ProcessRecord* process = get(id);
  if (process == nullptr) return;
  if (process->phase == Phase::starting) became_ready(*process, now);
  process->phase = Phase::draining;
  process->available = 0;
  process->last_status = now;
  if (!process->drained) process->drained = now;
}

void ServiceMachine::throttle_for_failure(TimePoint now) {
  ++failures_;
  if (throttled_until_) return;  // several that were started together fail together
  back_off_ = back_off_ == milliseconds{0}
                  ? milliseconds(kFirstBackOff)
                  : std::min<milliseconds>(back_off_ * 2, milliseconds(kLastBackOff));
  throttled_until_ = now + back_off_;
  lines_.push_back({log::Level::error,
                    fmt::format("service({}): command startup failed, throttling for {}.{:03} secs",
                                limits_.name, back_off_.count() / 1000, back_off_.count() % 1000)});
}

void ServiceMachine::on_end(ProcessId id, ProcessEnd end, TimePoint now) {
  const auto found = processes_.find(id);
  if (found == processes_.end()) return;
  const ProcessRecord process = found->second;
  processes_.erase(found);
  if (process.is_template) {
    // What it was asked for either has been made and will speak, or its channel ends.
    for (auto& [other, copy] : processes_) copy.maker_ended |= copy.pid == 0;
  }
  if (process.phase == Phase::draining || draining_) return;  // it was to end
  if (process.maker_ended && process.pid == 0) return;        // it never was
  if (process.phase == Phase::starting) return throttle_for_failure(now);
  if (!end.by_signal && end.code == 0) {
    had_success_ = true;
    back_off_ = milliseconds{0};
    return;
  }
  ++failures_;
  if (now - failures_second_ > seconds{1}) {
    failures_second_ = now;
    failures_in_second_ = 0;
  }
  // Who can crash his own process must not be able to stop the service: only one that never
  // worked is slowed down.
  if (++failures_in_second_ > kFailuresPerSecond && !had_success_) throttle_for_failure(now);
}

void ServiceMachine::drain() {
  draining_ = true;
  throttled_until_.reset();
}

Plan ServiceMachine::next(TimePoint now) {
  Plan plan;
  if (throttled_until_ && now >= *throttled_until_) throttled_until_.reset();
  kill_late_starters(now, plan);
  if (draining_) {
    waiting_ = 0;
    for (auto& [id, process] : processes_) {
      if (process.drained || process.pid == 0) continue;
      process.drained = now;
      process.phase = Phase::draining;
      process.available = 0;
      plan.drain.push_back(id);
    }
  } else {
    drain_idle(now, plan);
    start_what_is_needed(now, plan);
    decide_watching(now, plan);
    warn_of_usage(now);
  }
  plan.lines.insert(plan.lines.begin(), std::make_move_iterator(lines_.begin()),
                    std::make_move_iterator(lines_.end()));
  lines_.clear();
  return plan;
}

void ServiceMachine::kill_late_starters(TimePoint now, Plan& plan) {
  bool template_is_stuck = false;
  for (auto entry = processes_.begin(); entry != processes_.end();) {
    ProcessRecord& process = entry->second;
    const TimePoint deadline = process.started + kReadyDeadline;
    if (process.phase != Phase::starting || process.killed) {
      ++entry;
    } else if (now < deadline) {
      earlier(plan.wake, deadline);
      ++entry;
    } else if (process.pid == 0) {
      template_is_stuck |= !process.maker_ended;
      entry = processes_.erase(entry);
    } else {
      process.killed = now;
      plan.kill.push_back(entry->first);
      ++entry;
    }
  }
  if (template_is_stuck) {
    for (auto& [id, process] : processes_) {
      if (!process.is_template || process.killed) continue;
      process.killed = now;
      plan.kill.push_back(id);
    }
  }
  if (!plan.kill.empty()) {
    plan.lines.push_back(
        {log::Level::error, fmt::format("service({}): Initial status notification not received in "
                                        "{} seconds, killing the process",
                                        limits_.name, kReadyDeadline.count())});
  }
}

void ServiceMachine::drain_idle(TimePoint now, Plan& plan) {
  if (limits_.idle_kill == milliseconds{0}) return;
  unsigned spare = with_room();
  for (auto& [id, process] : processes_) {
    if (spare <= limits_.process_min_avail) return;
    if (process.is_template || process.phase != Phase::ready || !process.idle_since) continue;
    const TimePoint deadline = *process.idle_since + limits_.idle_kill;
    if (now < deadline) {
      earlier(plan.wake, deadline);
      continue;
    }
    process.phase = Phase::draining;
    process.available = 0;
    process.drained = now;
    plan.drain.push_back(id);
    --spare;
  }
}

void ServiceMachine::start_what_is_needed(TimePoint now, Plan& plan) {
  if (throttled_until_) {
    earlier(plan.wake, *throttled_until_);
    waiting_ = 0;  // they stay in the kernel's queue; the listeners are looked at again later
    return;
  }
  if (limits_.use_template) {
    const ProcessRecord* made_by = template_process();
    if (made_by == nullptr) {
      plan.start_template = true;
      return;
    }
    if (made_by->phase == Phase::starting) return;
  }
  const unsigned ready = with_room();
  if (ready > 0) full_since_.reset();
  unsigned wanted = limits_.process_min_avail > ready ? limits_.process_min_avail - ready : 0;
  if (ready == 0 && waiting_ > 0) {
    // As many as have room for them all.
    const unsigned each = std::max(effective_clients(), 1U);
    wanted = std::max(wanted, waiting_ / each + (waiting_ % each > 0 ? 1U : 0U));
    if (room() == 0) full(now, plan);
  }
  waiting_ = 0;
  const unsigned possible = std::min(wanted, room());
  const unsigned count = std::min(possible, kStartsPerTurn);
  if (count > 0) full_since_.reset();
  if (possible > count) earlier(plan.wake, now);  // the rest in the next turn
  (limits_.use_template ? plan.fork : plan.start) = count;
}

void ServiceMachine::full(TimePoint now, Plan& plan) {
  if (!limits_.worker && (!warned_ || now - *warned_ >= kWarnEvery)) {
    warned_ = now;
    const std::string which =
        limits_.process_limit > 1 ? fmt::format("process_limit ({})", limits_.process_limit)
        : effective_clients() > 1 ? fmt::format("client_limit ({})", effective_clients())
                                  : std::string("client_limit/service_count (1)");
    plan.lines.push_back(
        {log::Level::warning,
         fmt::format("service({}): {} reached, client connections are being dropped", limits_.name,
                     which)});
  }
  if (!limits_.login) {
    pause_until_ = now + kFullPause;
    return;
  }
  if (eviction_pending(now)) return;
  if (evict(now, plan)) {
    full_since_.reset();
    return;
  }
  if (!full_since_) full_since_ = now;
  pause_until_ = now + kFullPause;
  // A newcomer waits a while for room, then it is told that there is none.
  if (now - *full_since_ >= kRefuseAfter) plan.refuse = true;
}

/// Before anybody is turned away.
void ServiceMachine::warn_of_usage(TimePoint now) {
  if (limits_.worker || (usage_warned_ && now - *usage_warned_ < kWarnOfUsageEvery)) return;
  std::string text = usage_warning(usage_of(processes_, limits_), limits_);
  if (text.empty()) return;
  usage_warned_ = now;
  lines_.push_back({log::Level::warning, std::move(text)});
}

bool ServiceMachine::eviction_pending(TimePoint now) const noexcept {
  return std::any_of(processes_.begin(), processes_.end(), [now](const auto& entry) {
    return entry.second.evict_until && now < *entry.second.evict_until;
  });
}

bool ServiceMachine::evict(TimePoint now, Plan& plan) {
  plan.evict = choose_evictions(processes_, std::min(waiting_, kStartsPerTurn), now);
  for (const auto& [id, count] : plan.evict) {
    if (ProcessRecord* process = get(id)) process->evict_until = now + kEvictPatience;
  }
  return !plan.evict.empty();
}

void ServiceMachine::decide_watching(TimePoint now, Plan& plan) {
  if (throttled_until_ || plan.start > 0 || plan.fork > 0 || with_room() > 0) return;
  if (limits_.use_template) {
    const ProcessRecord* made_by = template_process();
    if (made_by == nullptr || made_by->phase == Phase::starting) return;
  }
  for (auto& [id, process] : processes_) {
    if (!process.evict_until) continue;
    if (now < *process.evict_until) {
      earlier(plan.wake, *process.evict_until);
      return;
    }
    process.evict_until.reset();
  }
  if (pause_until_ && now < *pause_until_) {
    earlier(plan.wake, *pause_until_);
    return;
  }
  pause_until_.reset();
  plan.watch_listeners = true;
}

}  // namespace postern::master
