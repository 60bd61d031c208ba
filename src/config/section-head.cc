// Section heads: [protocol imap local 192.0.2.0/24], [service NAME], [passdb NAME] …
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "config/sections.h"
#include "config/service-defaults.h"
#include "config/suggest.h"
#include "lib/text.h"

namespace postern::config {
namespace {

using Words = std::vector<std::string_view>;

constexpr std::array<std::string_view, 4> kFilterWords{"protocol", "local", "local_name", "remote"};
// What Postern may serve one day, and what other programs that ask auth call themselves.
constexpr std::array<std::string_view, 10> kProtocols{
    "imap", "pop3", "submission", "sieve", "smtp", "lmtp", "lda", "doveadm", "managesieve", "xmpp"};

bool is_filter_word(std::string_view word) {
  return std::find(kFilterWords.begin(), kFilterWords.end(), word) != kFilterWords.end();
}

Error bad(std::string text) {
  return Error{0, std::move(text)};
}

std::string quoted(std::string_view word) {
  return "'" + log_safe_line(word, 80) + "'";
}

std::string guess(std::string_view word, const std::vector<std::string_view>& candidates) {
  const std::string_view near = closest(word, candidates);
  return near.empty() ? std::string{} : fmt::format(" (did you mean {}?)", near);
}

bool is_name_text(std::string_view name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    const char l = ascii_lower(c);
    return (l >= 'a' && l <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.' ||
           static_cast<unsigned char>(c) >= 0x80;
  });
}

Status set_protocol(const Words& arguments, Head& head) {
  if (arguments.size() != 1) return bad("'protocol' takes one name, as [protocol imap]");
  std::string_view name = arguments.front();
  head.filter.protocol_not = name.starts_with('!');
  if (head.filter.protocol_not) name.remove_prefix(1);
  if (!is_name_text(name)) return bad(quoted(name) + " is not the name of a protocol");
  head.filter.protocol = to_lower(name);
  if (std::find(kProtocols.begin(), kProtocols.end(), head.filter.protocol) == kProtocols.end()) {
    head.note = fmt::format("Unknown protocol: {}{}", head.filter.protocol,
                            guess(name, {kProtocols.begin(), kProtocols.end()}));
  }
  return Done{};
}

Status set_networks(std::string_view word, const Words& arguments, std::vector<Network>& out) {
  for (const std::string_view text : arguments) {
    const auto network = Network::parse(text);
    if (!network) {
      return bad(
          fmt::format("{} is not an address or network (as [{} 192.0.2.0/24]); host names "
                      "are not looked up",
                      quoted(text), word));
    }
    out.push_back(*network);
  }
  return Done{};
}

Status set_names(const Words& arguments, std::vector<std::string>& out) {
  for (const std::string_view text : arguments) {
    const std::string_view rest = text.starts_with("*.") ? text.substr(2) : text;
    if (!is_name_text(rest)) {
      return bad(
          fmt::format("{} is not a host name (mail.example.com or *.example.com)", quoted(text)));
    }
    out.push_back(to_lower(text));
  }
  return Done{};
}

/// Reads `protocol P local N… local_name N… remote N…` from word `at` on.
Status set_filter(const Words& all, std::size_t at, Head& head) {
  Words seen;
  while (at < all.size()) {
    const std::string_view word = all[at++];
    if (!is_filter_word(word)) {
      return bad(
          fmt::format("{} is not expected here (filters are protocol, local, local_name and "
                      "remote)",
                      quoted(word)));
    }
    if (std::find(seen.begin(), seen.end(), word) != seen.end()) {
      return bad(fmt::format("'{0}' stands there twice; write all after one, as [{0} A B]", word));
    }
    seen.push_back(word);
    Words arguments;
    while (at < all.size() && !is_filter_word(all[at])) {
      for (const std::string_view part : words(all[at], ",")) arguments.push_back(part);
      at++;
    }
    if (arguments.empty()) return bad(fmt::format("'{}' is followed by nothing", word));
    Status status = Done{};
    if (word == "protocol") status = set_protocol(arguments, head);
    if (word == "local") status = set_networks(word, arguments, head.filter.local);
    if (word == "remote") status = set_networks(word, arguments, head.filter.remote);
    if (word == "local_name") status = set_names(arguments, head.filter.local_names);
    if (!status.ok()) return status;
  }
  return Done{};
}

Result<Head> service_head(const Words& all) {
  Head head;
  head.kind = Section::Kind::service;
  if (all.size() != 2) return bad("a service is given as [service NAME]");
  head.service = all[1];
  if (all[1] == kMasterService) return bad("the master is no service; its settings are global");
  if (!is_name_text(all[1])) return bad(quoted(all[1]) + " is not the name of a service");
  if (is_foreign_service(all[1])) {
    head.ignored = true;
    head.note = fmt::format("Postern has no service {}; the section has no effect", all[1]);
  }
  return head;
}

Result<Head> listener_head(const Words& all) {
  const bool inet = all[0] == "inet_listener";
  Head head;
  head.kind = inet ? Section::Kind::inet_listener : Section::Kind::unix_listener;
  if (all.size() != 3) {
    return bad(
        fmt::format("a listener is given as [{} SERVICE {}]", all[0], inet ? "NAME" : "PATH"));
  }
  head.service = all[1];
  head.name = all[2];
  if (inet && all[1] == kMasterService) return bad("the master listens on UNIX sockets only");
  if (inet && !is_name_text(all[2])) return bad(quoted(all[2]) + " is not the name of a listener");
  if (is_foreign_service(all[1])) {
    head.ignored = true;
    head.note = fmt::format("Postern has no service {}; the section has no effect", all[1]);
  }
  return head;
}

Result<Head> database_head(const Words& all) {
  Head head;
  head.kind = all[0] == "passdb" ? Section::Kind::passdb : Section::Kind::userdb;
  if (all.size() < 2) return bad(fmt::format("a {0} has a name, as [{0} users]", all[0]));
  head.name = all[1];
  if (all.size() == 2) return head;
  if (all.size() != 4 || all[2] != "protocol" || all[3].starts_with('!')) {
    return bad(fmt::format("a {0} is given as [{0} NAME] or [{0} NAME protocol imap]", all[0]));
  }
  Head filter;
  const Status status = set_protocol({all[3]}, filter);
  if (!status.ok()) return status.error();
  head.protocol = filter.filter.protocol;
  head.note = filter.note;
  return head;
}

}  // namespace

Result<Head> parse_head(std::string_view text) {
  const Words all = words(text);
  if (all.empty()) return bad("the section head is empty");
  const std::string_view word = all.front();
  if (is_filter_word(word)) {
    Head head;
    const Status status = set_filter(all, 0, head);
    if (!status.ok()) return status.error();
    return head;
  }
  if (word == "service") return service_head(all);
  if (word == "inet_listener" || word == "unix_listener") return listener_head(all);
  if (word == "passdb" || word == "userdb") return database_head(all);
  if (word == "metric" || word == "exporter" || word == "fifo_listener") {
    Head head;
    head.ignored = true;
    head.note = fmt::format("[{}] sections are not supported; this one has no effect", word);
    return head;
  }
  return bad(fmt::format("Unknown section: {}{}", log_safe_line(text, 80),
                         guess(word, {"protocol", "local", "local_name", "remote", "service",
                                      "inet_listener", "unix_listener", "passdb", "userdb"})));
}

}  // namespace postern::config
