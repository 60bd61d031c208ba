#include "wire/refusal.h"

#include <array>
#include <utility>

namespace postern::wire {

std::string_view refusal(std::string_view protocol) noexcept {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 4> kRefusals{
      {{"imap", "* BYE [UNAVAILABLE] Too many connections, try again later.\r\n"},
       {"pop3", "-ERR [SYS/TEMP] Too many connections, try again later.\r\n"},
       {"submission", "421 4.3.2 Too many connections, try again later.\r\n"},
       {"sieve", "BYE (TRYLATER) \"Too many connections, try again later.\"\r\n"}}};
  for (const auto& [name, text] : kRefusals) {
    if (name == protocol) return text;
  }
  return {};
}

}  // namespace postern::wire
