#include "managesieve-login/client-dialogue.h"

#include <fmt/format.h>

#include <algorithm>

#include "config/settings.h"
#include "lib/text.h"
#include "managesieve-login/sieve-dialogues.h"
#include "wire/opening.h"

namespace postern::managesieve_login {

using login::Step;
using login::Wish;

namespace {

constexpr wire::SieveLimits kCommandLimits{.budget = SieveClientDialogue::kMaxLine,
                                           .literal = SieveClientDialogue::kMaxResponse};

}  // namespace

void SieveClientDialogue::start_line() {
  state_ = State::name;
  name_.clear();
  command_ = nullptr;
  arguments_ = 0;
  ending_ = Ending::command;
  ending_text_ = {};
  tag_.clear();
  said_ = {};
}

void SieveClientDialogue::start_response() {
  start_line();
  state_ = State::response;
  ending_ = Ending::response;
  bad_response_ = false;
  cancel_text_ = {};
  reader_.start({.budget = kMaxResponse + kAround, .literal = kMaxResponse}, 0);
}

Step SieveClientDialogue::consume(std::string_view input, WipingBuffer& out) {
  if (state_ == State::closed) return {input.size(), Wish::close};
  if (state_ == State::busy) return {0, Wish::need_more};
  std::string_view rest = input;
  const auto step = [&](Wish wish) { return Step{input.size() - rest.size(), wish}; };
  if (state_ == State::name) {
    take_name(rest);
    if (name_.size() >= kMaxLine) return step(too_large(Event::full, out));
    if (state_ == State::name) return step(Wish::need_more);
  }
  for (;;) {
    const Event event = state_ == State::skipping ? reader_.skip(rest) : reader_.next(rest);
    if (event == Event::more) return step(Wish::need_more);
    if (event == Event::end) return step(end_line(out));
    if (const auto wish = take_word(event, out)) return step(*wish);
  }
}

/// The word that a line begins with; once its end has come the state is another.
void SieveClientDialogue::take_name(std::string_view& input) {
  const std::size_t end = std::min(input.size(), input.find_first_of(" \r\n"));
  const bool whole = end < input.size();
  name_.append(input.substr(0, std::min(end, kMaxLine)));
  input.remove_prefix(end);
  if (!whole || name_.size() >= kMaxLine) return;
  const auto* const command = std::find_if(
      kCommands.begin(), kCommands.end(),
      [this](const Command& candidate) { return same_text(candidate.name, name_.view()); });
  reader_.start(kCommandLimits, name_.size());
  state_ = State::arguments;
  if (command == kCommands.end()) {
    refuse(Ending::bad_command);
  } else {
    command_ = command;
  }
}

/// What the reader found, which is not the end of the line. A wish if the line is over all the
/// same.
std::optional<Wish> SieveClientDialogue::take_word(Event event, WipingBuffer& out) {
  if (event == Event::full || event == Event::fatal) return too_large(event, out);
  if (event == Event::error) {
    refuse(state_ == State::response ? Ending::cancel : Ending::refusal, reader_.error_text());
    return std::nullopt;
  }
  if (state_ == State::response) return take_response_word(event, out);
  // Only a mechanism's response may be long, and it may not be longer than that.
  if (reader_.value().size() > kMaxResponse) return too_large(Event::full, out);
  if (!(this->*command_->argument)(event)) refuse(Ending::bad_command);
  ++arguments_;
  return std::nullopt;
}

std::optional<Wish> SieveClientDialogue::take_response_word(Event kind, WipingBuffer& out) {
  const bool string = kind == Event::quoted || kind == Event::literal;
  if (!string || arguments_++ > 0) {
    response_.clear();
    refuse(Ending::cancel, "Invalid AUTHENTICATE client response.");
    return std::nullopt;
  }
  if (reader_.value().size() > kMaxResponse) return too_large(Event::full, out);
  response_ = Secret(reader_.take_value());
  return std::nullopt;
}

/// The line will be refused at its end; until then nothing of it means anything.
void SieveClientDialogue::refuse(Ending ending, std::string_view text) {
  state_ = State::skipping;
  ending_ = ending;
  ending_text_ = text;
}

Wish SieveClientDialogue::end_line(WipingBuffer& out) {
  const Ending ending = ending_;
  const std::string_view text = ending_text_;
  Wish wish = Wish::next;
  switch (ending) {
    case Ending::command:
      wish = (this->*command_->run)(out);
      break;
    case Ending::bad_command:
      wish = bad_command(out);
      break;
    case Ending::refusal:
      say("NO", "", text, out);
      break;
    case Ending::response:
      return respond();
    case Ending::cancel:
      cancel_text_ = text;
      state_ = State::busy;
      return Wish::cancel;
  }
  if (state_ != State::busy && state_ != State::closed) start_line();
  return wish;
}

Wish SieveClientDialogue::respond() {
  state_ = State::busy;
  if (arguments_ == 0) {
    cancel_text_ = "Received empty AUTHENTICATE client response line.";
    return Wish::cancel;
  }
  if (response_.reveal() != "*" && is_base64(response_.reveal())) return Wish::respond;
  bad_response_ = response_.reveal() != "*";
  response_.clear();
  return Wish::cancel;
}

/// What was announced or sent is more than is taken: nothing behind it can be made sense of.
Wish SieveClientDialogue::too_large(Event event, WipingBuffer& out) {
  const bool initial = state_ == State::arguments && command_ != nullptr && !mechanism_.empty() &&
                       command_->run == &SieveClientDialogue::authenticate && arguments_ > 0;
  if (initial || state_ == State::response) {
    constexpr std::string_view kText = "Authentication response too large";
    if (context_.settings->login_compat != config::LoginCompat::dovecot_2_3) {
      bye(Bye::resource, kText, out);
    }
    return close(kText);
  }
  if (event == Event::fatal) {
    bye(Bye::resource, reader_.error_text(), out);
    return close(reader_.error_text());
  }
  input_full(out);
  return close("Input buffer full");
}

Wish SieveClientDialogue::bad_command(WipingBuffer& out) {
  if (wire::is_foreign_command(name_.view(), false)) {
    // Whoever has been led here does not get to say more.
    bye(Bye::resource, "Wrong protocol.", out);
    return close(fmt::format("Wrong protocol ({})", to_upper(name_.view())));
  }
  if (++bad_commands_ < kMaxBadCommands) {
    say("NO", "", "Error in MANAGESIEVE command received by server.", out);
    return Wish::next;
  }
  bye(Bye::resource, "Too many invalid MANAGESIEVE commands.", out);
  return close("Too many invalid commands.");
}

Wish SieveClientDialogue::close(std::string_view reason) {
  close_reason_ = reason;
  state_ = State::closed;
  name_.clear();
  response_.clear();
  return Wish::close;
}

std::unique_ptr<login::ClientDialogue> make_sieve_client_dialogue(
    const login::ClientContext& context) {
  return std::make_unique<SieveClientDialogue>(context);
}

}  // namespace postern::managesieve_login
