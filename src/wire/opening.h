#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

/// How to tell by its first words that somebody speaks none of our protocols: a hop whose PROXY
/// header nobody expects, TLS where plaintext is due, binary rubbish, a browser or a mail server
/// that somebody has led to this port (so as to have it say things to us, or us to it).
namespace postern::wire {

/// Looks at the first bytes of a connection, which may come in pieces. Holds nothing back: none of
/// its patterns has a whole line of a client's before it is known, but for empty ones. A value.
class Opening {
 public:
  enum class Kind : std::uint8_t {
    undecided,
    client,        // may be any of our protocols
    proxy_header,  // version 1 or 2
    tls,           // a handshake record
    binary,        // what begins no line of text
  };

  /// @param bytes  that have come since the last call
  Kind add(std::string_view bytes) noexcept;
  Kind kind() const noexcept { return kind_; }

 private:
  Kind judge() const noexcept;

  static constexpr std::size_t kLongest = 14;  // "PROXY UNKNOWN" and one more

  std::array<char, kLongest> first_{};
  std::uint8_t size_ = 0;
  Kind kind_ = Kind::undecided;
};

/// True if `word` is what a browser's request begins with (RFC 9110 section 9, RFC 9113
/// section 3.4), or, unless `smtp` is spoken here, what an SMTP or LMTP client does.
bool is_foreign_command(std::string_view word, bool smtp) noexcept;

}  // namespace postern::wire
