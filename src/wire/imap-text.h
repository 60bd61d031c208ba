#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/secret.h"

/// The rest of the IMAP grammar a proxy needs: strings it writes, capability lists, response codes,
/// and ID lists (RFC 3501, RFC 2971).
namespace postern::wire {

/// What an IMAP string must be written as.
enum class ImapString : std::uint8_t {
  quoted,      // `"…"` with `"` and `\` escaped
  literal,     // `{n}` and the bytes: it has CR, LF or bytes above 127
  impossible,  // it has a NUL, which no IMAP string carries
};
ImapString imap_string_form(std::string_view value) noexcept;

/// Appends `value` in quotes. Only for ImapString::quoted.
void append_imap_quoted(std::string_view value, WipingBuffer& out);

/// A capability list, asked by name. Holds at most kMaxBytes of it.
class ImapCapabilities {
 public:
  static constexpr std::size_t kMaxBytes = 4096;

  ImapCapabilities() = default;
  /// From the words behind "CAPABILITY"; what is not printable ASCII is left out.
  explicit ImapCapabilities(std::string_view words);
  bool known() const noexcept { return known_; }
  bool has(std::string_view name) const noexcept;  // in any case
  /// The words, one blank between.
  const std::string& text() const noexcept { return text_; }

 private:
  bool known_ = false;
  std::string text_;
};

/// A response text with its code taken apart: "[LIMIT] Too many" has code "LIMIT", text "Too many".
struct ImapResponseText {
  std::string_view code;  // between the brackets; empty: none
  std::string_view text;  // behind code and blank
  /// True if the code's first word is `name`, in any case.
  bool is(std::string_view name) const noexcept;
  /// The words behind the code's name.
  std::string_view code_arguments() const noexcept;
};
/// The views borrow `rest`, which is what stands behind OK, NO, BAD or BYE.
ImapResponseText parse_imap_response_text(std::string_view rest) noexcept;

/// Fields of an ID in order; no value is NIL.
using ImapIdFields = std::vector<std::pair<std::string, std::optional<std::string>>>;

/// Reads a setting such as `name Postern vendor "Acme Inc" version *`: words, or strings in quotes
/// with `\` escapes, in pairs. `*` as a value stays a `*`; a name without a value has none (NIL).
ImapIdFields parse_imap_id_setting(std::string_view text);

/// `("name" "Postern" "os" NIL)`, or NIL for no field. Bytes that no quoted string carries become
/// `?`.
std::string format_imap_id(const ImapIdFields& fields);

/// `"name" "x" "os" NIL`: the list's inside, as the auth protocol's client_id= has it.
std::string format_imap_id_body(const ImapIdFields& fields);

}  // namespace postern::wire
