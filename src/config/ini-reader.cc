#include "config/ini-reader.h"

#include <fmt/format.h>
#include <ini.h>
#include <openssl/crypto.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "lib/text.h"
#include "lib/utf8.h"

namespace postern::config {
namespace {

constexpr std::string_view kBom = "\xef\xbb\xbf";

/// The first character that may not stand in a line, or nothing. A terminal that shows the line
/// obeys it, or shows another line than is read. In a comment marks that turn the direction of text
/// may stand: languages that are written that way need them.
std::string_view find_control(std::string_view line, bool comment) noexcept {
  while (!line.empty()) {
    const std::size_t length = utf8_length(line);
    const std::string_view character = line.substr(0, std::max<std::size_t>(length, 1));
    const bool harmless = character == "\t" || (comment && length > 1);
    if (length != 0 && !harmless && is_control_character(character)) return character;
    line.remove_prefix(character.size());
  }
  return {};
}

/// The bytes of a value between its quotes, if it stands in quotes.
bool unquote(std::string_view raw, WipingBuffer& out) {
  if (raw.size() < 2 || raw.front() != raw.back()) return false;
  if (raw.front() != '"' && raw.front() != '\'') return false;
  const std::string_view inner = raw.substr(1, raw.size() - 2);
  if (raw.front() == '\'') {
    out += inner;
    return true;
  }
  const std::size_t last = inner.find_last_not_of('\\');
  const std::size_t backslashes = inner.size() - (last == std::string_view::npos ? 0 : last + 1);
  if (backslashes % 2 != 0) return false;  // the closing quote is escaped: it closes nothing
  for (std::size_t i = 0; i < inner.size(); i++) {
    const bool escape =
        inner[i] == '\\' && i + 1 < inner.size() && (inner[i + 1] == '"' || inner[i + 1] == '\\');
    if (escape) i++;
    out += inner[i];
  }
  return true;
}

/// Hands lines to inih and takes what it makes of them.
class Feed {
 public:
  Feed(std::string_view text, IniText& out) noexcept : rest_(text), out_(out) {}

  void run() {
    if (rest_.starts_with(kBom)) rest_.remove_prefix(kBom.size());
    // The library's limits are variables of the process; three bytes more than the longest line.
    ini_use_stack = false;
    ini_allow_realloc = false;
    ini_max_line = ini_initial_alloc = static_cast<int>(longest() + 3);
    ini_allow_inline_comments = false;
    ini_allow_multiline = false;
    ini_allow_bom = false;
    ini_allow_no_value = false;
    ini_stop_on_first_error = false;
    const int status = ini_parse_stream(&Feed::on_read, this, &Feed::on_pair, this);
    if (status < 0) problem(0, "out of memory while reading");
  }

 private:
  std::size_t longest() const noexcept {
    std::size_t longest = 0;
    std::string_view rest = rest_;
    while (!rest.empty()) {
      const std::size_t n = std::min(rest.size(), rest.find('\n'));
      longest = std::max(longest, std::min(n, kMaxIniLine));
      rest.remove_prefix(std::min(rest.size(), n + 1));
    }
    return longest;
  }

  void problem(unsigned line, std::string what, bool warning = false) {
    out_.problems.push_back({line, std::move(what), warning});
  }

  static char* on_read(char* buffer, int room, void* self) noexcept {
    return static_cast<Feed*>(self)->next(buffer, static_cast<std::size_t>(room));
  }
  static int on_pair(void* self, const char* /*section: cut at 49 bytes*/, const char* name,
                     const char* value) noexcept {
    static_cast<Feed*>(self)->pair(name, value);
    return 1;
  }

  /// The next line that is worth handing over.
  char* next(char* buffer, std::size_t room) {
    // Lines may hold passwords, and inih frees its buffer as it is.
    if (written_ > 0) OPENSSL_cleanse(buffer, written_);
    written_ = 0;
    if (pending_) lost();
    while (!rest_.empty()) {
      const std::size_t end = rest_.find('\n');
      std::string_view line = rest_.substr(0, end);
      rest_.remove_prefix(end == std::string_view::npos ? rest_.size() : end + 1);
      line_++;
      if (line.ends_with('\r')) line.remove_suffix(1);
      if (!acceptable(line)) continue;
      if (line.size() + 2 > room) {
        problem(line_, "the INI library gave too little room for this line");
        continue;
      }
      std::memcpy(buffer, line.data(), line.size());
      buffer[line.size()] = '\n';
      buffer[line.size() + 1] = '\0';
      written_ = line.size() + 2;
      return buffer;
    }
    return nullptr;
  }

