// The command line, and what all commands share.
#include <fmt/format.h>
#include <sysexits.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdio>
#include <optional>
#include <sstream>

#include "config/config.h"
#include "ctl/command.h"
#include "lib/text.h"
#include "postern-build.h"

namespace postern::ctl {
namespace {

constexpr int kUsage = 2;
// A reload reads every certificate, and a kick waits for every login process.
constexpr std::chrono::seconds kPatience{60};

std::string without_slash(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

/// base_dir as the file's own lines say, for a file that does not load: it may be broken, which is
/// what a reload is to find out, or have keys in it that this user may not read.
std::optional<std::string> base_dir_by_eye(const std::string& path) {
  std::FILE* const file = std::fopen(path.c_str(), "re");
  if (file == nullptr) return std::nullopt;
  std::string found = config::MasterSettings().base_dir;
  bool global = true;
  std::string line;
  for (int c = std::fgetc(file);; c = std::fgetc(file)) {
    if (c != '\n' && c != EOF) {
      if (line.size() < 4096) line += static_cast<char>(c);
      continue;
    }
    const std::string_view text = trim(line);
    if (text.starts_with('[')) global = false;
    const std::size_t equals = text.find('=');
    if (global && equals != std::string_view::npos && trim(text.substr(0, equals)) == "base_dir") {
      found = std::string(trim(text.substr(equals + 1)));
    }
    line.clear();
    if (c == EOF) break;
  }
  std::fclose(file);
  return found;
}

/// The app of the words before the last; they are made as they are met.
CLI::App& parent_of(CLI::App& app, std::string_view& words) {
  CLI::App* at = &app;
  for (std::size_t blank = words.find(' '); blank != std::string_view::npos;
       blank = words.find(' ')) {
    const std::string group(words.substr(0, blank));
    words.remove_prefix(blank + 1);
    const auto known =
        at->get_subcommands([&group](const CLI::App* sub) { return sub->get_name() == group; });
    CLI::App* next = known.empty() ? nullptr : known.front();
    if (next == nullptr) {
      next = at->add_subcommand(group, "See posternctl " + group + " --help.");
      next->require_subcommand(1)->fallthrough();
    }
    at = next;
  }
  return *at;
}

}  // namespace

int connect_exit_code(const Error& error) noexcept {
  return error.code == EACCES || error.code == EPERM ? EX_NOPERM : EX_TEMPFAIL;
}

int Context::fail(int code, std::string_view text) {
  err += fmt::format("Error: {}\n", text);
  return code;
}

Result<std::string> Context::base_dir() const {
  if (!control_socket.empty()) {
    const std::size_t slash = control_socket.rfind('/');
    if (slash == std::string::npos) return std::string(".");
    return without_slash(control_socket.substr(0, std::max<std::size_t>(slash, 1)));
  }
  const config::Loaded loaded = config::load(config_path);
  if (loaded.configuration) return without_slash(loaded.configuration->master().base_dir);
  if (auto found = base_dir_by_eye(config_path)) return without_slash(std::move(*found));
  if (config_given) return system_error(log_safe(config_path, 200), errno);
  return config::MasterSettings().base_dir;
}

int Context::ask(const wire::ControlRequest& request, Answer& answer) {
  std::string path = control_socket;
  if (path.empty()) {
    auto base = base_dir();
    if (!base.ok()) return fail(EX_CONFIG, base.error().text);
    path = base.value() + "/control";
  }
  auto client = ControlClient::connect(path);
  if (!client.ok()) {
    const bool nobody = client.error().code == ENOENT || client.error().code == ECONNREFUSED;
    return fail(connect_exit_code(client.error()),
                (nobody ? "Postern is not running: " : "cannot reach Postern: ") +
                    log_safe_line(client.error().text, 300));
  }
  auto got = client.value().ask(request, kPatience);
  if (!got.ok()) return fail(EX_TEMPFAIL, "the master did not answer: " + got.error().text);
  answer = std::move(got).value();
  return 0;
}

int Context::must(const wire::ControlRequest& request, Answer& answer) {
  if (const int failed = ask(request, answer); failed != 0) return failed;
  if (answer.end.code == 0) return 0;
  return fail(answer.end.code, answer.end.text.empty() ? "the master refused"
                                                       : log_safe_line(answer.end.text, 1000));
}

int run(int argc, const char* const* argv, std::string& out, std::string& err) {
  Context context;
  context.config_path = POSTERN_CONFIG_FILE;
  std::string format = "table";
  Arguments arguments;
  const Command* chosen = nullptr;

  CLI::App app("Controls a running Postern.", "posternctl");
  app.set_version_flag("--version", POSTERN_VERSION, "Show the version.");
  auto* config_option =
      app.add_option("-c,--config", context.config_path, "Configuration file; names base_dir.")
          ->capture_default_str();
  auto* socket_option =
      app.add_option("-S,--socket", context.control_socket, "Control socket of the instance.");
  config_option->excludes(socket_option);
  auto* format_option = app.add_option("-f,--format", format, "How rows are shown.")
                            ->check(CLI::IsMember({"table", "tab", "json"}))
                            ->capture_default_str();
  app.require_subcommand(1)->fallthrough();
  for (const Command& command : commands()) {
    std::string_view words = command.words;
    CLI::App& parent = parent_of(app, words);
    CLI::App* sub = parent.add_subcommand(std::string(words), std::string(command.help));
    sub->fallthrough();
    command.options(*sub, arguments);
    sub->callback([&chosen, &command] { chosen = &command; });
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    std::ostringstream said_out;
    std::ostringstream said_err;
    const int code = app.exit(error, said_out, said_err);
    if (code != 0 && app.get_subcommands().empty() && !app.remaining().empty()) {
      err += "Error: no such command: " + log_safe_line(app.remaining().front()) + '\n';
    }
    out += said_out.str();
    err += said_err.str();
    return code == 0 ? 0 : kUsage;
  }
  context.config_given = config_option->count() > 0;
  context.format_given = format_option->count() > 0;
  context.format = parse_format(format).value_or(Format::table);
  const int code = chosen == nullptr ? kUsage : chosen->run(context, arguments);
  out += context.out;
  err += context.err;
  return code;
}

}  // namespace postern::ctl
