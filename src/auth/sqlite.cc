#include "auth/sqlite.h"

#include <cerrno>
#include <cstring>

#include "lib/log.h"
#include "lib/text.h"

namespace postern::auth {
namespace {

constexpr int kBusyMs = 2;             // in the library, before `busy` is reported
constexpr int kMaxSteps = 50'000'000;  // virtual machine operations of one query
constexpr int kMaxRow = 16 << 20;      // bytes of a row that is read; a name or a hash is far below

std::string_view column_text(sqlite3_stmt* statement, int column) noexcept {
  const void* text = sqlite3_column_blob(statement, column);
  const int size = sqlite3_column_bytes(statement, column);
  if (text == nullptr || size <= 0) return {};
  return {static_cast<const char*>(text), static_cast<std::size_t>(size)};
}

bool is_busy(int code) noexcept {
  return (code & 0xff) == SQLITE_BUSY || (code & 0xff) == SQLITE_LOCKED;
}

/// A query that runs away (a missing index, a join gone wrong) ends as an error.
int too_long(void* /*unused*/) noexcept {
  return 1;
}

}  // namespace

void SqliteFile::close() noexcept {
  statements_.clear();
  database_.reset();
}

void SqliteFile::log_once(const std::string& text) {
  if (text == last_error_) return;
  last_error_ = text;
  log::error("{}", text);
}

bool SqliteFile::check(TimePoint now) {
  if (database_ && now - checked_ < std::chrono::seconds(1)) return true;
  checked_ = now;
  struct stat status {};
  if (::stat(path_.c_str(), &status) < 0) {
    const int errnum = errno;
    close();
    log_once(system_error("sqlite: open(" + path_ + ") failed", errnum).text);
    return false;
  }
  if (database_ && (status.st_ino != status_.st_ino || status.st_dev != status_.st_dev)) {
    log::info("sqlite: {} was replaced, opening it anew", path_);
    close();
  }
  if (database_) return true;
  status_ = status;
  return open();
}

bool SqliteFile::open() {
  sqlite3* raw = nullptr;
  const int code = sqlite3_open_v2(
      path_.c_str(), &raw, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE,
      nullptr);
  database_.reset(raw);
  if (code != SQLITE_OK) {
    log_once("sqlite: open(" + path_ + ") failed: " + sqlite3_errstr(code));
    close();
    return false;
  }
  sqlite3_busy_timeout(raw, kBusyMs);
  sqlite3_extended_result_codes(raw, 1);
  // Nothing in the file may call functions with side effects, or be a trap in its schema.
  sqlite3_db_config(raw, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_db_config(raw, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
  sqlite3_limit(raw, SQLITE_LIMIT_LENGTH, kMaxRow);
  sqlite3_progress_handler(raw, kMaxSteps, &too_long, nullptr);
  return true;
}

sqlite3_stmt* SqliteFile::statement(const config::SqlQuery& query, Row& out) {
  const auto known = statements_.find(&query);
  if (known != statements_.end()) return known->second.get();
  sqlite3_stmt* raw = nullptr;
  const char* tail = nullptr;
  const int code = sqlite3_prepare_v3(database_.get(), query.sql().c_str(), -1,
                                      SQLITE_PREPARE_PERSISTENT, &raw, &tail);
  SqliteStatement prepared(raw);
  if (code != SQLITE_OK || !prepared) {
    out.kind = is_busy(code) ? Row::Kind::busy : Row::Kind::failed;
    if (out.kind == Row::Kind::failed) {
      log_once("sqlite: " + path_ + ": " + log_safe_line(sqlite3_errmsg(database_.get())));
      out.error = sqlite3_errstr(code == SQLITE_OK ? SQLITE_ERROR : code);
    }
    return nullptr;
  }
  if (tail != nullptr && !trim(tail).empty() && trim(tail) != ";") {
    out.kind = Row::Kind::failed;
    out.error = "more than one statement";
    return nullptr;
  }
  return statements_.emplace(&query, std::move(prepared)).first->second.get();
}

SqliteFile::Row SqliteFile::query(const config::SqlQuery& query, const DbQuery& request) {
  Row out;
  out.kind = Row::Kind::failed;
  if (!check(request.now)) {
    out.error = "Not connected to database";
    return out;
  }
  sqlite3_stmt* s = statement(query, out);
  if (s == nullptr) return out;

  std::vector<WipingBuffer> values(query.parameter_count());
  for (std::size_t i = 0; i < values.size(); i++) {
    query.expand(i, request.variables, values[i]);
    // The library keeps the pointer until the bindings are cleared below; values outlive it.
    const std::string_view text = values[i].view();
    sqlite3_bind_text(s, static_cast<int>(i) + 1, text.empty() ? "" : text.data(),
                      static_cast<int>(text.size()), SQLITE_STATIC);
  }
  int code = sqlite3_step(s);
  if (code == SQLITE_ROW) {
    out.kind = Row::Kind::one;
    const int count = sqlite3_column_count(s);
    for (int i = 0; i < count; i++) {
      out.columns.emplace_back(sqlite3_column_name(s, i));
      if (sqlite3_column_type(s, i) == SQLITE_NULL) continue;
      out.fields.emplace_back(out.columns.back(), column_text(s, i));
    }
    code = sqlite3_step(s);
    if (code == SQLITE_ROW) out.kind = Row::Kind::several;
  } else if (code == SQLITE_DONE) {
    out.kind = Row::Kind::none;
  }
  if (code != SQLITE_ROW && code != SQLITE_DONE) {
    out.fields.clear();
    out.kind = is_busy(code) ? Row::Kind::busy : Row::Kind::failed;
    if (out.kind == Row::Kind::failed) {
      out.error = sqlite3_errstr(code);
      log_once("sqlite: " + path_ + ": " + log_safe_line(sqlite3_errmsg(database_.get())));
    }
  } else {
    last_error_.clear();
  }
  sqlite3_reset(s);
  sqlite3_clear_bindings(s);
  // A statement against a changed schema is prepared again by the library; one that failed is not
  // trusted again.
  if (out.kind == Row::Kind::failed) statements_.erase(&query);
  return out;
}

}  // namespace postern::auth
