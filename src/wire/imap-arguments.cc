#include "wire/imap-arguments.h"

#include <algorithm>
#include <utility>

#include "lib/text.h"

namespace postern::wire {
namespace {

constexpr std::size_t kLiteralMinus = 4096;

constexpr bool is_8bit(char c) noexcept {
  return (static_cast<unsigned char>(c) & 0x80U) != 0;
}
constexpr bool is_control(char c) noexcept {
  return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
}

}  // namespace

bool is_imap_tag_char(char c) noexcept {
  return !is_8bit(c) && !is_control(c) && c != ' ' &&
         std::string_view("(){%*\"\\+").find(c) == std::string_view::npos;
}

void ImapArgumentReader::start(const ImapArgumentLimits& limits, std::size_t used) {
  limits_ = limits;
  state_ = State::between;
  value_.clear();
  delivered_ = nul_ = again_ = false;
  depth_ = 0;
  spent_ = total_ = used;
  error_ = {};
}

bool ImapArgumentReader::is_nil() const noexcept {
  return kind_ == Kind::atom && same_text(value(), "NIL");
}

WipingBuffer ImapArgumentReader::take_value() noexcept {
  return std::exchange(value_, WipingBuffer());
}

ImapArgumentReader::Event ImapArgumentReader::next(std::string_view& input) {
  if (delivered_) {
    value_.clear();
    delivered_ = nul_ = false;
  }
  while (!input.empty() || (state_ == State::data && size_ == 0)) {
    Event event = Event::more;
    if (state_ == State::data) {
      event = take_data(input);
    } else {
      if (spent_ >= limits_.budget) return Event::full;
      event = step(input.front());
      // The byte behind an atom is read again as what it is.
      if (!std::exchange(again_, false)) {
        input.remove_prefix(1);
        ++spent_;
        ++total_;
      }
    }
    if (event != Event::more) return event;
  }
  return Event::more;
}

ImapArgumentReader::Event ImapArgumentReader::step(char c) {
  switch (state_) {
    case State::between:
      return between(c);
    case State::carriage:
      if (c != '\n') return fail("Invalid characters in atom");
      return depth_ > 0 ? fail("Missing ')'") : Event::end;
    case State::atom:
      return in_atom(c);
    case State::tilde:
      if (c == '{') return fail("literal8 not allowed here");
      state_ = State::atom;
      return in_atom(c);
    case State::quoted:
      return in_quoted(c);
    case State::escaped:
      if (c == '\0') return fail("NULs not allowed in strings");
      if (c == '\r' || c == '\n') return fail("Missing '\"'");
      store({&c, 1});
      state_ = State::quoted;
      return Event::more;
    case State::size:
      return in_size(c);
    case State::plus:
      if (c != '}') return fail("Expecting '}' after '+'");
      state_ = State::after_size;
      return Event::more;
    case State::after_size:
      if (c == '\n') return size_done();
      if (c != '\r') return fail("Missing LF after literal size");
      state_ = State::size_carriage;
      return Event::more;
    case State::size_carriage:
      if (c != '\n') return fail("Missing LF after literal size");
      return size_done();
    case State::data:
      break;  // next() takes the data itself
  }
  return Event::more;
}

ImapArgumentReader::Event ImapArgumentReader::between(char c) {
  switch (c) {
    case ' ':
      return Event::more;
    case '\r':
      state_ = State::carriage;
      return Event::more;
    case '\n':
      return depth_ > 0 ? fail("Missing ')'") : Event::end;
    case '(':
      if (depth_ >= limits_.depth) return fail("Too many '('");
      ++depth_;
      return Event::list_open;
    case ')':
      if (depth_ == 0) return fail("Unexpected ')'");
      --depth_;
      return Event::list_close;
    case '"':
      state_ = State::quoted;
      return Event::more;
    case '{':
      state_ = State::size;
      size_ = 0;
      digits_ = false;
      synchronising_ = true;
      return Event::more;
    case '~':
      state_ = State::tilde;
      store({&c, 1});
      return Event::more;
    default:
      state_ = State::atom;
      return in_atom(c);
  }
}

ImapArgumentReader::Event ImapArgumentReader::in_atom(char c) {
  if (c == ' ' || c == '\r' || c == '\n' || c == ')') {
    again_ = true;
    return finish(Kind::atom);
  }
  if (is_8bit(c)) return fail("8bit data in atom");
  if (c == '(' || c == '"' || is_control(c)) return fail("Invalid characters in atom");
  store({&c, 1});
  return Event::more;
}

ImapArgumentReader::Event ImapArgumentReader::in_quoted(char c) {
  switch (c) {
    case '"':
      return finish(Kind::quoted);
    case '\\':
      state_ = State::escaped;
      return Event::more;
    case '\r':
    case '\n':
      return fail("Missing '\"'");
    case '\0':
      return fail("NULs not allowed in strings");
    default:
      store({&c, 1});
      return Event::more;
  }
}

ImapArgumentReader::Event ImapArgumentReader::in_size(char c) {
  if (c >= '0' && c <= '9') {
    digits_ = true;
    // Past every limit the exact number does not matter; it must only not wrap around.
    size_ = std::min<std::size_t>(size_ * 10 + static_cast<std::size_t>(c - '0'), 1U << 30U);
    return Event::more;
  }
  if ((c != '+' && c != '}') || !digits_) return fail("Invalid literal size");
  if (size_ > limits_.literal) return fatal("Literal size too large");
  synchronising_ = c == '}';
  if (!synchronising_ && limits_.literal_minus && size_ > kLiteralMinus) {
    return fatal("Non-synchronizing literal size too large");
  }
  state_ = synchronising_ ? State::after_size : State::plus;
  return Event::more;
}

ImapArgumentReader::Event ImapArgumentReader::size_done() {
  state_ = State::data;
  return synchronising_ ? Event::continuation : Event::more;
}

ImapArgumentReader::Event ImapArgumentReader::take_data(std::string_view& input) {
  const std::size_t room = limits_.budget - std::min(limits_.budget, spent_);
  const std::size_t n = std::min({size_, input.size(), room});
  if (n == 0 && size_ > 0) return Event::full;
  store(input.substr(0, n));
  if (input.substr(0, n).find('\0') != std::string_view::npos) nul_ = true;
  input.remove_prefix(n);
  spent_ += n;
  total_ += n;
  size_ -= n;
  return size_ == 0 ? finish(Kind::literal) : Event::more;
}

ImapArgumentReader::Event ImapArgumentReader::finish(Kind kind) {
  kind_ = kind;
  state_ = State::between;
  delivered_ = true;
  return Event::argument;
}

ImapArgumentReader::Event ImapArgumentReader::fail(std::string_view text) {
  error_ = text;
  again_ = true;  // a line end stays, so that the line can be skipped up to it
  return Event::error;
}

ImapArgumentReader::Event ImapArgumentReader::fatal(std::string_view text) {
  error_ = text;
  return Event::fatal;
}

void ImapArgumentReader::store(std::string_view bytes) {
  value_.append(bytes);
}

}  // namespace postern::wire
