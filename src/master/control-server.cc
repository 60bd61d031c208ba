#include "master/control-server.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "lib/ip.h"
#include "lib/log.h"
#include "lib/text.h"
#include "master/backend-status.h"
#include "master/status.h"
#include "postern-build.h"
#include "wire/channel.h"

namespace postern::master {

namespace {

constexpr std::size_t kShortValue = 300;  // bytes; of 33 fields, however they are escaped, one line
constexpr std::size_t kMaxEndText = 4096;  // bytes

/// Is nobody there any more? Who has only said that nothing more will come may still read.
bool is_left(int fd) noexcept {
  pollfd p{fd, POLLIN, 0};
  return ::poll(&p, 1, 0) == 1 && (p.revents & (POLLHUP | POLLERR)) != 0;
}

/// What a child says may not fit a line once it is JSON.
std::string row_line(const wire::ControlFields& fields) {
  std::string line = wire::control_row_line(fields);
  if (line.size() < wire::kMaxControlLine) return line;
  wire::ControlFields shorter = fields;
  for (auto& [name, value] : shorter) {
    if (value.size() > kShortValue) value.resize(kShortValue);
  }
  return wire::control_row_line(shorter);
}

}  // namespace

/// One posternctl.
class ControlServer::Connection {
 public:
  Connection(ControlServer& server, std::uint64_t id, UniqueFd fd)
      : server_(server), id_(id), fd_(std::move(fd)), last_request_(io::Clock::now()) {
    if (const auto peer = io::peer_credentials(fd_.get()); peer.ok()) uid_ = peer.value().uid;
    deadline_.start(server_.loop_, io::Callback<>::to<&Connection::on_deadline>(*this));
    watch_.start(server_.loop_, fd_.get(),
                 io::Callback<unsigned>::to<&Connection::on_event>(*this));
    watch_.want(io::FdWatch::kRead);
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection() {
    if (question_ != 0) server_.supervisor_.questions().cancel(question_);
    if (reading_ != 0) server_.supervisor_.forget_reload(reading_);
  }

  Supervisor& supervisor() noexcept { return server_.supervisor_; }
  void row(const wire::ControlFields& fields) { queue(row_line(fields)); }
  void end(int code, std::string_view text) {
    const bool later = question_ != 0 || reading_ != 0;
    question_ = reading_ = 0;
    busy_ = false;
    queue(wire::control_end_line(code, text.substr(0, kMaxEndText)));
    // What was pipelined behind a request that children had to answer.
    if (later) process();
  }
  /// The answer comes from children.
  void ask(const std::vector<std::pair<ServiceRun*, Child*>>& children, std::string_view verb,
           const std::vector<std::string>& arguments, Questions::Answer answer) {
    const std::uint64_t question =
        supervisor().questions().ask(children, verb, arguments, std::move(answer));
    if (busy_) question_ = question;
  }
  /// For the log: who gave an order.
  std::string peer() const { return "uid " + std::to_string(uid_); }
  /// Nothing is asked, nothing is being answered.
  bool idle() const noexcept { return !busy_ && output_.empty(); }
  io::TimePoint last_request() const noexcept { return last_request_; }
  /// The end of it; the object lives until the end of the turn.
  void leave() noexcept {
    if (std::exchange(gone_, true)) return;
    watch_.stop();
    deadline_.cancel();
    server_.drop(id_);
  }

 private:
  void on_event(unsigned what) noexcept {
    if ((what & io::FdWatch::kWrite) != 0) {
      flush();
      process();
    }
    if ((what & io::FdWatch::kRead) != 0 && !gone_) read();
  }

  void read() noexcept {
    std::array<char, 16384> bytes{};
    const ssize_t n = ::read(fd_.get(), bytes.data(), bytes.size());
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n < 0 || (n == 0 && is_left(fd_.get()))) return leave();
    if (n == 0) {
      all_asked_ = true;
    } else {
      input_.append(bytes.data(), static_cast<std::size_t>(n));
    }
    process();
  }

