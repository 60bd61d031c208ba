// Replays the recorded dialogues of Dovecot's proxy with ManageSieve backends against ours.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <string_view>

#include "../transcript/backend-replay.h"
#include "lib/text.h"
#include "managesieve-login/sieve-dialogues.h"

namespace postern::managesieve_login {
namespace {

using namespace postern::test;

class SieveReplay final : public BackendReplay {
 public:
  using BackendReplay::BackendReplay;

 private:
  /// `AUTHENTICATE "PLAIN" "…"`: the password is behind the second NUL.
  void on_client(const std::string& line) override {
    constexpr std::string_view kPlain = "AUTHENTICATE \"PLAIN\" \"";
    if (!line.starts_with(kPlain)) return;
    const std::string base64 = line.substr(kPlain.size(), line.rfind('"') - kPlain.size());
    const auto plain = base64_decode(base64);
    ASSERT_TRUE(plain) << line;
    password_ = plain->view().substr(plain->view().rfind('\0') + 1);
  }

  std::unique_ptr<login::BackendDialogue> make(const login::BackendTarget& target) override {
    return make_sieve_backend_dialogue(target);
  }

  void learn(const std::string& command) override { learn_xclient(command); }

  bool ends_reply(std::string_view /*line*/) const override { return true; }

  std::string unavailable(bool config) const override {
    return std::string(config ? "NO" : "NO (TRYLATER)") +
           " \"Account is temporarily unavailable.\"";
  }
};

TEST(SieveBackendTranscripts, AreRepeatedLineForLineHoweverTheyAreCut) {
  replay_backends(
      "managesieve", [](const std::string& file) { return file.starts_with("proxy-managesieve-"); },
      [](const Transcript& recorded, Differences& differences) -> std::unique_ptr<BackendReplay> {
        return std::make_unique<SieveReplay>(recorded, differences);
      },
      15);
}

}  // namespace
}  // namespace postern::managesieve_login
