#include "login-common/proxy-log.h"

#include <fmt/format.h>

#include <optional>

#include "config/variables.h"
#include "lib/text.h"

namespace postern::login {
namespace {

constexpr std::size_t kMaxName = 256;  // of a user name in a line

/// The compiled form of the format used last: one process rarely has two.
const config::Template& compiled(const std::string& format) {
  static config::Template last;
  if (last.text() == format) return last;
  Result<config::Template> made =
      config::Template::compile(format, config::login_log_line_variables());
  if (made.ok()) {
    last = std::move(made).value();
  } else {
    // Checked when the configuration was loaded; a line must come out all the same.
    last = config::Template::compile("%$: %s", config::login_log_line_variables()).value();
  }
  return last;
}

}  // namespace

std::string proxy_prefix(std::string_view user, const Endpoint& backend) {
  return fmt::format("proxy({},{}:{}): ", log_safe(user, kMaxName), backend.ip.text(),
                     backend.port);
}
std::string proxy_prefix(std::string_view user) {
  return fmt::format("proxy({}): ", log_safe(user, kMaxName));
}

std::string session_line(const config::LoginSettings& settings, std::string_view message,
                         std::string_view elements) {
  using config::LoginVariable;
  if (settings.login_log_format == "%$: %s") return fmt::format("{}: {}", message, elements);
  std::string out;
  compiled(settings.login_log_format)
      .expand(
          [&](const config::VariableRef& ref) -> std::optional<std::string_view> {
            return ref.as<LoginVariable>() == LoginVariable::message ? message : elements;
          },
          out);
  return out;
}

std::string identity_text(const StartedFacts& facts) {
  std::string out;
  if (facts.source) out += " from " + facts.source.text();
  if (facts.dest_user != facts.user) out += " as user " + log_safe(facts.dest_user, kMaxName);
  if (!facts.master.empty()) out += " (master " + log_safe(facts.master, kMaxName) + ")";
  return out;
}

std::string started_text(const StartedFacts& facts, std::uint64_t milliseconds,
                         unsigned reconnects) {
  const std::string ip = facts.ip.text();
  std::string out = "Started proxying to <" + ip + ">";
  if (facts.host != ip) out += " (<" + log_safe(facts.host, kMaxName) + ">)";
  out += identity_text(facts);
  out += fmt::format(" ({}.{:03} secs", milliseconds / 1000, milliseconds % 1000);
  if (reconnects > 0) out += fmt::format(", {} reconnects", reconnects);
  out += ')';
  return out;
}

std::string transfer_text(const TransferFacts& facts) {
  std::string out = fmt::format("{}s idle, in={}, out={}", facts.idle_seconds, facts.in, facts.out);
  if (facts.buffered > 0) out += fmt::format("+{}", facts.buffered);
  if (facts.client_blocked) out += ", client output blocked";
  if (facts.server_blocked) out += ", server output blocked";
  return out;
}

}  // namespace postern::login
