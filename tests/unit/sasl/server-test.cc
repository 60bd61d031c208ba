#include "sasl/server.h"

#include <gtest/gtest.h>

#include <string>

namespace postern::sasl {
namespace {

using namespace std::string_view_literals;

ServerStep step(ServerMech& mech, std::optional<std::string_view> response, Credentials& out,
                std::string& challenge) {
  WipingBuffer buffer;
  const ServerStep result = mech.step(response, out, buffer);
  challenge = std::string(buffer.view());
  return result;
}

TEST(PlainServer, TakesThreePartsAndNothingElse) {
  struct Row {
    std::string_view response;
    bool good;
    std::string_view authzid, authcid, password;
  };
  for (const Row& row :
       {Row{"\0alice\0secret"sv, true, "", "alice", "secret"},
        Row{"bob\0alice\0s"sv, true, "bob", "alice", "s"},
        Row{"alice\0alice\0s"sv, true, "", "alice", "s"}, Row{"\0a\0"sv, true, "", "a", ""},
        Row{"\0\0pw"sv, true, "", "", "pw"}, Row{""sv, false, "", "", ""},
        Row{"alice"sv, false, "", "", ""}, Row{"\0alice"sv, false, "", "", ""},
        Row{"\0a\0b\0c"sv, false, "", "", ""}}) {
    const auto mech = find_server_mech("plain")->make();
    Credentials out;
    std::string challenge;
    EXPECT_EQ(step(*mech, row.response, out, challenge),
              row.good ? ServerStep::verify : ServerStep::invalid);
    if (!row.good) continue;
    EXPECT_EQ(out.authzid, row.authzid);
    EXPECT_EQ(out.authcid, row.authcid);
    EXPECT_EQ(out.password.reveal(), row.password);
  }
}

TEST(ExternalServer, SaysAsWhomAndHasNoPassword) {
  EXPECT_TRUE(find_server_mech("external")->external);
  EXPECT_FALSE(find_server_mech("external")->nul_allowed);
  for (const std::string_view name : {"", "alice"}) {
    const auto mech = find_server_mech("EXTERNAL")->make();
    Credentials out;
    std::string challenge;
    EXPECT_EQ(step(*mech, std::nullopt, out, challenge), ServerStep::challenge);
    EXPECT_EQ(challenge, "");
    EXPECT_EQ(step(*mech, name, out, challenge), ServerStep::verify);
    EXPECT_EQ(out.authcid, "");
    EXPECT_EQ(out.authzid, name);
    EXPECT_TRUE(out.password.empty());
  }
}

TEST(PlainServer, AsksWithAnEmptyChallengeWhenNothingCame) {
  const auto mech = find_server_mech("PLAIN")->make();
  Credentials out;
  std::string challenge;
  EXPECT_EQ(step(*mech, std::nullopt, out, challenge), ServerStep::challenge);
  EXPECT_EQ(challenge, "");
  EXPECT_EQ(step(*mech, "\0a\0b"sv, out, challenge), ServerStep::verify);
}

TEST(LoginServer, PromptsForNameAndPassword) {
  for (const bool empty_initial : {false, true}) {
    const auto mech = find_server_mech("LOGIN")->make();
    Credentials out;
    std::string challenge;
    EXPECT_EQ(step(*mech, empty_initial ? std::optional<std::string_view>("") : std::nullopt, out,
                   challenge),
              ServerStep::challenge);
    EXPECT_EQ(challenge, "Username:");
    EXPECT_EQ(step(*mech, "alice", out, challenge), ServerStep::name);
    EXPECT_EQ(challenge, "Password:");
    EXPECT_EQ(out.authcid, "alice");
    EXPECT_EQ(step(*mech, "secret", out, challenge), ServerStep::verify);
    EXPECT_EQ(out.password.reveal(), "secret");
    EXPECT_EQ(step(*mech, "again", out, challenge), ServerStep::invalid);
  }
}

TEST(LoginServer, TakesTheNameAsInitialResponse) {
  const auto mech = find_server_mech("LOGIN")->make();
  Credentials out;
  std::string challenge;
  EXPECT_EQ(step(*mech, "alice", out, challenge), ServerStep::name);
  EXPECT_EQ(challenge, "Password:");
  EXPECT_EQ(step(*mech, "", out, challenge), ServerStep::verify);
  EXPECT_TRUE(out.password.empty());
}

TEST(ServerMechs, AreFoundInAnyCase) {
  EXPECT_EQ(find_server_mech("pLaIn")->name, "PLAIN");
  EXPECT_EQ(find_server_mech("CRAM-MD5"), nullptr);
  EXPECT_EQ(find_server_mech(""), nullptr);
}

}  // namespace
}  // namespace postern::sasl
