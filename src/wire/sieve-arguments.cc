#include "wire/sieve-arguments.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "lib/text.h"

namespace postern::wire {
namespace {

constexpr std::string_view kBadAtom = "Invalid characters in atom";

constexpr bool is_atom_char(char c) noexcept {
  const auto byte = static_cast<unsigned char>(c);
  return byte > ' ' && byte < 0x7f && c != '(' && c != ')' && c != '{' && c != '"' && c != '\\';
}

}  // namespace

void SieveArgumentReader::start(const SieveLimits& limits, std::size_t used) {
  limits_ = limits;
  state_ = State::between;
  value_.clear();
  delivered_ = again_ = skipping_ = false;
  depth_ = 0;
  spent_ = used;
  skipped_ = 0;
  error_ = {};
}

void SieveArgumentReader::limit(const SieveLimits& limits) {
  limits_ = limits;
  spent_ = 0;
}

WipingBuffer SieveArgumentReader::take_value() noexcept {
  return std::exchange(value_, WipingBuffer());
}

SieveArgumentReader::Event SieveArgumentReader::next(std::string_view& input) {
  if (std::exchange(delivered_, false)) value_.clear();
  while (!input.empty() || (state_ == State::data && size_ == 0)) {
    Event event = Event::more;
    if (state_ == State::data) {
      event = take_data(input);
    } else {
      if (state_ == State::quoted) take_run(input);
      if (input.empty()) return Event::more;
      if (spent_ >= limits_.budget) return Event::full;
      event = step(input.front());
      if (!std::exchange(again_, false)) {
        input.remove_prefix(1);
        ++spent_;
      }
    }
    if (event != Event::more) return event;
  }
  return Event::more;
}

SieveArgumentReader::Event SieveArgumentReader::step(char c) {
  switch (state_) {
    case State::between:
      return between(c);
    case State::carriage:
      return c == '\n' && depth_ == 0 ? Event::end : fail(kBadAtom);
    case State::atom:
      return in_atom(c);
    case State::quoted:
      return in_quoted(c);
    case State::escaped:
      if (c != '"' && c != '\\') {
        return fail("Escaped quoted-string character is not a QUOTED-SPECIAL.");
      }
      value_.append(c);
      state_ = State::quoted;
      return Event::more;
    case State::size:
      return in_size(c);
    case State::plus:
      if (c != '}') return fail("Invalid literal size");
      state_ = State::after_size;
      return Event::more;
    case State::after_size:
      if (c != '\r' && c != '\n') return fail("Invalid literal size");
      state_ = c == '\r' ? State::size_carriage : State::data;
      return Event::more;
    case State::size_carriage:
      if (c != '\n') return fail("Invalid literal size");
      state_ = State::data;
      return Event::more;
    case State::data:
      break;  // next() takes the data itself
  }
  return Event::more;
}

SieveArgumentReader::Event SieveArgumentReader::between(char c) {
  switch (c) {
    case ' ':
      return Event::more;
    case '\r':
      state_ = State::carriage;
      return Event::more;
    case '\n':
      return depth_ == 0 ? Event::end : fail(kBadAtom);
    case '(':
      if (depth_ >= limits_.depth) return fail(kBadAtom);
      ++depth_;
      return Event::list_open;
    case ')':
      if (depth_ == 0) return fail(kBadAtom);
      --depth_;
      return Event::list_close;
    case '"':
      state_ = State::quoted;
      return Event::more;
    case '{':
      state_ = State::size;
      size_ = 0;
      digits_ = false;
      return Event::more;
    default:
      state_ = State::atom;
      return in_atom(c);
  }
}

SieveArgumentReader::Event SieveArgumentReader::in_atom(char c) {
  if (c == ' ' || c == '\r' || c == '\n' || (c == ')' && depth_ > 0)) {
    again_ = true;
    return word(Event::atom);
  }
  if (!is_atom_char(c)) return fail(kBadAtom);
  value_.append(c);
  return Event::more;
}

SieveArgumentReader::Event SieveArgumentReader::in_quoted(char c) {
  switch (c) {
    case '"':
      if (!is_utf8(value_.view())) return fail("Invalid UTF-8 character in quoted-string.");
      return word(Event::quoted);
    case '\\':
      state_ = State::escaped;
      return Event::more;
    case '\r':
    case '\n':
      return fail("String contains invalid character.");
    case '\0':
      return fail("NULs not allowed in strings");
    default:
      value_.append(c);
      return Event::more;
  }
}

/// The bytes of a quoted string that mean themselves.
void SieveArgumentReader::take_run(std::string_view& input) {
  constexpr std::string_view kSpecial("\"\\\r\n\0", 5);
  const std::size_t room = limits_.budget - std::min(limits_.budget, spent_);
  const std::size_t n = std::min({input.size(), input.find_first_of(kSpecial), room});
  value_.append(input.substr(0, n));
  input.remove_prefix(n);
  spent_ += n;
}

SieveArgumentReader::Event SieveArgumentReader::in_size(char c) {
  if (c >= '0' && c <= '9') {
    digits_ = true;
    // Past every limit the exact number does not matter; it must only not wrap around.
    size_ = std::min<std::size_t>(size_ * 10 + static_cast<std::size_t>(c - '0'), 1U << 30U);
    return Event::more;
  }
  if ((c != '+' && c != '}') || !digits_) return fail("Invalid literal size");
  if (size_ > limits_.literal) {
    fail("Literal size too large");
    return Event::fatal;
  }
  // Without the plus a client would wait for leave to go on in IMAP; here nobody gives it.
  state_ = c == '+' ? State::plus : State::after_size;
  return Event::more;
}

SieveArgumentReader::Event SieveArgumentReader::take_data(std::string_view& input) {
  const std::size_t room = limits_.budget - std::min(limits_.budget, spent_);
  const std::size_t n = std::min({size_, input.size(), room});
  if (n == 0 && size_ > 0) return Event::full;
  value_.append(input.substr(0, n));
  input.remove_prefix(n);
  spent_ += n;
  size_ -= n;
  return size_ == 0 ? word(Event::literal) : Event::more;
}

SieveArgumentReader::Event SieveArgumentReader::word(Event kind) {
  state_ = State::between;
  delivered_ = true;
  return kind;
}

/// The byte stays, for skip() to look at.
SieveArgumentReader::Event SieveArgumentReader::fail(std::string_view text) {
  error_ = text;
  again_ = true;
  return Event::error;
}

SieveArgumentReader::Event SieveArgumentReader::skip(std::string_view& input) {
  if (!std::exchange(skipping_, true)) {
    value_.clear();
    delivered_ = false;
    // A byte that could not stand where it did is read again: in a string, or as what it is.
    if (!error_.empty() && state_ != State::quoted && state_ != State::escaped &&
        state_ != State::size) {
      state_ = State::between;
    }
  }
  while (!input.empty()) {
    if (skipped_ >= limits_.skipped) return Event::full;
    if (state_ == State::data && size_ > 0) {
      const std::size_t n = std::min({size_, input.size(), limits_.skipped - skipped_});
      input.remove_prefix(n);
      skipped_ += n;
      size_ -= n;
      continue;
    }
    if (state_ == State::data) state_ = State::between;
    const char c = input.front();
    input.remove_prefix(1);
    ++skipped_;
    const bool literal = state_ == State::after_size || state_ == State::size_carriage;
    if (c == '\n' && !literal) return Event::end;
    skip_byte(c);
    if (state_ == State::data && size_ > limits_.skipped - skipped_) return Event::full;
  }
  return Event::more;
}

/// As step(), but whatever is wrong is let pass: only strings and the sizes of literals count.
void SieveArgumentReader::skip_byte(char c) {
  switch (state_) {
    case State::quoted:
      if (c == '"') state_ = State::between;
      if (c == '\\') state_ = State::escaped;
      return;
    case State::escaped:
      state_ = State::quoted;
      return;
    case State::size:
      if (c >= '0' && c <= '9') {
        digits_ = true;
        size_ = std::min<std::size_t>(size_ * 10 + static_cast<std::size_t>(c - '0'), 1U << 30U);
        return;
      }
      if (digits_ && (c == '+' || c == '}')) {
        state_ = c == '+' ? State::plus : State::after_size;
        return;
      }
      break;
    case State::plus:
      if (c == '}') {
        state_ = State::after_size;
        return;
      }
      break;
    case State::after_size:
    case State::size_carriage:
      if (c == '\n') {
        state_ = State::data;
        return;
      }
      if (c == '\r') {
        state_ = State::size_carriage;
        return;
      }
      break;
    case State::between:
    case State::carriage:
    case State::atom:
    case State::data:
      break;
  }
  state_ = State::between;
  if (c == '"') state_ = State::quoted;
  if (c == '{') {
    state_ = State::size;
    size_ = 0;
    digits_ = false;
  }
}

void append_sieve_string(std::string_view value, WipingBuffer& out) {
  constexpr std::size_t kMaxQuoted = 1024;  // RFC 5804 section 4
  constexpr std::string_view kUnquotable("\r\n\0", 3);
  if (value.size() > kMaxQuoted || value.find_first_of(kUnquotable) != std::string_view::npos ||
      !is_utf8(value)) {
    out.append(fmt::format("{{{}}}\r\n", value.size())).append(value);
    return;
  }
  out.append('"');
  for (const char c : value) {
    if (c == '"' || c == '\\') out.append('\\');
    out.append(c);
  }
  out.append('"');
}

}  // namespace postern::wire
