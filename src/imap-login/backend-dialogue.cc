#include "imap-login/backend-dialogue.h"

#include <algorithm>
#include <array>
#include <utility>

#include "imap-login/backend-id.h"
#include "imap-login/imap-dialogues.h"
#include "lib/text.h"

namespace postern::imap_login {

using login::BackendTls;
using login::FailureType;
using login::Then;

namespace {

constexpr std::array<std::string_view, 6> kSentNames{"id",           "starttls",      "capability",
                                                     "authenticate", "auth-continue", "login"};
constexpr std::array<std::string_view, 7> kReceivedNames{
    "none", "banner", "id", "starttls", "capability", "auth-continue", "login"};

constexpr std::string_view kLoginFailed = "[AUTHENTICATIONFAILED] Authentication failed.";

/// Codes of a refused login that are passed on with their text (RFC 5530, RFC 3501, RFC 2221).
/// Behind any other there might stand whatever a backend wants users to read. UNAVAILABLE has its
/// own way.
constexpr std::array<std::string_view, 13> kKnownCodes{"ALERT",           "AUTHORIZATIONFAILED",
                                                       "CANNOT",          "CLIENTBUG",
                                                       "CONTACTADMIN",    "EXPIRED",
                                                       "INUSE",           "LIMIT",
                                                       "NOPERM",          "OVERQUOTA",
                                                       "PRIVACYREQUIRED", "REFERRAL",
                                                       "SERVERBUG"};

bool is_known(const wire::ImapResponseText& text) {
  return std::any_of(kKnownCodes.begin(), kKnownCodes.end(),
                     [&text](std::string_view code) { return text.is(code); });
}

/// The first word; `line` keeps what stands behind the blank.
std::string_view take_word(std::string_view& line) {
  const std::size_t end = std::min(line.size(), line.find(' '));
  const std::string_view word = line.substr(0, end);
  line.remove_prefix(std::min(line.size(), end + 1));
  return word;
}

}  // namespace

ImapBackendDialogue::ImapBackendDialogue(const login::BackendTarget& target)
    : SaslBackend(target) {}

std::string ImapBackendDialogue::state() const {
  std::string out;
  for (std::size_t i = 0; i < kSentNames.size(); ++i) {
    if (!sent_[i]) continue;
    if (!out.empty()) out += '+';
    out += kSentNames[i];
  }
  return out.append("/").append(kReceivedNames[static_cast<std::size_t>(received_)]);
}

std::string ImapBackendDialogue::reply_line(std::string_view text) const {
  return client_line(target_.client_tag + " NO ", text);
}

Then ImapBackendDialogue::take_line(std::string_view line, WipingBuffer& to_backend,
                                    WipingBuffer& to_client) {
  if (received_ == Received::none) return on_banner(line, to_backend);
  if (line.starts_with("* ")) return on_untagged(line.substr(2), to_client);
  if (line.starts_with('+')) return on_continuation(line.substr(1), to_backend);
  return on_tagged(line, to_backend, to_client);
}

Then ImapBackendDialogue::on_banner(std::string_view line, WipingBuffer& out) {
  std::string_view rest = line;
  if (take_word(rest) != "*" || !same_text(take_word(rest), "OK")) {
    return fail(FailureType::protocol, "Invalid banner: " + log_safe_line(line));
  }
  received_ = Received::banner;
  const wire::ImapResponseText text = wire::parse_imap_response_text(rest);
  if (text.is("CAPABILITY")) capabilities_ = wire::ImapCapabilities(text.code_arguments());
  const bool starttls = target_.tls == BackendTls::starttls;
  if (starttls && capabilities_.known() && !capabilities_.has("STARTTLS")) {
    return fail(FailureType::remote_config, "STARTTLS not supported");
  }
  if (login_is_disabled()) return refuse_plaintext();
  id_offered_ = capabilities_.has("ID") && !target_.not_trusted;
  want_starttls_ = starttls;
  // What an ID says of the client is private: not before TLS unless told so.
  want_id_ = id_offered_ && (!starttls || target_.id_before_starttls);
  want_capability_ = !starttls && (!capabilities_.known() || target_.client_used_capability);
  want_login_ = !starttls;
  return advance(out);
}

Then ImapBackendDialogue::tls_started(WipingBuffer& to_backend) {
  tls_up_ = true;
  sent_.reset();
  capabilities_ = {};  // RFC 3501 section 6.2.1
  want_id_ = id_offered_ && !target_.id_before_starttls;
  want_capability_ = want_login_ = true;
  return advance(to_backend);
}

/// LOGINDISABLED forbids to send a password, SASL-IR and LITERAL+ say how to: not knowing them, it
/// is asked for first, unless TLS is up and a plain LOGIN needs neither.
bool ImapBackendDialogue::must_know_capabilities() const {
  if (capabilities_.known()) return false;
  return target_.tls == BackendTls::none || !mechanism_name().empty() ||
         wire::imap_string_form(target_.user) != wire::ImapString::quoted ||
         wire::imap_string_form(target_.password.reveal()) != wire::ImapString::quoted;
}

Then ImapBackendDialogue::advance(WipingBuffer& out) {
  if (std::exchange(want_id_, false)) {
    const bool literals = capabilities_.has("LITERAL+") || capabilities_.has("LITERAL-");
    for (const std::string& name : append_id_command(target_, literals, out)) {
      remark_ += (remark_.empty() ? "ID fields too long to be forwarded: " : ", ") + name;
    }
    set_sent(Sent::id);
    if (target_.nopipelining) return Then::read_line;
  }
  if (std::exchange(want_starttls_, false)) {
    out.append("S STARTTLS\r\n");
    set_sent(Sent::starttls);
    return Then::read_line;
  }
  if (std::exchange(want_capability_, false)) {
    out.append("C CAPABILITY\r\n");
    set_sent(Sent::capability);
    if (target_.nopipelining || must_know_capabilities()) return Then::read_line;
  }
  if (std::exchange(want_login_, false)) return send_login(out);
  return Then::read_line;
}

bool ImapBackendDialogue::login_is_disabled() const {
  return target_.tls == BackendTls::none && mechanism_name().empty() &&
         capabilities_.has("LOGINDISABLED");
}

Then ImapBackendDialogue::refuse_plaintext() {
  return fail(FailureType::remote_config, "LOGINDISABLED advertised, but SSL/TLS not enabled");
}

Then ImapBackendDialogue::send_login(WipingBuffer& out) {
  if (!mechanism_name().empty()) return send_authenticate(mechanism_name(), out);
  if (login_is_disabled()) return refuse_plaintext();
  constexpr std::size_t kLiteralMinus = 4096;  // RFC 7888
  // After a synchronising literal's size the rest goes into a part of its own.
  std::vector<WipingBuffer> parts(1);
  parts.back().append("L LOGIN");
  for (const std::string_view value : {std::string_view(target_.user), target_.password.reveal()}) {
    parts.back().append(' ');
    switch (wire::imap_string_form(value)) {
      case wire::ImapString::quoted:
        wire::append_imap_quoted(value, parts.back());
        break;
      case wire::ImapString::literal: {
        const bool non_sync = capabilities_.has("LITERAL+") ||
                              (capabilities_.has("LITERAL-") && value.size() <= kLiteralMinus);
        parts.back().append("{").append(std::to_string(value.size()));
        parts.back().append(non_sync ? "+}\r\n" : "}\r\n");
        if (!non_sync) parts.emplace_back();
        parts.back().append(value);
        break;
      }
      case wire::ImapString::impossible:
        return fail(FailureType::internal, "User name or password has a NUL");
    }
  }
  parts.back().append("\r\n");
  out.append(parts.front().view());
  literals_ = std::move(parts);
  next_literal_ = 1;
  set_sent(Sent::login);
  return Then::read_line;
}

Then ImapBackendDialogue::send_authenticate(std::string_view mech, WipingBuffer& out) {
  if (const Then then = choose_mechanism(mech); then != Then::read_line) return then;
  set_sent(Sent::authenticate);
  const std::string command = "L AUTHENTICATE " + std::string(mechanism_->name());
  if (capabilities_.has("SASL-IR")) {
    if (auto initial = mechanism_->initial()) {
      initial_sent_ = true;
      // RFC 4959: an empty initial response is written "=".
      if (initial->kind == sasl::ClientReply::Kind::respond && initial->bytes.empty()) {
        out.append(command).append(" =\r\n");
        return Then::read_line;
      }
      return send_sasl(std::move(*initial), command + " ", out);
    }
  }
  out.append(command).append("\r\n");
  return Then::read_line;
}

Then ImapBackendDialogue::on_continuation(std::string_view rest, WipingBuffer& out) {
  if (is_sent(Sent::authenticate) || is_sent(Sent::auth_continue)) {
    if (rest.starts_with(' ')) rest.remove_prefix(1);
    return on_challenge(rest, out);
  }
  if (!is_sent(Sent::login)) return unexpected("+" + std::string(rest));
  // The backend may answer literals that did not ask for it: those are ignored.
  if (next_literal_ < literals_.size()) {
    out.append(literals_[next_literal_].view());
    literals_[next_literal_++].clear();
  }
  return Then::read_line;
}

Then ImapBackendDialogue::on_challenge(std::string_view base64, WipingBuffer& out) {
  const auto challenge = base64_decode(base64);
  if (!challenge) {
    return fail(FailureType::protocol, "Invalid base64 data in AUTHENTICATE response");
  }
  set_sent(Sent::authenticate, false);
  set_sent(Sent::auth_continue);
  received_ = Received::auth_continue;
  if (!std::exchange(initial_sent_, true)) {
    if (auto initial = mechanism_->initial()) return send_sasl(std::move(*initial), "", out);
  }
  return send_sasl(mechanism_->challenge(challenge->view()), "", out);
}

Then ImapBackendDialogue::on_untagged(std::string_view rest, WipingBuffer& to_client) {
  const std::string_view whole = rest;
  const std::string_view word = take_word(rest);
  if (same_text(word, "CAPABILITY")) {
    // The answer to a pipelined CAPABILITY is still the list before login.
    const bool after_login = login_pending() && !is_sent(Sent::capability);
    (after_login ? login_capabilities_ : capabilities_) = wire::ImapCapabilities(rest);
    return Then::read_line;
  }
  if (same_text(word, "BYE")) {
    return fail(FailureType::connect, "BYE: " + log_safe_line(rest));
  }
  const wire::ImapResponseText text = wire::parse_imap_response_text(rest);
  const bool said = same_text(word, "NO") || same_text(word, "BAD");
  const bool alert = text.is("ALERT") ? target_.alerts && (said || same_text(word, "OK")) : said;
  // Before STARTTLS anybody on the way could have said it.
  const bool trustworthy = target_.tls != BackendTls::starttls || tls_up_;
  if (alert && trustworthy && relayed_ < kMaxRelayed) {
    ++relayed_;
    to_client.append(client_line("* ", whole));
  }
  return Then::read_line;
}

Then ImapBackendDialogue::on_tagged(std::string_view line, WipingBuffer& out,
                                    WipingBuffer& to_client) {
  std::string_view rest = line;
  const std::string_view tag = take_word(rest);
  if (same_text(tag, "I") && is_sent(Sent::id)) {
    // Whatever it says: an ID is a courtesy.
    set_sent(Sent::id, false);
    received_ = Received::id;
  } else if (same_text(tag, "C") && is_sent(Sent::capability)) {
    set_sent(Sent::capability, false);
    received_ = Received::capability;
  } else if (same_text(tag, "S") && is_sent(Sent::starttls)) {
    return on_starttls_reply(rest);
  } else if (same_text(tag, "L")) {
    // A verdict on a login that was never asked for must not let anybody in.
    if (!login_pending()) {
      return fail(FailureType::protocol, "Unexpected login reply: " + log_safe_line(line));
    }
    return on_login_reply(rest, to_client);
  } else {
    return unexpected(line);
  }
  const bool may_go_on = target_.nopipelining ? sent_.none() : !is_sent(Sent::capability);
  return may_go_on ? advance(out) : Then::read_line;
}

Then ImapBackendDialogue::unexpected(std::string_view line) {
  remark_ = "Unexpected input, ignoring: " + log_safe_line(line);
  return Then::read_line;
}

Then ImapBackendDialogue::on_starttls_reply(std::string_view rest) {
  set_sent(Sent::starttls, false);
  received_ = Received::starttls;
  std::string_view text = rest;
  if (!same_text(take_word(text), "OK")) {
    return fail(FailureType::remote, "STARTTLS failed: " + log_safe_line(text));
  }
  // If the handshake fails, the message names what it kept from being sent.
  set_sent(mechanism_name().empty() ? Sent::login : Sent::authenticate);
  return Then::start_tls;
}

Then ImapBackendDialogue::on_login_reply(std::string_view rest, WipingBuffer& to_client) {
  set_sent(Sent::login, false);
  received_ = Received::login;
  std::string_view text = rest;
  const std::string_view status = take_word(text);
  if (same_text(status, "OK")) {
    if (refused_) {
      return contradicted();
    }
    say_success(text, to_client);
    return succeed();
  }
  if (refused_) return fail(FailureType::auth_not_replied, refusal_);
  if (!same_text(status, "NO")) {
    return fail(FailureType::auth_replied, log_safe_line(rest), reply_line(kLoginFailed));
  }
  const wire::ImapResponseText parsed = wire::parse_imap_response_text(text);
  const std::string reason = log_safe_line(text);
  if (parsed.is("UNAVAILABLE")) {
    return fail(FailureType::auth_tempfail, reason, reply_line(text));
  }
  // Without a code, with the usual one or a strange one, the client gets our own words.
  const bool own = !is_known(parsed) || (parsed.is("ALERT") && !target_.alerts);
  return fail(FailureType::auth_replied, reason, reply_line(own ? kLoginFailed : text));
}

/// The client learns the capabilities of the backend in the form it reads: a client that asked
/// CAPABILITY itself does not know the response code.
void ImapBackendDialogue::say_success(std::string_view rest, WipingBuffer& to_client) const {
  const wire::ImapResponseText parsed = wire::parse_imap_response_text(rest);
  const bool in_code = parsed.is("CAPABILITY");
  const wire::ImapCapabilities list =
      in_code ? wire::ImapCapabilities(parsed.code_arguments()) : login_capabilities_;
  const std::string text = log_safe_line(rest, kMaxLine);
  if (!list.known() || (in_code && !target_.client_used_capability)) {
    to_client.append(target_.client_tag).append(" OK ").append(text).append("\r\n");
    return;
  }
  const bool untagged = target_.client_used_capability || !parsed.code.empty();
  if (untagged) to_client.append("* CAPABILITY ").append(list.text()).append("\r\n");
  to_client.append(target_.client_tag).append(" OK ");
  if (!untagged) to_client.append("[CAPABILITY ").append(list.text()).append("] ");
  to_client.append(text).append("\r\n");
}

std::unique_ptr<login::BackendDialogue> make_imap_backend_dialogue(
    const login::BackendTarget& target) {
  return std::make_unique<ImapBackendDialogue>(target);
}

}  // namespace postern::imap_login
