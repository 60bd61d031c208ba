#include "wire/smtp-text.h"

#include <algorithm>
#include <array>

#include "lib/ip.h"
#include "lib/text.h"

namespace postern::wire {
namespace {

bool is_letter(char c) {
  return ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z';
}

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

/// RFC 5321 textstring, and the bytes of UTF-8.
bool is_text(char c) {
  return c == '\t' || (static_cast<unsigned char>(c) >= ' ' && c != 0x7f);
}

/// RFC 5322 atext.
bool is_atom(char c) {
  constexpr std::string_view kOthers = "!#$%&'*+-/=?^_`{|}~";
  return is_letter(c) || is_digit(c) || kOthers.find(c) != std::string_view::npos;
}

bool is_quotable(char c) {
  return c >= ' ' && c < 0x7f;
}

std::string_view without_trailing_blanks(std::string_view text) {
  const std::size_t last = text.find_last_not_of(" \t");
  return text.substr(0, last == std::string_view::npos ? 0 : last + 1);
}

/// -1: it is none.
int hex_digit(char c) {
  if (is_digit(c)) return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

SmtpCommand parse_smtp_command(std::string_view line, bool cut) {
  SmtpCommand out;
  const auto* const end = std::find_if_not(line.begin(), line.end(), is_letter);
  out.name = line.substr(0, static_cast<std::size_t>(end - line.begin()));
  if (out.name.size() > kMaxSmtpName) {
    out.problem = SmtpCommand::Problem::syntax;
    return out;
  }
  if (out.name.size() == line.size()) return out;
  const std::string_view rest = line.substr(out.name.size() + 1);
  const std::string_view most = rest.substr(0, kMaxSmtpParameters);
  const bool too_long = cut || rest.size() > kMaxSmtpParameters;
  if (line[out.name.size()] != ' ' || !std::all_of(most.begin(), most.end(), is_text) ||
      (!too_long && !is_utf8(rest))) {
    out.problem = SmtpCommand::Problem::syntax;
  } else if (too_long) {
    out.problem = SmtpCommand::Problem::too_long;
  }
  out.parameters = without_trailing_blanks(rest);
  return out;
}

std::string_view smtp_string_problem(std::string_view text) {
  constexpr std::string_view kBad = "Invalid character in string";
  if (!text.starts_with('"')) {
    return std::all_of(text.begin(), text.end(), is_atom) ? "" : kBad;
  }
  for (std::size_t at = 1; at < text.size(); ++at) {
    if (text[at] == '"') return at + 1 == text.size() ? "" : kBad;
    if (text[at] == '\\') {
      if (++at == text.size()) break;
      if (!is_quotable(text[at])) return "Invalid character after '\\' in quoted string";
    } else if (!is_quotable(text[at])) {
      return "Invalid character in quoted string";
    }
  }
  return "Premature end of quoted string";
}

bool is_smtp_domain(std::string_view text) {
  const auto in_label = [](char c) { return is_letter(c) || is_digit(c) || c == '-' || c == '_'; };
  while (true) {
    const std::string_view label = text.substr(0, text.find('.'));
    if (label.empty() || !(is_letter(label.front()) || is_digit(label.front())) ||
        !std::all_of(label.begin(), label.end(), in_label)) {
      return false;
    }
    if (label.size() == text.size()) return true;
    text.remove_prefix(label.size() + 1);
  }
}

bool is_smtp_address_literal(std::string_view text) {
  if (text.size() < 3 || !text.starts_with('[') || !text.ends_with(']')) return false;
  text = text.substr(1, text.size() - 2);
  constexpr std::string_view kV6 = "IPv6:";
  if (starts_with_text(text, kV6)) {
    const auto ip = IpAddress::parse(text.substr(kV6.size()));
    return ip && text.find(':', kV6.size()) != std::string_view::npos;
  }
  if (const auto ip = IpAddress::parse(text)) return text.find(':') == std::string_view::npos;
  // General-address-literal: a tag, and text without brackets.
  const std::size_t colon = text.find(':');
  if (colon == std::string_view::npos || colon + 1 == text.size()) return false;
  const auto in_content = [](char c) {
    return c > ' ' && c < 0x7f && c != '[' && c != ']' && c != '\\';
  };
  return is_smtp_domain(text.substr(0, colon)) && std::all_of(text.begin(), text.end(), in_content);
}

std::string xtext_encode(std::string_view bytes) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  std::string out;
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte > ' ' && byte < 0x7f && c != '+' && c != '=') {
      out += c;
      continue;
    }
    out += '+';
    out += kDigits[byte >> 4U];
    out += kDigits[byte & 15U];
  }
  return out;
}

std::optional<std::string> xtext_decode(std::string_view text) {
  std::string out;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] != '+') {
      out += text[at];
      continue;
    }
    if (text.size() - at < 3) return std::nullopt;
    const int high = hex_digit(text[at + 1]);
    const int low = hex_digit(text[at + 2]);
    if (high < 0 || low < 0) return std::nullopt;
    out += static_cast<char>(high * 16 + low);
    at += 2;
  }
  return out;
}

std::optional<SmtpReplyLine> parse_smtp_reply(std::string_view line) {
  constexpr std::size_t kCode = 3;
  if (line.size() <= kCode || (line[kCode] != ' ' && line[kCode] != '-')) return std::nullopt;
  const auto code = decimal(line.substr(0, kCode), 200, 559);
  if (!code) return std::nullopt;
  return SmtpReplyLine{static_cast<unsigned>(*code), line[kCode] == ' ', line.substr(kCode + 1)};
}

std::string_view smtp_enhanced_code(std::string_view text) {
  const std::string_view code = text.substr(0, text.find(' '));
  const std::size_t first = code.find('.');
  const std::size_t second = code.find('.', first == std::string_view::npos ? first : first + 1);
  if (second == std::string_view::npos) return {};
  const bool numbers = first == 1 && (code[0] == '2' || code[0] == '4' || code[0] == '5') &&
                       decimal(code.substr(2, second - 2), 0, 999) &&
                       decimal(code.substr(second + 1), 0, 999);
  return numbers ? code : std::string_view{};
}

}  // namespace postern::wire