  void process() noexcept {
    // While it has not read its answer it gets no further one.
    while (!busy_ && !closing_ && !gone_ && output_.empty()) {
      const std::size_t end_of_line = input_.find('\n');
      if (end_of_line == std::string::npos ? input_.size() >= wire::kMaxControlLine
                                           : end_of_line >= wire::kMaxControlLine) {
        closing_ = true;
        end(EX_USAGE,
            "the request is longer than " + std::to_string(wire::kMaxControlLine) + " bytes");
        return;
      }
      if (end_of_line == std::string::npos) break;
      const std::string line = input_.substr(0, end_of_line);
      input_.erase(0, end_of_line + 1);
      last_request_ = io::Clock::now();
      deadline_.cancel();
      dispatch(line);
    }
    wait_for_what_is_next();
  }

  void dispatch(const std::string& line);

  // One for each command of wire/control.h.
  void on_ping(const wire::ControlFields& args);
  void on_who(const wire::ControlFields& args);
  void on_kick(const wire::ControlFields& args);
  void on_reload(const wire::ControlFields& args);
  void on_stop(const wire::ControlFields& args);
  void on_service_status(const wire::ControlFields& args);
  void on_process_status(const wire::ControlFields& args);
  void on_log_errors(const wire::ControlFields& args);
  void on_log_reopen(const wire::ControlFields& args);
  void on_proxy_status(const wire::ControlFields& args);
  void on_proxy_disable(const wire::ControlFields& args);
  void on_proxy_enable(const wire::ControlFields& args);
  void on_tls_list(const wire::ControlFields& args);
  void on_tls_reload(const wire::ControlFields& args);

  void queue(const std::string& line) {
    if (gone_) return;
    output_ += line;
    if (output_.size() > kMaxUnread) return cut_off();
    flush();
  }

  void flush() noexcept {
    std::size_t done = 0;
    while (done < output_.size()) {
      const ssize_t n =
          ::send(fd_.get(), output_.data() + done, output_.size() - done, MSG_NOSIGNAL);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && errno == EAGAIN) break;
      if (n < 0) return leave();
      done += static_cast<std::size_t>(n);
    }
    if (done > 0) deadline_.cancel();  // it reads
    output_.erase(0, done);
    wait_for_what_is_next();
  }

  void wait_for_what_is_next() noexcept {
    if (gone_) return;
    const bool answered = !busy_ && output_.empty();
    if (answered && (closing_ || (all_asked_ && input_.find('\n') == std::string::npos))) {
      return leave();
    }
    // Behind a request that is being answered so much is read as one more could have.
    const bool reads = output_.empty() && !all_asked_ && input_.size() < wire::kMaxControlLine;
    watch_.want(!output_.empty() ? io::FdWatch::kWrite
                : reads          ? io::FdWatch::kRead
                                 : io::FdWatch::kNothing);
    const bool waits_for_it = !output_.empty() || (!busy_ && !input_.empty());
    if (!waits_for_it) {
      deadline_.cancel();
    } else if (!deadline_.armed()) {
      deadline_.set(server_.patience_);
    }
  }

  void on_deadline() noexcept {
    if (!output_.empty()) return cut_off();
    log::warning("control: {} does not finish its request, disconnecting", peer());
    leave();
  }

  void cut_off() noexcept {
    log::warning("control: {} does not read its answer, disconnecting", peer());
    leave();
  }

  ControlServer& server_;
  std::uint64_t id_;
  UniqueFd fd_;
  io::FdWatch watch_;
  io::Timer deadline_;
  io::TimePoint last_request_;  // or when it came
  uid_t uid_ = static_cast<uid_t>(-1);
  std::string input_;
  std::string output_;
  std::uint64_t question_ = 0;
  std::uint64_t reading_ = 0;  // of certificates
  bool busy_ = false;          // a request is being answered
  bool closing_ = false;       // ends once the output is out
  bool all_asked_ = false;     // it has closed its sending side
  bool gone_ = false;
};

