#include "wire/opening.h"

#include <algorithm>

#include "lib/text.h"

namespace postern::wire {
namespace {

/// Of version 2's signature so much as nobody else says: a client may well begin with empty lines.
constexpr std::string_view kHeaders[] = {
    "PROXY TCP4 ", "PROXY TCP6 ", "PROXY UNKNOWN\r", "PROXY UNKNOWN ", {"\r\n\r\n\0", 5}};
constexpr char kTlsHandshake = 0x16;
/// With this byte a telnet program begins to negotiate, for somebody who types his commands.
constexpr unsigned char kTelnet = 0xff;

bool is_text(char c) noexcept {
  const auto byte = static_cast<unsigned char>(c);
  return (byte >= ' ' && byte < 0x7f) || c == '\r' || c == '\n' || c == '\t' || byte == kTelnet;
}

}  // namespace

Opening::Kind Opening::judge() const noexcept {
  const std::string_view seen(first_.data(), size_);
  if (seen.empty()) return Kind::undecided;
  if (seen.front() == kTlsHandshake) return Kind::tls;
  if (!is_text(seen.front())) return Kind::binary;
  Kind kind = Kind::client;
  for (const std::string_view header : kHeaders) {
    if (seen.starts_with(header)) return Kind::proxy_header;
    if (header.starts_with(seen)) kind = Kind::undecided;
  }
  return kind;
}

Opening::Kind Opening::add(std::string_view bytes) noexcept {
  if (kind_ != Kind::undecided) return kind_;
  const std::size_t taken = std::min(bytes.size(), first_.size() - size_);
  std::copy_n(bytes.begin(), taken, first_.begin() + size_);
  size_ = static_cast<std::uint8_t>(size_ + taken);
  kind_ = judge();
  if (kind_ != Kind::undecided) first_ = {};  // it may be half a password
  return kind_;
}

bool is_foreign_command(std::string_view word, bool smtp) noexcept {
  // What a page can make a browser begin with, a proxy, HTTP/2.
  constexpr std::string_view kHttp[] = {"GET", "HEAD", "POST", "OPTIONS", "CONNECT", "PRI"};
  constexpr std::string_view kSmtp[] = {"HELO", "EHLO", "LHLO"};
  const auto is = [word](std::string_view known) { return same_text(word, known); };
  return std::any_of(std::begin(kHttp), std::end(kHttp), is) ||
         (!smtp && std::any_of(std::begin(kSmtp), std::end(kSmtp), is));
}

}  // namespace postern::wire
