// Replays the recorded dialogues of Dovecot's proxy with submission backends against ours.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <string_view>

#include "../transcript/backend-replay.h"
#include "lib/text.h"
#include "submission-login/submission-dialogues.h"
#include "wire/smtp-text.h"

namespace postern::submission_login {
namespace {

using namespace postern::test;

class SubmissionReplay final : public BackendReplay {
 public:
  using BackendReplay::BackendReplay;

 private:
  void on_client(const std::string& line) override {
    constexpr std::string_view kAuth = "AUTH PLAIN ";
    if (!line.starts_with(kAuth)) return;
    const auto plain =
        base64_decode(trim(line.substr(kAuth.size(), line.find('\r') - kAuth.size())));
    ASSERT_TRUE(plain) << line;
    password_ = plain->view().substr(plain->view().rfind('\0') + 1);
  }

  std::unique_ptr<login::BackendDialogue> make(const login::BackendTarget& target) override {
    return make_submission_backend_dialogue(target);
  }

  void learn(const std::string& command) override {
    target_.noauth = !passdb_field("proxy_noauth").empty();
    if (command.starts_with("EHLO ")) target_.host_name = command.substr(5);
    if (!command.starts_with("XCLIENT ")) return;
    const auto value = [&command](std::string_view name) {
      return wire::xtext_decode(field(command, name)).value_or("");
    };
    target_.helo = value("HELO");
    target_.helo_protocol = value("PROTO");
    target_.session = value("SESSION");
    const auto client = IpAddress::parse(value("ADDR"));
    ASSERT_TRUE(client) << command;
    target_.client = {*client,
                      static_cast<std::uint16_t>(decimal(value("PORT"), 0, 65535).value_or(0))};
    target_.ttl = static_cast<unsigned>(decimal(value("TTL"), 0, 99).value_or(0));
  }

  bool ends_reply(std::string_view line) const override {
    return line.size() > 3 && line[3] == ' ';
  }

  std::string unavailable(bool /*config*/) const override {
    return "454 4.7.0 Account is temporarily unavailable.";
  }
};

TEST(SubmissionBackendTranscripts, AreRepeatedLineForLineHoweverTheyAreCut) {
  replay_backends(
      "submission", [](const std::string& file) { return file.starts_with("proxy-submission-"); },
      [](const Transcript& recorded, Differences& differences) -> std::unique_ptr<BackendReplay> {
        return std::make_unique<SubmissionReplay>(recorded, differences);
      },
      22);
}

}  // namespace
}  // namespace postern::submission_login
