#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/secret.h"

/// Dovecot's tab-separated lines: fields joined by TAB, and inside a field NUL, 0x01, TAB, CR and
/// LF written as 0x01 followed by `0`, `1`, `t`, `r`, `n`. The auth protocol, anvil and the control
/// channel between master and children are made of them.
namespace postern::wire {

/// Appends `value` tab-escaped.
void tab_escape(std::string_view value, WipingBuffer& out);
std::string tab_escape(std::string_view value);
/// The reverse; an unknown letter after 0x01 stands for itself, a trailing 0x01 is dropped.
std::string tab_unescape(std::string_view value);

/// The fields of one line as they stand (still escaped); empty fields are kept. Views borrow
/// `line`.
std::vector<std::string_view> split_tabs(std::string_view line);

/// Walks the fields of a line without allocating.
class TabFields {
 public:
  explicit TabFields(std::string_view line) noexcept : rest_(line), more_(true) {}
  /// The next field, escaped as it stands; nothing after the last.
  std::optional<std::string_view> next() noexcept;
  /// What next() has not yet returned.
  std::string_view rest() const noexcept { return more_ ? rest_ : std::string_view{}; }

 private:
  std::string_view rest_;
  bool more_;
};

/// Builds one line: `TabLine("AUTH").add(7).add("PLAIN").key("service", "imap").end(out)`.
/// Every value is escaped; it is the only way such lines are built.
class TabLine {
 public:
  /// Appends to `out`, which must outlive it. `verb` is not escaped.
  TabLine(WipingBuffer& out, std::string_view verb) : out_(out) { out_ += verb; }
  TabLine& add(std::string_view value);
  TabLine& add(std::uint64_t number);
  /// `key=value`; keys are ours and not escaped.
  TabLine& key(std::string_view name, std::string_view value);
  TabLine& key(std::string_view name, std::uint64_t number);
  /// A bare word.
  TabLine& flag(std::string_view name);
  /// The line end.
  void end() { out_ += '\n'; }

 private:
  WipingBuffer& out_;
};

}  // namespace postern::wire
