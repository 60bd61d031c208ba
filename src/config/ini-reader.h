#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "lib/secret.h"

/// The INI form on top of libinih. inih as Debian builds it cuts long lines, section heads and
/// values at " ;", takes an indented line for a continuation, and tells neither line numbers nor
/// empty sections. So it is handed one line at a time by a reader that knows where it is, with its
/// limits raised, and what it says of a line is compared with the line: no byte gets lost unseen.
namespace postern::config {

/// Longest line, in bytes without its end.
inline constexpr std::size_t kMaxIniLine = 1024UL * 1024;

/// One line that says something.
struct IniLine {
  bool is_section = false;
  unsigned line = 0;    // 1 is the first
  std::string text;     // what stands between the brackets, or the key
  Secret value;         // of a key, without the quotes around it
  bool quoted = false;  // there were quotes: a leading `<` names no file
};

/// What is wrong with one line.
struct IniProblem {
  unsigned line = 0;
  std::string what;
  bool warning = false;
};

struct IniText {
  std::vector<IniLine> lines;
  std::vector<IniProblem> problems;
};

/// Reads a whole file. A bad line is left out and told; the rest is still read.
///   - Blank lines and lines that begin with `#` or `;` say nothing. There are no comments behind a
///     value. Leading blanks mean nothing.
///   - CRLF and a BOM at the start are accepted; NUL and other control bytes, lines over
///     kMaxIniLine and names that are not UTF-8 are errors.
///   - A value in "…" or '…' loses the quotes; inside "…" `\"` and `\\` lose the backslash.
IniText read_ini(std::string_view text);

/// The text behind `key = ` that reads back as `value`: quoted where that is needed.
/// @param value  without line ends
std::string ini_value(std::string_view value);

}  // namespace postern::config
