#include "imap-login/client-id.h"

#include <algorithm>
#include <utility>

#include "lib/text.h"
#include "login-common/xclient.h"
#include "postern-build.h"

namespace postern::imap_login {
namespace {

using Event = wire::ImapArgumentReader::Event;
using Kind = wire::ImapArgumentReader::Kind;

constexpr std::string_view kForward = "x-forward-";

bool is_name_char(char c) noexcept {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '.' || c == '-';
}

bool is_name(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), is_name_char);
}

/// A value for the log; Dovecot counts the "..." in.
std::string cut(std::string_view value) {
  constexpr std::size_t kMost = 80;  // bytes
  return log_safe(value, value.size() > kMost ? kMost - 3 : kMost);
}

std::optional<std::uint16_t> port(std::string_view text) {
  const auto n = decimal(text, 1, 65535);
  if (!n) return std::nullopt;
  return static_cast<std::uint16_t>(*n);
}

}  // namespace

bool ClientId::take(Event event, const wire::ImapArgumentReader& reader) {
  if (reader.total() > kMaxBytes) return false;
  // What stands behind a complete list is ignored, as Dovecot does.
  if (state_ == State::done) return true;
  if (event == Event::list_open) {
    // A list in a list is never right; the reader says "Too many '('" if there is a third.
    state_ = state_ == State::start ? State::key : State::nested;
    return true;
  }
  if (event == Event::list_close) {
    if (state_ == State::nested) return false;
    state_ = State::done;  // a key without a value is dropped
    return true;
  }
  return take_argument(reader);
}

bool ClientId::take_argument(const wire::ImapArgumentReader& reader) {
  if (reader.has_nul()) return false;
  switch (state_) {
    case State::start:
      state_ = State::done;
      return reader.is_nil();
    case State::key:
      if (reader.kind() == Kind::atom || reader.value().size() > kMaxKey) return false;
      key_ = reader.value();
      state_ = State::value;
      return true;
    case State::value: {
      if (reader.kind() == Kind::atom && !reader.is_nil()) return false;
      const std::string_view value = reader.value();
      if (++pairs_ <= kMaxPairs) take_pair(key_, reader.is_nil() ? nullptr : &value);
      state_ = State::key;
      return true;
    }
    case State::nested:
      return true;  // refused when the list closes
    case State::done:
      break;
  }
  return true;
}

void ClientId::take_pair(std::string_view key, const std::string_view* value) {
  log_pair(key, value);
  if (!starts_with_text(key, "x-")) {
    retain_pair(key, value);
  } else if (believe_ && value != nullptr) {
    forward_pair(key, *value);
  }
}

void ClientId::log_pair(std::string_view key, const std::string_view* value) {
  if (log_full_) return;
  const std::vector<std::string_view> keys = words(log_keys_);
  const bool wanted = std::any_of(keys.begin(), keys.end(), [key](std::string_view word) {
    return word == "*" || same_text(word, key);
  });
  if (!wanted) return;
  std::string pair = log_text_.empty() ? "" : ", ";
  pair += log_safe(key, kMaxKey) + "=" + (value == nullptr ? "NIL" : cut(*value));
  // Whole pairs only, and none behind one that did not fit.
  log_full_ = log_text_.size() + pair.size() > kMaxLog;
  if (!log_full_) log_text_ += pair;
}

void ClientId::retain_pair(std::string_view key, const std::string_view* value) {
  std::optional<std::string> kept;
  if (value != nullptr) kept = std::string(*value);
  wire::ImapIdFields pair{{std::string(key), std::move(kept)}};
  const std::size_t bytes = wire::format_imap_id_body(pair).size() + (retained_.empty() ? 0 : 1);
  if (retained_bytes_ + bytes > kMaxRetained) return;
  retained_bytes_ += bytes;
  retained_.push_back(std::move(pair.front()));
}

/// Invalid values are ignored and the others still apply: what Dovecot 2.3 does.
void ClientId::forward_pair(std::string_view key, std::string_view value) {
  if (forward_address(key, value)) {
    forwards_ = true;
    return;
  }
  bool taken = true;
  if (same_text(key, "x-session-id") || same_text(key, "x-session-ext-id")) {
    taken = login::is_session_id(value);
    if (taken) forwarded_.session = std::string(value);
  } else if (same_text(key, "x-proxy-ttl")) {
    const auto ttl = decimal(value, 0, std::numeric_limits<unsigned>::max());
    taken = ttl.has_value();
    if (taken) forwarded_.ttl = static_cast<unsigned>(*ttl);
  } else if (same_text(key, "x-connected-name")) {
    taken = is_name(value);
    if (taken) forwarded_.local_name = std::string(value);
  } else if (same_text(key, "x-client-transport")) {
    taken = same_text(value, "TLS") || same_text(value, "insecure");
    if (taken) forwarded_.client_tls = same_text(value, "TLS");
  } else if (starts_with_text(key, kForward) && is_name(key.substr(kForward.size()))) {
    forwarded_.fields.emplace_back(std::string(key.substr(kForward.size())), std::string(value));
  } else {
    taken = false;
  }
  forwards_ = forwards_ || taken;
}

bool ClientId::forward_address(std::string_view key, std::string_view value) {
  if (same_text(key, "x-originating-ip")) {
    const auto ip = IpAddress::parse(value);
    if (ip) forwarded_.client_ip = ip;
    return ip.has_value();
  }
  if (same_text(key, "x-connected-ip")) {
    const auto ip = IpAddress::parse(value);
    if (ip) forwarded_.local_ip = ip;
    return ip.has_value();
  }
  if (same_text(key, "x-originating-port")) {
    const auto n = port(value);
    if (n) forwarded_.client_port = n;
    return n.has_value();
  }
  if (same_text(key, "x-connected-port")) {
    const auto n = port(value);
    if (n) forwarded_.local_port = n;
    return n.has_value();
  }
  return false;
}

std::string id_reply(std::string_view setting) {
  wire::ImapIdFields fields = wire::parse_imap_id_setting(setting);
  for (auto& [name, value] : fields) {
    if (value != "*") continue;
    if (same_text(name, "name")) {
      value = "Postern";
    } else if (same_text(name, "version")) {
      value = POSTERN_VERSION;
    } else if (same_text(name, "os")) {
      value = "Linux";
    } else {
      // A confined process neither asks the kernel for its version nor knows a support address.
      value.reset();
    }
  }
  return wire::format_imap_id(fields);
}

}  // namespace postern::imap_login
