#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <vector>

#include "io/loop.h"
#include "io/mapped-memory.h"
#include "lib/handle.h"
#include "lib/result.h"
#include "lib/secret.h"

/// Work that waits for files, in a process of its own: a network disk that hangs holds up that
/// process and nothing else.
namespace postern::master {

class FileJob {
 public:
  /// What the work gives.
  struct Output {
    WipingBuffer report;  // for the master to read
    WipingBuffer store;   // to be passed on as it is
  };
  /// The same on the master's side; both are sealed memory.
  struct Input {
    io::MappedMemory report;
    UniqueFd store;
  };
  /// Runs in a copy of the master that has none of its descriptors but 0 to 2: it reads files and
  /// computes, and logs nothing.
  using Work = std::function<Output()>;
  using Told = std::function<void(Result<Input>)>;

  /// So many processes may hang in a system call that not even SIGKILL ends.
  static constexpr std::size_t kMostLeft = 3;

  explicit FileJob(io::Loop& loop);
  FileJob(const FileJob&) = delete;
  FileJob& operator=(const FileJob&) = delete;
  ~FileJob() { cancel(); }

  /// Begins it; what ran before is cancelled.
  /// @param patience  after that the process is killed, and `told` gets an Error
  /// @param done      called once, in a later turn
  /// @return an Error if there is no process; `told` is not called then
  Status start(const Work& work, io::Milliseconds patience, Told told);
  /// `told` is not called.
  void cancel() noexcept;
  bool running() const noexcept { return process_ != nullptr; }
  /// Of a process of this job, the present or an earlier one that has not been asked for yet.
  bool made(pid_t pid) noexcept;

 private:
  struct Process {
    pid_t pid = 0;
    UniqueFd handle;  // pidfd
    UniqueFd pipe, report, store;
  };

  void on_readable(unsigned what) noexcept;
  void on_deadline() noexcept;
  void finish(Result<Input> result) noexcept;
  void let_go() noexcept;
  static Result<Input> input_of(Process& process);

  io::Loop& loop_;
  std::unique_ptr<Process> process_;
  std::vector<UniqueFd> left_;  // pidfds of those that were killed
  std::vector<pid_t> made_;     // whose end nobody has told yet
  io::FdWatch watch_;
  io::Timer deadline_;
  Told told_;
};

}  // namespace postern::master
