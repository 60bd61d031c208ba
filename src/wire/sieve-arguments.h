#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "lib/secret.h"

/// The words of one ManageSieve line, command or reply, read as they arrive (RFC 5804 section 4:
/// atoms, quoted strings, literals, and the parentheses of response codes). Made for strangers: it
/// keeps one word at a time, and what a literal announces is compared with the limits before a byte
/// of it is stored. Texts of errors are Dovecot's, clients show them.
namespace postern::wire {

/// What may be asked of the reader before it refuses.
struct SieveLimits {
  std::size_t budget = 1026;          // bytes of one line with its literals; more is Event::full
  std::size_t literal = 8192;         // announced size; more is Event::fatal
  unsigned depth = 0;                 // open parentheses; clients send none
  std::size_t skipped = 64UL * 1024;  // bytes of a refused line with its literals
};

class SieveArgumentReader {
 public:
  enum class Event : std::uint8_t {
    more,  // the input is used up
    atom,
    quoted,
    literal,
    list_open,
    list_close,
    end,    // the line end was taken
    error,  // error_text() for a NO; what is left of the line is to be skipped
    fatal,  // a literal is larger than it may be; nothing of it was read
    full,   // more bytes than the budget
  };

  /// Starts with a new line, of which `used` bytes are already counted.
  void start(const SieveLimits& limits, std::size_t used);

  /// Takes bytes off the front of `input` up to the next event. After `atom`, `quoted` or `literal`
  /// value() holds the word.
  Event next(std::string_view& input);

  /// Takes the rest of a line that is refused, wherever reading it has stopped: its literals go
  /// with it, so that none of their bytes is read as a command.
  /// @return `more`, `end`, or `full` past SieveLimits::skipped; only the last is returned while
  ///         `input` is not empty and the line goes on
  Event skip(std::string_view& input);

  /// Of the last word; valid until next() is called.
  std::string_view value() const noexcept { return value_.view(); }
  /// Moves the last word out.
  WipingBuffer take_value() noexcept;

  /// Gives what follows limits of its own: a budget that counts from here.
  void limit(const SieveLimits& limits);
  std::string_view error_text() const noexcept { return error_; }

 private:
  enum class State : std::uint8_t {
    between,   // before a word
    carriage,  // a CR was taken, LF must follow
    atom,
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
  void take_run(std::string_view& input);
  Event in_size(char c);
  Event take_data(std::string_view& input);
  Event word(Event kind);
  Event fail(std::string_view text);
  void skip_byte(char c);

  SieveLimits limits_;
  State state_ = State::between;
  WipingBuffer value_;
  bool delivered_ = false;  // value_ was handed out by the last event
  bool digits_ = false;     // the size has at least one
  bool again_ = false;      // the byte ended a word and is still to be read
  bool skipping_ = false;
  unsigned depth_ = 0;
  std::size_t size_ = 0;  // of the literal, then what is missing of it
  std::size_t spent_ = 0;
  std::size_t skipped_ = 0;
  std::string_view error_;
};

/// Appends `value` as a string: quoted, or as a literal where quotes do not carry it (line ends,
/// NUL, bytes that are not UTF-8, more than 1024 bytes).
void append_sieve_string(std::string_view value, WipingBuffer& out);

}  // namespace postern::wire