struct ControlServer::Command {
  std::string_view name;
  void (Connection::*run)(const wire::ControlFields& args);
};

namespace {

constexpr io::Milliseconds kAcceptPause{1000};
constexpr std::size_t kMaxKick = wire::kMaxPacket - 64;  // bytes of all terms; the rest is the head

std::vector<std::string> values_of(const wire::ControlFields& args, std::string_view name) {
  std::vector<std::string> out;
  for (const auto& [key, value] : args) {
    if (key == name) out.push_back(value);
  }
  return out;
}

/// `address`, and `port` if it is there; 0: every port.
std::optional<Endpoint> backend_of(const wire::ControlFields& args) {
  const auto ip = IpAddress::parse(wire::control_field(args, "address"));
  const std::string_view said = wire::control_field(args, "port");
  const auto port = said.empty() ? std::optional<std::uint64_t>(0) : decimal(said, 1, 65535);
  if (!ip || !port) return std::nullopt;
  return Endpoint{*ip, static_cast<std::uint16_t>(*port)};
}

std::string backend_text(const Endpoint& backend) {
  return backend.port == 0 ? backend.ip.text() : backend.text();
}

std::string silent_text(unsigned silent) {
  return silent == 0 ? std::string() : std::to_string(silent) + " processes did not answer";
}

}  // namespace

void ControlServer::Connection::on_ping(const wire::ControlFields&) {
  end(EX_OK, POSTERN_VERSION);
}

void ControlServer::Connection::on_who(const wire::ControlFields&) {
  ask(supervisor().login_children(), wire::kSessions, {},
      {[this](const ServiceRun&, pid_t pid, const RowMessage& session) {
         wire::ControlFields fields = session.fields;
         fields.emplace_back("pid", std::to_string(pid));
         row(fields);
       },
       [this](int code, const std::vector<std::string>&, unsigned silent) {
         end(silent > 0 ? EX_TEMPFAIL : code, silent_text(silent));
       }});
}

void ControlServer::Connection::on_kick(const wire::ControlFields& args) {
  if (args.empty()) return end(EX_USAGE, "say whom to kick");
  std::vector<std::string> terms;
  std::string shown;
  std::size_t length = 0;
  for (const auto& [key, value] : args) {
    // A variable that was not set, most likely: it must not mean everybody.
    if (value.empty()) return end(EX_USAGE, key + " is empty: say whom to kick");
    terms.push_back(fmt::format("{}={}", key, value));
    length += 2 * terms.back().size() + 1;  // however it is escaped
    shown.append(" ").append(key).append("=").append(log_safe(value));
  }
  if (length > kMaxKick) return end(EX_USAGE, "too much for one kick");
  log::info("control: kick{} ({})", shown, peer());
  ask(supervisor().login_children(), wire::kKick, terms,
      {{}, [this](int code, const std::vector<std::string>& texts, unsigned silent) {
         std::uint64_t kicked = 0;
         std::string problem = silent_text(silent);
         for (const std::string& text : texts) {
           if (const auto n = decimal(text, 0, UINT32_MAX)) {
             kicked += *n;
           } else {
             problem = text;
           }
         }
         if (problem.empty()) return end(EX_OK, std::to_string(kicked));
         if (kicked > 0) problem += "; " + std::to_string(kicked) + " were kicked";
         end(code == 0 ? EX_TEMPFAIL : code, problem);
       }});
}

void ControlServer::Connection::on_reload(const wire::ControlFields&) {
  log::info("control: reload ({})", peer());
  if (supervisor().stopping()) return end(EX_TEMPFAIL, "Postern is stopping");
  const std::vector<std::string> errors = supervisor().reload();
  for (const std::string& error : errors) {
    log::error("{}", error);
    row({{"error", error}});
  }
  end(errors.empty() ? EX_OK : EX_CONFIG,
      errors.empty() ? "" : "the old configuration stays in use");
}

