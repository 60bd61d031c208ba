#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "config/value.h"
#include "lib/result.h"

/// The settings-*.def files as data: what the reader, `postern -n`/`-a` and the manual walk over.
namespace postern::config {

/// One settings-*.def file.
enum class Group : std::uint8_t {
  common,
  master,
  log,
  login,
  login_auth,
  auth,
  ssl,
  submission,
  managesieve,
  service,
  inet_listener,
  unix_listener,
  passdb,
  userdb,
};

/// How the loader makes a Value of what stands behind '='.
enum class Content : std::uint8_t {
  text,     // the text, or a file's content without its last line end
  file,     // a file's content as it is
  ca_file,  // the content of the file that is named
  ca_dir,   // the certificates of the directory that is named
};

struct SettingRow {
  Group group;
  std::string_view name;
  std::string_view kind;  // as in the table: "choice<Ssl>"
  std::string_view default_text;
  std::string_view choices;
  std::string_view help;
  bool secret;
  Content content;
  Result<std::string> (*print)(const Value&, std::string_view choices);

  /// The value in its canonical form, or what is wrong with it.
  Result<std::string> canonical(const Value& value) const { return print(value, choices); }
};

/// The rows of one file, in its order.
std::span<const SettingRow> setting_rows(Group group);
/// One row; null if there is none of that name.
const SettingRow* find_setting(Group group, std::string_view name);
/// A row of settings-unsupported.def.
struct UnsupportedSetting {
  std::string_view name;
  bool refused;               // an error unless it has the harmless value
  std::string_view harmless;  // of a refused one
};
std::span<const UnsupportedSetting> unsupported_settings();

}  // namespace postern::config
