#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ctl/control-client.h"
#include "ctl/output.h"
#include "lib/result.h"
#include "wire/control.h"

// NOLINTNEXTLINE(readability-identifier-naming): the library's name
namespace CLI {
class App;
}

/// posternctl's commands. A new one is a handler and its row in commands.cc.
namespace postern::ctl {

/// What a command line says after the command's words. Each command fills and reads its own.
struct Arguments {
  std::vector<std::string> words;  // positional
  std::vector<std::string> pairs;  // -x key=value
  std::string user, ip, session, dest_ip, master_user, socket, since, field;
  bool one_line_each = false, proxied = false, local = false, pre_login = false;
  bool all = false, changed = false, no_wait = false;
};

/// What every command is given.
struct Context {
  Format format = Format::table;
  bool format_given = false;
  std::string config_path;
  bool config_given = false;
  std::string control_socket;  // -S; empty: found through the configuration
  std::string out, err;        // what it says

  /// base_dir, without a slash at its end.
  Result<std::string> base_dir() const;
  /// Asks the master. What cannot be asked or answered is told in `err`.
  /// @return 0, with `answer` filled in, or the exit code
  int ask(const wire::ControlRequest& request, Answer& answer);
  /// As ask(), and an answer that ends in an error is told, too.
  int must(const wire::ControlRequest& request, Answer& answer);
  /// "posternctl: TEXT" to err; returns `code`.
  int fail(int code, std::string_view text);
  /// fail() for an Error of base_dir(): 77 if the file is not for this user, else 78.
  int no_configuration(const Error& error);
  /// fail() for an Error of connecting to `path`: 77 if the socket is not for this user, else 75.
  int unreachable(std::string_view who, const std::string& path, const Error& error);
};

struct Command {
  std::string_view words;  // "proxy kick"
  std::string_view help;
  void (*options)(CLI::App& app, Arguments& arguments);
  int (*run)(Context& context, const Arguments& arguments);  // returns the exit code
};
std::span<const Command> commands();

/// The program: reads the command line, runs the command, prints.
/// @return the exit code of contract.md: 0, 2, 67, 68, 75, 77, 78
int run(int argc, const char* const* argv, std::string& out, std::string& err);

// Handlers, by file.
void who_options(CLI::App& app, Arguments& arguments);  // sessions.cc
int who(Context& context, const Arguments& arguments);
void kick_options(CLI::App& app, Arguments& arguments);
int kick(Context& context, const Arguments& arguments);
void proxy_list_options(CLI::App& app, Arguments& arguments);
int proxy_list(Context& context, const Arguments& arguments);
int proxy_kick(Context& context, const Arguments& arguments);

void proxy_status_options(CLI::App& app, Arguments& arguments);  // backends.cc
int proxy_status(Context& context, const Arguments& arguments);
void proxy_switch_options(CLI::App& app, Arguments& arguments);
int proxy_disable(Context& context, const Arguments& arguments);
int proxy_enable(Context& context, const Arguments& arguments);

void no_options(CLI::App& app, Arguments& arguments);  // daemon.cc
void stop_options(CLI::App& app, Arguments& arguments);
void names_options(CLI::App& app, Arguments& arguments);
void log_errors_options(CLI::App& app, Arguments& arguments);
void config_options(CLI::App& app, Arguments& arguments);
int reload(Context& context, const Arguments& arguments);
int stop(Context& context, const Arguments& arguments);
int service_status(Context& context, const Arguments& arguments);
int process_status(Context& context, const Arguments& arguments);
int log_errors(Context& context, const Arguments& arguments);
int log_reopen(Context& context, const Arguments& arguments);
int tls_list(Context& context, const Arguments& arguments);
int tls_reload(Context& context, const Arguments& arguments);
int config(Context& context, const Arguments& arguments);

void auth_test_options(CLI::App& app, Arguments& arguments);  // auth-test.cc
int auth_test(Context& context, const Arguments& arguments);
void auth_lookup_options(CLI::App& app, Arguments& arguments);  // auth-lookup.cc
int auth_lookup(Context& context, const Arguments& arguments);

}  // namespace postern::ctl