void ControlServer::Connection::on_stop(const wire::ControlFields&) {
  log::info("control: stop ({})", peer());
  end(EX_OK, std::to_string(getpid()));
  // Asked twice it is not in more of a hurry; a second signal is.
  if (!supervisor().stopping()) supervisor().stop();
}

void ControlServer::Connection::on_service_status(const wire::ControlFields& args) {
  service_rows(supervisor(), values_of(args, "name"),
               [this](const wire::ControlFields& fields) { row(fields); });
  end(EX_OK, "");
}

void ControlServer::Connection::on_process_status(const wire::ControlFields& args) {
  process_rows(supervisor(), values_of(args, "name"),
               [this](const wire::ControlFields& fields) { row(fields); });
  end(EX_OK, "");
}

void ControlServer::Connection::on_log_errors(const wire::ControlFields& args) {
  const std::vector<std::string> since = values_of(args, "since");
  const auto children = supervisor().log_children();
  if (children.empty()) return end(EX_TEMPFAIL, "the log process is not there at the moment");
  ask(children, wire::kLogErrors, since,
      {[this](const ServiceRun&, pid_t, const RowMessage& line) { row(line.fields); },
       [this](int code, const std::vector<std::string>&, unsigned silent) {
         end(silent > 0 ? EX_TEMPFAIL : code, silent_text(silent));
       }});
}

void ControlServer::Connection::on_log_reopen(const wire::ControlFields&) {
  log::info("control: log-reopen ({})", peer());
  const Status reopened = supervisor().reopen_logs();
  if (reopened.ok()) return end(EX_OK, "");
  end(EX_CANTCREAT, "cannot " + reopened.error().text + "; the old log files stay in use");
}

void ControlServer::Connection::on_proxy_status(const wire::ControlFields& args) {
  std::vector<Network> only;
  for (const std::string& address : values_of(args, "address")) {
    const auto network = Network::parse(address);
    if (!network) return end(EX_USAGE, "not an address: " + log_safe(address));
    only.push_back(*network);
  }
  const auto status = std::make_shared<BackendStatus>();
  ask(supervisor().login_children(), wire::kBackendRows, {},
      {[status](const ServiceRun& run, pid_t, const RowMessage& backend) {
         status->add(run.settings().protocol, backend);
       },
       [this, status, only](int code, const std::vector<std::string>&, unsigned silent) {
         status->rows(supervisor().backends(), Supervisor::moment(), only,
                      [this](const wire::ControlFields& fields) { row(fields); });
         end(silent > 0 ? EX_TEMPFAIL : code, silent_text(silent));
       }});
}

void ControlServer::Connection::on_proxy_disable(const wire::ControlFields& args) {
  const auto backend = backend_of(args);
  if (!backend) return end(EX_USAGE, "say which backend: an address, and perhaps a port");
  log::info("control: proxy-disable {} ({})", backend_text(*backend), peer());
  const Status disabled = supervisor().backends().disable(*backend, Supervisor::moment());
  end(disabled.ok() ? EX_OK : EX_TEMPFAIL, disabled.ok() ? "" : disabled.error().text);
}

void ControlServer::Connection::on_proxy_enable(const wire::ControlFields& args) {
  const auto backend = backend_of(args);
  if (!backend) return end(EX_USAGE, "say which backend: an address, and perhaps a port");
  log::info("control: proxy-enable {} ({})", backend_text(*backend), peer());
  if (supervisor().backends().enable(*backend, Supervisor::moment())) return end(EX_OK, "");
  end(EX_NOHOST, backend_text(*backend) + " is not disabled");
}

void ControlServer::Connection::on_tls_list(const wire::ControlFields&) {
  certificate_rows(supervisor(), [this](const wire::ControlFields& fields) { row(fields); });
  end(EX_OK, "");
}

