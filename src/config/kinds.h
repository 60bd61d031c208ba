#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/value.h"
#include "lib/ip.h"
#include "lib/key-pin.h"
#include "lib/result.h"
#include "lib/secret.h"

namespace postern::config {

class VariableSet;  // config/variables.h
const VariableSet& login_greeting_variables();
const VariableSet& login_log_variables();
const VariableSet& login_log_line_variables();
const VariableSet& auth_variables();

/// TCP keepalive probes; off when `count` is 0.
struct TcpKeepalive {
  unsigned idle = 0;      // seconds of silence before the first probe
  unsigned interval = 0;  // seconds between probes
  unsigned count = 0;     // unanswered probes that end the connection
  bool operator==(const TcpKeepalive&) const = default;
};

/// auth_verbose_passwords.
struct PasswordLog {
  bool sha1 = false;      // log the hexadecimal SHA-1 of a wrong password
  unsigned truncate = 0;  // its first so many characters; 0: all
  bool operator==(const PasswordLog&) const = default;
};

/// A time that never comes: idle_kill = infinite.
inline constexpr std::chrono::milliseconds kInfinite = std::chrono::milliseconds::max();

/// The types a setting can have. Each says what C++ type it is (`type`), reads it from the
/// operator's text and prints it back in one canonical way (equal values print equal, so that a
/// value can be compared with the default). `choices` is the fourth column of the table: the words
/// of a choice, the range "MIN-MAX" of a number or time (either end may be missing), or nothing. An
/// Error's text says what is wrong with the value and what would be right.
namespace kinds {

/// yes, y, 1, no, n, 0; the letters in any case (Dovecot's rule: nothing else).
struct boolean {
  using type = bool;
  static Result<type> parse(const Value& value, std::string_view choices);
  static std::string print(type value, std::string_view choices);
};

/// A decimal number without sign.
struct number {
  using type = unsigned;
  static Result<type> parse(const Value& value, std::string_view choices);
  static std::string print(type value, std::string_view choices);
};

/// Bytes: a number and B, k, M, G or T (also kB, KiB …); a bare number is bytes.
struct size {
  using type = std::uint64_t;
  static Result<type> parse(const Value& value, std::string_view choices);
  static std::string print(type value, std::string_view choices);
};

/// A number and a unit: ms s m h d w or their longer forms. Only 0 may stand without a unit.
/// "infinite" is kInfinite where the table gives no range.
struct time {
  using type = std::chrono::milliseconds;
  static Result<type> parse(const Value& value, std::string_view choices);
  static std::string print(type value, std::string_view choices);
};

/// Any text.
struct text {
  using type = std::string;
  static Result<type> parse(const Value& value, std::string_view choices);
  static std::string print(const type& value, std::string_view choices);
};

/// The name of a host, or an address in brackets; or nothing.
struct host_name : text {
  static Result<type> parse(const Value& value, std::string_view choices);
};

/// A path that begins in a directory of the process's, so without a leading slash; or nothing.
struct path_below : text {
  static Result<type> parse(const Value& value, std::string_view choices);
};

/// Text that holds %variables of a known set; a text that does not compile is an error.
Status check_format(std::string_view text, const VariableSet& known);
template <const VariableSet& (*Known)()>
struct format : text {
  static Result<type> parse(const Value& value, std::string_view choices) {
    const Status status = check_format(value.view(), Known());
    if (!status.ok()) return status.error();
    return text::parse(value, choices);
  }
};

/// A password or something that may hold one. Prints as "<hidden>" or nothing.
struct secret {
  using type = Secret;
  static Result<type> parse(const Value& value, std::string_view choices);
  static std::string print(const type& value, std::string_view choices);
};

template <const VariableSet& (*Known)()>
struct secret_format : secret {
  static Result<type> parse(const Value& value, std::string_view choices) {
    const Status status = check_format(value.view(), Known());
    if (!status.ok()) return status.error();
    return secret::parse(value, choices);
  }
};

/// An SQL query in which %variables stand in string literals only (config/sql-query.h).
struct sql_query : text {
  static Result<type> parse(const Value& value, std::string_view choices);
};

/// A password scheme of `choices`, in any case, maybe with the encoding of its data behind a dot
/// (SHA256.hex); or nothing.
struct scheme : text {
  static Result<type> parse(const Value& value, std::string_view choices);
};

/// Words separated by blanks or commas; from `choices` if it is not empty, in any case.
struct words {
  using type = std::vector<std::string>;
  static Result<type> parse(const Value& value, std::string_view choices);
  static std::string print(const type& value, std::string_view choices);
};

/// Addresses and CIDR blocks separated by blanks or commas.
struct networks {
  using type = std::vector<Network>;
  static Result<type> parse(const Value& value, std::string_view choices);
  static std::string print(const type& value, std::string_view choices);
};

/// A file's content, given as `<FILE`.
struct file {
  using type = FileText;
  static Result<type> parse(const Value& value, std::string_view choices);
  static std::string print(const type& value, std::string_view choices);
};

/// The path of a file whose content the master reads for the processes that cannot.
struct ca_file : file {};
/// The path of a directory of certificates under their hashed names, read likewise.
struct ca_dir : file {};

/// Permissions, octal.
struct mode {
  using type = unsigned;
  static Result<type> parse(const Value& value, std::string_view choices);
  static std::string print(type value, std::string_view choices);
};

/// IDLE:INTERVAL:COUNT or no.
struct keepalive {
  using type = TcpKeepalive;
  static Result<type> parse(const Value& value, std::string_view choices);
  static std::string print(const type& value, std::string_view choices);
};

/// Public keys, each as sha256//BASE64.
struct key_pins {
  using type = std::vector<KeyPin>;
  static Result<type> parse(const Value& value, std::string_view choices);
  static std::string print(const type& value, std::string_view choices);
};

/// no, sha1, sha1:N.
struct password_log {
  using type = PasswordLog;
  static Result<type> parse(const Value& value, std::string_view choices);
  static std::string print(const type& value, std::string_view choices);
};

/// Which word of `choices` (blank-separated) `value` is, in any case; an empty value is the first
/// word if that is "none".
Result<unsigned> parse_choice(std::string_view value, std::string_view choices);
std::string print_choice(unsigned index, std::string_view choices);

/// One word of a list; `Enum`'s enumerators stand in the order of the list.
template <class Enum>
struct choice {
  using type = Enum;
  static Result<type> parse(const Value& value, std::string_view choices) {
    const Result<unsigned> index = parse_choice(value.view(), choices);
    if (!index.ok()) return index.error();
    return static_cast<Enum>(index.value());
  }
  static std::string print(type value, std::string_view choices) {
    return print_choice(static_cast<unsigned>(value), choices);
  }
};

}  // namespace kinds
}  // namespace postern::config
