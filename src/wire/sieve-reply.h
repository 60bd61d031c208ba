#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "lib/secret.h"
#include "wire/sieve-arguments.h"

/// What a ManageSieve server says, line by line (RFC 5804 section 1.2): a status, or strings
/// (a capability, or a challenge).
namespace postern::wire {

struct SieveReply {
  enum class Kind : std::uint8_t { strings, ok, no, bye };
  Kind kind = Kind::strings;
  /// Of a status: the text behind it. Of strings: the first.
  WipingBuffer text;
  /// Of strings: the second, if there is one.
  std::string value;
  bool has_value = false;
  std::string code;  // of a status: the first word in its parentheses, in upper case; empty: none
  /// It took one line, and all of it was understood.
  bool plain = true;
};

class SieveReplyReader {
 public:
  enum class Event : std::uint8_t {
    more,   // the reply goes on in the next line: it has a literal
    reply,  // reply() holds it
    error,  // the line is neither a status nor strings
  };

  /// @param line  without its line end, which is taken for CRLF
  Event take(std::string_view line);

  /// Of Event::reply; valid until take() is called again.
  SieveReply& reply() noexcept { return reply_; }

 private:
  using Word = SieveArgumentReader::Event;
  bool take_word(Word kind);
  bool take_status();
  Event malformed();

  SieveArgumentReader reader_;
  SieveReply reply_;
  bool open_ = false;  // a reply has begun and not ended
  std::size_t words_ = 0;
  unsigned depth_ = 0;
};

}  // namespace postern::wire
