#include "imap-login/client-dialogue.h"

#include <fmt/format.h>
#include <openssl/crypto.h>

#include <algorithm>
#include <utility>

#include "config/settings.h"
#include "imap-login/imap-dialogues.h"
#include "lib/text.h"
#include "wire/opening.h"

namespace postern::imap_login {

using login::Step;
using login::Wish;
using Event = wire::ImapArgumentReader::Event;

template <std::size_t N>
void ShortWord<N>::clear() noexcept {
  OPENSSL_cleanse(bytes_.data(), size_);
  size_ = 0;
}
template class ShortWord<ImapClientDialogue::kMaxTag>;
template class ShortWord<ImapClientDialogue::kMaxName>;

Step ImapClientDialogue::consume(std::string_view input, WipingBuffer& out) {
  if (std::exchange(id_log_pending_, false)) return {0, Wish::log_id};
  if (state_ == State::closed) return {input.size(), Wish::close};
  if (state_ == State::busy) return {0, Wish::need_more};
  std::string_view rest = input;
  while (true) {
    const std::size_t before = rest.size();
    const State state = state_;
    const Said said = step(rest, out);
    const std::size_t consumed = input.size() - rest.size();
    if (said) return {consumed, *said};
    // Nothing said, nothing taken and no new state: the bytes are used up.
    if (rest.size() == before && state == state_) return {consumed, Wish::need_more};
  }
}

ImapClientDialogue::Said ImapClientDialogue::step(std::string_view& rest, WipingBuffer& out) {
  switch (state_) {
    case State::tag:
      return on_tag(rest, out);
    case State::name:
      return on_name(rest, out);
    case State::arguments:
      return on_arguments(rest, out);
    case State::mechanism:
      return on_mechanism(rest, out);
    case State::initial:
      return on_initial(rest, out);
    case State::skip:
      return on_skip(rest, out);
    case State::response:
      return on_response(rest, out);
    case State::busy:
      return Wish::need_more;
    case State::closed:
      break;
  }
  return Wish::close;
}

/// The tag of the last command is needed until its verdict is in, so it is only forgotten here.
void ImapClientDialogue::start_command() {
  tag_.clear();
  name_.clear();
  tag_invalid_ = name_invalid_ = false;
  bad_response_ = false;
  used_ = 0;
  line_started_ = true;
}

ImapClientDialogue::Said ImapClientDialogue::on_tag(std::string_view& rest, WipingBuffer& out) {
  if (rest.empty()) return std::nullopt;
  if (!line_started_) start_command();
  while (!rest.empty()) {
    const char c = rest.front();
    if (c == ' ' || c == '\r' || c == '\n') {
      // An invalid tag is never sent back: it may be another protocol's request.
      if (tag_invalid_ || tag_.empty()) {
        tag_invalid_ = true;
        return skip_line(true);
      }
      if (c == ' ') {
        rest.remove_prefix(1);
        ++used_;
      }
      state_ = State::name;
      return std::nullopt;
    }
    if (used_ >= kMaxLine) return line_too_long(out);
    if (!wire::is_imap_tag_char(c) || !tag_.append(c)) tag_invalid_ = true;
    rest.remove_prefix(1);
    ++used_;
  }
  return std::nullopt;
}

ImapClientDialogue::Said ImapClientDialogue::on_name(std::string_view& rest, WipingBuffer& out) {
  while (!rest.empty()) {
    const char c = rest.front();
    if (used_ >= kMaxLine) return line_too_long(out);
    if (c == ' ' || c == '\r' || c == '\n') {
      if (c == ' ') {
        rest.remove_prefix(1);
        ++used_;
      }
      start_arguments();
      return std::nullopt;
    }
    if (!name_.append(c)) name_invalid_ = true;
    rest.remove_prefix(1);
    ++used_;
  }
  return std::nullopt;
}

void ImapClientDialogue::start_arguments() {
  arguments_ = 0;
  odd_arguments_ = false;
  id_.reset();
  if (!name_invalid_ && same_text(name_.view(), "AUTHENTICATE")) {
    // A response may be longer than a command line, so this line is not the argument reader's.
    mechanism_.clear();
    has_initial_ = false;
    state_ = State::mechanism;
    return;
  }
  wire::ImapArgumentLimits limits;
  limits.budget = kMaxLine;
  limits.literal_minus = context_.settings->imap_literal_minus;
  if (!name_invalid_ && same_text(name_.view(), "ID")) {
    id_.emplace(context_.settings->imap_id_log, context_.security.trusted && !id_seen_);
    limits.depth = 2;
  }
  reader_.start(limits, used_);
  state_ = State::arguments;
}

ImapClientDialogue::Said ImapClientDialogue::on_arguments(std::string_view& rest,
                                                          WipingBuffer& out) {
  while (state_ == State::arguments) {
    const Event event = reader_.next(rest);
    switch (event) {
      case Event::more:
        return std::nullopt;
      case Event::continuation:
        out.append("+ OK\r\n");
        break;
      case Event::argument:
      case Event::list_open:
      case Event::list_close:
        take_argument(event, out);
        break;
      case Event::end:
        return run_command(out);
      case Event::error:
        tagged("BAD", reader_.error_text(), out);
        return skip_line(false);
      case Event::fatal:
        bye(Bye::resource, reader_.error_text(), out);
        return close(reader_.error_text());
      case Event::full:
        return line_too_long(out);
    }
  }
  return std::nullopt;
}

void ImapClientDialogue::take_argument(Event event, WipingBuffer& out) {
  if (id_) {
    reader_.restart_budget();
    if (id_->take(event, reader_)) return;
    tagged("BAD", "Invalid ID parameters", out);
    skip_line(false);
    return;
  }
  if (event != Event::argument || reader_.has_nul()) {
    odd_arguments_ = true;
  } else if (arguments_ < kept_.size() && same_text(name_.view(), "LOGIN")) {
    kept_[arguments_] = reader_.take_value();
  }
  ++arguments_;
}

ImapClientDialogue::Said ImapClientDialogue::run_command(WipingBuffer& out) {
  start_next_line();
  const auto* const command =
      std::find_if(kCommands.begin(), kCommands.end(), [this](const Command& candidate) {
        return !name_invalid_ && same_text(candidate.name, name_.view());
      });
  if (command == kCommands.end()) {
    // Somebody who types a login by hand and forgets the tag gets told, at no charge.
    if (same_text(tag_.view(), "LOGIN")) {
      tagged("BAD",
             "First parameter in line is IMAP's command tag, not the command name. Add that before "
             "the command, like: a login user pass",
             out);
      return Wish::next;
    }
    if (wire::is_foreign_command(tag_.view(), false)) return foreign_command(out);
    return bad_command(out);
  }
  return (this->*command->handler)(out);
}

ImapClientDialogue::Said ImapClientDialogue::on_mechanism(std::string_view& rest,
                                                          WipingBuffer& out) {
  while (!rest.empty()) {
    const char c = rest.front();
    if (c == ' ' || c == '\r' || c == '\n') {
      // A NUL is refused in every command line.
      const bool word = !mechanism_.empty() && mechanism_.find('\0') == std::string::npos;
      if (!word) return skip_line(true);
      has_initial_ = c == ' ';
      if (has_initial_) rest.remove_prefix(1);
      line_.clear();
      state_ = State::initial;
      return std::nullopt;
    }
    if (used_ >= kMaxLine) return line_too_long(out);
    mechanism_ += ascii_upper(c);
    rest.remove_prefix(1);
    ++used_;
  }
  return std::nullopt;
}

bool ImapClientDialogue::read_line(std::string_view& rest, bool& too_large) {
  const std::size_t end = rest.find('\n');
  const std::size_t n = std::min(end, rest.size());
  too_large = line_.size() + n > kMaxResponse;
  if (too_large) {
    rest = {};
    return false;
  }
  line_.append(rest.substr(0, n));
  rest.remove_prefix(n);
  if (end == std::string_view::npos) return false;
  rest.remove_prefix(1);
  return true;
}

ImapClientDialogue::Said ImapClientDialogue::on_initial(std::string_view& rest, WipingBuffer& out) {
  bool too_large = false;
  if (!read_line(rest, too_large)) {
    return too_large ? response_too_large(out) : std::nullopt;
  }
  std::string_view text = line_.view();
  if (text.ends_with('\r')) text.remove_suffix(1);
  start_next_line();
  // `PLAIN<CR>x`: a CR inside the line.
  if (!has_initial_ && !text.empty()) {
    line_.clear();
    return bad_command(out);
  }
  request_ = {};
  request_.mech = std::move(mechanism_);
  mechanism_.clear();
  if (text == "=") {
    request_.initial.emplace();
  } else if (!text.empty() && is_base64(text)) {
    request_.initial.emplace(text);
  } else {
    request_.invalid_initial = !text.empty();
  }
  line_.clear();
  return authenticate();
}

ImapClientDialogue::Said ImapClientDialogue::on_response(std::string_view& rest,
                                                         WipingBuffer& out) {
  bool too_large = false;
  if (!read_line(rest, too_large)) {
    return too_large ? response_too_large(out) : std::nullopt;
  }
  std::string_view text = line_.view();
  if (text.ends_with('\r')) text.remove_suffix(1);
  state_ = State::busy;
  Said said = Wish::respond;
  if (text == "*") {
    said = Wish::cancel;
  } else if (!is_base64(text)) {
    bad_response_ = true;
    said = Wish::cancel;
  } else {
    response_secret_ = Secret(text);
  }
  line_.clear();
  return said;
}

ImapClientDialogue::Said ImapClientDialogue::skip_line(bool bad_command) {
  state_ = State::skip;
  skipped_ = 0;
  bad_after_skip_ = bad_command;
  mechanism_.clear();
  for (WipingBuffer& argument : kept_) argument.clear();
  return std::nullopt;
}

ImapClientDialogue::Said ImapClientDialogue::on_skip(std::string_view& rest, WipingBuffer& out) {
  if (rest.empty()) return std::nullopt;
  const std::size_t end = rest.find('\n');
  skipped_ += std::min(end, rest.size());
  if (skipped_ > kMaxSkipped) return line_too_long(out);
  if (end == std::string_view::npos) {
    rest = {};
    return std::nullopt;
  }
  rest.remove_prefix(end + 1);
  start_next_line();
  return bad_after_skip_ ? bad_command(out) : Wish::next;
}

void ImapClientDialogue::start_next_line() {
  state_ = State::tag;
  line_started_ = false;
}

ImapClientDialogue::Said ImapClientDialogue::bad_command(WipingBuffer& out) {
  if (++bad_commands_ >= kMaxBadCommands) {
    bye(Bye::resource, "Too many invalid IMAP commands.", out);
    return close("Too many invalid commands");
  }
  tagged("BAD", "Error in IMAP command received by server.", out);
  return Wish::next;
}

/// The tag is another protocol's command: it is not sent back, and whoever has been led here does
/// not get to say more.
ImapClientDialogue::Said ImapClientDialogue::foreign_command(WipingBuffer& out) {
  bye(Bye::resource, "Wrong protocol.", out);
  return close(fmt::format("Wrong protocol ({})", to_upper(tag_.view())));
}

ImapClientDialogue::Said ImapClientDialogue::line_too_long(WipingBuffer& out) {
  mechanism_.clear();  // half a word
  input_full(out);
  return close("Input buffer full");
}

ImapClientDialogue::Said ImapClientDialogue::response_too_large(WipingBuffer& out) {
  constexpr std::string_view kText = "Authentication response too large";
  line_.clear();
  if (context_.settings->login_compat != config::LoginCompat::dovecot_2_3) {
    bye(Bye::resource, kText, out);
  }
  return close(kText);
}

ImapClientDialogue::Said ImapClientDialogue::close(std::string_view reason) {
  close_reason_ = reason;
  state_ = State::closed;
  for (WipingBuffer& argument : kept_) argument.clear();
  return Wish::close;
}

std::unique_ptr<login::ClientDialogue> make_imap_client_dialogue(
    const login::ClientContext& context) {
  return std::make_unique<ImapClientDialogue>(context);
}

}  // namespace postern::imap_login
