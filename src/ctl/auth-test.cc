// auth test: one login over the auth-client socket, as a mail program's would go.
#include <fmt/format.h>
#include <sysexits.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <map>
#include <optional>
#include <variant>

#include "ctl/auth-connection.h"
#include "ctl/auth-properties.h"
#include "ctl/command.h"
#include "ctl/password-prompt.h"
#include "ctl/unix-stream.h"
#include "lib/text.h"
#include "wire/auth-reply.h"

namespace postern::ctl {
namespace {

// A reply waits for auth_failure_delay, for slow databases and slow hashes; auth gives up at 150 s.
constexpr std::chrono::seconds kPatience{160};
constexpr std::uint32_t kRequestId = 1;

/// What the server says of the request.
using Verdict = std::variant<wire::AuthReplyOk, wire::AuthReplyFail>;

class AuthDialogue {
 public:
  explicit AuthDialogue(UnixStream stream) : connection_(std::move(stream)) {}

  Result<Verdict> run(const wire::AuthRequestInfo& info, const std::string& user,
                      const std::string& master_user, const Secret& password) {
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    WipingBuffer hello;
    wire::append_auth_hello(static_cast<std::uint32_t>(getpid()), hello);
    if (auto sent = connection_.send(hello.view(), deadline); !sent.ok()) return sent.error();
    if (auto ready = handshake(deadline); !ready.ok()) return ready.error();
    if (auto sent = connection_.send(request(info, user, master_user, password).view(), deadline);
        !sent.ok()) {
      return sent.error();
    }
    return verdict(deadline);
  }

 private:
  static WipingBuffer request(const wire::AuthRequestInfo& info, const std::string& user,
                              const std::string& master_user, const Secret& password) {
    // RFC 4616: authorization, NUL, authentication, NUL, password.
    WipingBuffer message;
    if (!master_user.empty()) message += user;
    message += '\0';
    message += master_user.empty() ? user : master_user;
    message += '\0';
    message += password.reveal();
    WipingBuffer base64;
    base64_encode(message.view(), base64);
    WipingBuffer out;
    wire::append_auth_request(kRequestId, "PLAIN", info,
                              std::optional<Secret>(Secret(std::move(base64))), out);
    return out;
  }

  Status handshake(UnixStream::TimePoint deadline) {
    for (;;) {
      auto reply = next(deadline);
      if (!reply.ok()) return reply.error();
      if (const auto* version = std::get_if<wire::AuthServerVersion>(&reply.value())) {
        if (version->major != 1) return Error{EPROTO, "the server speaks another version"};
      }
      if (std::holds_alternative<wire::AuthServerDone>(reply.value())) return Done{};
    }
  }

  Result<Verdict> verdict(UnixStream::TimePoint deadline) {
    for (;;) {
      auto reply = next(deadline);
      if (!reply.ok()) return reply.error();
      if (auto* ok = std::get_if<wire::AuthReplyOk>(&reply.value())) {
        if (ok->id == kRequestId) return Verdict(std::move(*ok));
      } else if (auto* fail = std::get_if<wire::AuthReplyFail>(&reply.value())) {
        if (fail->id == kRequestId) return Verdict(std::move(*fail));
      } else if (std::holds_alternative<wire::AuthReplyContinue>(reply.value())) {
        return Error{EPROTO, "the server asks for more than PLAIN has"};
      }
    }
  }

  Result<wire::AuthReply> next(UnixStream::TimePoint deadline) {
    const auto line = connection_.line(deadline);
    if (!line.ok()) return line.error();
    return wire::parse_auth_reply(line.value());
  }

