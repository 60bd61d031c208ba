#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

/// The grammar of SMTP that both of its sides need before a login: command lines, replies, names of
/// hosts, xtext.
/// Source: RFC 5321, RFC 3461 section 4 (xtext), RFC 3463 (enhanced codes), and where those leave a
/// choice Dovecot 2.3 (spec: submission, grammar).
namespace postern::wire {

inline constexpr std::size_t kMaxSmtpName = 32;          // bytes of a command's word
inline constexpr std::size_t kMaxSmtpParameters = 1026;  // bytes behind it

/// A command line cut in two. The views borrow the line.
struct SmtpCommand {
  enum class Problem : std::uint8_t {
    none,
    syntax,    // no command can look like this
    too_long,  // of the parameters
  };
  Problem problem = Problem::none;
  std::string_view name;        // letters; empty for an empty line and one that begins with a blank
  std::string_view parameters;  // without the blank before and any behind
};

/// Reads a line without its line end. What is no letter ends the name and must be a blank; the
/// parameters are printable, tabs or UTF-8. A CR, wherever it stands, is neither: no line is seen
/// here where the next hop sees two (CVE-2023-51764 and its like).
/// @param cut  the line goes on behind these bytes, which are more than a command may have
SmtpCommand parse_smtp_command(std::string_view line, bool cut = false);

/// What is wrong with NOOP's argument, which is one atom or quoted string; empty if nothing is.
std::string_view smtp_string_problem(std::string_view text);

/// `sub.domain.example`: labels of letters, digits, `-` and `_` that begin with a letter or digit.
bool is_smtp_domain(std::string_view text);
/// `[192.0.2.1]`, `[IPv6:2001:db8::1]` or another tag with its content.
bool is_smtp_address_literal(std::string_view text);

/// xtext: what is not printable, `+` and `=` become `+HH`.
std::string xtext_encode(std::string_view bytes);
/// Nothing if a `+` is not followed by two upper-case hexadecimal digits.
std::optional<std::string> xtext_decode(std::string_view text);

/// One line of a reply. The view borrows the line.
struct SmtpReplyLine {
  unsigned code = 0;  // 200 to 559
  bool last = false;  // of its reply
  std::string_view text;
};

/// Reads a line without its line end; nothing if it is no reply: shorter than a code and what
/// follows it, or a code that no reply has.
std::optional<SmtpReplyLine> parse_smtp_reply(std::string_view line);

/// The enhanced code that a reply's text begins with ("5.7.8"); empty if there is none.
std::string_view smtp_enhanced_code(std::string_view text);

}  // namespace postern::wire
