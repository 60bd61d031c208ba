#include "log/log-server.h"

#include <fcntl.h>
#include <poll.h>
#include <sysexits.h>
#include <syslog.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <optional>

#include "lib/text.h"
#include "wire/channel.h"

namespace postern::log {
namespace {

constexpr std::chrono::seconds kRetry{1};
constexpr std::chrono::seconds kUnfinished{1};  // then half a line is somebody's last words
constexpr std::size_t kMaxPipes = 1000;
constexpr timespec kGather{0, 5'000'000};         // lines gather
constexpr std::size_t kReadAtOnce = 64UL * 1024;  // what a pipe holds

int facility_number(config::SyslogFacility facility) noexcept {
  // In the order of the enumerators.
  constexpr std::array<int, 20> kNumbers{
      LOG_AUTH,   LOG_AUTHPRIV, LOG_CRON,   LOG_DAEMON, LOG_FTP,    LOG_KERN,   LOG_LPR,
      LOG_MAIL,   LOG_NEWS,     LOG_SYSLOG, LOG_USER,   LOG_UUCP,   LOG_LOCAL0, LOG_LOCAL1,
      LOG_LOCAL2, LOG_LOCAL3,   LOG_LOCAL4, LOG_LOCAL5, LOG_LOCAL6, LOG_LOCAL7};
  static_assert(kNumbers.size() == static_cast<std::size_t>(config::SyslogFacility::local7) + 1);
  return kNumbers[static_cast<std::size_t>(facility)];
}

}  // namespace

/// One log pipe. Prefix and trust come from the master; a child only chooses the text.
class LogServer::Pipe {
 public:
  Pipe(LogServer& server, std::string prefix, UniqueFd fd, bool own)
      : server_(server), prefix_(std::move(prefix)), fd_(std::move(fd)), own_(own) {
    io::Loop& loop = server_.service_.loop();
    watch_.start(loop, fd_.get(), io::Callback<unsigned>::to<&Pipe::on_readable>(*this));
    watch_.want(io::FdWatch::kRead);
    unfinished_.start(loop, io::Callback<>::to<&Pipe::on_unfinished>(*this));
  }

  bool own() const noexcept { return own_; }

  /// What is there now, up to `most` reads. False at the end of the pipe.
  bool read(unsigned most) noexcept {
    static std::array<char, kReadAtOnce> room;
    for (unsigned i = 0; i < most; i++) {
      const ssize_t n = ::read(fd_.get(), room.data(), room.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && errno == EAGAIN) return true;
      if (n <= 0) return false;
      reader_.feed({room.data(), static_cast<std::size_t>(n)}, sink());
    }
    return true;
  }

  void end() { reader_.end(sink()); }

 private:
  LineReader::Sink sink() {
    return [this](Line line) { server_.write(prefix_, std::move(line)); };
  }

  void on_readable(unsigned) noexcept {
    if (!read(1)) {
      end();
      server_.on_pipe_end(*this);
      return;
    }
    if (!reader_.unfinished()) {
      unfinished_.cancel();
    } else {
      unfinished_.set(kUnfinished);
    }
  }

  void on_unfinished() noexcept { end(); }

  LogServer& server_;
  std::string prefix_;
  UniqueFd fd_;
  io::FdWatch watch_;
  io::Timer unfinished_;
  LineReader reader_;
  bool own_;
};

LogServer::LogServer(service::Service& service, const config::LogSettings& settings,
                     std::string syslog_socket)
    : service_(service), timestamp_(settings.log_timestamp) {
  const std::string& error = settings.log_path;
  const std::string& info = settings.info_log_path.empty() ? error : settings.info_log_path;
  const std::string& debug = settings.debug_log_path.empty() ? info : settings.debug_log_path;
  const std::array<const std::string*, destinations> paths{&error, &info, &debug};
  for (std::size_t i = 0; i < destinations; i++) {
    if (*paths[i] == "syslog") continue;
    // One output for one path, so that its lines stay in order. The file comes by channel; until
    // then lines wait.
    for (std::size_t j = 0; j < i; j++) {
      if (*paths[j] == *paths[i]) by_level_[i] = by_level_[j];
    }
    if (by_level_[i]) continue;
    by_level_[i] = std::make_shared<FileOutput>(timestamp_);
    files_.push_back(by_level_[i]);
  }
  if (std::any_of(by_level_.begin(), by_level_.end(), [](const auto& file) { return !file; })) {
    syslog_ = std::make_unique<SyslogOutput>(facility_number(settings.syslog_facility),
                                             settings.syslog_ident, std::move(syslog_socket));
  }
  flush_.start(service_.loop(), io::Callback<>::to<&LogServer::on_flush>(*this));
  retry_.start(service_.loop(), io::Callback<>::to<&LogServer::on_retry>(*this));
}

LogServer::~LogServer() = default;

void LogServer::take_over_stderr() {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) != 0) {
    fatal(EX_OSERR, "cannot make a pipe: {}", strerrordesc_np(errno));
  }
  flush();
  master_stderr_.reset(fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3));
  const UniqueFd write_end(ends[1]);
  if (dup2(write_end.get(), STDERR_FILENO) < 0) {
    fatal(EX_OSERR, "cannot use a pipe: {}", strerrordesc_np(errno));
  }
  add_pipe("log", UniqueFd(ends[0]), true);
  open("log", true);
}

std::int64_t LogServer::unix_time() noexcept {
  timespec now{};
  clock_gettime(CLOCK_REALTIME_COARSE, &now);
  return now.tv_sec;
}

