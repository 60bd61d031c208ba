// Writes postern.conf.5: the hand-written text of doc/postern.conf.5.in with the tables of settings
// put in where it asks for them. Runs at build time; not installed.
#include <fmt/format.h>

#include <array>
#include <cstdio>
#include <exception>
#include <fstream>
#include <iostream>
#include <string>
#include <string_view>

#include "config/table.h"

namespace {

using postern::config::Group;
using postern::config::SettingRow;

/// Lines of the template that stand for a table.
struct Place {
  std::string_view line;
  Group group;
};
constexpr std::array<Place, 14> kPlaces{{{"@common@", Group::common},
                                         {"@master@", Group::master},
                                         {"@log@", Group::log},
                                         {"@login@", Group::login},
                                         {"@login_auth@", Group::login_auth},
                                         {"@auth@", Group::auth},
                                         {"@ssl@", Group::ssl},
                                         {"@submission@", Group::submission},
                                         {"@managesieve@", Group::managesieve},
                                         {"@service@", Group::service},
                                         {"@inet_listener@", Group::inet_listener},
                                         {"@unix_listener@", Group::unix_listener},
                                         {"@passdb@", Group::passdb},
                                         {"@userdb@", Group::userdb}}};
constexpr std::string_view kUnsupportedPlace = "@unsupported@";
constexpr std::string_view kRefusedPlace = "@refused@";

/// Text in the middle of a roff line.
std::string roff(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '\\') {
      out += "\\e";
    } else if (c == '-') {
      out += "\\-";
    } else if (c == '\'') {
      out += "\\(aq";
    } else if (c == '"') {
      out += "\\(dq";
    } else if (c == '^') {
      out += "\\(ha";
    } else if (c == '~') {
      out += "\\(ti";
    } else {
      out += c;
    }
  }
  // A dot at the start would be a request.
  return out.starts_with('.') ? "\\&" + out : out;
}

/// What may stand behind '=', in words.
std::string kind_of(const SettingRow& row) {
  const std::string_view name = row.kind.substr(0, row.kind.find('<'));
  if (name == "boolean") return "yes or no";
  if (name == "number") {
    return row.choices.empty() ? "number" : fmt::format("number, {}", row.choices);
  }
  if (name == "size") return "size";
  if (name == "time") return row.choices.empty() ? "time" : fmt::format("time, {}", row.choices);
  if (name == "format") return "text with %variables";
  if (name == "secret") return "secret";
  if (name == "secret_format") return "secret with %variables";
  if (name == "words") {
    return row.choices.empty() ? "words" : fmt::format("words of: {}", row.choices);
  }
  if (name == "networks") return "addresses and networks";
  if (name == "file") return "content of a file";
  if (name == "ca_file") return "path of a file";
  if (name == "ca_dir") return "path of a directory";
  if (name == "key_pins") return "keys as sha256//BASE64";
  if (name == "path_below") return "relative path";
  if (name == "mode") return "octal mode";
  if (name == "sql_query") return "SQL with %variables";
  if (name == "scheme") return fmt::format("one of: {}", row.choices);
  if (name == "choice") return fmt::format("one of: {}", row.choices);
  return "text";
}

std::string default_of(const SettingRow& row) {
  return row.default_text.empty() ? "empty" : std::string(row.default_text);
}

void print_rows(Group group) {
  for (const SettingRow& row : postern::config::setting_rows(group)) {
    std::cout << fmt::format(".TP\n.B {}\n{}\n.br\n({}; default: {})\n", roff(row.name),
                             roff(row.help), roff(kind_of(row)), roff(default_of(row)));
  }
}

void print_unsupported(bool refused) {
  std::string out;
  for (const auto& setting : postern::config::unsupported_settings()) {
    if (setting.refused != refused) continue;
    if (!out.empty()) out += ",\n";
    out += roff(setting.name);
  }
  std::cout << out << ".\n";
}

void print_line(const std::string& line) {
  for (const Place& place : kPlaces) {
    if (line == place.line) {
      print_rows(place.group);
      return;
    }
  }
  if (line == kUnsupportedPlace || line == kRefusedPlace) {
    print_unsupported(line == kRefusedPlace);
    return;
  }
  std::cout << line << '\n';
}

int run(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: postern-settings-man TEMPLATE\n";
    return 2;
  }
  std::ifstream in(argv[1]);
  std::string line;
  while (std::getline(in, line)) print_line(line);
  std::cout.flush();
  if (in.bad() || !in.eof() || !std::cout) {
    std::cerr << "postern-settings-man: cannot copy " << argv[1] << '\n';
    return 1;
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& e) {
    std::fputs(e.what(), stderr);
    return 1;
  }
}
