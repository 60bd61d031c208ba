// The command line, and what all commands share.
#include <fmt/format.h>
#include <sysexits.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <sstream>

#include "config/config.h"
#include "config/files.h"
#include "config/ini-reader.h"
#include "ctl/command.h"
#include "lib/text.h"
#include "postern-build.h"

namespace postern::ctl {
namespace {

constexpr int kUsage = 2;
// The master itself waits five seconds for its children, and a reload reads every certificate.
constexpr std::chrono::seconds kPatience{20};
constexpr std::chrono::seconds kReloadPatience{60};

std::string without_slash(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

/// base_dir as the file's own lines say, for a file that does not load: it may be broken, which is
/// what a reload is to find out, or have keys in it that this user may not read.
Result<std::string> base_dir_by_eye(const std::string& path) {
  const auto text = config::read_file(path);
  if (!text.ok()) return text.error();
  std::string found = config::MasterSettings().base_dir;
  for (const config::IniLine& line : config::read_ini(text.value().view()).lines) {
    if (line.is_section) break;
    if (line.text == "base_dir") found = std::string(line.value.reveal());
  }
  return found;
}

/// The exit codes of contract.md; a master of another version may know more.
int exit_code(int code) noexcept {
  switch (code) {
    case 0:
    case kUsage:
    case EX_NOUSER:
    case EX_NOHOST:
    case EX_NOPERM:
    case EX_CONFIG:
      return code;
    case EX_USAGE:
      return kUsage;
    default:
      return EX_TEMPFAIL;
  }
}

bool is_denied(const Error& error) noexcept {
  return error.code == EACCES || error.code == EPERM;
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

int Context::fail(int code, std::string_view text) {
  err += fmt::format("posternctl: {}\n", text);
  return code;
}

int Context::no_configuration(const Error& error) {
  return fail(is_denied(error) ? EX_NOPERM : EX_CONFIG, log_safe_line(error.text, 300));
}

int Context::unreachable(std::string_view who, const std::string& path, const Error& error) {
  const std::string why = log_safe_line(system_error(path, error.code).text, 300);
  if (error.code == ENOENT || error.code == ECONNREFUSED) {
    return fail(EX_TEMPFAIL, fmt::format("Postern is not running ({})", why));
  }
  return fail(is_denied(error) ? EX_NOPERM : EX_TEMPFAIL,
              fmt::format("cannot reach {} ({})", who, why));
}

Result<std::string> Context::base_dir() const {
  if (!control_socket.empty()) {
    const std::size_t slash = control_socket.rfind('/');
    if (slash == std::string::npos) return std::string(".");
    return without_slash(control_socket.substr(0, std::max<std::size_t>(slash, 1)));
  }
  const config::Loaded loaded = config::load(config_path);
  if (loaded.configuration) return without_slash(loaded.configuration->master().base_dir);
  auto found = base_dir_by_eye(config_path);
  if (found.ok()) return without_slash(std::move(found).value());
  if (config_given) return found.error();
  return config::MasterSettings().base_dir;
}

int Context::ask(const wire::ControlRequest& request, Answer& answer) {
  std::string path = control_socket;
  if (path.empty()) {
    auto base = base_dir();
    if (!base.ok()) return no_configuration(base.error());
    path = base.value() + "/control";
  }
  auto client = ControlClient::connect(path);
  if (!client.ok()) return unreachable("the master", path, client.error());
  auto got = client.value().ask(request, request.command == "reload" ? kReloadPatience : kPatience);
  if (!got.ok()) return fail(EX_TEMPFAIL, "the master did not answer: " + got.error().text);
  answer = std::move(got).value();
  answer.end.code = exit_code(answer.end.code);
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
  for (int i = 1; i < argc; ++i) {
    // The parser takes `--user=` for an option that was not given.
    const std::string_view word = argv[i];
    if (!word.starts_with("--") || !word.ends_with('=')) continue;
    err += "Error: " + log_safe_line(word) + " has no value\n";
    return kUsage;
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
