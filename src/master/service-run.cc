#include "master/service-run.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <utility>

#include "config/session-limits.h"
#include "io/socket.h"
#include "lib/log.h"
#include "lib/text.h"
#include "wire/channel.h"
#include "wire/refusal.h"

namespace postern::master {
namespace {

constexpr std::chrono::seconds kLostChannel{5};
constexpr io::Milliseconds kUnmade{100};

ServiceLimits limits_of(const config::ServiceSettings& settings) {
  ServiceLimits out;
  out.name = settings.name;
  out.process_min_avail = settings.process_min_avail;
  out.process_limit = settings.process_limit;
  out.client_limit = settings.client_limit;
  out.service_count = settings.service_count;
  out.max_sessions = settings.max_sessions;
  // With a process for each session all of them may come to relay.
  out.relay_limit = std::max(out.relay_limit, settings.max_sessions);
  out.idle_kill =
      settings.idle_kill == config::kInfinite ? std::chrono::milliseconds{0} : settings.idle_kill;
  out.login = settings.type == config::ServiceType::login;
  out.worker = settings.type == config::ServiceType::worker;
  // Nobody connects to these, or everybody needs them: they are there from the start.
  if (settings.type == config::ServiceType::log || settings.type == config::ServiceType::anvil ||
      settings.type == config::ServiceType::startup) {
    out.process_min_avail = std::max(out.process_min_avail, 1U);
  }
  // One client a process: copies of a process that has loaded everything are cheaper than programs.
  out.use_template = out.login && settings.service_count == 1;
  return out;
}

rlim_t files_for(const config::ServiceSettings& settings) {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 1024;
  // Sessions are not counted by client_limit and take two descriptors each.
  const bool many = settings.type == config::ServiceType::login || settings.client_limit > 400;
  return std::min<rlim_t>(limit.rlim_max, many ? config::kMostDescriptors : 1024);
}

}  // namespace

Result<std::shared_ptr<LogPipe>> make_log_pipe(std::string prefix) {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) != 0) return system_error("pipe", errno);
  auto out = std::make_shared<LogPipe>();
  out->prefix = std::move(prefix);
  out->read_end.reset(ends[0]);
  out->write_end.reset(ends[1]);
  return out;
}

ServiceRun::ServiceRun(io::Loop& loop, Host& host, ServiceSetup setup)
    : loop_(loop), host_(host), setup_(std::move(setup)), machine_(limits_of(setup_.settings)) {
  wake_.start(loop_, io::Callback<>::to<&ServiceRun::step>(*this));
  lost_.start(loop_, io::Callback<>::to<&ServiceRun::on_lost_deadline>(*this));
  unmade_settled_.start(loop_, io::Callback<>::to<&ServiceRun::settle_unmade>(*this));
  if (!setup_.settings.protocol.empty()) reserve_.hold();
  for (const auto& listener : setup_.listeners) {
    auto watch = std::make_unique<io::FdWatch>();
    watch->start(loop_, listener->fd(), io::Callback<unsigned>::to<&ServiceRun::on_waiting>(*this));
    listener_watches_.push_back(std::move(watch));
  }
}

void ServiceRun::step() noexcept {
  if (stepping_) return;  // what happens meanwhile is seen by the loop below
  stepping_ = true;
  // A plan that started something changes what is needed next; two rounds settle it.
  for (int round = 0; round < 2; round++) {
    const Plan plan = machine_.next(now());
    carry_out(plan);
    if (plan.start == 0 && plan.fork == 0 && !plan.start_template) break;
  }
  stepping_ = false;
}

void ServiceRun::carry_out(const Plan& plan) noexcept {
  for (const PlanLine& line : plan.lines) log::write(line.level, line.text);
  if (plan.start_template) start_process(true);
  for (unsigned i = 0; i < plan.start; i++) start_process(false);
  for (unsigned i = 0; i < plan.fork; i++) ask_template();
  for (const ProcessId id : plan.kill) {
    const Child* child = find(id);
    if (child != nullptr && child->pid() > 0) ::kill(child->pid(), SIGKILL);
  }
  for (const ProcessId id : plan.drain) {
    if (Child* child = find(id)) child->send(wire::kDrain);
  }
  for (const auto& [id, count] : plan.evict) {
    if (Child* child = find(id)) child->send(wire::kEvict, {std::to_string(count)});
  }
  if (plan.refuse) {
    for (std::size_t i = 0; i < setup_.listeners.size(); i++) {
      // In the clear only where the client expects it so.
      reserve_.refuse(setup_.listeners[i]->fd(), setup_.sockets[i].ssl
                                                     ? std::string_view{}
                                                     : wire::refusal(setup_.settings.protocol));
    }
  }
  watch_listeners(plan.watch_listeners);
  if (plan.wake) {
    const auto wait = std::chrono::duration_cast<io::Milliseconds>(*plan.wake - now());
    wake_.set(std::max(wait + io::Milliseconds{1}, io::Milliseconds{1}));
  } else {
    wake_.cancel();
  }
}

