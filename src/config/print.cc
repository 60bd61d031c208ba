// postern -n and -a.
#include <fmt/format.h>

#include <algorithm>

#include "config/config.h"
#include "config/ini-reader.h"
#include "config/sections.h"
#include "postern-build.h"

namespace postern::config {
namespace {

/// What stands behind '=', so that it reads back the same (but for secrets).
std::string written(const SettingRow& row, const Value& value) {
  if (value.path.empty()) {
    const std::string text = canonical_value(row, value);
    return row.secret ? text : ini_value(text);
  }
  const bool by_name = row.content == Content::ca_file || row.content == Content::ca_dir;
  return by_name ? ini_value(value.path) : "<" + value.path;
}

class Printer {
 public:
  explicit Printer(bool everything) noexcept : everything_(everything) {}

  void section(const Section& s) {
    std::string lines;
    for (const SettingRow* row : rows_of(s)) line(s, *row, lines);
    // A section that is there because it was written says something even without keys.
    const bool own = !s.builtin && s.kind != Section::Kind::block;
    if (lines.empty() && !own) return;
    if (!is_global(s)) {
      out_ += fmt::format("\n[{}]\n", s.head());
    }
    out_ += lines;
  }

  std::string take(const std::string& path) {
    return fmt::format("# Postern {}: {}\n{}", POSTERN_VERSION, path, out_);
  }

 private:
  /// Global settings by name, as Dovecot prints them; the keys of a section in the table's order.
  static std::vector<const SettingRow*> rows_of(const Section& s) {
    std::vector<const SettingRow*> out;
    for (const Group group : groups_of(s.kind)) {
      for (const SettingRow& row : setting_rows(group)) out.push_back(&row);
    }
    if (s.kind == Section::Kind::block) {
      std::sort(out.begin(), out.end(),
                [](const SettingRow* a, const SettingRow* b) { return a->name < b->name; });
    }
    return out;
  }

  static bool is_global(const Section& s) {
    return s.kind == Section::Kind::block && s.filter.terms() == 0;
  }

  void line(const Section& s, const SettingRow& row, std::string& out) const {
    const Entry* const given = s.find_given(row.name);
    const bool filter = s.kind == Section::Kind::block && !is_global(s);
    if (given == nullptr && (!everything_ || filter)) return;
    const Entry* const entry = s.find(row.name);
    const Value fallback(row.default_text);
    const Value& value = entry != nullptr ? entry->value : fallback;
    // In a filter a value that is the default may still undo a less special one; a listener needs
    // a port even if that is 0.
    const bool needed = filter || (!s.builtin && row.name == "port");
    if (!everything_ && !needed && is_default(s, row, value)) return;
    const std::string text = written(row, value);
    out +=
        text.empty() ? fmt::format("{} =\n", row.name) : fmt::format("{} = {}\n", row.name, text);
  }

  static bool is_default(const Section& s, const SettingRow& row, const Value& value) {
    if (!value.path.empty()) return false;
    const auto built_in = std::find_if(s.defaults.begin(), s.defaults.end(),
                                       [&row](const Entry& e) { return e.row == &row; });
    const Value table(row.default_text);
    const Value& standard = built_in != s.defaults.end() ? built_in->value : table;
    return canonical_value(row, value) == canonical_value(row, standard);
  }

  bool everything_;
  std::string out_;
};

std::string print(const ConfigurationImpl& impl, bool everything) {
  Printer printer(everything);
  for (const Section* block : impl.blocks()) printer.section(*block);
  for (const Section& s : impl.sections) {
    if (s.kind != Section::Kind::block) printer.section(s);
  }
  return printer.take(impl.path);
}

}  // namespace

std::string Configuration::print_changed() const {
  return print(*impl_, false);
}

std::string Configuration::print_all() const {
  return print(*impl_, true);
}

}  // namespace postern::config
