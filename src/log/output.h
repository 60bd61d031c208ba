#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/handle.h"
#include "lib/log.h"
#include "lib/result.h"
#include "log/line-reader.h"

/// Where lines go. Nothing here waits: what a disk, a pipe or the syslog daemon does not take is
/// kept up to a bound, then dropped and counted.
namespace postern::log {

/// A line and who said it.
struct Entry {
  std::int64_t time = 0;  // Unix time, seconds
  Level level = Level::error;
  std::string prefix;  // "imap-login"
  std::string text;
};

class Output {
 public:
  virtual ~Output() = default;
  virtual void add(const Entry& entry) = 0;
  /// Writes what has gathered, as far as it goes. Called once per turn of the loop.
  /// @return an Error when writing begins to fail, once per series of failures
  virtual Status flush() = 0;
  /// True if flush() should be tried again in a while.
  virtual bool has_backlog() const noexcept = 0;
};

/// A file, a terminal or a pipe.
class FileOutput : public Output {
 public:
  /// @param timestamp  strftime(3) format that begins each line
  explicit FileOutput(std::string timestamp) : timestamp_(std::move(timestamp)) {}

  /// The file to write to from now on (the last one is closed). Until the first call, lines wait. A
  /// line that the last file took only in part is written again, whole.
  void set_file(UniqueFd fd);
  /// The same file as `fd`?
  bool is_same_file(int fd) const noexcept;

  void add(const Entry& entry) override;
  Status flush() override;
  bool has_backlog() const noexcept override { return !pending_.empty() && fd_; }

  static constexpr std::size_t kMaxPending = 1024UL * 1024;  // bytes

 private:
  void append(const Entry& entry);
  void flush_dropped(std::int64_t time);
  ssize_t write_some(std::string_view bytes) noexcept;

  std::string timestamp_;
  UniqueFd fd_;
  bool regular_ = false;
  std::string pending_;      // whole lines
  std::size_t written_ = 0;  // bytes of the first of them that are in the file
  std::uint64_t dropped_ = 0;
  bool failing_ = false;
  std::int64_t stamp_time_ = -1;  // what stamp_ is the text of
  std::string stamp_;
};

/// The syslog daemon, by its datagram socket: syslog(3) may wait for it.
class SyslogOutput : public Output {
 public:
  /// @param facility  LOG_MAIL …, as in syslog.h
  /// @param ident     the name before each line
  SyslogOutput(int facility, std::string ident, std::string socket = "/dev/log")
      : facility_(facility), ident_(std::move(ident)), socket_(std::move(socket)) {}

  void add(const Entry& entry) override;
  Status flush() override;
  bool has_backlog() const noexcept override { return !pending_.empty(); }

  static constexpr std::size_t kMaxPending = 4096;  // lines

 private:
  bool connect() noexcept;

  int facility_;
  std::string ident_;
  std::string socket_;
  UniqueFd fd_;
  std::vector<std::string> pending_;
  std::uint64_t dropped_ = 0;
  bool failing_ = false;
};

/// `imap-login: Error: text`; without the level's name where `brief` says so for Info and Debug.
std::string line_text(const Entry& entry, bool brief);

}  // namespace postern::log
