// What each extra field of a passdb means.
#include <algorithm>
#include <array>

#include "auth/request.h"
#include "lib/text.h"

namespace postern::auth {
namespace {

constexpr std::int64_t kMaxDelay = 300;  // seconds

bool looks_off(std::string_view value) noexcept {
  return same_text(value, "no") || same_text(value, "n") || value == "0" ||
         same_text(value, "false");
}

}  // namespace

bool Request::set_fields(const std::vector<config::Template>& fields) {
  for (const config::Template& field : fields) {
    const Field expanded =
        expand_field(field, [this](const config::VariableRef& ref) { return variable(ref); });
    if (!set_field(expanded.name, expanded)) return false;
  }
  return true;
}

void Request::import_fields(std::string_view list, bool userdb) {
  std::size_t count = 0;
  while (!list.empty() && ++count <= kMaxFields) {
    const std::string_view one = list.substr(0, list.find('\t'));
    list.remove_prefix(std::min(list.size(), one.size() + 1));
    if (one.empty()) continue;
    const std::size_t equals = one.find('=');
    const Field field = equals == std::string_view::npos
                            ? Field(one)
                            : Field(one.substr(0, equals), one.substr(equals + 1));
    if (userdb) {
      if (wire::is_field_name(field.name)) state_.userdb.set(field.copy());
    } else if (field.name.starts_with("passdb_import")) {
      // Each would be one more call on the stack, and the text would say how many.
      log_error(passdb_->name, "passdb_import within passdb_import");
      unacceptable_ = true;
    } else {
      set_field(field.name, field);
    }
  }
}

bool Request::set_field(std::string_view name, const Field& field) {
  if (field.value.size() > kMaxFieldValue) {
    log_error(passdb_->name,
              fmt::format("field {} is longer than {} bytes", log_safe(name, 64), kMaxFieldValue));
    unacceptable_ = true;
    return false;
  }
  if (name.ends_with(":protected")) {
    name.remove_suffix(10);
    if (state_.fields.has(name) ||
        (name.starts_with("userdb_") && state_.userdb.has(name.substr(7))))
      return true;
  } else if (name.ends_with(":remove")) {
    name.remove_suffix(7);
    if (name.starts_with("userdb_"))
      state_.userdb.remove(name.substr(7));
    else
      state_.fields.remove(name);
    return true;
  }
  bool known = false;
  if (!set_special_field(name, field, known)) {
    unacceptable_ = true;
    return false;
  }
  if (known) return true;
  if (!set_plain_field(name, field)) {
    unacceptable_ = true;
    return false;
  }
  return true;
}

bool Request::set_plain_field(std::string_view name, const Field& field) {
  if (!wire::is_field_name(name)) {
    log_error(passdb_->name, "'" + log_safe(name) + "' cannot be the name of a field");
    return false;
  }
  Field copy = field.copy();
  if (name.starts_with("userdb_")) {
    state_.userdb_set = true;
    if (name == "userdb_userdb_import") {
      import_fields(field.value.reveal(), true);
    } else {
      copy.name = std::string(name.substr(7));
      state_.userdb.set(std::move(copy));
    }
  } else {
    copy.name = std::string(name);
    state_.fields.set(std::move(copy));
  }
  if (state_.fields.size() + state_.userdb.size() > kMaxFields ||
      state_.fields.bytes() + state_.userdb.bytes() > kMaxFieldBytes) {
    log_error(passdb_->name, "too many or too long fields");
    return false;
  }
  return true;
}

/// Fields that auth acts on itself. Those that nobody outside may see end here (`known`).
bool Request::set_special_field(std::string_view name, const Field& field, bool& known) {
  const std::string_view value = field.value.reveal();
  known = true;
  if (name == "password" || name == "password_noscheme") {
    if (stored_) {
      log_error(passdb_->name, "Multiple password values not supported");
      return true;
    }
    stored_ = field.value.copy();
    stored_noscheme_ = name == "password_noscheme";
    return true;
  }
  if (name == "nopassword") return nopassword_ = true;
  if (name == "noauthenticate") return nopassword_ = noauthenticate_ = true;
  if (name == "user" || name == "username" || name == "domain") return set_name_field(name, value);
  if (name == "login_user") {
    std::string target;
    const std::string problem = process_name(value, target);
    if (!problem.empty()) {
      log_error(passdb_->name, "login_user: " + problem);
      return false;
    }
    if (target == user_) return true;
    if (master_verified()) {
      // Two rows that name each other would go on for ever.
      log_error(passdb_->name, "login_user: another user is logged in as already");
      return false;
    }
    login_user_ = std::move(target);
    return true;
  }
  if (name == "fail") return check_failed_ = failed_by_field_ = true;
  if (name == "allow_nets") return check_networks(name, value, properties_.rip), true;
  if (name == "allow_real_nets") return check_networks(name, value, properties_.real_rip), true;
  if (name == "delay_until") return set_delay_until(value), true;
  if (name == "passdb_import") return import_fields(value, false), true;
  if (name == "token") return true;  // an OAuth2 token is nobody else's business
  known = false;
  if ((name == "nologin" || name == "proxy") && field.has_value && looks_off(value) &&
      !passdb_->warned_off_value) {
    passdb_->warned_off_value = true;
    context_.environment.log(log::Level::warning,
                             prefix(passdb_->name) + "field " + std::string(name) +
                                 " is on whatever its value is; leave it out (NULL) to mean off");
  }
  return true;
}

bool Request::set_name_field(std::string_view name, std::string_view value) {
  std::string changed;
  const std::size_t at = user_.find('@');
  if (name == "user") {
    changed = std::string(value);
  } else if (name == "username") {
    changed = std::string(value);
    if (at != std::string::npos && !value.empty()) changed += user_.substr(at);
  } else {
    changed = user_.substr(0, at);
    if (!value.empty()) changed.append("@").append(value);
  }
  if (!changed.empty()) return rename(passdb_->name, std::move(changed));
  check_failed_ = true;
  log_error(passdb_->name, "username attempted to be changed to empty");
  return true;
}

void Request::check_networks(std::string_view name, std::string_view list, const IpAddress& ip) {
  for (const std::string_view word : words(list, ", ")) {
    if (word == "local") {
      if (!ip) return;
      continue;
    }
    const auto network = Network::parse(word);
    if (!network) {
      log_info(passdb_->name, std::string(name) + ": Invalid network '" + log_safe(word) + "'");
      continue;
    }
    if (ip && network->contains(ip)) return;
  }
  check_failed_ = true;
  log_info(passdb_->name, std::string(name) + " check failed: IP " + (ip ? ip.text() : "unknown") +
                              " not in allowed networks");
}

void Request::set_delay_until(std::string_view text) {
  const std::size_t plus = text.find('+');
  constexpr std::uint64_t kMost = INT64_MAX / 2;
  const auto time = decimal(text.substr(0, plus), 0, kMost);
  if (!time) {
    check_failed_ = true;
    log_error(passdb_->name, "Invalid delay_until timestamp '" + log_safe(text) + "'");
    return;
  }
  const std::int64_t now = context_.environment.unix_time();
  auto until = static_cast<std::int64_t>(*time);
  if (plus != std::string_view::npos) {
    const auto spread = decimal(text.substr(plus + 1), 0, UINT32_MAX);
    if (!spread) {
      check_failed_ = true;
      log_error(passdb_->name,
                "Invalid delay_until randomness number '" + log_safe(text.substr(plus + 1)) + "'");
      return;
    }
    if (*spread > 0) until += context_.environment.random(static_cast<std::uint32_t>(*spread));
    until = std::min(until, std::max(now + kMaxDelay, static_cast<std::int64_t>(*time)));
  }
  if (until > now + kMaxDelay) {
    check_failed_ = true;
    log_error(passdb_->name,
              fmt::format("delay_until timestamp {} is too much in the future, failing", *time));
    return;
  }
  state_.delay_until = until;
}

}  // namespace postern::auth
