// Replays the recorded dialogues of Dovecot's proxy with IMAP backends against ours.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../transcript/backend-replay.h"
#include "imap-login/imap-dialogues.h"
#include "lib/text.h"

namespace postern::imap_login {
namespace {

using namespace postern::test;

/// The quoted value behind a key of a recorded ID.
std::string id_value(const std::string& id, std::string_view key) {
  const std::string start = "\"" + std::string(key) + "\" \"";
  const std::size_t at = id.find(start);
  if (at == std::string::npos) return "";
  const std::size_t value = at + start.size();
  return id.substr(value, id.find('"', value) - value);
}

/// All pairs of a recorded ID, in order.
using Pairs = std::vector<std::pair<std::string, std::optional<std::string>>>;
Pairs id_pairs(std::string_view id) {
  Pairs out;
  std::optional<std::string> key;
  id.remove_prefix(std::min(id.size(), id.find('(') + 1));
  while (!id.empty() && id.front() != ')') {
    std::optional<std::string> value;
    if (id.starts_with("NIL")) {
      id.remove_prefix(3);
    } else {
      value.emplace();
      std::size_t i = 1;
      for (; i < id.size() && id[i] != '"'; ++i) {
        if (id[i] == '\\') ++i;
        *value += id.at(i);
      }
      id.remove_prefix(i + 1);
    }
    if (id.starts_with(' ')) id.remove_prefix(1);
    if (key) {
      out.emplace_back(*key, std::move(value));
      key.reset();
    } else {
      key = value;
    }
  }
  return out;
}

std::uint16_t port(const std::string& text) {
  return static_cast<std::uint16_t>(decimal(text, 0, 65535).value_or(0));
}

class ImapReplay final : public BackendReplay {
 public:
  using BackendReplay::BackendReplay;

 private:
  void on_client(const std::string& line) override {
    const auto parts = words(line, " \r\n");
    if (parts.size() < 2) return;
    if (same_text(parts[1], "CAPABILITY")) target_.client_used_capability = true;
    const bool login = same_text(parts[1], "LOGIN");
    if (!login && !same_text(parts[1], "AUTHENTICATE")) return;
    target_.client_tag = parts[0];
    expect_reply();
    if (login) {
      password_ = parts.at(3);
    } else {
      const std::string plain(base64_decode(parts.at(3))->view());
      password_ = plain.substr(plain.rfind('\0') + 1);
    }
  }

  std::unique_ptr<login::BackendDialogue> make(const login::BackendTarget& target) override {
    return make_imap_backend_dialogue(target);
  }

  void learn(const std::string& command) override {
    if (!command.starts_with("I ID ")) return;
    target_.session = id_value(command, "x-session-id");
    const auto client = IpAddress::parse(id_value(command, "x-originating-ip"));
    const auto local = IpAddress::parse(id_value(command, "x-connected-ip"));
    ASSERT_TRUE(client && local) << command;
    target_.client = {*client, port(id_value(command, "x-originating-port"))};
    target_.local = {*local, port(id_value(command, "x-connected-port"))};
    target_.ttl = port(id_value(command, "x-proxy-ttl"));
    target_.client_id.clear();
    const bool from_passdb = !target_.forward.empty();
    for (const auto& [key, value] : id_pairs(command)) {
      // The client's own words (imap_id_retain), and what a trusted hop forwarded.
      if (!key.starts_with("x-")) target_.client_id.emplace_back(key, value);
      if (key.starts_with("x-forward-") && !from_passdb) {
        target_.forward.emplace_back(key.substr(10), value.value_or(""));
      }
    }
  }

  bool ends_reply(std::string_view line) const override {
    return line.starts_with(target_.client_tag + " ");
  }

  std::string unavailable(bool config) const override {
    return target_.client_tag + " NO [" + (config ? "SERVERBUG" : "UNAVAILABLE") +
           "] Account is temporarily unavailable.";
  }
};

/// Recordings that name no protocol speak IMAP.
bool is_ours(const std::string& file) {
  constexpr std::array<std::string_view, 3> kOthers{"proxy-pop3-", "proxy-submission-",
                                                    "proxy-managesieve-"};
  return std::none_of(kOthers.begin(), kOthers.end(),
                      [&file](std::string_view prefix) { return file.starts_with(prefix); });
}

TEST(ImapBackendTranscripts, AreRepeatedLineForLineHoweverTheyAreCut) {
  replay_backends(
      "imap", is_ours,
      [](const Transcript& recorded, Differences& differences) -> std::unique_ptr<BackendReplay> {
        return std::make_unique<ImapReplay>(recorded, differences);
      },
      60);
}

}  // namespace
}  // namespace postern::imap_login
