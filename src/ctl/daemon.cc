// reload, stop, service status, process status, log errors, log reopen, config.
#include <fmt/format.h>
#include <sysexits.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <ctime>

#include "config/config.h"
#include "ctl/command.h"
#include "ctl/process-watch.h"
#include "lib/text.h"

namespace postern::ctl {
namespace {

using namespace std::chrono_literals;
using wire::control_field;

constexpr std::chrono::seconds kStopPatience{30};
constexpr std::chrono::seconds kRestPatience{2};  // for children, once the master is gone

/// A process of Postern's, and what the master said of it.
struct Watched {
  wire::ControlFields row;
  ProcessWatch process;
};

/// Everything that runs, to see later what is left of it.
/// @return an exit code if the master cannot be asked
int running_processes(Context& context, std::vector<Watched>& out) {
  Answer answer;
  if (const int failed = context.must({"process-status", {}}, answer); failed != 0) return failed;
  for (auto& row : answer.rows) {
    const auto pid = decimal(control_field(row, "pid"), 2, INT32_MAX);
    if (pid) out.push_back({std::move(row), ProcessWatch(static_cast<pid_t>(*pid))});
  }
  return 0;
}

/// What is still there of `processes` at the deadline.
std::vector<wire::ControlFields> remaining(const std::vector<Watched>& processes,
                                           UnixStream::TimePoint deadline) {
  std::vector<wire::ControlFields> out;
  for (const Watched& watched : processes) {
    if (watched.process.wait(deadline)) continue;
    wire::ControlFields row;
    for (const char* name : {"name", "pid", "relaying"}) {
      row.emplace_back(name, control_field(watched.row, name));
    }
    out.push_back(std::move(row));
  }
  return out;
}

/// A command without answer.
int order(Context& context, std::string_view command) {
  Answer answer;
  const int code = context.must({std::string(command), {}}, answer);
  if (code == 0 && context.format == Format::json) context.out += "[]\n";
  return code;
}

int show_rows(Context& context, std::string_view command, const Arguments& arguments,
              const std::vector<std::string>& columns) {
  wire::ControlRequest request{std::string(command), {}};
  for (const std::string& name : arguments.words) request.args.emplace_back("name", name);
  Answer answer;
  if (const int failed = context.must(request, answer); failed != 0) return failed;
  context.out += table_of(answer.rows, columns).render(context.format);
  return 0;
}

/// "Nov 21 06:49:49 Error: auth: text", as Dovecot prints it.
std::string error_line(const wire::ControlFields& row) {
  const auto seconds = decimal(control_field(row, "time"), 0, INT64_MAX).value_or(0);
  const auto time = static_cast<std::time_t>(seconds);
  std::tm parts{};
  char text[64] = "";
  if (localtime_r(&time, &parts) != nullptr) {
    static_cast<void>(std::strftime(text, sizeof text, "%b %d %H:%M:%S", &parts));
  }
  std::string level(control_field(row, "level"));
  if (!level.empty()) level[0] = ascii_upper(level[0]);
  std::string prefix(trim(control_field(row, "prefix")));
  if (prefix.ends_with(':')) prefix.pop_back();
  return fmt::format("{} {}: {}{}{}\n", text, log_safe_line(level), log_safe_line(prefix, 300),
                     prefix.empty() ? "" : ": ", log_safe_line(control_field(row, "text"), 4096));
}

/// Files that are read again; what is wrong with them goes to stderr.
int read_again(Context& context, std::string_view command, std::string_view problem) {
  Answer answer;
  if (const int failed = context.ask({std::string(command), {}}, answer); failed != 0)
    return failed;
  if (context.format == Format::json)
    context.out += table_of(answer.rows, {"error"}).render(Format::json);
  for (const auto& row : answer.rows) {
    context.err += log_safe_line(control_field(row, "error"), 4096) + '\n';
  }
  if (answer.end.code == 0) return 0;
  return context.fail(answer.end.code, answer.end.text.empty()
                                           ? std::string(problem)
                                           : log_safe_line(answer.end.text, 1000));
}

}  // namespace

void no_options(CLI::App& /*app*/, Arguments& /*arguments*/) {}

void stop_options(CLI::App& app, Arguments& arguments) {
  app.add_flag("--no-wait", arguments.no_wait, "Do not wait until it has ended.");
}

void names_options(CLI::App& app, Arguments& arguments) {
  app.add_option("NAME", arguments.words, "Services to show; without any, all.");
}

void log_errors_options(CLI::App& app, Arguments& arguments) {
  app.add_option("-s,--since", arguments.since, "Only what was logged since this UNIX time.");
}

void config_options(CLI::App& app, Arguments& arguments) {
  auto* changed = app.add_flag("-n", arguments.changed, "What differs from the defaults.");
  app.add_flag("-a", arguments.all, "Everything.")->excludes(changed);
}

int reload(Context& context, const Arguments& /*arguments*/) {
  return read_again(context, "reload", "the configuration has errors; the old one stays");
}

int tls_list(Context& context, const Arguments& arguments) {
  return show_rows(context, "tls-list", arguments,
                   {"names", "state", "days", "not_after", "key", "file"});
}

int tls_reload(Context& context, const Arguments& /*arguments*/) {
  return read_again(context, "tls-reload", "not every file can be used");
}

int stop(Context& context, const Arguments& arguments) {
  std::vector<Watched> processes;
  if (!arguments.no_wait) {
    if (const int failed = running_processes(context, processes); failed != 0) return failed;
  }
  Answer answer;
  if (const int failed = context.must({"stop", {}}, answer); failed != 0) return failed;
  const auto pid = decimal(trim(answer.end.text), 2, INT32_MAX);
  if (!pid || arguments.no_wait) {
    if (context.format == Format::json) context.out += "[]\n";
    return 0;
  }
  const auto now = std::chrono::steady_clock::now();
  const bool ended = ProcessWatch(static_cast<pid_t>(*pid)).wait(now + kStopPatience);
  const auto left =
      remaining(processes, std::chrono::steady_clock::now() + (ended ? kRestPatience : 0s));
  if (context.format == Format::json || !left.empty()) {
    context.out += table_of(left, {"name", "pid", "relaying"}).render(context.format);
  }
  if (!ended) {
    return context.fail(EX_TEMPFAIL,
                        fmt::format("the master, process {}, is still stopping", *pid));
  }
  if (!left.empty()) {
    context.err += "Stopped. These processes go on until their last session ends.\n";
  }
  return 0;
}

int service_status(Context& context, const Arguments& arguments) {
  return show_rows(context, "service-status", arguments,
                   {"name", "process_count", "process_avail", "process_limit", "client_limit"});
}

int process_status(Context& context, const Arguments& arguments) {
  return show_rows(context, "process-status", arguments, {"name", "pid"});
}

int log_errors(Context& context, const Arguments& arguments) {
  wire::ControlRequest request{"log-errors", {}};
  if (!arguments.since.empty()) {
    if (!decimal(arguments.since, 0, INT64_MAX)) {
      return context.fail(2, "--since takes seconds since 1970");
    }
    request.args.emplace_back("since", arguments.since);
  }
  Answer answer;
  if (const int failed = context.must(request, answer); failed != 0) return failed;
  if (context.format != Format::table) {
    context.out +=
        table_of(answer.rows, {"time", "level", "prefix", "text"}).render(context.format);
    return 0;
  }
  for (const auto& row : answer.rows) context.out += error_line(row);
  return 0;
}

int log_reopen(Context& context, const Arguments& /*arguments*/) {
  return order(context, "log-reopen");
}

int config(Context& context, const Arguments& arguments) {
  if (!context.control_socket.empty()) {
    return context.fail(2, "config reads a file: give it with -c, not a socket with -S");
  }
  const config::Loaded loaded = config::load(context.config_path);
  for (const config::Problem& problem : loaded.problems) {
    context.err += problem.text() + (problem.warning ? " (warning)\n" : "\n");
  }
  if (!loaded.configuration) return EX_CONFIG;
  context.out +=
      arguments.all ? loaded.configuration->print_all() : loaded.configuration->print_changed();
  return 0;
}

}  // namespace postern::ctl