  /// True if inih is to see the line. Takes note of what it is expected to say.
  bool acceptable(std::string_view line) {
    if (line.size() > kMaxIniLine) {
      problem(line_, fmt::format("the line is longer than {} bytes; put the value into a file and "
                                 "write KEY = <FILE",
                                 kMaxIniLine));
      return false;
    }
    const std::string_view said = trim(line);
    const bool comment = said.starts_with('#') || said.starts_with(';');
    if (const std::string_view bad = find_control(line, comment); !bad.empty()) {
      problem(line_, fmt::format("byte {} of the line is the control character 0x{}; a value "
                                 "that needs it can be put into a file (KEY = <FILE)",
                                 bad.data() - line.data() + 1, hex_encode(bad)));
      return false;
    }
    if (said.empty() || comment) return false;
    return said.front() == '[' ? section(said) : key(said);
  }

  bool section(std::string_view said) {
    const std::size_t end = said.find(']');
    const std::string_view head =
        trim(said.substr(1, end == std::string_view::npos ? end : end - 1));
    IniLine out;
    out.is_section = true;
    out.line = line_;
    bool good = false;
    if (end == std::string_view::npos) {
      problem(line_, "the section head has no closing ']'");
    } else if (!is_utf8(head)) {
      problem(line_, "the section head is not UTF-8");
    } else {
      const std::string_view after = trim(said.substr(end + 1));
      good = after.empty() || after.front() == '#' || after.front() == ';';
      if (!good) {
        problem(line_, fmt::format("'{}' stands behind the section head, where nothing may",
                                   log_safe_line(after, 40)));
      }
    }
    // A head that is wrong still ends the section before; "" tells the caller to skip its keys.
    if (good) out.text = head;
    if (good && head.empty()) problem(line_, "the section head is empty");
    out_.lines.push_back(std::move(out));
    return good && !head.empty();
  }

  bool key(std::string_view said) {
    const std::size_t separator = said.find_first_of("=:");
    if (separator == std::string_view::npos) {
      problem(line_, "there is no '=' (a line is KEY = VALUE, a [SECTION] or a # comment)");
      return false;
    }
    key_ = trim(said.substr(0, separator));
    value_ = trim(said.substr(separator + 1));
    if (said[separator] == ':') {
      problem(line_, "the key ends with ':', where '=' is wanted");
    } else if (key_.empty()) {
      problem(line_, "there is no key before '='");
    } else if (!is_utf8(key_)) {
      problem(line_, "the key is not UTF-8");
    } else {
      pending_ = true;
      return true;
    }
    return false;
  }

  void pair(std::string_view name, std::string_view value) {
    if (!pending_ || name != key_ || value != value_) {
      lost();
      return;
    }
    pending_ = false;
    IniLine out;
    out.line = line_;
    out.text = name;
    WipingBuffer inner;
    out.quoted = unquote(value, inner);
    out.value = out.quoted ? Secret(std::move(inner)) : Secret(value);
    if (!out.quoted && value.ends_with('\\')) {
      problem(line_,
              "the value ends with a backslash, which is part of it: lines are not continued here "
              "(put the value into quotes if it is meant)",
              true);
    }
    out_.lines.push_back(std::move(out));
  }

  void lost() {
    pending_ = false;
    problem(line_,
            "the INI library did not return this line as it stands; its limits cannot be "
            "raised in this build");
  }

  std::string_view rest_;
  IniText& out_;
  unsigned line_ = 0;
  std::size_t written_ = 0;  // bytes of inih's buffer that are to be wiped
  bool pending_ = false;     // a key was handed over and has not come back
  std::string_view key_, value_;
};

}  // namespace

IniText read_ini(std::string_view text) {
  IniText out;
  Feed(text, out).run();
  return out;
}

std::string ini_value(std::string_view value) {
  const bool plain =
      value.empty() || (trim(value).size() == value.size() &&
                        std::string_view("\"'<").find(value.front()) == std::string_view::npos &&
                        value.back() != '\\');
  if (plain) return std::string(value);
  std::string out = "\"";
  for (const char c : value) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  out += '"';
  return out;
}

}  // namespace postern::config
