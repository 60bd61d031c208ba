// The walk through the userdbs.
#include <grp.h>
#include <pwd.h>

#include <algorithm>

#include "auth/request.h"
#include "lib/text.h"

namespace postern::auth {
namespace {

constexpr Milliseconds kBusyRetry{20};
constexpr std::chrono::seconds kBusyLimit{5};

/// A number, or a name of the system's; nothing if there is no such user or group.
std::optional<std::string> number_of(std::string_view name, bool is_group) {
  if (decimal(name, 0, UINT32_MAX)) return std::string(name);
  const std::string text(name);
  std::vector<char> buffer(16384);
  if (is_group) {
    group entry{};
    group* found = nullptr;
    if (::getgrnam_r(text.c_str(), &entry, buffer.data(), buffer.size(), &found) != 0 ||
        found == nullptr)
      return std::nullopt;
    return std::to_string(found->gr_gid);
  }
  passwd entry{};
  passwd* found = nullptr;
  if (::getpwnam_r(text.c_str(), &entry, buffer.data(), buffer.size(), &found) != 0 ||
      found == nullptr)
    return std::nullopt;
  return std::to_string(found->pw_uid);
}

}  // namespace

void Request::look_up_user() {
  userdb_index_ = 0;
  userdb_found_ = userdb_internal_ = false;
  next_userdb();
}

void Request::next_userdb() {
  const std::vector<Userdb*>& list = context_.databases.userdbs;
  // No userdb at all is an empty static one.
  if (list.empty()) return end_userdb_walk(UserdbResult::ok);
  while (userdb_index_ < list.size()) {
    Userdb* db = list[userdb_index_++];
    if (db->skip == config::UserdbSkip::found && userdb_found_) continue;
    if (db->skip == config::UserdbSkip::notfound && !userdb_found_) continue;
    userdb_ = db;
    busy_ = false;
    before_ = state_.copy();
    return ask_userdb();
  }
  userdb_ = nullptr;
  if (userdb_found_) return end_userdb_walk(UserdbResult::ok);
  end_userdb_walk(userdb_internal_ ? UserdbResult::internal : UserdbResult::unknown);
}

void Request::ask_userdb() {
  if (!userdb_->database) {  // prefetch
    if (state_.userdb_set) return end_userdb(UserdbResult::ok);
    if (context_.databases.userdbs.size() == 1) {
      log_error("prefetch", "userdb lookup not possible with only userdb prefetch");
      return end_userdb(UserdbResult::internal);
    }
    return end_userdb(UserdbResult::unknown);
  }
  if (userdb_->asks_passdbs && mech_.empty()) {
    checking_existence_ = true;
    return start_walk(Mode::lookup);
  }
  fetch_user();
}

void Request::on_existence_known(PassdbResult result) {
  checking_existence_ = false;
  // Beside that, only what the passdbs say for the userdb is asked for here.
  FieldList given = std::move(state_.userdb);
  before_ = State{};
  state_ = State{};
  if (result == PassdbResult::ok) state_.userdb = std::move(given);
  switch (result) {
    case PassdbResult::ok:
      return fetch_user();
    case PassdbResult::internal:
      return end_userdb(UserdbResult::internal);
    case PassdbResult::no_credentials:
      log_error(userdb_->name, "passdb doesn't support lookups, can't verify user's existence");
      return end_userdb(UserdbResult::internal);
    case PassdbResult::next:
    case PassdbResult::mismatch:
    case PassdbResult::unknown:
    case PassdbResult::disabled:
    case PassdbResult::expired:
      break;
  }
  end_userdb(UserdbResult::unknown);
}

void Request::fetch_user() {
  const auto lookup = [this](const config::VariableRef& ref) { return variable(ref); };
  const DbQuery query{lookup, context_.environment.now()};
  const DbAnswer answer = userdb_->database->lookup(query);
  if (answer.kind == DbAnswer::Kind::busy) {
    if (!busy_) busy_since_ = query.now;
    busy_ = true;
    if (query.now - busy_since_ < kBusyLimit) {
      waiting_ = context_.environment.after(kBusyRetry, [this] {
        waiting_ = 0;
        fetch_user();
      });
      return;
    }
  }
  on_userdb_answer(answer);
}

void Request::on_userdb_answer(const DbAnswer& answer) {
  if (answer.kind == DbAnswer::Kind::unknown) {
    if (verbose(userdb_->rules.verbose))
      context_.environment.log(log::Level::info, prefix(userdb_->name) + "unknown user");
    return end_userdb(UserdbResult::unknown);
  }
  if (answer.kind != DbAnswer::Kind::found) {
    if (!answer.text.empty()) log_error(userdb_->name, answer.text);
    return end_userdb(UserdbResult::internal);
  }
  for (const config::Template& field : userdb_->default_fields) {
    if (!set_userdb_field(expand_field(
            field, [this](const config::VariableRef& ref) { return variable(ref); }))) {
      return end_userdb(UserdbResult::internal);
    }
  }
  for (const Field& field : answer.fields) {
    if (!set_userdb_field(field)) return end_userdb(UserdbResult::internal);
  }
  end_userdb(UserdbResult::ok);
}

bool Request::set_userdb_field(const Field& field) {
  if (field.value.size() > kMaxFieldValue) {
    log_error(userdb_->name, fmt::format("field {} is longer than {} bytes",
                                         log_safe(field.name, 64), kMaxFieldValue));
    return false;
  }
  Field copy = field.copy();
  if (copy.name.ends_with(":protected")) {
    copy.name.resize(copy.name.size() - 10);
    if (state_.userdb.has(copy.name)) return true;
  } else if (copy.name.ends_with(":remove")) {
    state_.userdb.remove(std::string_view(copy.name).substr(0, copy.name.size() - 7));
    return true;
  }
  const std::string_view value = copy.value.reveal();
  if (!wire::is_field_name(copy.name)) {
    log_error(userdb_->name, "'" + log_safe(copy.name) + "' cannot be the name of a field");
    return false;
  }
  if (copy.name == "uid" || copy.name == "gid") {
    const auto number = number_of(value, copy.name == "gid");
    if (!number) {
      log_error(userdb_->name, "Invalid " + copy.name + " value '" + log_safe(value) + "'");
      return false;
    }
    state_.userdb.set(copy.name, *number);
    return true;
  }
  if (copy.name == "user" || copy.name == "username" || copy.name == "domain") {
    const std::size_t at = std::min(user_.find('@'), user_.size());
    std::string changed(value);
    if (copy.name == "username" && !value.empty()) changed += user_.substr(at);
    if (copy.name == "domain")
      changed = user_.substr(0, at) + (value.empty() ? "" : "@" + std::string(value));
    return rename(userdb_->name, std::move(changed));
  }
  if (copy.name == "userdb_import")
    import_fields(value, true);
  else
    state_.userdb.set(std::move(copy));
  if (state_.userdb.size() <= kMaxFields && state_.userdb.bytes() <= kMaxFieldBytes) return true;
  log_error(userdb_->name, "too many or too long fields");
  return false;
}

void Request::end_userdb(UserdbResult result) {
  using config::PassdbRule;
  const DbRules& rules = userdb_->rules;
  const auto take = [this](const config::Template& field) {
    return set_userdb_field(
        expand_field(field, [this](const config::VariableRef& ref) { return variable(ref); }));
  };
  if (result == UserdbResult::ok && !std::ranges::all_of(userdb_->override_fields, take)) {
    result = UserdbResult::internal;
  }
  PassdbRule rule = rules.failure;
  if (result == UserdbResult::ok) {
    rule = rules.success;
  } else {
    state_ = std::move(before_);
    if (result == UserdbResult::internal) {
      userdb_internal_ = true;
      rule = rules.internalfail;
    }
  }
  bool stop = false;
  switch (rule) {
    case PassdbRule::return_:
      stop = true;
      break;
    case PassdbRule::return_ok:
      stop = userdb_found_ = true;
      break;
    case PassdbRule::return_fail:
      stop = true, userdb_found_ = false;
      break;
    case PassdbRule::continue_:
      break;
    case PassdbRule::continue_ok:
      userdb_found_ = true;
      break;
    case PassdbRule::continue_fail:
      userdb_found_ = false;
      break;
  }
  userdb_ = nullptr;
  if (stop) userdb_index_ = context_.databases.userdbs.size();
  next_userdb();
}

void Request::end_userdb_walk(UserdbResult result) {
  if (result == UserdbResult::ok && state_.userdb.has("tempfail")) {
    userdb_reason_ = std::string(state_.userdb.value("reason"));
    result = UserdbResult::internal;
  }
  owner_->on_userdb_done(*this, result);
}

}  // namespace postern::auth
