#include "login-common/access-lookup.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "io/socket.h"
#include "proxy-fixture.h"

namespace postern::login {
namespace {

/// Two programs that are asked about a client.
struct Gate {
  Gate() {
    client = std::move(io::socket_pair(SOCK_STREAM).value().first);
    lookup = std::make_unique<AccessLookup>(
        loop,
        [this](std::size_t index, std::function<void(Result<UniqueFd>)> done) {
          asked.push_back(index);
          pending = std::move(done);
        },
        paths, "imap", client.get(),
        [this](AccessLookup::Verdict v) {
          verdict = std::move(v);
          lookup.reset();  // as its owner does
        });
    lookup->start();
  }
  void connect() {
    auto fds = io::socket_pair(SOCK_STREAM);
    program = std::move(fds.value().first);
    pending(std::move(fds.value().second));
  }
  void says(std::string_view text) {
    ASSERT_EQ(::send(program.get(), text.data(), text.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(text.size()));
    test::run_dry(loop);
  }

  io::Loop loop;
  std::vector<std::string> paths{"one", "/run/two"};
  UniqueFd client, program;
  std::vector<std::size_t> asked;
  std::function<void(Result<UniqueFd>)> pending;
  std::optional<AccessLookup::Verdict> verdict;
  std::unique_ptr<AccessLookup> lookup;
};

TEST(AccessLookup, GivesTheDescriptorAndAsksOneAfterTheOther) {
  Gate gate;
  gate.connect();
  const auto packet = io::receive_packet(gate.program.get(), 100);
  ASSERT_TRUE(packet.ok());
  EXPECT_EQ(packet.value().bytes.view(), "imap\n");
  EXPECT_TRUE(packet.value().fd);
  gate.says("1");
  EXPECT_EQ(gate.asked.size(), 1U) << "an answer has two bytes";
  gate.says("\n");
  EXPECT_EQ(gate.asked, (std::vector<std::size_t>{0, 1}));
  EXPECT_FALSE(gate.verdict);
  gate.connect();
  gate.says("1\n");
  ASSERT_TRUE(gate.verdict);
  EXPECT_TRUE(gate.verdict->granted);
}

TEST(AccessLookup, TakesWhatIsNoYesForANo) {
  for (const auto& [said, line] : {std::pair{"0\n", "access(one): Client refused"},
                                   {"2\n", "access(one): Invalid input"},
                                   {"1x", "access(one): Invalid input"},
                                   {"\n\n", "access(one): Invalid input"}}) {
    Gate gate;
    gate.connect();
    gate.says(said);
    ASSERT_TRUE(gate.verdict) << said;
    EXPECT_FALSE(gate.verdict->granted);
    EXPECT_EQ(gate.verdict->line, line);
    EXPECT_EQ(gate.asked.size(), 1U);
  }
}

TEST(AccessLookup, EndsWithItsProgram) {
  for (const char* said : {"", "1"}) {
    Gate gate;
    gate.connect();
    if (*said != '\0') gate.says(said);
    gate.program.reset();
    test::run_dry(gate.loop);
    ASSERT_TRUE(gate.verdict);
    EXPECT_EQ(gate.verdict->line, "access(one): Client refused");
    EXPECT_EQ(gate.verdict->level, log::Level::info);
  }
  Gate gate;
  gate.pending(Error{ECONNREFUSED, "refused"});
  ASSERT_TRUE(gate.verdict);
  EXPECT_EQ(gate.verdict->line, "access(one): connect() failed: refused");
  EXPECT_EQ(gate.verdict->level, log::Level::error);
}

TEST(AccessLookup, MayBeGoneWhenTheConnectionComes) {
  Gate gate;
  gate.lookup.reset();
  gate.connect();
  test::run_dry(gate.loop);
  EXPECT_FALSE(gate.verdict);
}

}  // namespace
}  // namespace postern::login