void ControlServer::Connection::on_tls_reload(const wire::ControlFields&) {
  log::info("control: tls-reload ({})", peer());
  if (supervisor().stopping()) return end(EX_TEMPFAIL, "Postern is stopping");
  const auto told = [this](const std::vector<std::string>& errors) {
    for (const std::string& error : errors) row({{"error", error}});
    end(errors.empty() ? EX_OK : EX_CONFIG,
        errors.empty() ? "" : "what cannot be used was not taken; the rest is in use");
  };
  const std::uint64_t reading = supervisor().reload_certificates(told);
  if (busy_) reading_ = reading;
}

void ControlServer::Connection::dispatch(const std::string& line) {
  static constexpr std::array<Command, 14> kCommands{{
      {"ping", &Connection::on_ping},
      {"who", &Connection::on_who},
      {"kick", &Connection::on_kick},
      {"reload", &Connection::on_reload},
      {"stop", &Connection::on_stop},
      {"service-status", &Connection::on_service_status},
      {"process-status", &Connection::on_process_status},
      {"log-errors", &Connection::on_log_errors},
      {"log-reopen", &Connection::on_log_reopen},
      {"proxy-status", &Connection::on_proxy_status},
      {"proxy-disable", &Connection::on_proxy_disable},
      {"proxy-enable", &Connection::on_proxy_enable},
      {"tls-list", &Connection::on_tls_list},
      {"tls-reload", &Connection::on_tls_reload},
  }};
  busy_ = true;
  const auto request = wire::parse_control_request(line);
  if (!request.ok()) {
    closing_ = true;
    return end(EX_USAGE, request.error().text);
  }
  for (const Command& command : kCommands) {
    if (command.name == request.value().command) return (this->*command.run)(request.value().args);
  }
  end(EX_USAGE, "unknown command: " + log_safe(request.value().command));
}

ControlServer::ControlServer(io::Loop& loop, Supervisor& supervisor, io::Milliseconds patience)
    : loop_(loop), supervisor_(supervisor), patience_(patience) {
  pause_.start(loop_, io::Callback<>::to<&ControlServer::on_pause_over>(*this));
  supervisor_.on_reload([this] { watch(supervisor_.control_listener()); });
}

ControlServer::~ControlServer() {
  supervisor_.on_reload({});
}

void ControlServer::watch(std::shared_ptr<Listener> listener) {
  if (listener == listener_) return;
  watch_.stop();
  pause_.cancel();
  listener_ = std::move(listener);
  if (!listener_) return;
  watch_.start(loop_, listener_->fd(),
               io::Callback<unsigned>::to<&ControlServer::on_waiting>(*this));
  watch_.want(io::FdWatch::kRead);
}

void ControlServer::on_waiting(unsigned /*what*/) noexcept {
  auto accepted = io::accept_connection(listener_->fd());
  if (!accepted.ok()) {
    if (accepted.error().code == EAGAIN) return;
    log::error("control: {} (trying again in a second)", accepted.error().text);
    watch_.want(io::FdWatch::kNothing);
    pause_.set(kAcceptPause);
    return;
  }
  if (connections_.size() >= kMaxConnections && !make_room()) {
    log::warning("control: more than {} connections, closing a new one", kMaxConnections);
    return;
  }
  const std::uint64_t id = ++next_;
  connections_.emplace(id, std::make_unique<Connection>(*this, id, std::move(accepted.value().fd)));
}

/// Who holds a connection and asks nothing must not keep the operator out.
bool ControlServer::make_room() noexcept {
  Connection* longest = nullptr;
  for (const auto& [id, connection] : connections_) {
    const bool longer = longest == nullptr || connection->last_request() < longest->last_request();
    if (connection->idle() && longer) longest = connection.get();
  }
  if (longest == nullptr) return false;
  longest->leave();
  return true;
}

void ControlServer::on_pause_over() noexcept {
  watch_.want(io::FdWatch::kRead);
}

void ControlServer::drop(std::uint64_t id) noexcept {
  const auto found = connections_.find(id);
  if (found == connections_.end()) return;
  loop_.retire(std::move(found->second));
  connections_.erase(found);
}

}  // namespace postern::master
