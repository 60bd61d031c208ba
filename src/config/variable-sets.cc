#include <array>

#include "config/variables.h"

namespace postern::config {
namespace {

constexpr VariableName row(char short_name, std::string_view long_name, LoginVariable v) {
  return {short_name, long_name, static_cast<std::uint8_t>(v)};
}
constexpr VariableName row(char short_name, std::string_view long_name, AuthVariable v) {
  return {short_name, long_name, static_cast<std::uint8_t>(v)};
}

using L = LoginVariable;
constexpr auto kGreeting = std::to_array<VariableName>({
    row('l', "lip", L::local_ip),
    row('\0', "local_ip", L::local_ip),
    row('r', "rip", L::remote_ip),
    row('\0', "remote_ip", L::remote_ip),
    row('p', "pid", L::pid),
    row('s', "service", L::service),
    row('\0', "local_name", L::local_name),
});
constexpr auto kLog = std::to_array<VariableName>({
    row('u', "user", L::user),
    row('n', "username", L::username),
    row('d', "domain", L::domain),
    row('s', "service", L::service),
    row('h', "home", L::home),
    row('l', "lip", L::local_ip),
    row('r', "rip", L::remote_ip),
    row('p', "pid", L::pid),
    row('m', "mech", L::mech),
    row('a', "lport", L::local_port),
    row('b', "rport", L::remote_port),
    row('c', "secured", L::secured),
    row('k', "ssl_security", L::ssl_security),
    row('e', "mail_pid", L::mail_pid),
    row('\0', "local_ip", L::local_ip),
    row('\0', "remote_ip", L::remote_ip),
    row('\0', "local_port", L::local_port),
    row('\0', "remote_port", L::remote_port),
    row('\0', "mechanism", L::mech),
    row('\0', "session", L::session),
    row('\0', "real_lip", L::real_local_ip),
    row('\0', "real_rip", L::real_remote_ip),
    row('\0', "real_lport", L::real_local_port),
    row('\0', "real_rport", L::real_remote_port),
    row('\0', "real_local_ip", L::real_local_ip),
    row('\0', "real_remote_ip", L::real_remote_ip),
    row('\0', "real_local_port", L::real_local_port),
    row('\0', "real_remote_port", L::real_remote_port),
    row('\0', "orig_user", L::orig_user),
    row('\0', "orig_username", L::orig_username),
    row('\0', "orig_domain", L::orig_domain),
    row('\0', "original_user", L::orig_user),
    row('\0', "original_username", L::orig_username),
    row('\0', "original_domain", L::orig_domain),
    row('\0', "auth_user", L::auth_user),
    row('\0', "auth_username", L::auth_username),
    row('\0', "auth_domain", L::auth_domain),
    row('\0', "listener", L::listener),
    row('\0', "local_name", L::local_name),
    row('\0', "passdb:", L::passdb),
});
constexpr auto kLogLine = std::to_array<VariableName>({
    row('$', "message", L::message),
    row('s', "elements", L::elements),
});

using A = AuthVariable;
constexpr auto kAuth = std::to_array<VariableName>({
    row('u', "user", A::user),
    row('n', "username", A::username),
    row('d', "domain", A::domain),
    row('s', "service", A::service),
    row('l', "lip", A::local_ip),
    row('r', "rip", A::remote_ip),
    row('a', "lport", A::local_port),
    row('b', "rport", A::remote_port),
    row('p', "pid", A::pid),
    row('w', "password", A::password),
    row('!', "", A::db_id),
    row('m', "mech", A::mech),
    row('c', "secured", A::secured),
    row('k', "cert", A::cert),
    row('\0', "local_ip", A::local_ip),
    row('\0', "remote_ip", A::remote_ip),
    row('\0', "local_port", A::local_port),
    row('\0', "remote_port", A::remote_port),
    row('\0', "mechanism", A::mech),
    row('\0', "real_lip", A::real_local_ip),
    row('\0', "real_rip", A::real_remote_ip),
    row('\0', "real_lport", A::real_local_port),
    row('\0', "real_rport", A::real_remote_port),
    row('\0', "real_local_ip", A::real_local_ip),
    row('\0', "real_remote_ip", A::real_remote_ip),
    row('\0', "real_local_port", A::real_local_port),
    row('\0', "real_remote_port", A::real_remote_port),
    row('\0', "session", A::session),
    row('\0', "session_pid", A::session_pid),
    row('\0', "local_name", A::local_name),
    row('\0', "client_id", A::client_id),
    row('\0', "login_user", A::login_user),
    row('\0', "login_username", A::login_username),
    row('\0', "login_domain", A::login_domain),
    row('\0', "orig_user", A::orig_user),
    row('\0', "orig_username", A::orig_username),
    row('\0', "orig_domain", A::orig_domain),
    row('\0', "original_user", A::orig_user),
    row('\0', "original_username", A::orig_username),
    row('\0', "original_domain", A::orig_domain),
    row('\0', "auth_user", A::auth_user),
    row('\0', "auth_username", A::auth_username),
    row('\0', "auth_domain", A::auth_domain),
    row('\0', "master_user", A::master_user),
    row('\0', "domain_first", A::domain_first),
    row('\0', "domain_last", A::domain_last),
    row('\0', "passdb:", A::passdb),
    row('\0', "userdb:", A::userdb),
});

}  // namespace

const VariableSet& login_greeting_variables() {
  static constexpr VariableSet kSet{kGreeting};
  return kSet;
}
const VariableSet& login_log_variables() {
  static constexpr VariableSet kSet{kLog};
  return kSet;
}
const VariableSet& login_log_line_variables() {
  static constexpr VariableSet kSet{kLogLine};
  return kSet;
}
const VariableSet& auth_variables() {
  static constexpr VariableSet kSet{kAuth};
  return kSet;
}

const VariableName* VariableSet::find_short(char name) const noexcept {
  if (name == '\0') return nullptr;
  for (const VariableName& n : names_) {
    if (n.short_name == name) return &n;
  }
  return nullptr;
}

const VariableName* VariableSet::find_long(std::string_view name) const noexcept {
  if (name.empty() || name.ends_with(':')) return nullptr;
  for (const VariableName& n : names_) {
    if (n.long_name == name) return &n;
  }
  return nullptr;
}

const VariableName* VariableSet::find_prefix(std::string_view text) const noexcept {
  for (const VariableName& n : names_) {
    if (n.long_name.ends_with(':') && text.starts_with(n.long_name)) return &n;
  }
  return nullptr;
}

}  // namespace postern::config
