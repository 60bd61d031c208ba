#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "auth/environment.h"
#include "auth/fields.h"
#include "config/settings.h"
#include "config/variables.h"
#include "lib/result.h"
#include "lib/secret.h"

/// Databases. A driver only fetches: the fields of one user, or that there is none. Verifying,
/// rules, checks and everything else a field means is the walk's (request.h), so a driver is one
/// class and one row of a table.
namespace postern::auth {

/// What a database answered.
struct DbAnswer {
  enum class Kind : std::uint8_t {
    found,
    unknown,      // no such user
    internal,     // the database cannot say; `text` is logged as an error
    busy,         // ask again in a moment
    unsupported,  // it cannot look up without a password or a login
  };
  Kind kind = Kind::unknown;
  std::vector<Field> fields;  // in the database's order, as they stand (password, userdb_x, …)
  std::string text;           // of internal: safe to log; empty: logged already
};

/// What a driver may know of a request.
struct DbQuery {
  const config::VariableLookup& variables;  // config::AuthVariable
  TimePoint now;
};

class Database {
 public:
  virtual ~Database() = default;
  virtual DbAnswer lookup(const DbQuery& query) = 0;
  /// The names of all users, for LIST; an Error where that is not supported.
  virtual Result<std::vector<std::string>> list();
  /// Scheme of stored passwords without braces.
  virtual std::string_view default_scheme() const noexcept { return "CRYPT"; }
  /// Line of the debug log about a lookup: "lookup: user=alice file=users"; may be empty.
  virtual std::string debug_text(const DbQuery& query) const;
};

/// What follows a lookup: the `result_…` settings of a block.
struct DbRules {
  config::PassdbRule success = config::PassdbRule::return_ok;
  config::PassdbRule failure = config::PassdbRule::continue_;
  config::PassdbRule internalfail = config::PassdbRule::continue_;
  config::Tristate verbose = config::Tristate::default_;
};

/// One [passdb NAME] with its driver.
struct Passdb {
  std::string name;      // for log prefixes
  std::string protocol;  // only for this service; empty: for all
  DbRules rules;
  config::PassdbSkip skip = config::PassdbSkip::never;
  std::vector<std::string> mechanisms, username_filter;
  bool deny = false;
  bool master = false;
  std::unique_ptr<Database> database;
  std::vector<config::Template> default_fields, override_fields;
  std::optional<StoredPassword> sample;  // a hash seen here, to take as long over unknown users
  unsigned id = 0;
  bool warned_off_value = false;  // said once that nologin=no means yes

  /// By mechanism ("" for lookups without one) and user name; not by `skip`.
  bool is_for(std::string_view mech, std::string_view user) const;
};

struct Userdb {
  std::string name;
  std::string protocol;
  DbRules rules;
  config::UserdbSkip skip = config::UserdbSkip::never;
  std::unique_ptr<Database> database;  // null: prefetch
  /// It knows everybody (static): without a login the passdbs are asked whether a user exists.
  bool asks_passdbs = false;
  std::vector<config::Template> default_fields, override_fields;
  unsigned id = 0;
};

/// Opens nothing yet; an Error is a configuration mistake.
Result<std::unique_ptr<Passdb>> make_passdb(const config::PassdbSettings& settings, unsigned id);
Result<std::unique_ptr<Userdb>> make_userdb(const config::UserdbSettings& settings, unsigned id);

/// `KEY=VALUE …` with %variables, split before anything is expanded.
Result<std::vector<config::Template>> compile_fields(std::string_view text);
/// Expands one of them and splits it at its first `=`.
Field expand_field(const config::Template& field, const config::VariableLookup& variables);
/// The same for a field of an answer: %{passdb:…} knows the answer's fields before it.
Field expand_field(const config::Template& field, const config::VariableLookup& variables,
                   const std::vector<Field>& before);

/// What all drivers read of a block, whichever kind of database it is.
struct DriverSettings {
  bool passdb = true;
  std::string_view args, default_scheme, username_format, passwd_file_path, connect, query,
      password, fields;
};
/// A row of the table of drivers.
struct DriverRow {
  std::string_view name;
  Result<std::unique_ptr<Database>> (*make)(const DriverSettings& settings);
};
Result<std::unique_ptr<Database>> make_static_db(const DriverSettings& settings);
Result<std::unique_ptr<Database>> make_passwd_file_db(const DriverSettings& settings);
Result<std::unique_ptr<Database>> make_sql_db(const DriverSettings& settings);

}  // namespace postern::auth
