// auth lookup: what the passdbs say of a user, over the auth-master socket.
#include <fmt/format.h>
#include <sysexits.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <optional>

#include "ctl/auth-connection.h"
#include "ctl/auth-properties.h"
#include "ctl/command.h"
#include "lib/text.h"
#include "wire/tab-line.h"

namespace postern::ctl {
namespace {

constexpr std::chrono::seconds kPatience{160};  // a slow database's; auth gives up at 150 s

/// What is known of one user.
struct Found {
  int code = 0;  // 0, 67 or 75
  std::string reason;
  wire::ControlFields fields;  // passwords as <hidden>
};

void add_endpoint(wire::TabLine& line, const char* ip, const char* port, const Endpoint& end) {
  if (end.ip) line.key(ip, end.ip.text());
  if (end.port != 0) line.key(port, std::uint64_t{end.port});
}

WipingBuffer request(std::uint32_t id, const std::string& user, const wire::AuthRequestInfo& info) {
  WipingBuffer out;
  wire::TabLine line(out, "PASS");
  line.add(std::uint64_t{id}).add(user).key("service", info.service);
  add_endpoint(line, "lip", "lport", info.local);
  add_endpoint(line, "rip", "rport", info.remote);
  add_endpoint(line, "real_lip", "real_lport", info.real_local);
  add_endpoint(line, "real_rip", "real_rport", info.real_remote);
  if (!info.session.empty()) line.key("session", info.session);
  if (!info.local_name.empty()) line.key("local_name", info.local_name);
  if (info.secured_tls) line.key("secured", "tls");
  if (info.secured) line.flag("secured");
  line.end();
  return out;
}

/// A passdb's password, or one that a backend is to be given.
bool is_secret(std::string_view name) noexcept {
  return name == "pass" || name == "password" || name.ends_with("_pass") ||
         name.ends_with("_password");
}

wire::ControlFields fields_of(wire::TabFields fields) {
  wire::ControlFields out;
  while (const auto field = fields.next()) {
    if (field->empty()) continue;  // Dovecot leaves them where it hid something
    const std::size_t equals = field->find('=');
    std::string name(field->substr(0, equals));
    std::string value;
    if (is_secret(name)) {
      value = "<hidden>";
    } else if (equals != std::string_view::npos) {
      value = wire::tab_unescape(field->substr(equals + 1));
    }
    out.emplace_back(std::move(name), std::move(value));
  }
  return out;
}

/// Reads `VERSION`; the lines after it may come when they like.
Status greet(AuthConnection& connection, UnixStream::TimePoint deadline) {
  if (auto sent = connection.send("VERSION\t1\t1\n", deadline); !sent.ok()) return sent;
  const auto line = connection.line(deadline);
  if (!line.ok()) return line.error();
  wire::TabFields fields(line.value());
  if (fields.next() != "VERSION" || fields.next() != "1") {
    return Error{EPROTO, "this is no auth-master socket"};
  }
  return Done{};
}

/// The answer to request `id`; what is about something else is skipped.
Result<Found> ask(AuthConnection& connection, std::uint32_t id, const WipingBuffer& line,
                  UnixStream::TimePoint deadline) {
  if (auto sent = connection.send(line.view(), deadline); !sent.ok()) return sent.error();
  for (;;) {
    const auto reply = connection.line(deadline);
    if (!reply.ok()) return reply.error();
    wire::TabFields fields(reply.value());
    const std::string_view verb = fields.next().value_or("");
    if (fields.next() != fmt::to_string(id)) continue;
    if (verb == "PASS") return Found{0, {}, fields_of(fields)};
    if (verb == "NOTFOUND") return Found{EX_NOUSER, {}, {}};
    if (verb != "FAIL") continue;
    Found out{
        EX_TEMPFAIL, "Internal error occurred. Refer to server log for more information.", {}};
    for (auto& [name, value] : fields_of(fields)) {
      if (name == "reason" && !value.empty()) out.reason = std::move(value);
    }
    return out;
  }
}

/// As doveadm prints it.
void show(Context& context, const std::string& user, const Found& found, const std::string& only) {
  if (!only.empty()) {
    for (const auto& [name, value] : found.fields) {
      if (name == only) context.out += log_safe_line(value, 4096) + '\n';
    }
    return;
  }
  if (!context.out.empty()) context.out += '\n';
  context.out += fmt::format("passdb: {}\n", log_safe_line(user));
  for (const auto& [name, value] : found.fields) {
    context.out += fmt::format("  {:<10}: {}\n", log_safe_line(name), log_safe_line(value, 4096));
  }
}

}  // namespace

void auth_lookup_options(CLI::App& app, Arguments& arguments) {
  app.add_option("-x", arguments.pairs, "What the client is said to be, as in auth test.")
      ->allow_extra_args(false);
  app.add_option("-a", arguments.socket, "Master socket of the auth server.");
  app.add_option("--field", arguments.field, "Show the value of this field only.");
  app.add_option("USER", arguments.words, "Users.")->required();
}

int auth_lookup(Context& context, const Arguments& arguments) {
  AuthProperties properties;
  for (const std::string& pair : arguments.pairs) {
    if (auto set = properties.set(pair); !set.ok()) return context.fail(2, set.error().text);
  }
  std::string path = arguments.socket;
  if (path.empty()) {
    auto base = context.base_dir();
    if (!base.ok()) return context.no_configuration(base.error());
    path = base.value() + "/auth-master";
  }
  auto stream = UnixStream::connect(path);
  if (!stream.ok()) return context.unreachable("auth", path, stream.error());
  AuthConnection connection(std::move(stream).value());
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  if (auto greeted = greet(connection, deadline); !greeted.ok()) {
    return context.fail(EX_TEMPFAIL, "auth: " + greeted.error().text);
  }
  int code = 0;
  std::uint32_t id = 0;
  std::string json;
  for (const std::string& user : arguments.words) {
    ++id;
    auto found = ask(connection, id, request(id, user, properties.info()), deadline);
    if (!found.ok()) return context.fail(EX_TEMPFAIL, "auth: " + found.error().text);
    code = std::max(code, found.value().code);
    if (found.value().code == EX_NOUSER) {
      context.err += fmt::format("passdb lookup: user {} doesn't exist\n", log_safe_line(user));
    } else if (found.value().code != 0) {
      context.err += fmt::format("passdb lookup of user {} failed: {}\n", log_safe_line(user),
                                 log_safe_line(found.value().reason, 1000));
    } else if (context.format == Format::json) {
      wire::ControlFields row{{"username", user}};
      row.insert(row.end(), found.value().fields.begin(), found.value().fields.end());
      json += (json.empty() ? "" : ",\n ") + json_object(row);
    } else {
      show(context, user, found.value(), arguments.field);
    }
  }
  if (context.format == Format::json) context.out += '[' + json + "]\n";
  return code;
}

}  // namespace postern::ctl
