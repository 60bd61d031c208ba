#include "auth/passdb.h"

#include <algorithm>
#include <array>

#include "config/variable-functions.h"
#include "lib/text.h"
#include "wire/auth-request.h"

namespace postern::auth {
namespace {

using config::PassdbRule;
using config::Template;

constexpr std::array<DriverRow, 3> kDrivers{{
    {"static", &make_static_db},
    {"passwd-file", &make_passwd_file_db},
    {"sql", &make_sql_db},
}};

std::string_view driver_name(config::PassdbDriver driver) {
  switch (driver) {
    case config::PassdbDriver::static_:
      return "static";
    case config::PassdbDriver::passwd_file:
      return "passwd-file";
    case config::PassdbDriver::sql:
      return "sql";
    case config::PassdbDriver::none:
      break;
  }
  return {};
}

std::string_view driver_name(config::UserdbDriver driver) {
  switch (driver) {
    case config::UserdbDriver::static_:
      return "static";
    case config::UserdbDriver::passwd_file:
      return "passwd-file";
    case config::UserdbDriver::sql:
      return "sql";
    case config::UserdbDriver::prefetch:
    case config::UserdbDriver::none:
      break;
  }
  return {};
}

Result<std::unique_ptr<Database>> make_database(std::string_view driver,
                                                const DriverSettings& settings) {
  for (const DriverRow& row : kDrivers) {
    if (row.name == driver) return row.make(settings);
  }
  return Error{0, "no driver"};
}

template <class Settings>
DriverSettings common_settings(const Settings& from) {
  DriverSettings out;
  out.args = from.args.reveal();
  out.username_format = from.username_format;
  out.passwd_file_path = from.passwd_file_path;
  out.connect = from.connect.reveal();
  return out;
}

template <class Db, class Settings>
Status take_common(Db& db, const Settings& from) {
  db.name = from.name;
  db.protocol = from.protocol;
  db.rules = {from.result_success, from.result_failure, from.result_internalfail,
              from.auth_verbose};
  db.skip = from.skip;
  auto defaults = compile_fields(from.default_fields.reveal());
  if (!defaults.ok()) return Error{0, "default_fields: " + defaults.error().text};
  db.default_fields = std::move(defaults.value());
  auto overrides = compile_fields(from.override_fields.reveal());
  if (!overrides.ok()) return Error{0, "override_fields: " + overrides.error().text};
  db.override_fields = std::move(overrides.value());
  return Done{};
}

}  // namespace

Result<std::vector<std::string>> Database::list() {
  return Error{0, "this database cannot list its users"};
}
std::string Database::debug_text(const DbQuery& /*query*/) const {
  return {};
}

bool Passdb::is_for(std::string_view mech, std::string_view user) const {
  if (!mechanisms.empty()) {
    const std::string_view wanted = mech.empty() ? "none" : mech;
    if (std::ranges::none_of(mechanisms,
                             [&](const std::string& m) { return same_text(m, wanted); }))
      return false;
  }
  if (username_filter.empty()) return true;
  bool included = false;
  bool any_inclusion = false;
  for (const std::string& pattern : username_filter) {
    const bool exclusion = pattern.starts_with('!');
    const bool matches =
        config::wildcard_match(user, std::string_view(pattern).substr(exclusion ? 1 : 0));
    if (exclusion && matches) return false;
    any_inclusion |= !exclusion;
    included |= !exclusion && matches;
  }
  return included || !any_inclusion;
}

Result<std::vector<Template>> compile_fields(std::string_view text) {
  std::vector<Template> out;
  for (const std::string& word : split_field_text(text)) {
    const std::string_view name = std::string_view(word).substr(0, word.find('='));
    if (!wire::is_field_name(name))
      return Error{0, "'" + log_safe(name) + "' cannot be the name of a field"};
    auto compiled = Template::compile(word, config::auth_variables());
    if (!compiled.ok()) return compiled.error();
    out.push_back(std::move(compiled.value()));
  }
  return out;
}

Field expand_field(const Template& field, const config::VariableLookup& variables) {
  WipingBuffer text;
  field.expand(variables, text);
  const std::size_t equals = text.view().find('=');
  if (equals == std::string_view::npos) return Field(text.view());
  return {text.view().substr(0, equals), text.view().substr(equals + 1)};
}

Field expand_field(const Template& field, const config::VariableLookup& variables,
                   const std::vector<Field>& before) {
  return expand_field(
      field, [&](const config::VariableRef& ref) -> std::optional<std::string_view> {
        if (ref.as<config::AuthVariable>() != config::AuthVariable::passdb) return variables(ref);
        const auto found = std::find_if(before.rbegin(), before.rend(),
                                        [&](const Field& f) { return f.name == ref.argument; });
        if (found == before.rend()) return variables(ref);
        return found->has_value ? found->value.reveal() : std::string_view("yes");
      });
}

Result<std::unique_ptr<Passdb>> make_passdb(const config::PassdbSettings& settings, unsigned id) {
  auto out = std::make_unique<Passdb>();
  const Status common = take_common(*out, settings);
  if (!common.ok()) return Error{0, "passdb " + settings.name + ": " + common.error().text};
  out->mechanisms = settings.mechanisms;
  out->username_filter = settings.username_filter;
  out->deny = settings.deny;
  out->master = settings.master;
  out->id = id;
  if (settings.pass) out->rules.success = PassdbRule::continue_;
  DriverSettings driver = common_settings(settings);
  driver.default_scheme = settings.default_pass_scheme;
  driver.query = settings.password_query;
  driver.password = settings.password.reveal();
  driver.fields = settings.fields.reveal();
  auto database = make_database(driver_name(settings.driver), driver);
  if (!database.ok()) return Error{0, "passdb " + settings.name + ": " + database.error().text};
  out->database = std::move(database.value());
  const std::string_view scheme = out->database->default_scheme();
  if (find_scheme(scheme.substr(0, scheme.find('.'))) == nullptr) {
    return Error{0,
                 "passdb " + settings.name + ": unknown default_pass_scheme " + log_safe(scheme)};
  }
  return out;
}

Result<std::unique_ptr<Userdb>> make_userdb(const config::UserdbSettings& settings, unsigned id) {
  auto out = std::make_unique<Userdb>();
  const Status common = take_common(*out, settings);
  if (!common.ok()) return Error{0, "userdb " + settings.name + ": " + common.error().text};
  out->id = id;
  if (settings.driver == config::UserdbDriver::prefetch) return out;
  if (settings.driver == config::UserdbDriver::static_) {
    const std::vector<std::string> words = split_field_text(settings.args.reveal());
    out->asks_passdbs = std::ranges::find(words, "allow_all_users=yes") == words.end();
  }
  DriverSettings driver = common_settings(settings);
  driver.passdb = false;
  driver.query = settings.user_query;
  auto database = make_database(driver_name(settings.driver), driver);
  if (!database.ok()) return Error{0, "userdb " + settings.name + ": " + database.error().text};
  out->database = std::move(database.value());
  return out;
}

}  // namespace postern::auth
