// postern: the master. It reads postern.conf, opens every listener, starts the other processes and
// watches over them. Signals, the control socket (posternctl) and its children's control channels
// are all that talks to it; it parses nothing that comes from the network. It keeps the privilege
// it was started with, for that is what it takes to start others as other users; its children drop
// theirs before they run a program of ours.
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <array>
#include <cerrno>
#include <cstdio>
#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "config/config.h"
#include "io/loop.h"
#include "lib/handle.h"
#include "lib/log.h"
#include "master/control-server.h"
#include "master/log-outputs.h"
#include "master/setup.h"
#include "master/supervisor.h"
#include "master/systemd.h"
#include "postern-build.h"

namespace postern::master {
namespace {

struct CommandLine {
  std::string config = POSTERN_CONFIG_FILE;
  bool foreground = false;
  bool test = false;
  bool print_changed = false;
  bool print_all = false;
};

void print_problems(const std::vector<config::Problem>& problems) {
  for (const config::Problem& problem : problems) {
    std::cerr << problem.text() << (problem.warning ? " (warning)" : "") << '\n';
  }
}

void print_errors(const std::vector<std::string>& errors) {
  for (const std::string& error : errors) std::cerr << "postern: " << error << '\n';
}

/// The parent's half of going into the background: waits until the child runs or has failed.
[[noreturn]] void wait_for_child(int from_child) {
  unsigned char status = EX_OSERR;
  ssize_t n = 0;
  do {
    n = ::read(from_child, &status, 1);
  } while (n < 0 && errno == EINTR);
  ::_exit(n == 1 ? status : EX_OSERR);
}

/// Forks into a session of its own. The child gets the descriptor on which to tell its parent the
/// exit status; the parent does not return.
Result<UniqueFd> into_background() {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) return system_error("pipe", errno);
  UniqueFd read_end(ends[0]);
  UniqueFd write_end(ends[1]);
  const pid_t pid = fork();
  if (pid < 0) return system_error("fork", errno);
  if (pid > 0) {
    write_end.reset();
    wait_for_child(read_end.get());
  }
  setsid();
  return write_end;
}

/// What 1 and 2 were, for those log lines that go there, and for the log process's own last words.
struct StandardOutputs {
  UniqueFd output, error;
};

StandardOutputs settle_standard_descriptors(bool foreground) {
  UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  StandardOutputs before;
  before.output.reset(fcntl(foreground ? STDOUT_FILENO : null.get(), F_DUPFD_CLOEXEC, 3));
  before.error.reset(fcntl(foreground ? STDERR_FILENO : null.get(), F_DUPFD_CLOEXEC, 3));
  dup2(null.get(), STDIN_FILENO);
  dup2(null.get(), STDOUT_FILENO);
  return before;
}

int run(const CommandLine& command_line, Prepared prepared) {
  UniqueFd tell_parent;
  if (!command_line.foreground && needs_foreground(prepared.configuration->master())) {
    std::cerr << "postern: the log goes to /dev/stderr or /dev/stdout: that needs -F, for in the "
                 "background there is neither\n";
    return EX_CONFIG;
  }
  if (!command_line.foreground) {
    auto forked = into_background();
    if (!forked.ok()) {
      std::cerr << "postern: " << forked.error().text << '\n';
      return EX_OSERR;
    }
    tell_parent = std::move(forked).value();
  }
  const auto tell = [&tell_parent](int status) {
    const auto byte = static_cast<unsigned char>(status);
    if (tell_parent && ::write(tell_parent.get(), &byte, 1) != 1) return;  // nobody waits any more
    tell_parent.reset();
  };
  const StandardOutputs before = settle_standard_descriptors(command_line.foreground);
  io::Loop loop;
  Supervisor supervisor(loop, {command_line.config, before.error.get(), before.output.get()});
  std::vector<std::string> errors;
  const std::string protections = missing_protections();
  const std::vector<std::string> protocols = prepared.configuration->master().protocols;
  int status = supervisor.open(std::move(prepared), errors);
  if (status == 0) {
    const Status started = supervisor.start();
    if (!started.ok()) {
      errors.push_back(started.error().text);
      status = EX_OSERR;
    }
  }
  if (status == 0) {
    if (const Status written = supervisor.write_pid(); !written.ok()) {
      errors.push_back(written.error().text);
      status = EX_CANTCREAT;
    }
  }
  if (status != 0) {
    print_errors(errors);
    tell(status);
    return status;
  }
  std::string served;
  for (const std::string& protocol : protocols) served += (served.empty() ? "" : ", ") + protocol;
  log::info("Postern v{} starting up for {} (core dumps disabled)", POSTERN_VERSION,
            served.empty() ? "no protocols" : served);
  if (!protections.empty()) log::warning("{}", protections);
  ControlServer control(loop, supervisor);
  control.watch(supervisor.control_listener());
  notify_init("READY=1\nSTATUS=v" POSTERN_VERSION " running\nMAINPID=" + std::to_string(getpid()));
  tell(EX_OK);
  loop.run();
  // Whoever asks a second time gets what they asked for: nothing but returning is left to do, and
  // the handlers go with the loop.
  sigset_t asked;
  sigemptyset(&asked);
  for (const int number : {SIGTERM, SIGHUP, SIGUSR1}) sigaddset(&asked, number);
  pthread_sigmask(SIG_BLOCK, &asked, nullptr);
  return EX_OK;
}

int main_with(const CommandLine& command_line) {
  umask(0077);
  config::Loaded loaded = config::load(command_line.config);
  print_problems(loaded.problems);
  if (!loaded.configuration) return EX_CONFIG;
  auto configuration =
      std::make_shared<const config::Configuration>(std::move(*loaded.configuration));
  if (command_line.print_changed || command_line.print_all) {
    std::cout << (command_line.print_all ? configuration->print_all()
                                         : configuration->print_changed());
    return EX_OK;
  }
  std::vector<std::string> errors;
  auto prepared = prepare(std::move(configuration), errors);
  print_errors(errors);
  if (!prepared) return EX_CONFIG;
  if (command_line.test) {
    std::cout << command_line.config << ": no errors\n";
    return EX_OK;
  }
  return run(command_line, std::move(*prepared));
}

}  // namespace
}  // namespace postern::master

int main(int argc, char** argv) {
  postern::master::CommandLine command_line;
  CLI::App app("Postern, the gate of a mail site: starts and supervises the login processes",
               "postern");
  app.add_option("-c", command_line.config, "Configuration file")->capture_default_str();
  app.add_flag("-F", command_line.foreground, "Stay in the foreground");
  app.add_flag("-t", command_line.test, "Check the configuration and exit");
  app.add_flag("-n", command_line.print_changed,
               "Print the settings that differ from the defaults and exit");
  app.add_flag("-a", command_line.print_all, "Print all settings and exit");
  app.set_version_flag("--version", POSTERN_VERSION);
  app.footer(
      "Signals: HUP reloads the configuration, TERM stops, USR1 opens the log files anew.\n"
      "See postern(8) and postern.conf(5).");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const int status = app.exit(error);
    return status == 0 ? 0 : EX_USAGE;
  }
  return postern::master::main_with(command_line);
}