SpawnRequest ServiceRun::spawn_request(bool as_template) const {
  SpawnRequest out;
  const config::ServiceSettings& settings = setup_.settings;
  for (const std::string_view word : words(settings.executable, " "))
    out.arguments.emplace_back(word);
  if (out.arguments.empty()) out.arguments.emplace_back(settings.name);
  if (!out.arguments[0].starts_with('/'))
    out.arguments[0] = setup_.libexec_dir + '/' + out.arguments[0];
  if (as_template) out.arguments.emplace_back("--template");
  out.title = setup_.instance_name + '/' + settings.name;
  out.service = settings.name;
  out.directory = setup_.base_dir;
  if (!settings.chroot.empty()) {
    out.directory = settings.chroot.starts_with('/') ? settings.chroot
                                                     : setup_.base_dir + '/' + settings.chroot;
    out.confine = setup_.identity.has_value();
  }
  out.environment = child_environment(out.confine);
  out.identity = setup_.identity;
  out.log_fd = setup_.log ? setup_.log->write_end.get() : setup_.stderr_fd;
  for (const auto& listener : setup_.listeners) out.listener_fds.push_back(listener->fd());
  out.max_files = files_for(settings);
  if (settings.vsz_limit != 0) out.max_memory = settings.vsz_limit;
  out.may_fork = as_template;
  return out;
}

void ServiceRun::start_process(bool as_template) noexcept {
  SpawnRequest request = spawn_request(as_template);
  auto ends = io::socket_pair(SOCK_SEQPACKET);
  auto memory = sealed_memory("postern-settings", setup_.snapshot.view());
  Result<pid_t> pid = Error{};
  if (!ends.ok()) {
    pid = ends.error();
  } else if (!memory.ok()) {
    pid = memory.error();
  } else {
    request.channel_fd = ends.value().second.get();
    request.settings_fd = memory.value().get();
    pid = spawn(request);
  }
  if (!pid.ok()) {
    log::error("service({}): {}", name(), pid.error().text);
    machine_.start_failed(now());
    return;
  }
  const ProcessId id = machine_.started(now(), pid.value(), as_template);
  Child::Owner& owner = *this;
  const auto [at, is_new] = children_.emplace(
      id, std::make_unique<Child>(loop_, owner, id, pid.value(), std::move(ends.value().first)));
  host_.on_child_started(*this, *at->second);
}

void ServiceRun::tell_all(std::string_view verb, const std::vector<std::string_view>& fields,
                          int fd) {
  for (const auto& [id, child] : children_) {
    if (!child->channel_open() || machine_.only_relays(id)) continue;
    child->send(verb, fields, fd < 0 ? UniqueFd() : UniqueFd(fcntl(fd, F_DUPFD_CLOEXEC, 3)));
  }
}

void ServiceRun::renew_settings(WipingBuffer snapshot) noexcept {
  if (snapshot.view() == setup_.snapshot.view()) return;
  setup_.snapshot = std::move(snapshot);
  const auto memory = sealed_memory("postern-settings", setup_.snapshot.view());
  if (!memory.ok()) {
    log::error("service({}): new settings are for new processes only: {}", name(),
               memory.error().text);
    return;
  }
  tell_all(wire::kSettings, {}, memory.value().get());
}

void ServiceRun::ask_template() noexcept {
  Child* maker = nullptr;
  for (const auto& [id, record] : machine_.processes()) {
    if (record.is_template && record.phase == Phase::ready) maker = find(id);
  }
  auto ends = io::socket_pair(SOCK_SEQPACKET);
  if (maker == nullptr || !ends.ok()) {
    if (!ends.ok()) log::error("service({}): {}", name(), ends.error().text);
    machine_.start_failed(now());
    return;
  }
  const ProcessId id = machine_.started(now(), 0);
  Child::Owner& owner = *this;
  children_.emplace(id,
                    std::make_unique<Child>(loop_, owner, id, 0, std::move(ends.value().first)));
  maker->send(wire::kFork, {std::to_string(id)}, std::move(ends.value().second));
}

void ServiceRun::watch_listeners(bool on) noexcept {
  for (auto& watch : listener_watches_)
    watch->want(on ? io::FdWatch::kRead : io::FdWatch::kNothing);
}

/// What the next generation does not take over is closed now, not with the last session.
void ServiceRun::release_listeners() noexcept {
  listener_watches_.clear();
  setup_.listeners.clear();
}

void ServiceRun::on_waiting(unsigned /*what*/) noexcept {
  unsigned waiting = 0;
  for (const auto& listener : setup_.listeners) {
    pollfd p{listener->fd(), POLLIN, 0};
    if (::poll(&p, 1, 0) == 1) waiting += listener->backlog();
  }
  machine_.waiting(std::max(waiting, 1U));
  step();
}

