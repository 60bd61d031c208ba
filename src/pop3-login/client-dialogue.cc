#include "pop3-login/client-dialogue.h"

#include <fmt/format.h>

#include <algorithm>

#include "config/settings.h"
#include "lib/text.h"
#include "pop3-login/pop3-dialogues.h"
#include "wire/opening.h"

namespace postern::pop3_login {

using login::Step;
using login::Wish;

namespace {

constexpr std::string_view kAuth = "AUTH ";

std::string_view without_cr(std::string_view line) {
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

}  // namespace

Step Pop3ClientDialogue::consume(std::string_view input, WipingBuffer& out) {
  if (state_ == State::closed) return {input.size(), Wish::close};
  if (state_ == State::busy) return {0, Wish::need_more};
  const std::size_t end = input.find('\n');
  const bool whole = end != std::string_view::npos;
  std::string_view line = input.substr(0, end);
  if (!whole || !line_.empty()) {
    // One byte past what excess() takes is enough to know.
    line_.append(line.substr(0, input_limit() + 2));
    line = line_.view();
  }
  const Excess what = excess(line);
  if (what != Excess::none) {
    const Wish wish = too_long(what, line, out);
    line_.clear();
    return {input.size(), wish};
  }
  if (!whole) return {input.size(), Wish::need_more};
  // A command may ask for a SASL response, whose line must find line_ empty.
  const WipingBuffer kept = std::exchange(line_, WipingBuffer());
  const Wish wish =
      state_ == State::response ? on_response(without_cr(line)) : on_command(without_cr(line), out);
  return {end + 1, wish};
}

/// A command line is short, but for the initial response of AUTH.
Pop3ClientDialogue::Excess Pop3ClientDialogue::excess(std::string_view line) const noexcept {
  if (state_ == State::response) {
    return line.size() > kMaxResponse ? Excess::response : Excess::none;
  }
  const std::size_t initial =
      starts_with_text(line, kAuth) ? line.find(' ', kAuth.size()) : std::string_view::npos;
  if (initial > kMaxLine) {  // npos is: there is none
    return line.size() > kMaxLine ? Excess::line : Excess::none;
  }
  return line.size() - initial - 1 > kMaxResponse ? Excess::response : Excess::none;
}

Wish Pop3ClientDialogue::too_long(Excess what, std::string_view line, WipingBuffer& out) {
  if (what == Excess::line) {
    input_full(out);
    return close("Input buffer full");
  }
  if (state_ != State::response) {
    line.remove_prefix(kAuth.size());
    mechanism_ = to_upper(line.substr(0, line.find(' ')));
  }
  constexpr std::string_view kText = "Authentication response too large";
  if (context_.settings->login_compat != config::LoginCompat::dovecot_2_3) {
    bye(Bye::resource, kText, out);
  }
  return close(kText);
}

Wish Pop3ClientDialogue::on_command(std::string_view line, WipingBuffer& out) {
  // A NUL ends strings elsewhere: what would be done is not what is read here.
  if (line.find('\0') != std::string_view::npos) return bad_command(out);
  const std::size_t blank = std::min(line.size(), line.find(' '));
  const std::string_view word = line.substr(0, blank);
  const auto* const command =
      std::find_if(kCommands.begin(), kCommands.end(),
                   [word](const Command& candidate) { return same_text(candidate.name, word); });
  if (command == kCommands.end()) {
    return wire::is_foreign_command(word, false) ? foreign_command(word, out) : bad_command(out);
  }
  bad_commands_ = 0;
  line.remove_prefix(std::min(line.size(), blank + 1));
  return (this->*command->handler)(line, out);
}

Wish Pop3ClientDialogue::on_response(std::string_view line) {
  state_ = State::busy;
  if (line == "*") return Wish::cancel;
  if (!is_base64(line)) {
    bad_response_ = true;
    return Wish::cancel;
  }
  response_ = Secret(line);
  return Wish::respond;
}

Wish Pop3ClientDialogue::bad_command(WipingBuffer& out) {
  out.append("-ERR Unknown command.\r\n");
  if (++bad_commands_ < kMaxBadCommands) return Wish::next;
  out.append("-ERR Too many invalid bad commands.\r\n");
  // The word is twice in Dovecot's line, and so in what reads its log.
  return close("Disconnected: Too many bad commands");
}

/// Whoever has been led here does not get to say more.
Wish Pop3ClientDialogue::foreign_command(std::string_view word, WipingBuffer& out) {
  bye(Bye::resource, "Wrong protocol.", out);
  return close(fmt::format("Wrong protocol ({})", to_upper(word)));
}

Wish Pop3ClientDialogue::close(std::string_view reason) {
  close_reason_ = reason;
  state_ = State::closed;
  return Wish::close;
}

std::unique_ptr<login::ClientDialogue> make_pop3_client_dialogue(
    const login::ClientContext& context) {
  return std::make_unique<Pop3ClientDialogue>(context);
}

}  // namespace postern::pop3_login
