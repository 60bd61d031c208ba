#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "lib/secret.h"

/// The arguments of one IMAP command, read as they arrive (RFC 3501 section 9: atoms, quoted
/// strings, literals, lists; RFC 7888: non-synchronising literals). Made for clients that are not
/// logged in: it keeps one argument at a time and never a tree, and what a literal announces is
/// compared with the limits before a byte of it is stored. Texts of errors are Dovecot's, clients
/// show them.
namespace postern::wire {

/// What may be asked of the reader before it refuses.
struct ImapArgumentLimits {
  /// Bytes of one command, or of one argument after restart_budget(); more is Event::full.
  std::size_t budget = 1026;
  std::size_t literal = 8192;  // announced size
  unsigned depth = 1;          // open parentheses
  bool literal_minus = false;  // `{n+}` at most 4096 (RFC 7888 LITERAL-)
};

class ImapArgumentReader {
 public:
  enum class Event : std::uint8_t {
    more,      // the input is used up
    argument,  // value() and kind() hold one argument
    list_open,
    list_close,
    continuation,  // a synchronising literal: say "+ OK", then go on
    end,           // the line end was taken
    error,         // error_text() for a tagged BAD; the rest of the line is to be skipped
    fatal,         // error_text() for a BYE; the connection is to be closed
    full,          // more bytes than the budget
  };
  enum class Kind : std::uint8_t { atom, quoted, literal };

  /// Starts with a new command, of which `used` bytes (tag and name) are already counted.
  void start(const ImapArgumentLimits& limits, std::size_t used);

  /// Takes bytes off the front of `input` up to the next event.
  Event next(std::string_view& input);

  /// Of the last Event::argument; valid until next() is called.
  Kind kind() const noexcept { return kind_; }
  std::string_view value() const noexcept { return value_.view(); }
  /// The last argument is the atom NIL.
  bool is_nil() const noexcept;
  /// The last argument is a literal with a NUL in it, which no command takes.
  bool has_nul() const noexcept { return nul_; }
  /// Moves the last argument out.
  WipingBuffer take_value() noexcept;

  unsigned depth() const noexcept { return depth_; }
  /// Bytes since start(), `used` included.
  std::size_t total() const noexcept { return total_; }
  /// Gives the next argument a budget of its own (commands that use arguments as they come).
  void restart_budget() noexcept { spent_ = 0; }
  std::string_view error_text() const noexcept { return error_; }

 private:
  enum class State : std::uint8_t {
    between,   // before an argument
    carriage,  // a CR was taken, LF must follow
    atom,
    tilde,  // `~`: an atom unless `{` follows
    quoted,
    escaped,     // behind `\` in a quoted string
    size,        // the digits of a literal
    plus,        // behind `{n+`
    after_size,  // behind `}`
    size_carriage,
    data,  // the bytes of a literal
  };

  Event step(char c);
  Event between(char c);
  Event in_atom(char c);
  Event in_quoted(char c);
  Event in_size(char c);
  Event size_done();
  Event take_data(std::string_view& input);
  Event finish(Kind kind);
  Event fail(std::string_view text);
  Event fatal(std::string_view text);
  void store(std::string_view bytes);

  ImapArgumentLimits limits_;
  State state_ = State::between;
  Kind kind_ = Kind::atom;
  WipingBuffer value_;
  bool delivered_ = false;  // value_ was handed out by the last event
  bool nul_ = false;
  bool digits_ = false;  // the size has at least one
  bool synchronising_ = true;
  bool again_ = false;  // the byte ended an argument and is still to be read
  unsigned depth_ = 0;
  std::size_t size_ = 0;  // of the literal, then what is missing of it
  std::size_t spent_ = 0;
  std::size_t total_ = 0;
  std::string_view error_;
};

/// True if `c` may stand in a tag (RFC 3501: ASTRING-CHAR but `+`).
bool is_imap_tag_char(char c) noexcept;

}  // namespace postern::wire
