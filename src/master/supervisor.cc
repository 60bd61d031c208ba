#include "master/supervisor.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <ctime>
#include <utility>

#include "io/socket.h"
#include "lib/log.h"
#include "lib/text.h"
#include "master/systemd.h"
#include "wire/channel.h"

namespace postern::master {
namespace {

constexpr std::chrono::seconds kStopPatience{10};
constexpr timespec kListenAgain{0, 200'000'000};
constexpr int kListenAttempts = 5;
constexpr int kListenAttemptsAfterAKill = 25;

bool is_login(const ServiceRun& run) {
  return run.settings().type == config::ServiceType::login;
}
/// auth_socket_path: below base_dir, or another program's.
std::string auth_socket_path(const config::Configuration& configuration) {
  const auto tls = configuration.tls();  // the first is without filters
  const std::string path =
      tls.empty() ? std::string("login/login") : tls.front().settings->auth_socket_path;
  return path.starts_with('/') ? path : configuration.master().base_dir + '/' + path;
}

/// login_access_sockets; as in Dovecot, below base_dir/login.
std::vector<std::string> access_socket_paths(const config::Configuration& configuration) {
  const auto tls = configuration.tls();  // the first is without filters
  std::vector<std::string> out;
  if (!tls.empty()) out = tls.front().settings->login_access_sockets;
  for (std::string& path : out) {
    if (!path.starts_with('/')) path.insert(0, configuration.master().base_dir + "/login/");
  }
  return out;
}

bool is_log(const ServiceRun& run) {
  return run.settings().type == config::ServiceType::log;
}

}  // namespace

Supervisor::Supervisor(io::Loop& loop, Options options)
    : loop_(loop),
      options_(std::move(options)),
      questions_(loop),
      certificates_(loop, static_cast<CertificateWatch::Host&>(*this)),
      backends_([this](std::string_view protocol, const wire::BackendNews& news) {
        tell_of_backend(protocol, news);
      }) {
  // Copies that the template of a service makes become the master's own children.
  prctl(PR_SET_CHILD_SUBREAPER, 1L, 0L, 0L, 0L);
  stop_deadline_.start(loop_, io::Callback<>::to<&Supervisor::on_stop_deadline>(*this));
  ticket_rotation_.start(loop_, io::Callback<>::to<&Supervisor::rotate_ticket_keys>(*this));
  reload_due_.start(loop_, io::Callback<>::to<&Supervisor::on_reload_due>(*this));
  sweep_due_.start(loop_, io::Callback<>::to<&Supervisor::sweep>(*this));
}

Supervisor::~Supervisor() = default;

int Supervisor::open(Prepared prepared, std::vector<std::string>& errors) {
  const config::MasterSettings& settings = prepared.configuration->master();
  auto login_group = static_cast<gid_t>(-1);
  for (const config::ServiceSettings& service : prepared.configuration->services()) {
    const auto found = prepared.identities.find(service.name);
    if (service.type == config::ServiceType::login && found != prepared.identities.end()) {
      login_group = found->second.gid;
    }
  }
  if (const Status made = prepare_run_directory(settings.base_dir, login_group); !made.ok()) {
    errors.push_back(made.error().text);
    return EX_NOPERM;
  }
  auto pid_file = PidFile::lock(settings.base_dir + "/master.pid");
  if (!pid_file.ok()) {
    errors.push_back(pid_file.error().text);
    return pid_file.error().code == EWOULDBLOCK ? EX_TEMPFAIL : EX_NOPERM;
  }
  pid_file_.emplace(std::move(pid_file).value());
  listen(prepared, errors);
  if (!errors.empty()) return EX_UNAVAILABLE;
  auto outputs = open_log_outputs(settings, options_.stderr_fd, options_.stdout_fd);
  if (!outputs.ok()) {
    errors.push_back("cannot " + outputs.error().text);
    return EX_CANTCREAT;
  }
  log_outputs_ = std::move(outputs).value();
  prepared_ = std::move(prepared);
  take_backend_settings();
  return 0;
}

void Supervisor::listen(const Prepared& prepared, std::vector<std::string>& errors) {
  // The processes of a master that was killed, or left them their sessions, close its sockets as
  // soon as they see its end, which may be a moment after an init system has started another one.
  const int attempts = pid_file_->was_left() ? kListenAttemptsAfterAKill : kListenAttempts;
  for (int attempt = 1;; ++attempt) {
    errors.clear();
    listeners_ = open_listeners(prepared.listeners, {}, errors);
    if (errors.empty() || attempt == attempts) return;
    ::nanosleep(&kListenAgain, nullptr);
  }
}

Result<std::shared_ptr<LogPipe>> Supervisor::log_pipe(const std::string& prefix) {
  if (const auto found = log_pipes_.find(prefix); found != log_pipes_.end()) return found->second;
  auto made = make_log_pipe(prefix);
  if (made.ok()) {
    log_pipes_.emplace(prefix, made.value());
    for (const auto& [run, child] : log_children()) send_pipe(*child, *made.value());
  }
  return made;
}

Status Supervisor::build_generation(const Prepared& prepared, const Listeners& opened,
                                    Generation& out) {
  out.number = ++generations_;
  ServiceRun::Host& host = *this;
  for (const config::ServiceSettings& service : prepared.configuration->services()) {
    std::shared_ptr<LogPipe> pipe;
    if (service.type != config::ServiceType::log) {
      auto made = log_pipe(service.name);
      if (!made.ok()) return made.error();
      pipe = std::move(made).value();
    }
    out.services.push_back(std::make_unique<ServiceRun>(
        loop_, host, make_setup(prepared, service, opened, std::move(pipe), options_.stderr_fd)));
  }
  return Done{};
}

Status Supervisor::start() {
  auto own = log_pipe("master");
  if (!own.ok()) return own.error();
  auto generation = std::make_unique<Generation>();
  if (auto built = build_generation(prepared_, listeners_, *generation); !built.ok()) return built;
  on_hup_.start(loop_, SIGHUP, io::Callback<int>::to<&Supervisor::on_signal>(*this));
  on_term_.start(loop_, SIGTERM, io::Callback<int>::to<&Supervisor::on_signal>(*this));
  on_int_.start(loop_, SIGINT, io::Callback<int>::to<&Supervisor::on_signal>(*this));
  on_usr1_.start(loop_, SIGUSR1, io::Callback<int>::to<&Supervisor::on_signal>(*this));
  on_chld_.start(loop_, SIGCHLD, io::Callback<int>::to<&Supervisor::on_signal>(*this));
  log::flush();
  if (dup2(own.value()->write_end.get(), STDERR_FILENO) < 0) return system_error("dup2", errno);
  log::open("master", true);
  take_ticket_keys();
  certificates_.begin();
  current_ = std::move(generation);
  start_services();
  return Done{};
}

/// Login processes when the certificates are there that they are to serve; the others at once.
void Supervisor::start_services() noexcept {
  for (const auto& run : current_->services) {
    if (!is_login(*run) || certificates_.begun()) run->step();
  }
}

void Supervisor::on_certificates_begun() noexcept {
  if (current_ && !stopping_) start_services();
}

std::shared_ptr<Listener> Supervisor::control_listener() const {
  const auto sockets = configuration().sockets("master");
  for (const config::SocketInfo& socket : sockets) {
    if (const auto found = listeners_.find("unix " + socket.path); found != listeners_.end())
      return found->second;
  }
  return nullptr;
}

void Supervisor::each_run(const std::function<void(ServiceRun&)>& visit) {
  if (current_) {
    for (const auto& run : current_->services) visit(*run);
  }
  for (const auto& generation : earlier_) {
    for (const auto& run : generation->services) visit(*run);
  }
}

void Supervisor::for_each_service(const std::function<void(ServiceRun&, unsigned)>& visit) {
  if (current_) {
    for (const auto& run : current_->services) visit(*run, current_->number);
  }
  for (const auto& generation : earlier_) {
    for (const auto& run : generation->services) visit(*run, generation->number);
  }
}

std::vector<std::pair<ServiceRun*, Child*>> Supervisor::login_children() {
  std::vector<std::pair<ServiceRun*, Child*>> out;
  each_run([&out](ServiceRun& run) {
    if (!is_login(run)) return;
    run.for_each([&](Child& child) {
      const ProcessRecord* record = run.machine().find(child.id());
      const bool answers =
          record != nullptr && !record->is_template && record->phase != Phase::starting;
      if (answers && child.channel_open()) out.emplace_back(&run, &child);
    });
  });
  return out;
}

std::vector<std::pair<ServiceRun*, Child*>> Supervisor::log_children() {
  std::vector<std::pair<ServiceRun*, Child*>> out;
  if (!current_) return out;
  for (const auto& run : current_->services) {
    if (!is_log(*run)) continue;
    run->for_each([&](Child& child) {
      const ProcessRecord* record = run->machine().find(child.id());
      if (record != nullptr && record->phase == Phase::ready) out.emplace_back(run.get(), &child);
    });
  }
  return out;
}

// --- Log process and ticket keys ---

void Supervisor::send_pipe(Child& log, const LogPipe& pipe) {
  log.send(wire::kPipe, {pipe.prefix}, UniqueFd(fcntl(pipe.read_end.get(), F_DUPFD_CLOEXEC, 3)));
}

void Supervisor::send_files(Child& log) {
  for (const auto& [level, fd] : log_outputs_) {
    log.send(wire::kFile, {level}, UniqueFd(fcntl(fd.get(), F_DUPFD_CLOEXEC, 3)));
  }
}

void Supervisor::feed_log(Child& log) {
  send_files(log);
  for (const auto& [prefix, pipe] : log_pipes_) send_pipe(log, *pipe);
}

Status Supervisor::reopen_logs() {
  auto outputs = open_log_outputs(configuration().master(), options_.stderr_fd, options_.stdout_fd);
  if (!outputs.ok()) return outputs.error();
  log_outputs_ = std::move(outputs).value();
  for (const auto& [run, child] : log_children()) send_files(*child);
  return Done{};
}

/// The operator's, or the first of our own.
void Supervisor::take_ticket_keys() noexcept {
  const config::MasterSettings& settings = configuration().master();
  if (settings.ssl_ticket_keys.empty()) {
    if (ticket_keys_are_given_ || ticket_keys_.view().empty()) return rotate_ticket_keys();
    // A reload, or a certificate's renewal, is no reason for new ones, nor to keep the old longer.
    ticket_rotation_.set(ticket_keys_.left(io::Clock::now(), settings.ssl_ticket_key_rotation));
    return;
  }
  ticket_rotation_.cancel();
  ticket_keys_are_given_ = true;
  if (settings.ssl_ticket_keys.reveal() == ticket_keys_.view()) return;
  ticket_keys_.use(settings.ssl_ticket_keys.reveal());
  send_ticket_keys();
}

void Supervisor::rotate_ticket_keys() noexcept {
  ticket_rotation_.set(configuration().master().ssl_ticket_key_rotation);
  if (std::exchange(ticket_keys_are_given_, false)) ticket_keys_ = TicketKeys();
  const Status rotated = ticket_keys_.rotate(io::Clock::now());
  if (!rotated.ok()) return log::error("{}", rotated.error().text);
  send_ticket_keys();
}

/// To templates, too: the first ticket of a copy must not be sealed with a key that is forgotten.
void Supervisor::send_ticket_keys() noexcept {
  each_run([this](ServiceRun& run) {
    if (is_login(run)) run.tell_all(wire::kTicketKeys, {ticket_keys_.view()});
  });
}

void Supervisor::use_store(UniqueFd store) noexcept {
  struct stat status {};
  const bool none = ::fstat(store.get(), &status) == 0 && status.st_size == 0;
  if (none && !store_) return;  // there is none, and was none
  store_ = std::move(store);
  // Those of a generation that accepts nobody any more go on with what they have.
  if (!current_) return;
  for (const auto& run : current_->services) {
    if (is_login(*run)) run->tell_all(wire::kCertificates, {}, store_.get());
  }
}

/// Files of the TLS settings have new content: login processes get their settings again, and go on.
void Supervisor::use_new_files(std::shared_ptr<const config::Configuration> fresh) noexcept {
  prepared_.configuration = std::move(fresh);
  take_ticket_keys();
  for (const auto& run : current_->services) {
    if (!is_login(*run)) continue;
    run->renew_settings(configuration().snapshot(run->name(), run->sockets()));
  }
}

// --- What children want ---

/// What a login process must have before its first client waits in its channel when it starts.
void Supervisor::on_child_started(ServiceRun& run, Child& child) noexcept {
  if (!is_login(run)) return;
  child.send(wire::kTicketKeys, {ticket_keys_.view()});
  if (store_) {
    child.send(wire::kCertificates, {}, UniqueFd(fcntl(store_.get(), F_DUPFD_CLOEXEC, 3)));
  }
  feed_backends(run, child);
}

void Supervisor::on_child_ready(ServiceRun& run, Child& child) noexcept {
  if (is_log(run)) feed_log(child);
}

/// Who may ask for which socket; the path of it.
Result<std::string> Supervisor::socket_for(const ServiceRun& run, std::string_view name) {
  const std::string& base = configuration().master().base_dir;
  if (is_login(run) && name == "auth") return auth_socket_path(configuration());
  if (is_login(run) && name.starts_with(wire::kAccessSocket)) {
    // Asked for each client: found out once for each configuration.
    if (std::exchange(access_sockets_of_, prepared_.configuration) != prepared_.configuration) {
      access_sockets_ = access_socket_paths(configuration());
    }
    const auto number = decimal(name.substr(wire::kAccessSocket.size()), 0, 1000);
    if (number && *number < access_sockets_.size()) return access_sockets_[*number];
    return Error{EACCES, "there is no such login_access_sockets"};
  }
  if (run.name() == "auth" && name == "auth-worker") return base + '/' + std::string(kWorkerSocket);
  if ((is_login(run) || run.name() == "auth") && name == "anvil") return base + "/anvil";
  return Error{EACCES, "not for this process"};
}

void Supervisor::on_connect_request(ServiceRun& run, Child& child,
                                    const ConnectMessage& request) noexcept {
  const std::string id = std::to_string(request.id);
  auto path = socket_for(run, request.name);
  if (!path.ok()) {
    log::error("service({}): child {} asked for {}: {}", run.name(), child.pid(),
               log_safe(request.name), path.error().text);
    child.send(wire::kConnected, {id, path.error().text});
    return;
  }
  auto fd = io::connect_unix(path.value());
  if (!fd.ok()) {
    child.send(wire::kConnected, {id, fd.error().text});
    return;
  }
  child.send(wire::kConnected, {id}, std::move(fd).value());
}

void Supervisor::on_row(ServiceRun& run, Child& child, RowMessage row) noexcept {
  questions_.on_row(run, child, row);
}
void Supervisor::on_done(ServiceRun& /*run*/, Child& child, const DoneMessage& done) noexcept {
  questions_.on_done(child, done);
}
void Supervisor::on_child_gone(ServiceRun& /*run*/, Child& child) noexcept {
  questions_.on_child_gone(child);
  backends_.on_process_gone(&child, moment());
  sweep_due_.trigger();  // not every end is told by a signal
}

// --- Signals ---

void Supervisor::on_signal(int number) noexcept {
  switch (number) {
    case SIGHUP:
      // Each generation of processes costs a start; of a storm of signals only the last counts.
      reload_due_.trigger();
      return;
    case SIGUSR1: {
      const Status reopened = reopen_logs();
      if (!reopened.ok())
        log::error("cannot {}; the old log files stay in use", reopened.error().text);
      return;
    }
    case SIGCHLD:
      reap();
      return;
    default:
      log::warning("Killed with signal {}", number);
      stop();
  }
}

void Supervisor::on_reload_due() noexcept {
  log::info("SIGHUP received - reloading configuration");
  for (const std::string& error : reload()) log::error("{}", error);
}

bool Supervisor::find_exited(pid_t pid, int wait_status) noexcept {
  bool found = false;
  each_run([&](ServiceRun& run) { found = found || run.on_exit(pid, wait_status); });
  return found;
}

void Supervisor::reap() noexcept {
  int wait_status = 0;
  pid_t pid = 0;
  while ((pid = waitpid(-1, &wait_status, WNOHANG)) > 0) {
    if (find_exited(pid, wait_status) || certificates_.made(pid)) continue;
    // A template's copy whose first packet has not been read.
    each_run([](ServiceRun& run) { run.learn_pids(); });
    if (!find_exited(pid, wait_status)) log::debug("a process nobody knows ended: {}", pid);
  }
  sweep();
}

/// Forgets what has ended.
void Supervisor::sweep() noexcept {
  for (auto& generation : earlier_) {
    for (auto& run : generation->services) {
      if (run->empty()) loop_.retire(std::move(run));
    }
    std::erase(generation->services, nullptr);
  }
  std::erase_if(earlier_, [](const auto& generation) { return generation->services.empty(); });
  if (stopping_) stop_next_stage();
}

// --- Reload and stop ---

/// log and anvil know things that a new process would not: they stay unless their settings changed.
void Supervisor::keep_what_has_not_changed(Generation& old, Generation& fresh) {
  for (auto& now : old.services) {
    if (!is_log(*now) && now->settings().type != config::ServiceType::anvil) continue;
    for (auto& next : fresh.services) {
      // Nothing of `next` has been started: it goes with the old generation.
      if (next->name() == now->name() && next->same_setup(*now)) std::swap(next, now);
    }
  }
}

std::vector<std::string> Supervisor::reload() {
  if (stopping_) return {"Postern is stopping"};
  notify_init(reloading_state());
  std::vector<std::string> errors;
  config::Loaded loaded = config::load(options_.config_path);
  for (const config::Problem& problem : loaded.problems) {
    if (problem.warning) {
      log::warning("{}", problem.text());
    } else {
      errors.push_back(problem.text());
    }
  }
  std::optional<Prepared> prepared;
  if (loaded.configuration) {
    auto configuration =
        std::make_shared<const config::Configuration>(std::move(*loaded.configuration));
    if (configuration->master().base_dir != this->configuration().master().base_dir) {
      errors.emplace_back("base_dir has changed: that needs a restart");
    } else {
      prepared = prepare(std::move(configuration), errors);
    }
  }
  auto generation = std::make_unique<Generation>();
  Listeners opened;
  LogOutputs outputs;
  if (prepared && errors.empty()) {
    auto files =
        open_log_outputs(prepared->configuration->master(), options_.stderr_fd, options_.stdout_fd);
    if (!files.ok()) {
      errors.push_back("cannot " + files.error().text);
    } else {
      outputs = std::move(files).value();
      opened = open_listeners(prepared->listeners, listeners_, errors);
    }
  }
  if (prepared && errors.empty()) {
    const Status built = build_generation(*prepared, opened, *generation);
    if (!built.ok()) errors.push_back(built.error().text);
  }
  notify_init("READY=1");
  if (!errors.empty() || !prepared) {
    errors.emplace_back("The configuration was not reloaded; the old one stays in use");
    return errors;
  }
  // From here on nothing fails.
  prepared_ = std::move(*prepared);
  take_backend_settings();
  listeners_ = std::move(opened);
  log_outputs_ = std::move(outputs);
  keep_what_has_not_changed(*current_, *generation);
  auto old = std::exchange(current_, std::move(generation));
  for (const auto& run : old->services) run->drain();
  for (const auto& [run, child] : log_children()) send_files(*child);
  earlier_.push_back(std::move(old));
  take_ticket_keys();
  certificates_.begin();
  start_services();
  log::info("Configuration reloaded");
  if (on_reload_) on_reload_();
  sweep();
  return {};
}

bool Supervisor::any_left(const std::function<bool(const ServiceRun&)>& which) const {
  const auto left = [&which](const auto& generation) {
    return std::any_of(generation->services.begin(), generation->services.end(),
                       [&which](const auto& run) { return which(*run) && !run->empty(); });
  };
  return (current_ && left(current_)) || std::any_of(earlier_.begin(), earlier_.end(), left);
}

void Supervisor::stop() noexcept {
  if (stopping_) {
    // Two signals at once are one.
    if (io::Clock::now() - stop_began_ >= kSecondThought) on_stop_deadline();
    return;
  }
  stopping_ = true;
  stop_began_ = io::Clock::now();
  notify_init("STOPPING=1");
  ticket_rotation_.cancel();
  certificates_.stop();
  if (!configuration().master().shutdown_clients) {
    // The sessions live on by themselves: a child whose channel ends accepts nobody and ends with
    // its last session.
    loop_.stop();
    return;
  }
  stop_deadline_.set(kStopPatience);
  stop_next_stage();
}

/// Sessions first, then those they need, the log last.
void Supervisor::stop_next_stage() noexcept {
  const auto login = [](const ServiceRun& run) { return is_login(run); };
  // auth reports to anvil until it ends.
  const auto but_anvil = [](const ServiceRun& run) {
    return !is_log(run) && run.settings().type != config::ServiceType::anvil;
  };
  const auto but_log = [](const ServiceRun& run) { return !is_log(run); };
  const auto all = [](const ServiceRun&) { return true; };
  using Which = bool (*)(const ServiceRun&);
  for (const Which which : {Which{login}, Which{but_anvil}, Which{but_log}, Which{all}}) {
    if (!any_left(which)) continue;
    log::flush();  // the log reads it before it ends
    each_run([which](ServiceRun& run) {
      if (which(run) && !run.stopping()) run.terminate();
    });
    return;
  }
  loop_.stop();
}

void Supervisor::on_stop_deadline() noexcept {
  each_run([](ServiceRun& run) {
    if (!is_log(run)) run.kill_all();
  });
  if (!any_left([](const ServiceRun& run) { return !is_log(run); })) {
    each_run([](ServiceRun& run) { run.kill_all(); });
  }
  stop_deadline_.set(kStopPatience);
}

}  // namespace postern::master
