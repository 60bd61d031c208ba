// driver = sql: one query a lookup; column names are field names.
#include <algorithm>

#include "auth/passdb.h"
#include "auth/sqlite.h"

namespace postern::auth {
namespace {

constexpr std::string_view kPasswordQuery =
    "SELECT username, domain, password FROM users WHERE username = '%n' AND domain = '%d'";
constexpr std::string_view kUserQuery =
    "SELECT home, uid, gid FROM users WHERE username = '%n' AND domain = '%d'";

class SqlDb final : public Database {
 public:
  SqlDb(std::string path, config::SqlQuery query, std::string scheme, bool passdb)
      : file_(std::move(path)),
        query_(std::move(query)),
        scheme_(std::move(scheme)),
        passdb_(passdb) {}

  DbAnswer lookup(const DbQuery& query) override {
    DbAnswer out;
    out.kind = DbAnswer::Kind::internal;
    SqliteFile::Row row = file_.query(query_, query);
    const std::string what = passdb_ ? "Password query" : "User query";
    switch (row.kind) {
      case SqliteFile::Row::Kind::none:
        out.kind = DbAnswer::Kind::unknown;
        break;
      case SqliteFile::Row::Kind::busy:
        out.kind = DbAnswer::Kind::busy;
        out.text = what + " failed: database is locked";
        break;
      case SqliteFile::Row::Kind::several:
        out.text = what + " returned multiple matches";
        break;
      case SqliteFile::Row::Kind::failed:
        out.text =
            row.error == "Not connected to database" ? row.error : what + " failed: " + row.error;
        break;
      case SqliteFile::Row::Kind::one:
        if (passdb_ && std::ranges::find(row.columns, "password") == row.columns.end() &&
            std::ranges::find(row.columns, "password_noscheme") == row.columns.end()) {
          out.text = "Password query must return a field named 'password'";
          break;
        }
        out.kind = DbAnswer::Kind::found;
        out.fields = std::move(row.fields);
        break;
    }
    return out;
  }

  std::string_view default_scheme() const noexcept override { return scheme_; }
  std::string debug_text(const DbQuery& /*query*/) const override {
    return "query: " + query_.sql();
  }

 private:
  SqliteFile file_;
  config::SqlQuery query_;
  std::string scheme_;
  bool passdb_;
};

}  // namespace

Result<std::unique_ptr<Database>> make_sql_db(const DriverSettings& settings) {
  if (!settings.args.empty()) {
    return Error{0, "args: a file of sql settings is not read; put its keys into this section"};
  }
  // "PATH [journal_mode=…] [readonly]": it is always read-only here.
  const std::vector<std::string> words = split_field_text(settings.connect);
  if (words.empty()) return Error{0, "connect is missing: the SQLite file"};
  const std::string_view text = !settings.query.empty() ? settings.query
                                : settings.passdb       ? kPasswordQuery
                                                        : kUserQuery;
  auto query = config::SqlQuery::compile(text);
  if (!query.ok())
    return Error{0, (settings.passdb ? "password_query: " : "user_query: ") + query.error().text};
  std::string scheme(settings.default_scheme.empty() ? "CRYPT" : settings.default_scheme);
  return std::unique_ptr<Database>(std::make_unique<SqlDb>(words[0], std::move(query.value()),
                                                           std::move(scheme), settings.passdb));
}

}  // namespace postern::auth
