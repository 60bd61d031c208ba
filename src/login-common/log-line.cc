#include "login-common/log-line.h"

#include <fmt/format.h>
#include <unistd.h>

#include <deque>
#include <optional>

#include "lib/text.h"

namespace postern::login {
namespace {

using config::LoginVariable;

// Bytes of what is shown, with the "..." of what is not.
constexpr std::size_t kMaxUser = 80;
constexpr std::size_t kMaxMech = 64;
constexpr std::size_t kMaxValue = 256;
constexpr std::size_t kMaxFormats = 64;

std::string_view name_part(std::string_view user) {
  return user.substr(0, user.find('@'));
}
std::string_view domain_part(std::string_view user) {
  const std::size_t at = user.find('@');
  return at == std::string_view::npos ? std::string_view{} : user.substr(at + 1);
}

/// Dovecot counts the "..." in.
std::string cut(std::string_view text, std::size_t most) {
  constexpr std::size_t kDots = 3;
  return log_safe(text, text.size() > most ? most - kDots : most);
}

std::string port_text(std::uint16_t port) {
  return port == 0 ? std::string() : fmt::to_string(port);
}

std::string passdb_field(const LogFacts& facts, std::string_view argument) {
  const std::string_view name = argument.substr(0, argument.find(':'));
  if (facts.passdb != nullptr) {
    for (const auto& [key, value] : *facts.passdb) {
      if (key == name) return log_safe(value, kMaxValue);
    }
  }
  const std::size_t colon = argument.find(':');
  return colon == std::string_view::npos ? std::string() : std::string(argument.substr(colon + 1));
}

std::string value_of(const LogFacts& facts, const config::VariableRef& ref) {
  // Without a name as typed or a master's, these are the user (Dovecot: orig_user, auth_user).
  const std::string_view original = facts.original_user.empty() ? facts.user : facts.original_user;
  const std::string_view auth_user = facts.auth_user.empty() ? facts.user : facts.auth_user;
  switch (ref.as<LoginVariable>()) {
    case LoginVariable::user:
      return cut(facts.user, kMaxUser);
    case LoginVariable::username:
      return cut(name_part(facts.user), kMaxUser);
    case LoginVariable::domain:
      return cut(domain_part(facts.user), kMaxUser);
    case LoginVariable::orig_user:
      return cut(original, kMaxUser);
    case LoginVariable::orig_username:
      return cut(name_part(original), kMaxUser);
    case LoginVariable::orig_domain:
      return cut(domain_part(original), kMaxUser);
    case LoginVariable::auth_user:
      return cut(auth_user, kMaxUser);
    case LoginVariable::auth_username:
      return cut(name_part(auth_user), kMaxUser);
    case LoginVariable::auth_domain:
      return cut(domain_part(auth_user), kMaxUser);
    case LoginVariable::service:
      return std::string(facts.service);
    case LoginVariable::remote_ip:
      return facts.remote.ip.text();
    case LoginVariable::local_ip:
      return facts.local.ip.text();
    case LoginVariable::remote_port:
      return port_text(facts.remote.port);
    case LoginVariable::local_port:
      return port_text(facts.local.port);
    case LoginVariable::real_remote_ip:
      return facts.real_remote.ip.text();
    case LoginVariable::real_local_ip:
      return facts.real_local.ip.text();
    case LoginVariable::real_remote_port:
      return port_text(facts.real_remote.port);
    case LoginVariable::real_local_port:
      return port_text(facts.real_local.port);
    case LoginVariable::pid:
      return fmt::to_string(::getpid());
    case LoginVariable::mech:
      return cut(facts.mech, kMaxMech);
    case LoginVariable::secured:
      return std::string(facts.secured);
    case LoginVariable::ssl_security:
      return std::string(facts.ssl_security);
    case LoginVariable::session:
      return log_safe(facts.session, kMaxValue);
    case LoginVariable::listener:
      return log_safe(facts.listener, kMaxValue);
    case LoginVariable::local_name:
      return log_safe(facts.local_name, kMaxValue);
    case LoginVariable::passdb:
      return passdb_field(facts, ref.argument);
    case LoginVariable::home:      // nobody's, in an empty environment
    case LoginVariable::mail_pid:  // no session is handed to a mail process
    case LoginVariable::message:
    case LoginVariable::elements:
      return {};
  }
  return {};
}

std::string failed_remark(const EndFacts& facts) {
  return fmt::format("(auth failed, {} attempts in {} secs)", facts.attempts,
                     facts.attempts_seconds);
}

std::string outcome_remark(const EndFacts& facts) {
  switch (facts.outcome) {
    case Outcome::authz_failed:
      return fmt::format("(authorization failed, {} attempts in {} secs)", facts.attempts,
                         facts.attempts_seconds);
    case Outcome::temp_fail:
      return "(auth service reported temporary failure)";
    case Outcome::user_disabled:
      return "(user disabled)";
    case Outcome::pass_expired:
      return "(password expired)";
    case Outcome::invalid_base64:
      return "(sent invalid base64 in response)";
    case Outcome::login_disabled:
    case Outcome::referral:
      return "(login disabled)";
    case Outcome::mech_invalid:
      return "(tried to use unsupported auth mechanism)";
    case Outcome::mech_plaintext_refused:
      return "(tried to use disallowed plaintext auth)";
    case Outcome::wrong_credentials:
    case Outcome::plaintext_refused:
    case Outcome::tls_required:
    case Outcome::anonymous_denied:
    case Outcome::aborted:
    case Outcome::proxy_unavailable:
    case Outcome::proxy_misconfigured:
    case Outcome::userip_limit:
    case Outcome::handoff_failed:
      break;
  }
  return failed_remark(facts);
}

}  // namespace

LogElements::LogElements(const std::string& format) : format_(format) {
  // Blanks inside %{…} do not part elements.
  std::string word;
  int depth = 0;
  const auto finish = [this, &word]() {
    if (word.empty()) return;
    Result<config::Template> made = config::Template::compile(word, config::login_log_variables());
    word.clear();
    if (!made.ok()) return;  // refused when the configuration was loaded
    Element element;
    element.text = std::move(made).value();
    element.always =
        element.text.uses(LoginVariable::user) || element.text.uses(LoginVariable::username);
    elements_.push_back(std::move(element));
  };
  for (const char c : format) {
    if (c == '{') ++depth;
    if (c == '}' && depth > 0) --depth;
    if (c == ' ' && depth == 0) {
      finish();
    } else {
      word += c;
    }
  }
  finish();
}

std::string LogElements::render(const LogFacts& facts) const {
  std::string out;
  std::string value;
  for (const Element& element : elements_) {
    const std::size_t before = out.size();
    if (!out.empty()) out += ", ";
    const bool filled = element.text.expand(
        [&facts, &value](const config::VariableRef& ref) -> std::optional<std::string_view> {
          value = value_of(facts, ref);
          return value;
        },
        out);
    if (!filled && !element.always) out.resize(before);
  }
  return out;
}

const LogElements& log_elements(const config::LoginSettings& settings) {
  static std::deque<LogElements> known;  // a deque: references stay good
  for (const LogElements& elements : known) {
    if (elements.format() == settings.login_log_format_elements) return elements;
  }
  if (known.size() >= kMaxFormats) known.clear();
  known.emplace_back(settings.login_log_format_elements);
  return known.back();
}

std::string end_remark(const EndFacts& facts) {
  using Certificate = EndFacts::Certificate;
  if (facts.certificate == Certificate::invalid) return "(client sent an invalid cert)";
  if (facts.certificate == Certificate::missing) return "(client didn't send a cert)";
  if (!facts.greeted) {
    return fmt::format("(disconnected before auth was ready, waited {} secs)",
                       facts.connected_seconds);
  }
  if (facts.attempts == 0) {
    return fmt::format("(no auth attempts in {} secs)", facts.connected_seconds);
  }
  if (facts.certificate == Certificate::no_tls) return "(cert required, client didn't start TLS)";
  if (facts.attempts == 1) {
    switch (facts.pending) {
      case EndFacts::Pending::none:
        break;
      case EndFacts::Pending::client_response:
        return fmt::format("(client didn't finish SASL auth, waited {} secs)",
                           facts.auth_started_seconds);
      case EndFacts::Pending::auth_server:
        return fmt::format("(disconnected while authenticating, waited {} secs)",
                           facts.auth_started_seconds);
      case EndFacts::Pending::login:
        return fmt::format("(disconnected while finishing login, waited {} secs)",
                           facts.auth_started_seconds);
    }
  }
  if (facts.auth_lost) return "(auth process communication failure)";
  if (facts.backend_refused) return "(proxy dest auth failed)";
  if (facts.successes > 0) {
    return fmt::format("(internal failure, {} successful auths)", facts.successes);
  }
  return facts.has_outcome ? outcome_remark(facts) : failed_remark(facts);
}

}  // namespace postern::login
