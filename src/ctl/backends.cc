// proxy status, proxy disable, proxy enable.
#include <fmt/format.h>
#include <sysexits.h>

#include <CLI/CLI.hpp>
#include <ctime>
#include <optional>

#include "ctl/command.h"
#include "lib/ip.h"
#include "lib/text.h"
#include "wire/proxy-hosts.h"

namespace postern::ctl {
namespace {

using wire::control_field;

/// "2026-11-25 14:03:00", local time, for people; for programs the UNIX time as it came.
std::string shown_time(Format format, std::string_view seconds) {
  if (format != Format::table || seconds.empty()) return std::string(seconds);
  const auto number = decimal(seconds, 0, INT64_MAX);
  const auto time = static_cast<std::time_t>(number.value_or(0));
  std::tm parts{};
  char text[64] = "";
  if (!number || localtime_r(&time, &parts) == nullptr) return std::string(seconds);
  static_cast<void>(std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &parts));
  return text;
}

/// ADDRESS, ADDRESS:PORT, [ADDRESS]:PORT.
std::optional<wire::HostSpec> backend_of(const std::string& word) {
  const auto list = wire::parse_host_list(word);
  const bool fits = list.ok() && list.value().size() == 1 && list.value().front().ip &&
                    word.find_first_of("*,") == std::string::npos;
  if (!fits) return std::nullopt;
  return list.value().front();
}

int switch_backends(Context& context, const Arguments& arguments, std::string_view command) {
  for (const std::string& word : arguments.words) {
    if (backend_of(word)) continue;
    return context.fail(2,
                        fmt::format("not an address, with or without a port: {}", log_safe(word)));
  }
  int code = 0;
  for (const std::string& word : arguments.words) {
    const auto backend = backend_of(word);
    wire::ControlRequest request{std::string(command), {{"address", backend->ip->text()}}};
    if (backend->port != 0) request.args.emplace_back("port", std::to_string(backend->port));
    Answer answer;
    const int failed = context.must(request, answer);
    if (code == 0) code = failed;
  }
  if (context.format == Format::json) context.out += "[]\n";
  return code;
}

}  // namespace

void proxy_status_options(CLI::App& app, Arguments& arguments) {
  app.add_option("ADDRESS", arguments.words,
                 "Backends to show (IP or IP/BITS); without any, all that are known.");
}

int proxy_status(Context& context, const Arguments& arguments) {
  wire::ControlRequest request{"proxy-status", {}};
  for (const std::string& word : arguments.words) request.args.emplace_back("address", word);
  Answer answer;
  int failed = 0;
  if (const int code = context.ask(request, answer); code != 0) return code;
  // What the processes that answered know is shown all the same.
  if (answer.end.code != 0) {
    failed = context.fail(answer.end.code, answer.end.text.empty()
                                               ? "the master refused"
                                               : log_safe_line(answer.end.text, 1000));
    if (answer.rows.empty()) return failed;
  }
  Table table({{"address", "address"},
               {"port", "port"},
               {"protocol", "proto"},
               {"state", "state"},
               {"since", "since"},
               {"failures", "failures"},
               {"pending", "pending"},
               {"sessions", "sessions"},
               {"logins", "logins"},
               {"failed", "last failure"},
               {"error", "error"}});
  for (const wire::ControlFields& row : answer.rows) {
    std::vector<std::string> cells;
    for (const char* name : {"address", "port", "protocol", "state", "since", "failures", "pending",
                             "sessions", "logins", "failed", "error"}) {
      const std::string_view value = control_field(row, name);
      const bool is_time = std::string_view(name) == "since" || std::string_view(name) == "failed";
      cells.push_back(is_time ? shown_time(context.format, value) : std::string(value));
    }
    table.add(std::move(cells));
  }
  context.out += table.render(context.format);
  return failed;
}

void proxy_switch_options(CLI::App& app, Arguments& arguments) {
  app.add_option("ADDRESS", arguments.words,
                 "Backends: an address is all ports of it, ADDRESS:PORT is one.")
      ->required();
}

int proxy_disable(Context& context, const Arguments& arguments) {
  return switch_backends(context, arguments, "proxy-disable");
}

int proxy_enable(Context& context, const Arguments& arguments) {
  return switch_backends(context, arguments, "proxy-enable");
}

}  // namespace postern::ctl
