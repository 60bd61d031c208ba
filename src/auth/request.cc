#include "auth/request.h"

#include <algorithm>

#include "lib/text.h"

namespace postern::auth {
namespace {

constexpr std::size_t kMaxLoggedName = 64;  // bytes

std::string_view before_at(std::string_view name) noexcept {
  return name.substr(0, name.find('@'));
}
std::string_view after_at(std::string_view name) noexcept {
  const std::size_t at = name.find('@');
  return at == std::string_view::npos ? std::string_view{} : name.substr(at + 1);
}

}  // namespace

Result<RequestSettings> RequestSettings::make(
    std::shared_ptr<const config::AuthSettings> settings) {
  RequestSettings out;
  auto format = config::Template::compile(settings->auth_username_format, config::auth_variables());
  if (!format.ok()) return Error{0, "auth_username_format: " + format.error().text};
  out.username_format = std::move(format.value());
  for (std::size_t i = 0; i < 256; i++) out.translation[i] = static_cast<char>(i);
  const std::string& pairs = settings->auth_username_translation;
  for (std::size_t i = 0; i + 1 < pairs.size(); i += 2) {
    out.translation[static_cast<unsigned char>(pairs[i])] = pairs[i + 1];
  }
  if (settings->auth_username_chars.empty()) out.allowed.set();
  for (const char c : settings->auth_username_chars) out.allowed.set(static_cast<unsigned char>(c));
  // Whatever the operator allows: a NUL would end the name in every C library behind us.
  out.allowed.reset(0);
  out.settings = std::move(settings);
  return out;
}

Request::State Request::State::copy() const {
  State out;
  out.fields = fields.copy();
  out.userdb = userdb.copy();
  out.userdb_set = userdb_set;
  out.delay_until = delay_until;
  return out;
}

Request::Request(RequestContext context, wire::AuthProperties properties, std::string_view mech,
                 std::uint32_t client_pid, Owner& owner)
    : context_(context),
      properties_(std::move(properties)),
      mech_(mech),
      client_pid_(client_pid),
      owner_(&owner) {
  for (const auto& [name, value] : properties_.forward_fields) {
    state_.fields.set(value ? Field(name, *value) : Field(name));
  }
}

Request::~Request() {
  abandon();
}

void Request::abandon() noexcept {
  if (waiting_ != 0) context_.environment.cancel(waiting_);
  waiting_ = 0;
  if (!search_) return;
  for (const std::uint64_t id : search_->waiting) {
    if (id != 0) context_.environment.cancel(id);
  }
  search_.reset();
}

std::string Request::process_name(std::string_view raw, std::string& out) const {
  const config::AuthSettings& settings = *context_.settings.settings;
  if (raw.empty()) return "Empty username";
  if (raw.size() > kMaxUserName) return "Username is too long";
  if (!is_utf8(raw)) return "Username is not UTF-8 (username: " + log_safe(raw) + ")";
  std::string name(raw);
  if (!settings.auth_default_realm.empty() && name.find('@') == std::string::npos) {
    name += '@';
    name += settings.auth_default_realm;
  }
  for (char& c : name) {
    c = context_.settings.translation[static_cast<unsigned char>(c)];
    if (!context_.settings.allowed.test(static_cast<unsigned char>(c))) {
      return fmt::format(
          "Username character disallowed by auth_username_chars: 0x{:02x} (username: {})",
          static_cast<unsigned>(static_cast<unsigned char>(c)), log_safe(raw));
    }
  }
  out.clear();
  context_.settings.username_format.expand(
      [&](const config::VariableRef& ref) -> std::optional<std::string_view> {
        const auto which = ref.as<config::AuthVariable>();
        if (which == config::AuthVariable::user) return name;
        if (which == config::AuthVariable::username) return before_at(name);
        if (which == config::AuthVariable::domain) return after_at(name);
        return variable(ref);
      },
      out);
  if (out.empty()) return "Empty username";
  return {};
}

bool Request::rename(std::string_view database, std::string changed) {
  std::string_view why;
  if (changed.empty()) why = "to empty";
  if (changed.size() > kMaxUserName) why = "to one that is too long";
  if (changed.find('\0') != std::string::npos || !is_utf8(changed)) why = "to one that is no text";
  if (!why.empty()) {
    log_error(database, "username attempted to be changed " + std::string(why));
    return false;
  }
  user_ = std::move(changed);
  return true;
}

std::string Request::set_username(std::string_view raw, bool may_be_master) {
  const std::string& separator = context_.settings.settings->auth_master_user_separator;
  std::string_view login;
  bool has_login = false;
  if (may_be_master && !separator.empty()) {
    const std::size_t at = raw.find(separator);
    if (at != std::string_view::npos) {
      login = raw.substr(0, at);
      raw.remove_prefix(at + separator.size());
      has_login = true;
    }
  }
  const std::string_view certified = certificate_name();
  // EXTERNAL brings no name of its own.
  original_user_ = std::string(raw.empty() ? certified : raw);
  has_original_ = true;
  std::string name;
  std::string problem = process_name(certified.empty() ? raw : certified, name);
  if (!problem.empty()) return problem;
  user_ = std::move(name);
  has_user_ = true;
  return has_login ? set_login_username(login) : std::string();
}

std::string_view Request::certificate_name() const noexcept {
  const bool used = settings().auth_ssl_username_from_cert && properties_.valid_client_cert &&
                    properties_.cert_username;
  return used ? std::string_view(*properties_.cert_username) : std::string_view();
}

std::string_view Request::certificate_problem() const noexcept {
  if (!settings().auth_ssl_require_client_cert) return {};
  if (!properties_.valid_client_cert) return "Client didn't present valid SSL certificate";
  // The name in the login must not be taken instead (CVE-2019-3814).
  if (settings().auth_ssl_username_from_cert && certificate_name().empty()) {
    return "SSL certificate didn't contain username";
  }
  return {};
}

std::string Request::set_login_username(std::string_view raw) {
  if (raw.empty()) return "Master user login attempted to use empty login username";
  if (raw == user_ || raw == original_user_) return {};
  std::string name;
  std::string problem = process_name(raw, name);
  if (!problem.empty()) return problem;
  if (name == user_) return {};
  if (context_.databases.masters.empty())
    return "Master user login attempted without master passdbs";
  login_user_ = std::move(name);
  return {};
}

std::string Request::prefix(std::string_view name) const {
  std::string out(name);
  out += '(';
  out += has_user_ ? log_safe(user_, kMaxLoggedName) : "?";
  if (properties_.rip) out += "," + properties_.rip.text();
  if (!login_user_.empty()) out += ",master";
  if (!properties_.session.empty())
    out += ",<" + log_safe(properties_.session, kMaxLoggedName) + ">";
  out += "): ";
  return out;
}

std::string Request::mech_prefix() const {
  return mech_.empty() ? "auth" : to_lower(mech_);
}

bool Request::verbose(config::Tristate override_verbose) const noexcept {
  const config::AuthSettings& s = *context_.settings.settings;
  if (s.auth_debug || properties_.debug) return true;
  if (override_verbose != config::Tristate::default_)
    return override_verbose == config::Tristate::yes;
  return s.auth_verbose;
}

void Request::log_info(std::string_view name, std::string_view text) const {
  const config::Tristate own =
      passdb_ != nullptr ? passdb_->rules.verbose : config::Tristate::default_;
  if (verbose(own)) context_.environment.log(log::Level::info, prefix(name).append(text));
}
void Request::log_failure(PassdbResult result) const {
  std::string_view why = "password mismatch";
  switch (result) {
    case PassdbResult::internal:
      return;  // no fault of the client's, and told as an error
    case PassdbResult::unknown:
      why = "unknown user";
      break;
    case PassdbResult::disabled:
      why = "user disabled";
      break;
    case PassdbResult::expired:
      why = "password expired";
      break;
    case PassdbResult::ok:
    case PassdbResult::next:
    case PassdbResult::mismatch:
    case PassdbResult::no_credentials:
      break;
  }
  log_failure(why);
}
void Request::log_failure(std::string_view why) const {
  const config::AuthSettings& s = *context_.settings.settings;
  if (!s.auth_log_failures || verbose(config::Tristate::default_)) return;
  context_.environment.log(log::Level::info,
                           fmt::format("{}Authentication failed ({})", prefix(mech_prefix()), why));
}
void Request::log_error(std::string_view name, std::string_view text) const {
  context_.environment.log(log::Level::error, prefix(name).append(text));
}
void Request::log_debug(std::string_view name, std::string_view text) const {
  if (context_.settings.settings->auth_debug || properties_.debug) {
    context_.environment.log(log::Level::debug, prefix(name).append(text));
  }
}

std::optional<std::string_view> Request::variable(const config::VariableRef& ref) const {
  using V = config::AuthVariable;
  const auto keep = [this](std::string text) -> std::optional<std::string_view> {
    scratch_ = std::move(text);
    return scratch_;
  };
  const auto port = [&](std::uint16_t p) -> std::optional<std::string_view> {
    return p == 0 ? std::nullopt : keep(std::to_string(p));
  };
  const std::string& auth_user = master_user_.empty() ? original_user_ : master_user_;
  switch (ref.as<V>()) {
    case V::user:
      return user_;
    case V::username:
      return before_at(user_);
    case V::domain:
      return after_at(user_);
    case V::domain_first: {
      const std::string_view rest = after_at(user_);
      return before_at(rest);
    }
    case V::domain_last: {
      const std::size_t at = user_.rfind('@');
      return at == std::string::npos ? std::string_view{} : std::string_view(user_).substr(at + 1);
    }
    case V::service:
      return properties_.service;
    case V::local_ip:
      return keep(properties_.lip.text());
    case V::remote_ip:
      return keep(properties_.rip.text());
    case V::real_local_ip:
      return keep(properties_.real_lip.text());
    case V::real_remote_ip:
      return keep(properties_.real_rip.text());
    case V::local_port:
      return port(properties_.lport);
    case V::remote_port:
      return port(properties_.rport);
    case V::real_local_port:
      return port(properties_.real_lport);
    case V::real_remote_port:
      return port(properties_.real_rport);
    case V::mech:
      return mech_;
    case V::secured:
      return properties_.secured_tls ? std::string_view("TLS")
             : properties_.secured   ? std::string_view("secured")
                                     : std::string_view();
    case V::cert:
      return properties_.valid_client_cert ? std::string_view("valid") : std::string_view();
    case V::password:
      return password_.reveal();
    case V::pid:
      return keep(std::to_string(client_pid_));
    case V::db_id:
      if (passdb_ != nullptr) return keep(std::to_string(passdb_->id));
      if (userdb_ != nullptr) return keep(std::to_string(userdb_->id));
      return std::nullopt;
    case V::session:
      return properties_.session;
    case V::session_pid:
      return std::nullopt;  // known only to the mail process
    case V::local_name:
      return properties_.local_name;
    case V::client_id:
      return properties_.client_id;
    case V::login_user:
      return login_user_;
    case V::login_username:
      return before_at(login_user_);
    case V::login_domain:
      return after_at(login_user_);
    case V::orig_user:
      return original_user_;
    case V::orig_username:
      return before_at(original_user_);
    case V::orig_domain:
      return after_at(original_user_);
    case V::auth_user:
      return auth_user;
    case V::auth_username:
      return before_at(auth_user);
    case V::auth_domain:
      return after_at(auth_user);
    case V::master_user:
      return master_user_;
    case V::passdb: {
      const Field* field = state_.fields.find(ref.argument);
      if (field == nullptr) return std::nullopt;
      return field->has_value ? field->value.reveal() : std::string_view("yes");
    }
    case V::userdb: {
      const Field* field = state_.userdb.find(ref.argument);
      if (field == nullptr) return std::nullopt;
      return field->has_value ? field->value.reveal() : std::string_view("yes");
    }
  }
  return std::nullopt;
}

void Request::authenticate(Secret password, bool resolve_proxy) {
  password_ = std::move(password);
  resolve_proxy_ = resolve_proxy;
  start_walk(Mode::verify);
}

void Request::prove(std::unique_ptr<sasl::PasswordProof> proof, bool resolve_proxy) {
  proof_ = std::move(proof);
  resolve_proxy_ = resolve_proxy;
  start_walk(Mode::verify);
}

void Request::look_up() {
  resolve_proxy_ = true;
  start_walk(Mode::lookup);
}

void Request::done(PassdbResult result) {
  log_debug("auth", "Auth request finished");
  // The last thing a request does: its owner may retire it.
  owner_->on_passdb_done(*this, result);
}

}  // namespace postern::auth