void LogServer::write(const std::string& prefix, Line line) {
  const Destination destination = line.level == Level::debug  ? to_debug
                                  : line.level == Level::info ? to_info
                                                              : to_error;
  Entry entry{unix_time(), line.level, prefix, std::move(line.text)};
  if (const auto& file = by_level_[destination]) {
    file->add(entry);
  } else {
    syslog_->add(entry);
  }
  if (entry.level >= Level::warning) {
    if (errors_.size() == kRememberedErrors) errors_.pop_front();
    errors_.push_back(std::move(entry));
  }
  flush_.trigger();
}

void LogServer::add_pipe(std::string prefix, UniqueFd fd, bool own) {
  pipes_.push_back(std::make_unique<Pipe>(*this, std::move(prefix), std::move(fd), own));
}

bool LogServer::set_file(std::string_view level, UniqueFd fd) {
  constexpr std::array<std::string_view, destinations> kWords{"error", "info", "debug"};
  const auto found = std::find(kWords.begin(), kWords.end(), level);
  if (found == kWords.end() || !fd) return false;
  auto& output = by_level_[static_cast<std::size_t>(found - kWords.begin())];
  if (!output) return false;  // it is syslog's
  // A file that several levels write to comes once for each.
  if (!output->is_same_file(fd.get())) output->set_file(std::move(fd));
  flush_.trigger();
  return true;
}

bool LogServer::on_packet(std::string_view verb, const std::vector<std::string>& fields,
                          UniqueFd fd) noexcept {
  if (fields.size() != 1) return false;
  if (verb == wire::kFile) return set_file(fields[0], std::move(fd));
  if (verb != wire::kPipe || !fd || pipes_.size() >= kMaxPipes) return false;
  const int flags = fcntl(fd.get(), F_GETFL);
  if (flags >= 0) fcntl(fd.get(), F_SETFL, flags | O_NONBLOCK);
  add_pipe(log_safe(fields[0]), std::move(fd), false);
  return true;
}

void LogServer::on_call(service::Call call) noexcept {
  if (call.verb() != wire::kLogErrors) return call.done(EX_USAGE, "unknown command");
  std::optional<std::uint64_t> since = 0;
  if (!call.arguments().empty()) since = decimal(call.arguments()[0], 0, INT64_MAX);
  if (!since || call.arguments().size() > 1) return call.done(EX_USAGE, "not a time");
  for (const Entry& entry : errors_) {
    if (entry.time < static_cast<std::int64_t>(*since)) continue;
    call.row({{"time", std::to_string(entry.time)},
              {"level", to_lower(level_name(entry.level))},
              {"prefix", entry.prefix},
              {"text", entry.text}});
  }
  call.done(EX_OK);
}

void LogServer::on_accept(std::size_t, io::Accepted) noexcept {
  // The log listens nowhere; a connection to a socket that somebody configured is closed.
  service_.set_load({});
}

// --- writing ---

void LogServer::on_flush() noexcept {
  flush_outputs();
  // While we are away nobody has to wake us for a line: what comes meanwhile waits in the pipes,
  // which hold far more than is written in this time, and is one read and one write afterwards.
  ::nanosleep(&kGather, nullptr);
}
void LogServer::on_retry() noexcept {
  flush_outputs();
}

void LogServer::flush_outputs() noexcept {
  std::vector<Output*> outputs;
  for (const auto& file : files_) outputs.push_back(file.get());
  if (syslog_) outputs.push_back(syslog_.get());
  bool backlog = false;
  for (Output* output : outputs) {
    const Status flushed = output->flush();
    if (!flushed.ok()) complain(flushed.error().text);
    backlog = backlog || output->has_backlog();
  }
  if (backlog && !retry_.armed()) retry_.set(kRetry);
}

void LogServer::complain(std::string_view what) noexcept {
  // By our own pipe: it comes back as a line, into `log-errors` and whatever still works.
  error("{}", what);
  pollfd p{master_stderr_.get(), POLLOUT, 0};
  if (!master_stderr_ || ::poll(&p, 1, 0) != 1 || (p.revents & POLLOUT) == 0) return;
  const std::string line = fmt::format("postern: log: Error: {}\n", what);
  // Best effort: it may be just as full.
  [[maybe_unused]] const ssize_t n = ::write(master_stderr_.get(), line.data(), line.size());
}

// --- the end ---

void LogServer::on_pipe_end(Pipe& pipe) noexcept {
  const auto found = std::find_if(pipes_.begin(), pipes_.end(),
                                  [&pipe](const auto& p) { return p.get() == &pipe; });
  std::unique_ptr<Pipe> ended = std::move(*found);
  pipes_.erase(found);
  service_.loop().retire(std::move(ended));
  finish_if_idle();
}

void LogServer::finish_if_idle() noexcept {
  if (!until_pipes_end_) return;
  const bool all_ended =
      std::all_of(pipes_.begin(), pipes_.end(), [](const auto& pipe) { return pipe->own(); });
  if (!all_ended) return;
  flush_outputs();
  service_.finish();
}

void LogServer::on_drain() noexcept {
  if (service_.master_gone()) {
    // Children live on with their sessions, and so do their pipes.
    until_pipes_end_ = true;
    finish_if_idle();
    return;
  }
  on_terminate();  // another log process takes the pipes over
}

void LogServer::on_terminate() noexcept {
  flush();                          // our own words are in a pipe, too
  constexpr unsigned kRounds = 16;  // a pipe's content and then some
  for (const auto& pipe : pipes_) {
    static_cast<void>(pipe->read(kRounds));
    pipe->end();
  }
  flush_outputs();
  service_.finish();
}

}  // namespace postern::log
