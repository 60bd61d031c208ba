#pragma once

#include <sys/types.h>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config/snapshot.h"
#include "io/loop.h"
#include "io/socket.h"
#include "lib/handle.h"
#include "master/child.h"
#include "master/listener.h"
#include "master/service-machine.h"
#include "master/spawn.h"

/// One service of one generation: carries out what its ServiceMachine decides.
namespace postern::master {

/// The log pipe of one service; the master keeps both ends, so that a new log process reads on
/// where a dead one stopped.
struct LogPipe {
  std::string prefix;
  UniqueFd read_end;
  UniqueFd write_end;
};
Result<std::shared_ptr<LogPipe>> make_log_pipe(std::string prefix);

/// Everything a service's processes are started with.
struct ServiceSetup {
  config::ServiceSettings settings;
  std::vector<config::SocketInfo> sockets;
  std::vector<std::shared_ptr<Listener>> listeners;  // the same order
  WipingBuffer snapshot;
  std::optional<Identity> identity;
  std::shared_ptr<LogPipe> log;  // null for the log process: it writes to `stderr_fd`
  int stderr_fd = -1;            // borrowed
  std::string base_dir;
  std::string libexec_dir;
  std::string instance_name;
};

class ServiceRun final : private Child::Owner {
 public:
  class Host {
   public:
    virtual ~Host() = default;
    /// A program has been started; what is sent now it reads before it is ready. (Not told of
    /// copies of a template: they know what that knows.)
    virtual void on_child_started(ServiceRun& run, Child& child) noexcept = 0;
    /// A process said that it is ready.
    virtual void on_child_ready(ServiceRun& run, Child& child) noexcept = 0;
    virtual void on_connect_request(ServiceRun& run, Child& child,
                                    const ConnectMessage& request) noexcept = 0;
    virtual void on_row(ServiceRun& run, Child& child, RowMessage row) noexcept = 0;
    virtual void on_done(ServiceRun& run, Child& child, const DoneMessage& done) noexcept = 0;
    /// Any of those that are about a backend.
    virtual void on_backend_message(ServiceRun& run, Child& child,
                                    const ChildMessage& message) noexcept = 0;
    /// A process is gone, with whatever it had not answered.
    virtual void on_child_gone(ServiceRun& run, Child& child) noexcept = 0;
  };

  ServiceRun(io::Loop& loop, Host& host, ServiceSetup setup);
  ServiceRun(const ServiceRun&) = delete;
  ServiceRun& operator=(const ServiceRun&) = delete;

  const std::string& name() const noexcept { return setup_.settings.name; }
  const config::ServiceSettings& settings() const noexcept { return setup_.settings; }
  /// Its processes would be started with the same settings, sockets and rights.
  bool same_setup(const ServiceRun& other) const noexcept {
    return setup_.snapshot.view() == other.setup_.snapshot.view() &&
           setup_.listeners == other.setup_.listeners && setup_.identity == other.setup_.identity;
  }
  const ServiceMachine& machine() const noexcept { return machine_; }
  const std::shared_ptr<LogPipe>& log_pipe() const noexcept { return setup_.log; }
  bool empty() const noexcept { return machine_.empty(); }
  bool draining() const noexcept { return machine_.draining(); }
  /// terminate() was called.
  bool stopping() const noexcept { return stopping_; }

  /// Looks at what is to be done and does it; call it once to start, later it calls itself.
  void step() noexcept;
  /// No new clients; the processes end with their last session.
  void drain() noexcept;
  /// Tells every process to end its sessions and itself.
  void terminate() noexcept;
  /// SIGKILL to whoever is left.
  void kill_all() noexcept;
  /// A process ended. False: not one of this service's.
  bool on_exit(pid_t pid, int wait_status) noexcept;
  /// Reads what copies of the template have said whose pid is not known yet.
  void learn_pids() noexcept;
  void for_each(const std::function<void(Child&)>& visit);
  /// Tells every process that may still meet a client before login, the template too, however far
  /// it is. `fd` is copied.
  void tell_all(std::string_view verb, const std::vector<std::string_view>& fields, int fd = -1);
  /// The same settings with new content of files: for the processes there are, and those to come.
  void renew_settings(WipingBuffer snapshot) noexcept;
  const std::vector<config::SocketInfo>& sockets() const noexcept { return setup_.sockets; }
  Child* find(ProcessId id) noexcept;

 private:
  void on_child_message(Child& child, ChildMessage message) noexcept override;
  void on_channel_end(Child& child, std::string_view why) noexcept override;

  void carry_out(const Plan& plan) noexcept;
  void start_process(bool as_template) noexcept;
  void ask_template() noexcept;
  void watch_listeners(bool on) noexcept;
  void release_listeners() noexcept;
  void on_waiting(unsigned what) noexcept;
  void on_lost_deadline() noexcept;
  void settle_unmade() noexcept;
  void forget(ProcessId id) noexcept;
  SpawnRequest spawn_request(bool as_template) const;
  io::TimePoint now() const { return io::Clock::now(); }

  io::Loop& loop_;
  Host& host_;
  ServiceSetup setup_;
  ServiceMachine machine_;
  std::map<ProcessId, std::unique_ptr<Child>> children_;
  std::vector<std::unique_ptr<io::FdWatch>> listener_watches_;
  io::ReserveDescriptor reserve_;  // for those who are told that there is no room
  io::Timer wake_;
  io::Timer lost_;                 // until children that closed their channel must be gone
  std::vector<ProcessId> unmade_;  // copies that ended, or never were, before a word of theirs
  io::Timer unmade_settled_;       // until it is known whether their template has ended, too
  bool stepping_ = false;
  bool stopping_ = false;
};

}  // namespace postern::master
