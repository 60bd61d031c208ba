#pragma once

#include <sqlite3.h>
#include <sys/stat.h>

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "auth/environment.h"
#include "auth/passdb.h"
#include "config/sql-query.h"
#include "lib/handle.h"

namespace postern::auth {

using SqliteHandle = Handle<sqlite3, sqlite3_close_v2>;
using SqliteStatement = Handle<sqlite3_stmt, sqlite3_finalize>;

/// A SQLite file, opened read-only in this process when first asked, with prepared statements. A
/// file that was replaced (another inode; looked at once a second at most) is opened anew; a
/// missing one is tried again with each query. A locked one is not waited for: that is `busy`, and
/// the caller asks again.
class SqliteFile {
 public:
  explicit SqliteFile(std::string path) : path_(std::move(path)) {}

  /// One row as fields: column names and values, NULL columns left out.
  /// @param columns  filled with all column names
  struct Row {
    enum class Kind : std::uint8_t { none, one, several, busy, failed };
    Kind kind = Kind::none;
    std::vector<Field> fields;
    std::vector<std::string> columns;
    std::string error;  // of failed; empty when it was logged already
  };
  Row query(const config::SqlQuery& query, const DbQuery& request);

 private:
  bool check(TimePoint now);
  bool open();
  sqlite3_stmt* statement(const config::SqlQuery& query, Row& out);
  void close() noexcept;
  void log_once(const std::string& text);

  std::string path_;
  SqliteHandle database_;
  std::unordered_map<const config::SqlQuery*, SqliteStatement> statements_;
  struct stat status_ {};
  TimePoint checked_{};
  std::string last_error_;
};

}  // namespace postern::auth