  AuthConnection connection_;
};

std::string_view code_word(wire::AuthReplyFail::Code code) {
  using Code = wire::AuthReplyFail::Code;
  switch (code) {
    case Code::none:
      return {};
    case Code::temp_fail:
      return "temp_fail";
    case Code::authz_fail:
      return "authz_fail";
    case Code::user_disabled:
      return "user_disabled";
    case Code::pass_expired:
      return "pass_expired";
    case Code::invalid_base64:
      return "invalid_base64";
    case Code::mech_invalid:
      return "mech_invalid";
    case Code::mech_ssl_required:
      return "mech_ssl_required";
    case Code::anonymous_denied:
      return "anonymous_denied";
  }
  return {};
}

void add_if(wire::ControlFields& fields, const char* name, std::string_view value) {
  if (!value.empty()) fields.emplace_back(name, value);
}

/// Names that are there or not have an empty value.
wire::ControlFields fields_of(const Verdict& verdict) {
  wire::ControlFields out;
  if (const auto* ok = std::get_if<wire::AuthReplyOk>(&verdict)) {
    add_if(out, "user", ok->user);
    add_if(out, "original_user", ok->original_user);
    add_if(out, "auth_user", ok->auth_user);
    for (const auto& field : ok->fields) out.push_back(field);
    // doveadm prints it; a password has no business on a screen.
    if (ok->pass) out.emplace_back("pass", "<hidden>");
    return out;
  }
  const auto& fail = std::get<wire::AuthReplyFail>(verdict);
  add_if(out, "user", fail.user);
  add_if(out, "original_user", fail.original_user);
  add_if(out, "auth_user", fail.auth_user);
  add_if(out, "code", code_word(fail.code));
  add_if(out, "reason", fail.reason.value_or(""));
  if (fail.nodelay) out.emplace_back("nodelay", "");
  return out;
}

void show(Context& context, const std::string& user, std::string_view result,
          const wire::ControlFields& fields) {
  if (context.format == Format::json) {
    wire::ControlFields row{{"username", user}, {"result", std::string(result)}};
    row.insert(row.end(), fields.begin(), fields.end());
    context.out += '[' + json_object(row) + "]\n";
    return;
  }
  context.out += fmt::format("passdb: {} auth {}\nextra fields:\n", log_safe_line(user), result);
  for (const auto& [name, value] : fields) {
    context.out += fmt::format("  {}{}{}\n", log_safe_line(name), value.empty() ? "" : "=",
                               log_safe_line(value, 4096));
  }
}

}  // namespace

void auth_test_options(CLI::App& app, Arguments& arguments) {
  // One value each time it is given, or it would swallow the user.
  app.add_option("-x", arguments.pairs,
                 "What the client is said to be: service=, rip=, lip=, session=, local_name=, … "
                 "(KEY=VALUE, as often as needed).")
      ->allow_extra_args(false);
  app.add_option("-M", arguments.master_user, "Log in as this master user.");
  app.add_option("-a", arguments.socket, "Socket of the auth server.");
  app.add_option("USER_PASSWORD", arguments.words,
                 "User, and the password, which everybody on this host can read from the process "
                 "list; it is asked for if it is not given.")
      ->required()
      ->expected(1, 2);
}

int auth_test(Context& context, const Arguments& arguments) {
  AuthProperties properties;
  for (const std::string& pair : arguments.pairs) {
    if (auto set = properties.set(pair); !set.ok()) return context.fail(2, set.error().text);
  }
  const std::string& user = arguments.words[0];
  if (user.empty() || user.find('\0') != std::string::npos) {
    return context.fail(2, "a user has a name");
  }
  std::string path = arguments.socket;
  if (path.empty()) {
    auto base = context.base_dir();
    if (!base.ok()) return context.no_configuration(base.error());
    path = base.value() + "/auth-client";
  }
  Secret password;
  if (arguments.words.size() > 1) {
    password = Secret(arguments.words[1]);
  } else {
    auto asked = ask_password(user);
    if (!asked.ok()) return context.fail(EX_TEMPFAIL, asked.error().text);
    password = std::move(asked).value();
  }
  auto stream = UnixStream::connect(path);
  if (!stream.ok()) {
    return context.unreachable("auth", path, stream.error());
  }
  AuthDialogue dialogue(std::move(stream).value());
  auto verdict = dialogue.run(properties.info(), user, arguments.master_user, password);
  if (!verdict.ok()) return context.fail(EX_TEMPFAIL, "auth: " + verdict.error().text);
  const auto* fail = std::get_if<wire::AuthReplyFail>(&verdict.value());
  show(context, user, fail == nullptr ? "succeeded" : "failed", fields_of(verdict.value()));
  if (fail == nullptr) return 0;
  return fail->code == wire::AuthReplyFail::Code::temp_fail ? EX_TEMPFAIL : EX_NOPERM;
}

}  // namespace postern::ctl
