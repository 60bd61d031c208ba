#include "wire/sieve-reply.h"

#include <utility>

#include "lib/text.h"

namespace postern::wire {
namespace {

/// The caller bounds lines and their number; a literal is the one thing that spans lines.
constexpr SieveLimits kLimits{.budget = 64UL * 1024, .literal = 8192, .depth = 2};

}  // namespace

SieveReplyReader::Event SieveReplyReader::take(std::string_view line) {
  if (!open_) {
    reply_ = {};
    reader_.start(kLimits, 0);
    words_ = 0;
    depth_ = 0;
  }
  reply_.plain = !open_;
  open_ = true;
  constexpr std::string_view kEnd = "\r\n";
  for (std::string_view piece : {line, kEnd}) {
    const bool at_end = piece.data() == kEnd.data();
    for (;;) {
      const Word word = reader_.next(piece);
      if (word == Word::more) break;
      if (word == Word::end) {
        open_ = false;
        return words_ > 0 ? Event::reply : malformed();
      }
      // A literal that ends between CR and LF was counted with other line ends.
      const bool split = word == Word::literal && at_end && piece.size() == 1;
      if (split || !take_word(word)) return malformed();
    }
  }
  return Event::more;
}

/// Behind a status it does not matter how well the rest is written.
SieveReplyReader::Event SieveReplyReader::malformed() {
  open_ = false;
  reply_.plain = false;
  return reply_.kind == SieveReply::Kind::strings ? Event::error : Event::reply;
}

bool SieveReplyReader::take_word(Word kind) {
  if (kind == Word::list_open || kind == Word::list_close) {
    depth_ += kind == Word::list_open ? 1U : -1U;
    return reply_.kind != SieveReply::Kind::strings;
  }
  const bool string = kind == Word::quoted || kind == Word::literal;
  if (!string && kind != Word::atom) return false;
  if (words_++ == 0) {
    if (!string) return take_status();
    reply_.text = reader_.take_value();
    return true;
  }
  if (reply_.kind == SieveReply::Kind::strings) {
    if (words_ == 2) reply_.value = reader_.value();
    reply_.has_value = true;
  } else if (depth_ > 0) {
    if (reply_.code.empty()) reply_.code = to_upper(reader_.value());
  } else if (string) {
    reply_.text = reader_.take_value();
  }
  return true;
}

bool SieveReplyReader::take_status() {
  const std::string_view word = reader_.value();
  if (same_text(word, "OK")) {
    reply_.kind = SieveReply::Kind::ok;
  } else if (same_text(word, "NO")) {
    reply_.kind = SieveReply::Kind::no;
  } else if (same_text(word, "BYE")) {
    reply_.kind = SieveReply::Kind::bye;
  } else {
    return false;
  }
  return true;
}

}  // namespace postern::wire
