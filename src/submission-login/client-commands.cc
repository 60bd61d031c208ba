// What the commands before login do.
#include <algorithm>
#include <limits>
#include <optional>
#include <utility>

#include "config/settings.h"
#include "lib/text.h"
#include "login-common/offer.h"
#include "submission-login/capabilities.h"
#include "submission-login/client-dialogue.h"
#include "submission-login/client-xclient.h"
#include "wire/smtp-text.h"

namespace postern::submission_login {

using login::Wish;

// What is not here (HELP, EXPN, ETRN, BURL …) is unknown, as it is to Dovecot before login.
const std::array<SubmissionClientDialogue::Command, 13> SubmissionClientDialogue::kCommands{{
    {"AUTH", &SubmissionClientDialogue::auth},
    {"BDAT", &SubmissionClientDialogue::bdat, true},  // looks itself: its data is skipped
    {"DATA", &SubmissionClientDialogue::refuse},
    {"EHLO", &SubmissionClientDialogue::ehlo, true},
    {"HELO", &SubmissionClientDialogue::helo},
    {"MAIL", &SubmissionClientDialogue::mail},
    {"NOOP", &SubmissionClientDialogue::noop, true},
    {"QUIT", &SubmissionClientDialogue::quit, true},
    {"RCPT", &SubmissionClientDialogue::refuse},
    {"RSET", &SubmissionClientDialogue::rset},
    {"STARTTLS", &SubmissionClientDialogue::starttls, true},
    {"VRFY", &SubmissionClientDialogue::refuse},
    {"XCLIENT", &SubmissionClientDialogue::xclient},
}};

namespace {

constexpr std::size_t kMaxHelo = 255;  // bytes of a name that is kept
constexpr std::string_view kExternal = "EXTERNAL";
constexpr std::string_view kInvalid = "Invalid parameters";

}  // namespace

Wish SubmissionClientDialogue::ehlo(std::string_view parameters, WipingBuffer& out) {
  if (parameters.empty()) return reply(501, "", "Missing hostname", out);
  const bool named = wire::is_smtp_domain(parameters) || wire::is_smtp_address_literal(parameters);
  helo_ = named ? parameters.substr(0, kMaxHelo) : std::string_view{};
  protocol_ = "ESMTP";
  bad_commands_ = 0;
  append_ehlo(context_, out);
  return Wish::next;
}

Wish SubmissionClientDialogue::helo(std::string_view parameters, WipingBuffer& out) {
  if (parameters.empty()) return reply(501, "", "Missing hostname", out);
  helo_ = wire::is_smtp_domain(parameters) ? parameters.substr(0, kMaxHelo) : std::string_view{};
  protocol_ = "SMTP";
  return reply(250, "", context_.host_name, out);
}

Wish SubmissionClientDialogue::noop(std::string_view parameters, WipingBuffer& out) {
  const std::string_view problem = wire::smtp_string_problem(parameters);
  if (problem.empty()) return reply(250, "2.0.0", "OK", out);
  return reply(501, "5.5.4", "Invalid string parameter: " + std::string(problem), out);
}

Wish SubmissionClientDialogue::rset(std::string_view parameters, WipingBuffer& out) {
  if (!parameters.empty()) return reply(501, "5.5.4", kInvalid, out);
  return reply(250, "2.0.0", "OK", out);
}

Wish SubmissionClientDialogue::quit(std::string_view parameters, WipingBuffer& out) {
  if (!parameters.empty()) return reply(501, "5.5.4", kInvalid, out);
  reply(221, "2.0.0", "Bye", out);
  return close("Aborted login by logging out");
}

Wish SubmissionClientDialogue::starttls(std::string_view parameters, WipingBuffer& out) {
  // Also on the port where TLS came first: Dovecot begins a second one there, and breaks.
  if (context_.security.tls || context_.security.ssl_secured) {
    return reply(502, "5.5.1", "TLS is already active.", out);
  }
  if (!login::can_start_tls(context_)) {
    return reply(502, "5.5.1", "TLS support is not enabled.", out);
  }
  if (!parameters.empty()) return reply(501, "5.5.4", kInvalid, out);
  reply(220, "2.0.0", "Begin TLS negotiation now.", out);
  return Wish::start_tls;
}

Wish SubmissionClientDialogue::refuse(std::string_view /*parameters*/, WipingBuffer& out) {
  return reply(530, "5.7.0", "Authentication required.", out);
}

/// `BDAT SIZE [LAST]`: refused, and what it announces is not taken for commands.
Wish SubmissionClientDialogue::bdat(std::string_view parameters, WipingBuffer& out) {
  reply(530, "5.7.0", tls_required() ? "TLS required." : "Authentication required.", out);
  const std::string_view digits = parameters.substr(0, parameters.find(' '));
  if (digits.empty() || digits.find_first_not_of("0123456789") != std::string_view::npos) {
    return Wish::next;
  }
  // A size that no number here can hold is too large as well.
  const auto size = decimal(digits, 0, kMaxSkipped);
  if (!size) {
    bye(Bye::resource, "Too much data before login", out);
    return close("Too much data before login");
  }
  to_skip_ = *size;
  if (to_skip_ > 0) state_ = State::data;
  return Wish::next;
}

/// With submission_client_workarounds = implicit-auth-external a client that has shown its
/// certificate need not say AUTH.
Wish SubmissionClientDialogue::mail(std::string_view parameters, WipingBuffer& out) {
  if (!implicit_external()) return refuse(parameters, out);
  mail_ = "MAIL ";
  mail_.append(parameters).append("\r\n");
  request_ = {};
  request_.initial.emplace();
  return authenticate(std::string(kExternal));
}

bool SubmissionClientDialogue::implicit_external() const {
  const auto& workarounds = context_.settings->submission_client_workarounds;
  const auto& mechanisms = *context_.mechanisms;
  return std::find(workarounds.begin(), workarounds.end(), "implicit-auth-external") !=
             workarounds.end() &&
         std::any_of(mechanisms.begin(), mechanisms.end(),
                     [](const login::Mechanism& mechanism) { return mechanism.name == kExternal; });
}

Wish SubmissionClientDialogue::auth(std::string_view parameters, WipingBuffer& out) {
  const std::size_t blank = std::min(parameters.size(), parameters.find(' '));
  const std::string_view mech = parameters.substr(0, blank);
  if (mech.empty()) return reply(501, "5.5.4", "Missing SASL mechanism parameter", out);
  const std::string_view initial = parameters.substr(std::min(parameters.size(), blank + 1));
  if (initial.find(' ') != std::string_view::npos) return reply(501, "5.5.4", kInvalid, out);
  request_ = {};
  if (initial == "=") {
    request_.initial.emplace();
  } else if (!initial.empty() && is_base64(initial)) {
    request_.initial.emplace(initial);
  } else {
    request_.invalid_initial = !initial.empty();
  }
  return authenticate(to_upper(mech));
}

Wish SubmissionClientDialogue::authenticate(std::string mech) {
  request_.mech = std::move(mech);
  given_up_ = GivenUp::no;
  state_ = State::busy;
  return Wish::authenticate;
}

Wish SubmissionClientDialogue::xclient(std::string_view parameters, WipingBuffer& out) {
  if (!context_.security.trusted) {
    return reply(550, "5.7.14", "You are not from trusted IP", out);
  }
  Result<Xclient> said = parse_xclient(parameters);
  if (!said.ok()) return reply(501, "5.5.4", said.error().text, out);
  Xclient values = std::move(said).value();
  // It may be said again, in parts: what is not named stays.
  if (values.helo) xclient_helo_ = values.helo->substr(0, kMaxHelo);
  if (values.protocol) xclient_protocol_ = std::move(*values.protocol);
  helo_.clear();
  protocol_ = {};
  bad_commands_ = 0;
  forwarded_ = std::move(values.forwarded);
  greet(out);
  return Wish::forwarded;
}

}  // namespace postern::submission_login
