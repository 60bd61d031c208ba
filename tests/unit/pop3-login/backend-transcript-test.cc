// Replays the recorded dialogues of Dovecot's proxy with POP3 backends against ours.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <string_view>

#include "../transcript/backend-replay.h"
#include "pop3-login/pop3-dialogues.h"

namespace postern::pop3_login {
namespace {

using namespace postern::test;

class Pop3Replay final : public BackendReplay {
 public:
  using BackendReplay::BackendReplay;

 private:
  void on_client(const std::string& line) override {
    if (line.starts_with("PASS ")) password_ = line.substr(5, line.size() - 7);
  }

  std::unique_ptr<login::BackendDialogue> make(const login::BackendTarget& target) override {
    return make_pop3_backend_dialogue(target);
  }

  void learn(const std::string& command) override { learn_xclient(command); }

  bool ends_reply(std::string_view /*line*/) const override { return true; }

  std::string unavailable(bool config) const override {
    return std::string("-ERR [SYS/") + (config ? "PERM" : "TEMP") +
           "] Account is temporarily unavailable.";
  }
};

TEST(Pop3BackendTranscripts, AreRepeatedLineForLineHoweverTheyAreCut) {
  replay_backends(
      "pop3", [](const std::string& file) { return file.starts_with("proxy-pop3-"); },
      [](const Transcript& recorded, Differences& differences) -> std::unique_ptr<BackendReplay> {
        return std::make_unique<Pop3Replay>(recorded, differences);
      },
      18);
}

}  // namespace
}  // namespace postern::pop3_login
