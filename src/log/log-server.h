#pragma once

#include <array>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "config/settings.h"
#include "io/loop.h"
#include "lib/handle.h"
#include "log/line-reader.h"
#include "log/output.h"
#include "service/service.h"

/// The log process: reads the pipes the master hands it, writes the files the master opened.
namespace postern::log {

class LogServer : public service::Handler {
 public:
  /// @param syslog_socket  where the syslog daemon listens
  LogServer(service::Service& service, const config::LogSettings& settings,
            std::string syslog_socket = "/dev/log");
  ~LogServer() override;

  /// What this process itself has to say (lib/log.h) goes the same way as everybody's: descriptor 2
  /// becomes a pipe that is read here. What it was, the master's stderr, gets a word when a log
  /// cannot be written.
  void take_over_stderr();

  void on_accept(std::size_t index, io::Accepted connection) noexcept override;
  void on_drain() noexcept override;
  void on_terminate() noexcept override;
  void on_call(service::Call call) noexcept override;
  bool on_packet(std::string_view verb, const std::vector<std::string>& fields,
                 UniqueFd fd) noexcept override;

  static constexpr std::size_t kRememberedErrors = 1000;

 private:
  class Pipe;
  /// In the order of the words of wire::kFile.
  enum Destination : std::size_t { to_error, to_info, to_debug, destinations };

  void add_pipe(std::string prefix, UniqueFd fd, bool own);
  bool set_file(std::string_view level, UniqueFd fd);
  void write(const std::string& prefix, Line line);
  void on_pipe_end(Pipe& pipe) noexcept;
  void on_flush() noexcept;
  void on_retry() noexcept;
  void flush_outputs() noexcept;
  void complain(std::string_view what) noexcept;
  void finish_if_idle() noexcept;
  std::int64_t unix_time() noexcept;

  service::Service& service_;
  std::string timestamp_;
  std::unique_ptr<SyslogOutput> syslog_;  // none if every destination is a file
  std::vector<std::shared_ptr<FileOutput>> files_;
  std::array<std::shared_ptr<FileOutput>, destinations> by_level_;  // none: syslog
  std::vector<std::unique_ptr<Pipe>> pipes_;
  std::deque<Entry> errors_;  // the last warnings and errors
  UniqueFd master_stderr_;
  io::Deferred flush_;
  io::Timer retry_;
  bool until_pipes_end_ = false;  // the master is gone
};

}  // namespace postern::log
