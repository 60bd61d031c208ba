#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.h"
#include "io/loop.h"
#include "master/backend-health.h"
#include "master/certificates.h"
#include "master/listener.h"
#include "master/log-outputs.h"
#include "master/question.h"
#include "master/run-directory.h"
#include "master/service-run.h"
#include "master/setup.h"
#include "master/ticket-keys.h"

/// The master's heart: the services of the present configuration, what is left of earlier ones, the
/// signals, reload and stop. Spec: master.md section 1.
namespace postern::master {

/// The services started from one reading of the configuration.
struct Generation {
  unsigned number = 0;
  std::vector<std::unique_ptr<ServiceRun>> services;
};

class Supervisor final : private ServiceRun::Host, private CertificateWatch::Host {
 public:
  struct Options {
    std::string config_path;
    int stderr_fd = 2;   // the master's own at its start; borrowed
    int stdout_fd = -1;  // the same; -1: what is for there goes to stderr
  };
  Supervisor(io::Loop& loop, Options options);
  ~Supervisor() override;
  Supervisor(const Supervisor&) = delete;
  Supervisor& operator=(const Supervisor&) = delete;

  /// Run directory, pid file, listeners, log files: everything that can fail before anything runs.
  /// @param errors  gets one line each
  /// @return 0 or an exit code (69 could not listen, 73 log file, 77 …)
  int open(Prepared prepared, std::vector<std::string>& errors);
  /// Sends the master's own lines to the log process and starts the services.
  Status start();
  /// After open().
  Status write_pid() const { return pid_file_->write_pid(); }

  /// Reads the configuration again. If anything is wrong nothing changes.
  /// @return one line for each thing that is wrong
  std::vector<std::string> reload();
  /// `call` is called after each reload that changed something; empty: nobody.
  void on_reload(std::function<void()> call) { on_reload_ = std::move(call); }
  /// Ends everything in order; run() of the loop returns when the last process is gone. Called
  /// again after kSecondThought it ends them the hard way.
  void stop() noexcept;
  static constexpr std::chrono::seconds kSecondThought{1};
  bool stopping() const noexcept { return stopping_; }
  /// Opens the log files anew and hands them to the log process.
  Status reopen_logs();

  Questions& questions() noexcept { return questions_; }
  BackendHealth& backends() noexcept { return backends_; }
  /// Both clocks, now.
  static Moment moment() noexcept;
  /// Every running process that serves sessions, of all generations.
  std::vector<std::pair<ServiceRun*, Child*>> login_children();
  std::vector<std::pair<ServiceRun*, Child*>> log_children();
  /// Visits every service: present ones first, then what is left of earlier generations.
  void for_each_service(const std::function<void(ServiceRun&, unsigned generation)>& visit);
  const config::Configuration& configuration() const noexcept override {
    return *prepared_.configuration;
  }
  /// Reads certificates, keys and the like again, whether or not they look changed.
  /// @return a number for forget_reload()
  std::uint64_t reload_certificates(CertificateWatch::Told told) {
    return certificates_.read_again(std::move(told));
  }
  void forget_reload(std::uint64_t number) noexcept { certificates_.forget(number); }
  std::vector<CertificateRow> certificates() const { return certificates_.rows(); }
  /// The open control socket; null if its mode is 0.
  std::shared_ptr<Listener> control_listener() const;

 private:
  void on_child_started(ServiceRun& run, Child& child) noexcept override;
  void on_child_ready(ServiceRun& run, Child& child) noexcept override;
  void on_connect_request(ServiceRun& run, Child& child,
                          const ConnectMessage& request) noexcept override;
  void on_row(ServiceRun& run, Child& child, RowMessage row) noexcept override;
  void on_done(ServiceRun& run, Child& child, const DoneMessage& done) noexcept override;
  void on_child_gone(ServiceRun& run, Child& child) noexcept override;
  void on_backend_message(ServiceRun& run, Child& child,
                          const ChildMessage& message) noexcept override;
  void use_new_files(std::shared_ptr<const config::Configuration> fresh) noexcept override;
  void use_store(UniqueFd store) noexcept override;
  void on_certificates_begun() noexcept override;

  Result<std::shared_ptr<LogPipe>> log_pipe(const std::string& prefix);
  Status build_generation(const Prepared& prepared, const Listeners& opened, Generation& out);
  void feed_log(Child& log);
  void send_files(Child& log);
  void send_pipe(Child& log, const LogPipe& pipe);
  static void keep_what_has_not_changed(Generation& old, Generation& fresh);
  Result<std::string> socket_for(const ServiceRun& run, std::string_view name);
  void on_signal(int number) noexcept;
  void on_reload_due() noexcept;
  void start_services() noexcept;
  void listen(const Prepared& prepared, std::vector<std::string>& errors);
  void reap() noexcept;
  bool find_exited(pid_t pid, int wait_status) noexcept;
  void sweep() noexcept;
  // supervisor-backends.cc
  void tell_of_backend(std::string_view protocol, const wire::BackendNews& news);
  void feed_backends(const ServiceRun& run, Child& child);
  void take_backend_settings();
  unsigned most_pending(const ServiceRun& run) const noexcept;

  void stop_next_stage() noexcept;
  void on_stop_deadline() noexcept;
  void rotate_ticket_keys() noexcept;
  void take_ticket_keys() noexcept;
  void send_ticket_keys() noexcept;
  bool any_left(const std::function<bool(const ServiceRun&)>& which) const;
  void each_run(const std::function<void(ServiceRun&)>& visit);

  io::Loop& loop_;
  Options options_;
  Prepared prepared_;
  std::vector<std::string> access_sockets_;  // paths
  std::shared_ptr<const config::Configuration> access_sockets_of_;
  std::optional<PidFile> pid_file_;
  Listeners listeners_;
  LogOutputs log_outputs_;
  std::map<std::string, std::shared_ptr<LogPipe>>
      log_pipes_;  // by prefix; they outlive generations
  Questions questions_;
  std::unique_ptr<Generation> current_;
  std::vector<std::unique_ptr<Generation>> earlier_;
  io::SignalWatch on_hup_, on_term_, on_int_, on_usr1_, on_chld_;
  io::Deferred reload_due_;  // however many signals have come
  io::Deferred sweep_due_;
  std::function<void()> on_reload_;
  io::TimePoint stop_began_;
  io::Timer stop_deadline_;
  io::Timer ticket_rotation_;
  TicketKeys ticket_keys_;
  bool ticket_keys_are_given_ = false;
  CertificateWatch certificates_;
  BackendHealth backends_;
  unsigned proxy_max_pending_ = 0;
  UniqueFd store_;  // of the certificates of ssl_cert_dir; none: there are none
  unsigned generations_ = 0;
  bool stopping_ = false;
};

}  // namespace postern::master
