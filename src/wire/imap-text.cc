#include "wire/imap-text.h"

#include <algorithm>

#include "lib/check.h"
#include "lib/text.h"

namespace postern::wire {
namespace {

constexpr bool fits_quotes(char c) noexcept {
  return c != '\0' && c != '\r' && c != '\n' && (static_cast<unsigned char>(c) & 0x80U) == 0;
}

/// One word or quoted string off the front of `text`.
std::optional<std::string> take_word(std::string_view& text) {
  text = trim(text);
  if (text.empty()) return std::nullopt;
  std::string out;
  if (text.front() != '"') {
    const std::size_t end = std::min(text.size(), text.find_first_of(" \t"));
    out = text.substr(0, end);
    text.remove_prefix(end);
    return out;
  }
  text.remove_prefix(1);
  while (!text.empty() && text.front() != '"') {
    if (text.front() == '\\' && text.size() > 1) text.remove_prefix(1);
    out += text.front();
    text.remove_prefix(1);
  }
  if (!text.empty()) text.remove_prefix(1);
  return out;
}

void append_id_string(std::string_view value, std::string& out) {
  out += '"';
  for (const char c : value) {
    if (c == '"' || c == '\\') out += '\\';
    out += fits_quotes(c) ? c : '?';
  }
  out += '"';
}

}  // namespace

ImapString imap_string_form(std::string_view value) noexcept {
  if (value.find('\0') != std::string_view::npos) return ImapString::impossible;
  return std::all_of(value.begin(), value.end(), fits_quotes) ? ImapString::quoted
                                                              : ImapString::literal;
}

void append_imap_quoted(std::string_view value, WipingBuffer& out) {
  POSTERN_CHECK(imap_string_form(value) == ImapString::quoted);
  char* const room = out.reserve(2 * value.size() + 2);
  char* end = room;
  *end++ = '"';
  for (const char c : value) {
    if (c == '"' || c == '\\') *end++ = '\\';
    *end++ = c;
  }
  *end++ = '"';
  out.commit(static_cast<std::size_t>(end - room));
}

ImapCapabilities::ImapCapabilities(std::string_view list) : known_(true) {
  for (const std::string_view word : words(list)) {
    const bool printable = std::all_of(word.begin(), word.end(), [](char c) {
      return static_cast<unsigned char>(c) > ' ' && static_cast<unsigned char>(c) < 0x7f;
    });
    // A bracket would end the response code the list may be put in.
    if (!printable || word.find(']') != std::string_view::npos) continue;
    if (text_.size() + 1 + word.size() > kMaxBytes) return;
    if (!text_.empty()) text_ += ' ';
    text_ += word;
  }
}

bool ImapCapabilities::has(std::string_view name) const noexcept {
  std::string_view rest = text_;
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.size(), rest.find(' '));
    if (same_text(rest.substr(0, end), name)) return true;
    rest.remove_prefix(std::min(rest.size(), end + 1));
  }
  return false;
}

bool ImapResponseText::is(std::string_view name) const noexcept {
  return same_text(code.substr(0, code.find(' ')), name);
}

std::string_view ImapResponseText::code_arguments() const noexcept {
  const std::size_t blank = code.find(' ');
  return blank == std::string_view::npos ? std::string_view{} : code.substr(blank + 1);
}

ImapResponseText parse_imap_response_text(std::string_view rest) noexcept {
  ImapResponseText out{{}, rest};
  if (!rest.starts_with('[')) return out;
  const std::size_t close = rest.find(']');
  if (close == std::string_view::npos) return out;
  out.code = rest.substr(1, close - 1);
  out.text = rest.substr(close + 1);
  if (out.text.starts_with(' ')) out.text.remove_prefix(1);
  return out;
}

ImapIdFields parse_imap_id_setting(std::string_view text) {
  ImapIdFields out;
  while (auto name = take_word(text)) {
    out.emplace_back(std::move(*name), take_word(text));
  }
  return out;
}

std::string format_imap_id_body(const ImapIdFields& fields) {
  std::string out;
  for (const auto& [name, value] : fields) {
    if (!out.empty()) out += ' ';
    append_id_string(name, out);
    out += ' ';
    if (value) {
      append_id_string(*value, out);
    } else {
      out += "NIL";
    }
  }
  return out;
}

std::string format_imap_id(const ImapIdFields& fields) {
  return fields.empty() ? "NIL" : "(" + format_imap_id_body(fields) + ")";
}

}  // namespace postern::wire
