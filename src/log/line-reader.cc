#include "log/line-reader.h"

#include <algorithm>
#include <limits>

#include "lib/text.h"
#include "lib/utf8.h"

namespace postern::log {
namespace {

constexpr char kMark = '\001';
constexpr std::size_t kMaxHead = 12;  // mark, level, ten digits at most; then the blank

Level level_of(char byte) noexcept {
  const auto number = static_cast<unsigned char>(byte);
  const bool known = number >= static_cast<unsigned char>(Level::debug) &&
                     number <= static_cast<unsigned char>(Level::panic);
  return known ? static_cast<Level>(number) : Level::error;
}

/// Reads the head of a marked line and returns what follows it.
std::string_view take_head(std::string_view bytes, Line& out) {
  if (bytes.size() < 2 || bytes[0] != kMark) return bytes;
  out.level = level_of(bytes[1]);
  bytes.remove_prefix(2);
  const std::size_t blank = bytes.substr(0, kMaxHead).find(' ');
  if (blank == std::string_view::npos) return bytes;
  const auto pid = decimal(bytes.substr(0, blank), 1, std::numeric_limits<pid_t>::max());
  if (!pid && blank != 0) return bytes;  // no number: it is text
  out.pid = static_cast<pid_t>(pid.value_or(0));
  return bytes.substr(blank + 1);
}

}  // namespace

std::string escape_line(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size());
  while (!bytes.empty()) {
    // Nearly everything is plain ASCII.
    const auto special = std::find_if(bytes.begin(), bytes.end(), [](char c) {
      return static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) >= 0x7f;
    });
    const auto plain = static_cast<std::size_t>(special - bytes.begin());
    out += bytes.substr(0, plain);
    bytes.remove_prefix(plain);
    if (bytes.empty()) break;
    const std::size_t length = utf8_length(bytes);
    const std::string_view character = bytes.substr(0, std::max<std::size_t>(length, 1));
    bytes.remove_prefix(character.size());
    if (character == "\t") {
      out += ' ';
    } else if (length != 0 && !is_control_character(character)) {
      out += character;
    } else {
      for (const char c : character) {
        out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
      }
    }
  }
  return out;
}

/// @param ended  the line end was seen; otherwise more of it follows
void LineReader::line(std::string_view bytes, bool ended, const Sink& sink) {
  Line out;
  const bool marked = bytes.starts_with(kMark);
  if (in_long_line_ && !marked) {
    out.level = continued_.level;
    out.pid = continued_.pid;
    out.text = "<line continued> " + escape_line(bytes);
  } else {
    out.text = escape_line(take_head(bytes, out));
  }
  in_long_line_ = !ended;
  continued_.level = out.level;
  continued_.pid = out.pid;
  sink(std::move(out));
}

void LineReader::feed(std::string_view bytes, const Sink& sink) {
  std::string joined;
  if (!rest_.empty()) {
    joined.swap(rest_);
    joined += bytes;
    bytes = joined;
  }
  while (!bytes.empty()) {
    // The mark at the very beginning is this line's own, and the byte after it is the level: that
    // of a debug line is the same byte.
    const std::size_t end = bytes.find_first_of("\n\001", bytes[0] == kMark ? 2 : 1);
    const bool at_once = bytes[0] == '\n';
    const std::size_t length = at_once ? 0 : std::min(end, bytes.size());
    if (length > kMaxLine) {
      line(bytes.substr(0, kMaxLine), false, sink);
      bytes.remove_prefix(kMaxLine);
      continue;
    }
    if (!at_once && end == std::string_view::npos) {
      rest_ = bytes;
      return;
    }
    // An empty line says nothing, but it may end a long one.
    if (length > 0) line(bytes.substr(0, length), true, sink);
    if (length == 0) in_long_line_ = false;
    bytes.remove_prefix(bytes[length] == '\n' ? length + 1 : length);
  }
}

void LineReader::end(const Sink& sink) {
  if (!rest_.empty()) {
    std::string last;
    last.swap(rest_);
    line(last, true, sink);
  }
  in_long_line_ = false;
}

}  // namespace postern::log
