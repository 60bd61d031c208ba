#include "wire/tab-line.h"

#include <algorithm>

namespace postern::wire {
namespace {

/// The letter that stands for `c` behind \001; 0 if `c` stands for itself.
char escape_letter(char c) noexcept {
  switch (c) {
    case '\0':
      return '0';
    case '\001':
      return '1';
    case '\t':
      return 't';
    case '\r':
      return 'r';
    case '\n':
      return 'n';
    default:
      return 0;
  }
}

}  // namespace

void tab_escape(std::string_view value, WipingBuffer& out) {
  char* const room = out.reserve(2 * value.size());
  char* end = room;
  for (const char c : value) {
    const char letter = escape_letter(c);
    if (letter != 0) *end++ = '\001';
    *end++ = letter != 0 ? letter : c;
  }
  out.commit(static_cast<std::size_t>(end - room));
}

std::string tab_escape(std::string_view value) {
  WipingBuffer out;
  tab_escape(value, out);
  return std::string(out.view());
}

std::string tab_unescape(std::string_view value) {
  std::string out;
  out.reserve(value.size());
  for (std::size_t i = 0; i < value.size(); i++) {
    if (value[i] != '\001') {
      out += value[i];
      continue;
    }
    if (++i == value.size()) break;
    switch (value[i]) {
      case '0':
        out += '\0';
        break;
      case '1':
        out += '\001';
        break;
      case 't':
        out += '\t';
        break;
      case 'r':
        out += '\r';
        break;
      case 'n':
        out += '\n';
        break;
      default:
        out += value[i];
    }
  }
  return out;
}

std::vector<std::string_view> split_tabs(std::string_view line) {
  std::vector<std::string_view> out;
  TabFields fields(line);
  while (const auto field = fields.next()) out.push_back(*field);
  return out;
}

std::optional<std::string_view> TabFields::next() noexcept {
  if (!more_) return std::nullopt;
  const std::size_t tab = rest_.find('\t');
  const std::string_view field = rest_.substr(0, tab);
  more_ = tab != std::string_view::npos;
  rest_ = more_ ? rest_.substr(tab + 1) : std::string_view{};
  return field;
}

TabLine& TabLine::add(std::string_view value) {
  out_ += '\t';
  tab_escape(value, out_);
  return *this;
}

TabLine& TabLine::add(std::uint64_t number) {
  return add(std::to_string(number));
}

TabLine& TabLine::key(std::string_view name, std::string_view value) {
  out_ += '\t';
  out_ += name;
  out_ += '=';
  tab_escape(value, out_);
  return *this;
}

TabLine& TabLine::key(std::string_view name, std::uint64_t number) {
  return key(name, std::to_string(number));
}

TabLine& TabLine::flag(std::string_view name) {
  out_ += '\t';
  out_ += name;
  return *this;
}

}  // namespace postern::wire
