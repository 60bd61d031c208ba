#include "imap-login/backend-id.h"

#include <algorithm>
#include <optional>
#include <string_view>

#include "lib/text.h"
#include "wire/imap-text.h"

namespace postern::imap_login {
namespace {

/// Collects pairs within the limits.
class IdWriter {
 public:
  IdWriter(bool literals, WipingBuffer& out) : literals_(literals), out_(out) {
    out_.append("I ID (");
  }

  void add(std::string_view key, const std::optional<std::string>& value) {
    WipingBuffer pair;
    const bool fits = pairs_ < kMaxIdPairs && key.size() <= kMaxIdKey && append_string(key, pair) &&
                      append_value(value, pair) && bytes_ + pair.size() + 1 <= kMaxIdLine;
    if (!fits) {
      dropped_.push_back(log_safe(key));
      return;
    }
    if (pairs_++ > 0) out_.append(' ');
    bytes_ += pair.size() + 1;
    out_.append(pair.view());
  }

  std::vector<std::string> finish() {
    out_.append(")\r\n");
    return std::move(dropped_);
  }

 private:
  bool append_string(std::string_view text, WipingBuffer& pair) const {
    switch (wire::imap_string_form(text)) {
      case wire::ImapString::quoted:
        wire::append_imap_quoted(text, pair);
        return true;
      case wire::ImapString::literal:
        if (!literals_) return false;
        pair.append("{").append(std::to_string(text.size())).append("+}\r\n").append(text);
        return true;
      case wire::ImapString::impossible:
        break;
    }
    return false;
  }

  bool append_value(const std::optional<std::string>& value, WipingBuffer& pair) const {
    pair.append(' ');
    if (value) return value->size() <= kMaxIdValue && append_string(*value, pair);
    pair.append("NIL");
    return true;
  }

  bool literals_;
  WipingBuffer& out_;
  std::size_t pairs_ = 0;
  std::size_t bytes_ = 0;
  std::vector<std::string> dropped_;
};

/// A session id that other hosts and their logs can take as it is.
bool is_session(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return static_cast<unsigned char>(c) > ' ' && static_cast<unsigned char>(c) < 0x7f &&
           c != '"' && c != '\\';
  });
}

bool is_dns_name(std::string_view text) {
  constexpr std::size_t kMaxName = 253;
  return !text.empty() && text.size() <= kMaxName &&
         std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= '0' && c <= '9') || (ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z') ||
                  c == '-' || c == '.' || c == '_';
         });
}

void add_endpoint(IdWriter& id, std::string_view ip_key, std::string_view port_key,
                  const Endpoint& endpoint) {
  if (!endpoint.ip) return;
  id.add(ip_key, endpoint.ip.text());
  id.add(port_key, std::to_string(endpoint.port));
}

}  // namespace

std::vector<std::string> append_id_command(const login::BackendTarget& target,
                                           bool non_sync_literals, WipingBuffer& out) {
  IdWriter id(non_sync_literals, out);
  for (const auto& [key, value] : target.client_id) id.add(key, value);
  if (is_session(target.session)) id.add("x-session-id", target.session);
  add_endpoint(id, "x-originating-ip", "x-originating-port", target.client);
  add_endpoint(id, "x-connected-ip", "x-connected-port", target.local);
  id.add("x-proxy-ttl", std::to_string(target.ttl));
  if (!target.forward_2_3_only) {
    id.add("x-client-transport", target.client_tls ? "TLS" : "insecure");
    if (is_dns_name(target.local_name)) id.add("x-connected-name", target.local_name);
  }
  for (const auto& [name, value] : target.forward) id.add("x-forward-" + name, value);
  return id.finish();
}

}  // namespace postern::imap_login
