#include "ctl/output.h"

#include <fmt/format.h>

#include <algorithm>
#include <clocale>
#include <cwchar>
#include <nlohmann/json.hpp>
#include <utility>

#include "lib/text.h"
#include "lib/utf8.h"

namespace postern::ctl {
namespace {

// Keeps the order of the columns.
using Json = nlohmann::ordered_json;

constexpr std::size_t kMaxCell = 1024;  // bytes

/// A character of the basic plane, as JSON escapes it.
std::string escaped(std::string_view character) {
  const auto byte = [character](std::size_t i) {
    return static_cast<unsigned>(static_cast<unsigned char>(character[i]));
  };
  unsigned code = byte(0);
  if (character.size() == 2) code = (byte(0) & 0x1fU) << 6U | (byte(1) & 0x3fU);
  if (character.size() == 3) {
    code = (byte(0) & 0xfU) << 12U | (byte(1) & 0x3fU) << 6U | (byte(2) & 0x3fU);
  }
  return fmt::format("\\u{:04x}", code);
}

/// As JSON has it, with all that is no text escaped, not only C0: a terminal obeys the rest, too.
/// It stands in strings only.
std::string dump(const Json& json) {
  const std::string text = json.dump(-1, ' ', false, Json::error_handler_t::replace);
  std::string out;
  for (std::string_view rest = text; !rest.empty();) {
    const std::string_view character = rest.substr(0, std::max<std::size_t>(utf8_length(rest), 1));
    if (is_control_character(character)) {
      out += escaped(character);
    } else {
      out += character;
    }
    rest.remove_prefix(character.size());
  }
  return out;
}

/// A terminal obeys escape sequences, and a cell may be a stranger's choice of user name.
std::string shown(const std::string& cell) {
  return log_safe_line(cell, kMaxCell);
}

/// Columns on a terminal, of valid UTF-8 without control characters; two for a wide character,
/// none for a combining one.
std::size_t width(std::string_view text) {
  // Of our own, since what is printed is UTF-8 whatever the caller's locale is.
  static const locale_t utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);
  if (utf8 == nullptr) return text.size();
  const locale_t before = uselocale(utf8);
  std::size_t columns = 0;
  std::mbstate_t state{};
  while (!text.empty()) {
    wchar_t character = 0;
    // NOLINTNEXTLINE(concurrency-mt-unsafe): with a state of our own it is safe
    const std::size_t n = std::mbrtowc(&character, text.data(), text.size(), &state);
    if (n == 0 || n > text.size()) break;
    const int taken = wcwidth(character);
    columns += taken < 0 ? 1U : static_cast<std::size_t>(taken);
    text.remove_prefix(n);
  }
  uselocale(before);
  return columns;
}

void add_line(const std::vector<std::string>& cells, const std::vector<std::size_t>& widths,
              std::string& out) {
  for (std::size_t i = 0; i < cells.size(); ++i) {
    out += cells[i];
    if (i + 1 == cells.size()) break;
    out.append(widths[i] - width(cells[i]) + 1, ' ');
  }
  out += '\n';
}

}  // namespace

std::optional<Format> parse_format(std::string_view word) noexcept {
  if (word == "table") return Format::table;
  if (word == "tab") return Format::tab;
  if (word == "json") return Format::json;
  return std::nullopt;
}

void Table::add(std::vector<std::string> cells) {
  cells.resize(columns_.size());
  rows_.push_back(std::move(cells));
}

std::string Table::render(Format format) const {
  switch (format) {
    case Format::table:
      return render_table();
    case Format::tab:
      return render_tab();
    case Format::json:
      return render_json();
  }
  return {};
}

std::string Table::render_table() const {
  std::vector<std::vector<std::string>> lines(1);
  for (const Column& column : columns_) lines[0].push_back(column.title);
  for (const auto& row : rows_) {
    std::vector<std::string>& line = lines.emplace_back();
    for (const std::string& cell : row) line.push_back(shown(cell));
  }
  std::vector<std::size_t> widths(columns_.size(), 0);
  for (const auto& line : lines) {
    for (std::size_t i = 0; i < line.size(); ++i) widths[i] = std::max(widths[i], width(line[i]));
  }
  std::string out;
  for (const auto& line : lines) add_line(line, widths, out);
  return out;
}

std::string Table::render_tab() const {
  std::string out;
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    if (i > 0) out += '\t';
    out += columns_[i].title;
  }
  out += '\n';
  for (const auto& row : rows_) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      if (i > 0) out += '\t';
      out += shown(row[i]);
    }
    out += '\n';
  }
  return out;
}

std::string Table::render_json() const {
  std::string out = "[";
  for (const auto& row : rows_) {
    Json object = Json::object();
    for (std::size_t i = 0; i < row.size(); ++i) object[columns_[i].key] = row[i];
    if (out.size() > 1) out += ",\n ";
    out += dump(object);
  }
  return out + "]\n";
}

Table table_of(const std::vector<wire::ControlFields>& rows,
               const std::vector<std::string>& columns) {
  std::vector<std::string> names = columns;
  for (const auto& row : rows) {
    for (const auto& [name, value] : row) {
      if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
    }
  }
  std::vector<Column> described;
  described.reserve(names.size());
  for (const std::string& name : names) described.push_back({name, log_safe_line(name, kMaxCell)});
  Table out(std::move(described));
  for (const auto& row : rows) {
    std::vector<std::string> cells;
    cells.reserve(names.size());
    for (const std::string& name : names) cells.emplace_back(wire::control_field(row, name));
    out.add(std::move(cells));
  }
  return out;
}

std::string json_object(const wire::ControlFields& fields) {
  Json object = Json::object();
  for (const auto& [name, value] : fields) {
    if (!object.contains(name)) object[name] = value;
  }
  return dump(object);
}

}  // namespace postern::ctl
