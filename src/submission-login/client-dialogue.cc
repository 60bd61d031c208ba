#include "submission-login/client-dialogue.h"

#include <fmt/format.h>

#include <algorithm>

#include "config/settings.h"
#include "lib/text.h"
#include "submission-login/submission-dialogues.h"
#include "wire/opening.h"
#include "wire/smtp-text.h"

namespace postern::submission_login {

using login::Outcome;
using login::Step;
using login::Wish;

namespace {

/// Of a line's beginning so much is kept as is needed to know that it is too long.
constexpr std::size_t kMaxKept = SubmissionClientDialogue::kMaxResponse + 2;
static_assert(kMaxKept > wire::kMaxSmtpName + 1 + wire::kMaxSmtpParameters + 1);

std::string_view without_cr(std::string_view line) {
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

}  // namespace

Step SubmissionClientDialogue::consume(std::string_view input, WipingBuffer& out) {
  if (state_ == State::closed) return {input.size(), Wish::close};
  if (given_up_ == GivenUp::unasked && state_ == State::response) {
    state_ = State::busy;
    return {0, Wish::cancel};
  }
  if (state_ == State::busy) return {0, Wish::need_more};
  if (state_ == State::data) return skip_data(input.size());
  const std::size_t end = input.find('\n');
  const bool whole = end != std::string_view::npos;
  std::string_view line = input.substr(0, end);
  length_ += line.size();
  if (length_ > kMaxSkipped) {
    input_full(out);
    return {input.size(), close("Input buffer full")};
  }
  if (!whole || !line_.empty()) {
    line_.append(line.substr(0, kMaxKept - std::min(kMaxKept, line_.size())));
    line = line_.view();
  }
  if (!whole) return {input.size(), Wish::need_more};
  const bool cut = length_ > line.size();
  length_ = 0;
  // A command may ask for a SASL response, whose line must find line_ empty.
  const WipingBuffer kept = std::exchange(line_, WipingBuffer());
  const Wish wish = state_ == State::response ? on_response(without_cr(line), cut)
                                              : on_command(without_cr(line), cut, out);
  return {end + 1, wish};
}

/// A client that pipelines sends the message along with its BDAT (RFC 3030): these bytes are no
/// commands, whoever wrote them.
Step SubmissionClientDialogue::skip_data(std::size_t available) {
  const std::size_t taken = std::min(available, to_skip_);
  to_skip_ -= taken;
  if (to_skip_ > 0) return {taken, Wish::need_more};
  state_ = State::command;
  return {taken, Wish::next};
}

bool SubmissionClientDialogue::tls_required() const noexcept {
  return context_.settings->ssl == config::Ssl::required && !context_.security.secured;
}

Wish SubmissionClientDialogue::on_command(std::string_view line, bool cut, WipingBuffer& out) {
  const wire::SmtpCommand said = wire::parse_smtp_command(line, cut);
  if (wire::is_foreign_command(said.name, true)) return foreign_command(said.name, out);
  switch (said.problem) {
    case wire::SmtpCommand::Problem::syntax:
      return reply(500, "5.5.2", "Invalid command syntax", out);
    case wire::SmtpCommand::Problem::too_long:
      return reply(500, "5.5.2", "Line too long", out);
    case wire::SmtpCommand::Problem::none:
      break;
  }
  const auto* const command =
      std::find_if(kCommands.begin(), kCommands.end(),
                   [&said](const Command& known) { return same_text(known.name, said.name); });
  if (command == kCommands.end()) return reply(500, "5.5.1", "Unknown command", out);
  if (tls_required() && !command->before_tls) {
    return reply(530, "5.7.0", "TLS required.", out);
  }
  return (this->*command->handler)(said.parameters, out);
}

/// A browser that has been led here does not get to say more.
Wish SubmissionClientDialogue::foreign_command(std::string_view word, WipingBuffer& out) {
  bye(Bye::resource, "Wrong protocol.", out);
  return close(fmt::format("Wrong protocol ({})", to_upper(word)));
}

Wish SubmissionClientDialogue::on_response(std::string_view line, bool cut) {
  state_ = State::busy;
  if (cut || line.size() > kMaxResponse) {
    given_up_ = GivenUp::too_long;
    return Wish::cancel;
  }
  if (line == "*") return Wish::cancel;
  if (!is_base64(line)) {
    given_up_ = GivenUp::bad_base64;
    return Wish::cancel;
  }
  response_ = Secret(line);
  return Wish::respond;
}

Outcome SubmissionClientDialogue::cancel_outcome() const {
  switch (given_up_) {
    case GivenUp::no:
      return Outcome::aborted;
    case GivenUp::bad_base64:
      return Outcome::invalid_base64;
    case GivenUp::too_long:
    case GivenUp::unasked:
      return Outcome::wrong_credentials;
  }
  return Outcome::aborted;
}

/// What a trusted hop said of its client counts for more than what it says of itself.
login::LoginFacts SubmissionClientDialogue::facts() const {
  login::LoginFacts out;
  out.helo = xclient_helo_.empty() ? helo_ : xclient_helo_;
  out.helo_protocol = xclient_protocol_.empty() ? std::string(protocol_) : xclient_protocol_;
  out.replay = mail_;
  return out;
}

std::string_view SubmissionClientDialogue::unfinished_command() const {
  if (state_ != State::busy && state_ != State::response) return {};
  return mail_.empty() ? "AUTH" : "MAIL";
}

/// Whoever sent MAIL did not ask to be asked.
void SubmissionClientDialogue::challenge(std::string_view base64, WipingBuffer& out) {
  state_ = State::response;
  if (!mail_.empty()) {
    given_up_ = GivenUp::unasked;
    return;
  }
  out.append("334 ").append(base64).append("\r\n");
}

/// Whatever plaintext said of the client is forgotten (RFC 3207 section 4.2), whatever it left half
/// said, too.
void SubmissionClientDialogue::tls_started(WipingBuffer& /*out*/) {
  if (state_ == State::closed) return;
  line_.clear();
  length_ = 0;
  helo_.clear();
  protocol_ = {};
  xclient_helo_.clear();
  xclient_protocol_.clear();
  state_ = State::command;
}

Wish SubmissionClientDialogue::close(std::string_view reason) {
  close_reason_ = reason;
  state_ = State::closed;
  return Wish::close;
}

std::unique_ptr<login::ClientDialogue> make_submission_client_dialogue(
    const login::ClientContext& context) {
  return std::make_unique<SubmissionClientDialogue>(context);
}

}  // namespace postern::submission_login
