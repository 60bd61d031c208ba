#include "sasl/server.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

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
    const auto mech = find_server_mech("plain")->make({});
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
    const auto mech = find_server_mech("EXTERNAL")->make({});
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
  const auto mech = find_server_mech("PLAIN")->make({});
  Credentials out;
  std::string challenge;
  EXPECT_EQ(step(*mech, std::nullopt, out, challenge), ServerStep::challenge);
  EXPECT_EQ(challenge, "");
  EXPECT_EQ(step(*mech, "\0a\0b"sv, out, challenge), ServerStep::verify);
}

TEST(LoginServer, PromptsForNameAndPassword) {
  for (const bool empty_initial : {false, true}) {
    const auto mech = find_server_mech("LOGIN")->make({});
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
  const auto mech = find_server_mech("LOGIN")->make({});
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

constexpr ServerBinding kBinding{0x4711, 0x2a, 0x6b0141f8};
// RFC 1939 section 7, with a challenge of our own kind.
constexpr std::string_view kChallenge = "<4711.2a.6b0141f9.XPW0K1FCFqudaXDgT/Xn3g==@gate.example>";
// md5 of the challenge and "tanstaaf"
constexpr std::string_view kDigest =
    "\xa0"
    "\xb6"
    "\x58"
    "\xcc"
    "\x97"
    "\xe3"
    "\x49"
    "\x19"
    "\x7b"
    "\x3f"
    "\x38"
    "\xde"
    "\x49"
    "\xad"
    "\xac"
    "\x38"sv;

ServerStep apop(std::string_view response, Credentials& out,
                const ServerBinding& binding = kBinding) {
  std::string challenge;
  return step(*find_server_mech("APOP")->make(binding), response, out, challenge);
}
std::string apop_response(std::string_view challenge, std::string_view digest = kDigest) {
  return std::string(challenge) + std::string("\0joe\0"sv).append(digest);
}

TEST(ApopServer, TakesTheProofOfTheOnePassword) {
  Credentials out;
  ASSERT_EQ(apop(apop_response(kChallenge), out), ServerStep::verify);
  EXPECT_EQ(out.authcid, "joe");
  EXPECT_EQ(out.authzid, "");
  EXPECT_TRUE(out.password.empty());
  ASSERT_NE(out.proof, nullptr);
  EXPECT_TRUE(out.proof->matches("tanstaaf"));
  for (const std::string_view other :
       {""sv, "tanstaa"sv, "tanstaaff"sv, "Tanstaaf"sv, "tanstaaf\0"sv}) {
    EXPECT_FALSE(out.proof->matches(other)) << other;
  }
}

TEST(ApopServer, HoldsForItsOwnConnectionOnly) {
  for (const ServerBinding& other :
       {ServerBinding{0x4712, 0x2a, 0x6b0141f8}, ServerBinding{0x4711, 0x2b, 0x6b0141f8},
        ServerBinding{0x4711, 0x2a, 0x6b0141fa}}) {
    Credentials out;
    EXPECT_EQ(apop(apop_response(kChallenge), out, other), ServerStep::invalid);
    EXPECT_EQ(out.proof, nullptr);
  }
}

TEST(ApopServer, RefusesWhatIsNoChallengeOrNoDigest) {
  const std::string good = apop_response(kChallenge);
  std::vector<std::string> bad{good + "x",
                               "x" + good,
                               apop_response("4711.2a.6b0141f9.r@h>"),
                               apop_response("<>"),
                               apop_response("<4711.2a.>"),
                               apop_response("<4711.2a.6b0141f9>"),
                               apop_response("<4711..6b0141f9.r@h>"),
                               apop_response("<-4711.2a.6b0141f9.r@h>"),
                               apop_response("< 4711.2a.6b0141f9.r@h>"),
                               apop_response("<0x4711.2a.6b0141f9.r@h>"),
                               apop_response("<100000000000004711.2a.6b0141f9.r@h>")};
  for (std::size_t size = 0; size < good.size(); size++) bad.push_back(good.substr(0, size));
  for (const std::string& response : bad) {
    Credentials out;
    EXPECT_EQ(apop(response, out), ServerStep::invalid) << response;
  }
}

TEST(ApopServer, HasNothingToSayFirst) {
  Credentials out;
  std::string challenge;
  EXPECT_EQ(step(*find_server_mech("apop")->make(kBinding), std::nullopt, out, challenge),
            ServerStep::invalid);
  EXPECT_EQ(find_server_mech("apop")->flags, "private\tdictionary\tactive");
}

}  // namespace
}  // namespace postern::sasl
