#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "wire/control.h"

/// How posternctl shows rows: for people, for scripts, as JSON.
namespace postern::ctl {

/// table: columns padded to their widest cell; tab: tab-separated; both with a heading. json: one
/// array of objects, values as strings, with their bytes as they are.
enum class Format : std::uint8_t { table, tab, json };
std::optional<Format> parse_format(std::string_view word) noexcept;

/// A column: its name in JSON and what stands above it otherwise (Dovecot has two names for some).
struct Column {
  std::string key;
  std::string title;
};

class Table {
 public:
  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

  /// @param cells  one a column; missing ones are empty. May hold any byte: control bytes and what
  ///               is no UTF-8 are shown as `?`, but for JSON, which escapes them
  void add(std::vector<std::string> cells);
  std::size_t size() const noexcept { return rows_.size(); }
  /// The whole text, with its last LF.
  std::string render(Format format) const;

 private:
  std::string render_table() const;
  std::string render_tab() const;
  std::string render_json() const;

  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

/// Rows as they came from the master: `columns` first, then whatever else they have, in the order
/// it was met.
Table table_of(const std::vector<wire::ControlFields>& rows,
               const std::vector<std::string>& columns);

/// A JSON object of `fields`; a name that comes twice keeps its first value.
std::string json_object(const wire::ControlFields& fields);

}  // namespace postern::ctl
