#include "master/file-job.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sysexits.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <string>
#include <utility>

#include "master/spawn.h"

namespace postern::master {
namespace {

constexpr char kFinished = '+';  // on the pipe; its end alone means that the process died

/// Readable once the process has ended, whoever has waited for it.
bool has_ended(const UniqueFd& handle) noexcept {
  pollfd p{handle.get(), POLLIN, 0};
  return ::poll(&p, 1, 0) != 0;
}

/// Of what the master has open nothing stays: a process that hangs must keep no port taken.
void close_all_but(std::array<int, 3> keep) noexcept {
  std::sort(keep.begin(), keep.end());
  int from = STDERR_FILENO + 1;
  for (const int fd : keep) {
    if (fd > from) syscall(SYS_close_range, from, fd - 1, 0);
    from = std::max(from, fd + 1);
  }
  syscall(SYS_close_range, from, ~0U, 0);
}

[[noreturn]] void run(const FileJob::Work& work, int pipe, int report, int store) noexcept {
  setsid();  // a signal for the master's group is not for it
  prctl(PR_SET_PDEATHSIG, static_cast<long>(SIGKILL), 0L, 0L, 0L);
  prctl(PR_SET_NAME, "postern-files", 0L, 0L, 0L);
  close_all_but({pipe, report, store});
  const FileJob::Output output = work();
  const bool written =
      write_all(report, output.report.view()).ok() && write_all(store, output.store.view()).ok();
  if (written && ::write(pipe, &kFinished, 1) == 1) _exit(EX_OK);
  _exit(EX_IOERR);
}

}  // namespace

FileJob::FileJob(io::Loop& loop) : loop_(loop) {
  deadline_.start(loop_, io::Callback<>::to<&FileJob::on_deadline>(*this));
}

Status FileJob::start(const Work& work, io::Milliseconds patience, Told told) {
  cancel();
  std::erase_if(left_, has_ended);
  if (left_.size() >= kMostLeft) return Error{EBUSY, "the processes that read them hang"};
  auto process = std::make_unique<Process>();
  auto report = unsealed_memory("postern-report");
  if (!report.ok()) return report.error();
  auto store = unsealed_memory("postern-certificates");
  if (!store.ok()) return store.error();
  std::array<int, 2> ends{-1, -1};
  if (::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) != 0) return system_error("pipe", errno);
  process->pipe.reset(ends[0]);
  const UniqueFd write_end(ends[1]);
  process->report = std::move(report).value();
  process->store = std::move(store).value();
  const auto pid = fork_apart();
  if (!pid.ok()) return pid.error();
  if (pid.value() == 0) run(work, ends[1], process->report.get(), process->store.get());
  process->pid = pid.value();
  process->handle.reset(static_cast<int>(syscall(SYS_pidfd_open, process->pid, 0)));
  made_.push_back(process->pid);
  process_ = std::move(process);
  told_ = std::move(told);
  watch_.start(loop_, process_->pipe.get(),
               io::Callback<unsigned>::to<&FileJob::on_readable>(*this));
  watch_.want(io::FdWatch::kRead);
  deadline_.set(patience);
  return Done{};
}

void FileJob::let_go() noexcept {
  watch_.stop();
  deadline_.cancel();
  process_.reset();
}

void FileJob::cancel() noexcept {
  told_ = nullptr;
  if (!process_) return;
  if (process_->handle) {
    syscall(SYS_pidfd_send_signal, process_->handle.get(), SIGKILL, nullptr, 0);
    left_.push_back(std::move(process_->handle));
  } else {
    ::kill(process_->pid, SIGKILL);  // it has not been waited for: the number is its own
  }
  let_go();
}

void FileJob::on_readable(unsigned /*what*/) noexcept {
  char byte = 0;
  const ssize_t n = ::read(process_->pipe.get(), &byte, 1);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  Result<Input> result = Error{ECHILD, "the process that reads them died"};
  if (n == 1 && byte == kFinished) result = input_of(*process_);
  // It has nothing left to do; whatever keeps it from ending.
  if (process_->handle) syscall(SYS_pidfd_send_signal, process_->handle.get(), SIGKILL, nullptr, 0);
  let_go();
  finish(std::move(result));
}

void FileJob::on_deadline() noexcept {
  Told told = std::move(told_);
  cancel();
  told_ = std::move(told);
  finish(Error{ETIMEDOUT, "reading them takes too long"});
}

void FileJob::finish(Result<Input> result) noexcept {
  // It may begin the next one.
  if (const Told told = std::exchange(told_, nullptr)) told(std::move(result));
}

Result<FileJob::Input> FileJob::input_of(Process& process) {
  for (const UniqueFd* fd : {&process.report, &process.store}) {
    if (const Status sealed = seal_memory(fd->get()); !sealed.ok()) return sealed.error();
  }
  auto report = io::MappedMemory::map(process.report.get());
  if (!report.ok()) return report.error();
  return Input{std::move(report).value(), std::move(process.store)};
}

bool FileJob::made(pid_t pid) noexcept {
  return std::erase(made_, pid) != 0;
}

}  // namespace postern::master
