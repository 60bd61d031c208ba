#include "login-common/address-counts.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <array>
#include <optional>
#include <string>

#include "io/socket.h"
#include "proxy-fixture.h"

namespace postern::login {
namespace {

struct Anvil {
  Anvil() { answer.start(loop, io::Callback<>::to<&Anvil::on_answer>(*this)); }
  void on_answer() noexcept {
    if (refuse) return pending(Error{ECONNREFUSED, "refused"});
    auto fds = io::socket_pair(SOCK_STREAM);
    server = std::move(fds.value().first);
    pending(std::move(fds.value().second));
  }
  /// What it was told since.
  std::string heard() {
    test::run_dry(loop);
    std::array<char, 65536> buffer{};
    const ssize_t n = ::recv(server.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    return n > 0 ? std::string(buffer.data(), static_cast<std::size_t>(n)) : std::string();
  }
  void says(std::string_view text) {
    ASSERT_EQ(::send(server.get(), text.data(), text.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(text.size()));
    test::run_dry(loop);
  }
  std::uint64_t ask(const char* ip, std::optional<bool>& granted) {
    return counts.reserve(*IpAddress::parse(ip), 5, [&granted](bool yes) { granted = yes; });
  }

  io::Loop loop;
  bool refuse = false;
  UniqueFd server;
  unsigned connects = 0;
  std::function<void(Result<UniqueFd>)> pending;
  io::Deferred answer;
  AddressCounts counts{loop,
                       [this](std::function<void(Result<UniqueFd>)> done) {
                         ++connects;
                         pending = std::move(done);
                         answer.trigger();
                       },
                       "imap-login"};
};

TEST(AddressCounts, AskBeforeTheyCount) {
  Anvil anvil;
  std::optional<bool> first, second;
  const std::uint64_t id = anvil.ask("192.0.2.1", first);
  anvil.ask("2001:db8::1:2:3:4", second);
  EXPECT_EQ(anvil.heard(),
            "VERSION\tanvil\t1\t0\nRESERVE\t1\timap-login/192.0.2.1\t5\n"
            "RESERVE\t2\timap-login/2001:db8::\t5\n");
  EXPECT_FALSE(first);
  anvil.says("1 3\n0 5\n");
  EXPECT_EQ(first, true);
  EXPECT_EQ(second, false);
  EXPECT_EQ(anvil.heard(), "CONNECT\t1\timap-login/192.0.2.1\n");
  anvil.counts.release(id);
  anvil.counts.release(2);  // was not counted
  EXPECT_EQ(anvil.heard(), "DISCONNECT\t1\timap-login/192.0.2.1\n");
  EXPECT_EQ(anvil.connects, 1U);
}

TEST(AddressCounts, TakeBackWhatIsGrantedTooLate) {
  Anvil anvil;
  std::optional<bool> granted;
  const std::uint64_t id = anvil.ask("192.0.2.1", granted);
  anvil.heard();
  anvil.counts.release(id);
  anvil.says("1 1\n");
  EXPECT_FALSE(granted);
  EXPECT_EQ(anvil.heard(), "DISCONNECT\t1\timap-login/192.0.2.1\n");
}

TEST(AddressCounts, LockNobodyOutWhenAnvilIsAway_T_FAT_04) {
  test::LogCapture log;
  Anvil anvil;
  anvil.refuse = true;
  std::optional<bool> first, second;
  anvil.ask("192.0.2.1", first);
  EXPECT_FALSE(first) << "never before it returns";
  test::run_dry(anvil.loop);
  EXPECT_EQ(first, true);
  anvil.ask("192.0.2.1", second);
  test::run_dry(anvil.loop);
  EXPECT_EQ(second, true);
  EXPECT_EQ(anvil.connects, 1U) << "not tried again at once";
  EXPECT_NE(log.text().find("anvil: refused; login_max_connections_per_ip does not hold"),
            std::string::npos);
}

TEST(AddressCounts, SurviveAnAnvilThatEndsOrTalksNonsense) {
  for (const std::string_view said : {"", "hello\n", "1 1\n1 1\n", "2 1\n"}) {
    SCOPED_TRACE(said);
    test::LogCapture log;
    Anvil anvil;
    std::optional<bool> granted;
    anvil.ask("192.0.2.1", granted);
    anvil.heard();
    if (said.empty()) {
      anvil.server.reset();
    } else {
      anvil.says(said);
    }
    test::run_dry(anvil.loop);
    EXPECT_EQ(granted, true);
    anvil.counts.release(1);
  }
}

}  // namespace
}  // namespace postern::login