void ServiceRun::on_child_message(Child& child, ChildMessage message) noexcept {
  const ProcessId id = child.id();
  if (const auto* status = std::get_if<StatusMessage>(&message)) {
    machine_.on_status(id, status->available, status->clients, status->relaying, now(),
                       {status->has_evictable, status->evictable, status->holder, status->held});
    step();
  } else if (std::holds_alternative<ReadyMessage>(message)) {
    machine_.forked(id, child.pid());  // no-op but for copies
    machine_.on_ready(id, now());
    host_.on_child_ready(*this, child);
    step();
  } else if (std::holds_alternative<FinishedMessage>(message)) {
    machine_.on_finished(id, now());
    step();
  } else if (const auto* connect = std::get_if<ConnectMessage>(&message)) {
    host_.on_connect_request(*this, child, *connect);
  } else if (auto* row = std::get_if<RowMessage>(&message)) {
    host_.on_row(*this, child, std::move(*row));
  } else if (const auto* done = std::get_if<DoneMessage>(&message)) {
    host_.on_done(*this, child, *done);
  } else if (const auto* forked = std::get_if<ForkedMessage>(&message)) {
    // The pid it names is not believed: the copy's first packet carries the kernel's word.
    const ProcessRecord* asker = machine_.find(id);
    if (forked->pid != 0 || asker == nullptr || !asker->is_template) return;
    const Child* copy = find(forked->id);
    if (copy == nullptr || copy->pid() != 0) return;
    log::error("service({}): the template cannot fork: {}", name(), log_safe(forked->text, 200));
    machine_.fork_failed(forked->id, now());
    forget(forked->id);
    step();
  } else {
    host_.on_backend_message(*this, child, message);
  }
}

void ServiceRun::on_channel_end(Child& child, std::string_view why) noexcept {
  if (!why.empty()) {
    log::error("service({}): child {} broke its control channel: {}", name(), child.pid(), why);
    if (child.pid() > 0) ::kill(child.pid(), SIGKILL);
  }
  if (child.pid() == 0) {
    // It ended before its first word, or was never made: nobody can be waited for. If it is the
    // template that ended, which is seen a little later, it is no failure of this one's.
    unmade_.push_back(child.id());
    if (!unmade_settled_.armed()) unmade_settled_.set(kUnmade);
    return;
  }
  if (!lost_.armed()) lost_.set(kLostChannel);
}

void ServiceRun::on_lost_deadline() noexcept {
  for (const auto& [id, child] : children_) {
    if (!child->channel_open() && child->pid() > 0) ::kill(child->pid(), SIGKILL);
  }
}

void ServiceRun::settle_unmade() noexcept {
  for (const ProcessId id : std::exchange(unmade_, {})) {
    const ProcessRecord* record = machine_.find(id);
    if (record != nullptr && !record->maker_ended) {
      log::error("service({}): a new process ended before it was ready", name());
    }
    machine_.on_end(id, {false, EX_SOFTWARE}, now());
    forget(id);
  }
  step();
}

bool ServiceRun::on_exit(pid_t pid, int wait_status) noexcept {
  const auto found = std::find_if(children_.begin(), children_.end(),
                                  [pid](const auto& entry) { return entry.second->pid() == pid; });
  if (found == children_.end()) return false;
  const ProcessId id = found->first;
  Child& child = *found->second;
  child.drain_channel();  // what it said last counts
  if (find(id) == nullptr) return true;
  ProcessEnd end;
  end.by_signal = WIFSIGNALED(wait_status);
  end.code = end.by_signal ? WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
  const std::string text = end_text(name(), pid, end, false);
  if (!text.empty()) log::error("{}", text);
  machine_.on_end(id, end, now());
  forget(id);
  step();
  return true;
}

void ServiceRun::learn_pids() noexcept {
  std::vector<ProcessId> unknown;
  for (const auto& [id, child] : children_) {
    if (child->pid() == 0) unknown.push_back(id);
  }
  for (const ProcessId id : unknown) {
    if (Child* child = find(id)) child->drain_channel();
  }
}

void ServiceRun::drain() noexcept {
  machine_.drain();
  release_listeners();
  step();
}

void ServiceRun::terminate() noexcept {
  stopping_ = true;
  machine_.drain();
  release_listeners();
  for (const auto& [id, child] : children_) child->send(wire::kStop);
  step();
}

void ServiceRun::kill_all() noexcept {
  for (const auto& [id, child] : children_) {
    if (child->pid() > 0) ::kill(child->pid(), SIGKILL);
  }
}

void ServiceRun::for_each(const std::function<void(Child&)>& visit) {
  for (const auto& [id, child] : children_) visit(*child);
}

Child* ServiceRun::find(ProcessId id) noexcept {
  const auto found = children_.find(id);
  return found == children_.end() ? nullptr : found->second.get();
}

void ServiceRun::forget(ProcessId id) noexcept {
  const auto found = children_.find(id);
  if (found == children_.end()) return;
  host_.on_child_gone(*this, *found->second);
  // It may be the one that is talking.
  loop_.retire(std::move(found->second));
  children_.erase(found);
}

}  // namespace postern::master
