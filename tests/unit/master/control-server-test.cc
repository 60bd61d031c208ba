// The control socket of a whole master whose children are copies of this program (--fake-child).
#include "master/control-server.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "lib/text.h"
#include "postern-build.h"
#include "scratch.h"
#include "wire/channel.h"
#include "wire/tab-line.h"

namespace postern::master {
namespace {

// --- The child ---

void say(const std::string& packet) {
  if (::send(wire::kChannelFd, packet.data(), packet.size(), MSG_NOSIGNAL) < 0) ::_exit(EX_IOERR);
}

void answer_kick(const std::string& id, const std::string& whom) {
  if (whom == "user=silent") return;
  if (whom == "user=leave") ::_exit(0);
  if (whom == "user=late") ::poll(nullptr, 0, 300);
  if (whom == "user=busy") return say("done\t" + id + "\t75\tthe database is away");
  if (whom == "user=odd") return say("done\t" + id + "\t0\tmany");
  say("done\t" + id + "\t0\t" + (whom == "user=nobody" ? "0" : "2"));
}

/// A process with two sessions.
[[noreturn]] void be_a_child() {
  say("ready");
  say("status\t100\t0\t2");
  std::array<char, wire::kMaxPacket> bytes{};
  for (;;) {
    pollfd channel{wire::kChannelFd, POLLIN, 0};
    if (::poll(&channel, 1, -1) != 1) continue;
    const ssize_t n = ::recv(wire::kChannelFd, bytes.data(), bytes.size(), 0);
    if (n <= 0) ::_exit(0);
    const auto fields = wire::split_tabs({bytes.data(), static_cast<std::size_t>(n)});
    if (fields[0] == wire::kStop || fields[0] == wire::kDrain) ::_exit(0);
    if (fields[0] != wire::kCall) continue;
    const std::string id(fields[1]);
    if (fields[2] == wire::kKick) {
      answer_kick(id, fields.size() > 3 ? wire::tab_unescape(fields[3]) : "");
      continue;
    }
    if (fields[2] == wire::kSessions) {
      say("row\t" + id + "\tuser=u1\tstate=proxied");
      say("row\t" + id + "\tuser=e\001tve\tstate=local");
    }
    say("done\t" + id + "\t0");
  }
}

// --- The client ---

struct Client {
  UniqueFd fd;
  std::string input;
  bool closed = false;

  void send(std::string_view text) const {
    ASSERT_EQ(::send(fd.get(), text.data(), text.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(text.size()));
  }
  void read() {
    std::array<char, 65536> bytes{};
    ssize_t n = 0;
    while ((n = ::recv(fd.get(), bytes.data(), bytes.size(), MSG_DONTWAIT)) > 0) {
      input.append(bytes.data(), static_cast<std::size_t>(n));
    }
    closed = closed || n == 0 || (errno != EAGAIN && errno != EINTR);
  }
  /// Lines that have come and were not taken.
  std::size_t lines() const {
    return static_cast<std::size_t>(std::count(input.begin(), input.end(), '\n'));
  }
  std::string take_line() {
    const std::size_t end = input.find('\n');
    if (end == std::string::npos) return {};
    std::string line = input.substr(0, end);
    input.erase(0, end + 1);
    return line;
  }
};

/// One whole answer.
struct Answered {
  std::vector<wire::ControlFields> rows;
  int code = -1;
  std::string text;
};

std::string own_path() {
  std::array<char, 4096> path{};
  const ssize_t n = ::readlink("/proc/self/exe", path.data(), path.size());
  return {path.data(), static_cast<std::size_t>(std::max<ssize_t>(n, 0))};
}

class ControlServerTest : public testing::Test {
 protected:
  ControlServerTest() {
    write_config("");
    supervisor = std::make_unique<Supervisor>(loop, Supervisor::Options{scratch / "conf", 2});
    control = std::make_unique<ControlServer>(loop, *supervisor, io::Milliseconds{1000});
  }
  void SetUp() override {
    config::Loaded loaded = config::load(scratch / "conf");
    for (const auto& problem : loaded.problems) ASSERT_TRUE(problem.warning) << problem.text();
    std::vector<std::string> errors;
    auto prepared = prepare(
        std::make_shared<const config::Configuration>(std::move(*loaded.configuration)), errors);
    ASSERT_TRUE(prepared) << errors.at(0);
    ASSERT_EQ(supervisor->open(std::move(*prepared), errors), 0) << errors.at(0);
    // The master's own lines go to the log process from here on; ours stay where they are.
    const UniqueFd error(::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3));
    const Status started = supervisor->start();
    ::dup2(error.get(), STDERR_FILENO);
    ASSERT_TRUE(started.ok()) << started.error().text;
    running = true;
    control->watch(supervisor->control_listener());
    ASSERT_TRUE(wait([this] {
      return supervisor->login_children().size() == 1 && supervisor->log_children().size() == 1;
    }));
  }
  void TearDown() override {
    if (!running || supervisor->stopping()) return;
    supervisor->stop();
    loop.run();  // returns when the last child is gone
  }

  void write_config(const std::string& more) {
    const std::string child = "executable = " + own_path() + " --fake-child\nuser = root\n";
    std::ofstream(scratch / "conf")
        << "base_dir = " << scratch / "run"
        << "\nlog_path = " << scratch / "log"
        << "\nssl = no\ndefault_vsz_limit = 0\ndefault_internal_user = root\n"
        << "default_internal_group = root\n"
        << more << "\n[passdb p]\ndriver = static\n[service log]\n"
        << child << "process_min_avail = 1\n[service imap-login]\n"
        << child << "chroot =\nservice_count = 0\nprocess_min_avail = 1\n[service anvil]\n"
        << child << "chroot =\n[service auth]\n"
        << child << "[service auth-worker]\n"
        << child << "[inet_listener imap-login imap]\nport = 0\n"
        << "[inet_listener imap-login imaps]\nport = 0\n";
  }

  bool wait(const std::function<bool()>& done, io::Milliseconds patience = io::Milliseconds{9000}) {
    const io::TimePoint end = io::Clock::now() + patience;
    while (!done()) {
      if (io::Clock::now() > end) return false;
      loop.run_once(false);
      ::poll(nullptr, 0, 1);
    }
    return true;
  }
  Client connect() {
    Client out;
    auto fd = io::connect_unix(scratch / "run/control");
    EXPECT_TRUE(fd.ok()) << (fd.ok() ? "" : fd.error().text);
    if (fd.ok()) out.fd = std::move(fd).value();
    return out;
  }
  /// Waits for the next end; what it cannot read fails the test.
  Answered answer(Client& client) {
    Answered out;
    while (out.code < 0) {
      if (!wait([&client] {
            client.read();
            return client.lines() > 0 || client.closed;
          }) ||
          client.lines() == 0) {
        ADD_FAILURE() << "no whole answer";
        return out;
      }
      const auto reply = wire::parse_control_reply(client.take_line());
      if (!reply.ok()) {
        ADD_FAILURE() << reply.error().text;
        return out;
      }
      if (const auto* end = std::get_if<wire::ControlEnd>(&reply.value())) {
        out.code = end->code;
        out.text = end->text;
      } else {
        out.rows.push_back(std::get<wire::ControlFields>(reply.value()));
      }
    }
    return out;
  }
  Answered ask(Client& client, std::string command, wire::ControlFields args = {}) {
    client.send(wire::control_request_line({std::move(command), std::move(args)}));
    return answer(client);
  }
  Answered ask(std::string command, wire::ControlFields args = {}) {
    Client client = connect();
    return ask(client, std::move(command), std::move(args));
  }
  bool is_served() { return ask("ping").code == 0; }
  /// Nothing but the end of the connection is left.
  bool is_closed(Client& client) {
    return wait([&client] {
      client.read();
      return client.closed;
    });
  }
  pid_t login_pid() { return supervisor->login_children().at(0).second->pid(); }

  Scratch scratch;
  io::Loop loop;
  std::unique_ptr<Supervisor> supervisor;
  std::unique_ptr<ControlServer> control;
  bool running = false;
};

// --- Lines ---

TEST_F(ControlServerTest, PingGivesTheVersion) {
  const Answered got = ask("ping");
  EXPECT_EQ(got.code, 0);
  EXPECT_EQ(got.text, POSTERN_VERSION);
  EXPECT_TRUE(got.rows.empty());
}

/// Lowers the limit of open files to what is open, until it goes.
struct NoMoreFiles {
  rlimit before{};
  NoMoreFiles() {
    const UniqueFd lowest(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    EXPECT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
    const rlimit now{static_cast<rlim_t>(lowest.get()), before.rlim_max};
    EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &now), 0);
  }
  ~NoMoreFiles() { setrlimit(RLIMIT_NOFILE, &before); }
  NoMoreFiles(const NoMoreFiles&) = delete;
  NoMoreFiles& operator=(const NoMoreFiles&) = delete;
};

TEST_F(ControlServerTest, WithoutDescriptorsItWaitsInsteadOfSpinning_T_NET_06) {
  Client client = connect();
  client.send(wire::control_request_line({"ping", {}}));
  {
    const NoMoreFiles none;
    unsigned turns = 0;
    const io::TimePoint end = io::Clock::now() + io::Milliseconds{500};
    while (io::Clock::now() < end && turns < 1000) {
      loop.run_once(true);
      ++turns;
    }
    EXPECT_LT(turns, 100u);
  }
  EXPECT_EQ(answer(client).code, 0);
}

TEST_F(ControlServerTest, ARequestMayComeByteByByte) {
  Client client = connect();
  for (const char c : wire::control_request_line({"ping", {}})) {
    EXPECT_EQ(client.lines(), 0u);
    client.send({&c, 1});
    for (int i = 0; i < 3; ++i) loop.run_once(false);
    client.read();
  }
  EXPECT_EQ(answer(client).code, 0);
}

TEST_F(ControlServerTest, PipelinedRequestsAreAnsweredInOrderAlsoBehindOneThatWaitsForChildren) {
  Client client = connect();
  client.send(wire::control_request_line({"ping", {}}) + wire::control_request_line({"who", {}}) +
              wire::control_request_line({"nosuch", {}}) +
              wire::control_request_line({"kick", {{"user", "late"}}}) +
              wire::control_request_line({"ping", {}}));
  EXPECT_EQ(answer(client).text, POSTERN_VERSION);
  const Answered who = answer(client);
  EXPECT_EQ(who.code, 0);
  EXPECT_EQ(who.rows.size(), 2u);
  EXPECT_EQ(answer(client).code, EX_USAGE);
  EXPECT_EQ(answer(client).text, "2");
  EXPECT_EQ(answer(client).text, POSTERN_VERSION);
  EXPECT_TRUE(client.input.empty());
}

TEST_F(ControlServerTest, TheAnswerStillComesToOneWhoHasNoMoreToAsk) {
  Client client = connect();
  client.send(wire::control_request_line({"ping", {}}));
  ::shutdown(client.fd.get(), SHUT_WR);
  EXPECT_EQ(answer(client).code, 0);
  EXPECT_TRUE(is_closed(client));
}

TEST_F(ControlServerTest, ALineThatIsTooLongIsToldAndEndsTheConnection) {
  const std::string most(wire::kMaxControlLine - 1, ' ');
  for (const std::string& line : {most + " ", most + " \n", most + "          \n"}) {
    Client client = connect();
    client.send(line);
    const Answered got = answer(client);
    EXPECT_EQ(got.code, EX_USAGE);
    EXPECT_NE(got.text.find("longer than 65536 bytes"), std::string::npos) << got.text;
    EXPECT_TRUE(is_closed(client));
    EXPECT_TRUE(client.input.empty());
  }
  EXPECT_TRUE(is_served());
}

TEST_F(ControlServerTest, TheLongestLineIsRead) {
  std::string line = wire::control_request_line({"ping", {}});
  line.insert(line.size() - 1, wire::kMaxControlLine - line.size(), ' ');
  ASSERT_EQ(line.size(), wire::kMaxControlLine);
  Client client = connect();
  client.send(line);
  EXPECT_EQ(answer(client).code, 0);
}

TEST_F(ControlServerTest, WhatIsNoRequestIsToldAndEndsTheConnection) {
  const std::array<std::string, 9> lines{"",
                                         "ping",
                                         "[]",
                                         R"({"args":{}})",
                                         R"({"command":7})",
                                         R"({"command":"ping","args":[1]})",
                                         R"({"command":"ping")",
                                         std::string("\0\xff\x1b", 3),
                                         std::string(60000, '[')};
  Client other = connect();
  for (const std::string& line : lines) {
    SCOPED_TRACE(line.substr(0, 40));
    Client client = connect();
    client.send(line + '\n' + wire::control_request_line({"stop", {}}));
    const Answered got = answer(client);
    EXPECT_EQ(got.code, EX_USAGE);
    EXPECT_NE(got.text, "");
    EXPECT_TRUE(is_closed(client));
    EXPECT_TRUE(client.input.empty());
  }
  EXPECT_FALSE(supervisor->stopping()) << "what came behind it was obeyed";
  EXPECT_EQ(ask(other, "ping").code, 0);
}

TEST_F(ControlServerTest, AnUnknownCommandLeavesTheConnection) {
  Client client = connect();
  const Answered got = ask(client, "nosuch");
  EXPECT_EQ(got.code, EX_USAGE);
  EXPECT_EQ(got.text, "unknown command: nosuch");
  EXPECT_EQ(ask(client, "ping").code, 0);
}

TEST_F(ControlServerTest, OfTooManyConnectionsTheLongestIdleMakesRoom_T_CTL_03) {
  std::vector<Client> clients;
  for (std::size_t i = 0; i < ControlServer::kMaxConnections; ++i) clients.push_back(connect());
  for (Client& client : clients) EXPECT_EQ(ask(client, "ping").code, 0);
  EXPECT_EQ(ask(clients[0], "ping").code, 0);
  EXPECT_TRUE(is_served());
  EXPECT_TRUE(is_closed(clients[1]));
  clients[0].read();
  EXPECT_FALSE(clients[0].closed);
}

TEST_F(ControlServerTest, IfAllAreBeingAnsweredTheNextIsTurnedAway) {
  std::vector<Client> clients;
  for (std::size_t i = 0; i < ControlServer::kMaxConnections; ++i) {
    clients.push_back(connect());
    clients.back().send(wire::control_request_line({"kick", {{"user", "silent"}}}));
  }
  for (int i = 0; i < 100; ++i) loop.run_once(false);
  Client late = connect();
  EXPECT_TRUE(is_closed(late));
  EXPECT_EQ(answer(clients[0]).code, EX_TEMPFAIL);
}

TEST_F(ControlServerTest, HalfARequestIsNotWaitedForForEver_T_CTL_03) {
  Client half = connect();
  Client idle = connect();
  EXPECT_EQ(ask(idle, "ping").code, 0);
  half.send(R"({"command":"pi)");
  EXPECT_FALSE(wait(
      [&half] {
        half.read();
        return half.closed;
      },
      io::Milliseconds{500}));
  EXPECT_TRUE(is_closed(half));
  EXPECT_EQ(ask(idle, "ping").code, 0) << "who asks nothing may stay";
}

TEST_F(ControlServerTest, WhoDoesNotReadIsCutOff_T_CTL_03) {
  Client client = connect();
  std::string many;
  for (int i = 0; i < 400; ++i) many += wire::control_request_line({"service-status", {}});
  for (int i = 0; i < 40; ++i) {
    // Not all of it goes: then enough waits.
    if (::send(client.fd.get(), many.data(), many.size(), MSG_DONTWAIT | MSG_NOSIGNAL) < 0) break;
    loop.run_once(false);
  }
  EXPECT_TRUE(wait([&client] {
    pollfd p{client.fd.get(), 0, 0};
    return ::poll(&p, 1, 0) == 1 && (p.revents & POLLHUP) != 0;
  }));
  EXPECT_TRUE(is_served());
}

TEST_F(ControlServerTest, WhatChildrenSayComesAlsoToOneWhoHasNoMoreToAsk) {
  Client client = connect();
  client.send(wire::control_request_line({"kick", {{"user", "late"}}}) +
              wire::control_request_line({"who", {}}));
  ::shutdown(client.fd.get(), SHUT_WR);
  EXPECT_EQ(answer(client).text, "2");
  EXPECT_EQ(answer(client).rows.size(), 2u);
  EXPECT_TRUE(is_closed(client));
}

// --- What children answer ---

TEST_F(ControlServerTest, WhoGivesEverySessionWithThePidOfItsProcess) {
  const Answered got = ask("who");
  EXPECT_EQ(got.code, 0);
  const std::string pid = std::to_string(login_pid());
  EXPECT_EQ(got.rows, (std::vector<wire::ControlFields>{
                          {{"user", "u1"}, {"state", "proxied"}, {"pid", pid}},
                          {{"user", "e\tve"}, {"state", "local"}, {"pid", pid}}}));
}

TEST_F(ControlServerTest, KickGivesTheNumberAndMustSayWhom) {
  EXPECT_EQ(ask("kick", {{"user", "u*"}}).text, "2");
  const Answered nobody = ask("kick", {{"user", "nobody"}});
  EXPECT_EQ(nobody.code, 0);
  EXPECT_EQ(nobody.text, "0");
  EXPECT_EQ(ask("kick").code, EX_USAGE);
}

TEST_F(ControlServerTest, AnEmptyTermIsNoTerm_T_CTL_02) {
  EXPECT_EQ(ask("kick", {{"user", ""}}).code, EX_USAGE);
  EXPECT_EQ(ask("kick", {{"user", ""}, {"ip", "0.0.0.0/0"}}).code, EX_USAGE);
}

TEST_F(ControlServerTest, MoreTermsThanAChildReadsAreRefused_T_CTL_03) {
  const pid_t before = login_pid();
  wire::ControlFields many;
  for (std::size_t i = 0; i < wire::kMaxControlArgs; ++i)
    many.emplace_back("user", std::string(58, 'u'));
  const Answered got = ask("kick", many);
  EXPECT_EQ(got.code, EX_USAGE);
  EXPECT_EQ(got.text, "too much for one kick");
  EXPECT_EQ(ask("who").rows.size(), 2u);
  EXPECT_EQ(login_pid(), before);
}

TEST_F(ControlServerTest, AChildsFailureIsNotANumber) {
  const Answered busy = ask("kick", {{"user", "busy"}});
  EXPECT_EQ(busy.code, EX_TEMPFAIL);
  EXPECT_EQ(busy.text, "the database is away");
  const Answered odd = ask("kick", {{"user", "odd"}});
  EXPECT_EQ(odd.code, EX_TEMPFAIL);
  EXPECT_EQ(odd.text, "many");
}

TEST_F(ControlServerTest, AChildThatEndsInsteadOfAnsweringIsCounted) {
  const Answered got = ask("kick", {{"user", "leave"}});
  EXPECT_EQ(got.code, EX_TEMPFAIL);
  EXPECT_EQ(got.text, "1 processes did not answer");
}

TEST_F(ControlServerTest, AChildThatDoesNotAnswerIsWaitedForNoLongerThanTheDeadline) {
  Client other = connect();
  Client client = connect();
  const io::TimePoint begin = io::Clock::now();
  client.send(wire::control_request_line({"kick", {{"user", "silent"}}}));
  EXPECT_EQ(ask(other, "ping").code, 0) << "others are served meanwhile";
  const Answered got = answer(client);
  EXPECT_EQ(got.code, EX_TEMPFAIL);
  EXPECT_EQ(got.text, "1 processes did not answer");
  EXPECT_LT(io::Clock::now() - begin, 2 * Questions::kDeadline);
  EXPECT_EQ(ask(client, "ping").code, 0);
}

TEST_F(ControlServerTest, AClientThatLeavesInTheMiddleOfItsAnswerIsForgotten) {
  {
    Client client = connect();
    client.send(wire::control_request_line({"kick", {{"user", "late"}}}) +
                wire::control_request_line({"stop", {}}));
    for (int i = 0; i < 5; ++i) loop.run_once(false);
  }
  // The answer comes when nobody is there for it.
  EXPECT_FALSE(wait([] { return false; }, io::Milliseconds{600}));
  EXPECT_FALSE(supervisor->stopping());
  EXPECT_TRUE(is_served());
}

TEST_F(ControlServerTest, AClientThatLeavesInTheMiddleOfItsLineIsForgotten) {
  {
    Client client = connect();
    client.send(R"({"command":"st)");
    for (int i = 0; i < 5; ++i) loop.run_once(false);
  }
  for (int i = 0; i < 5; ++i) loop.run_once(false);
  EXPECT_FALSE(supervisor->stopping());
  EXPECT_TRUE(is_served());
}

// --- The rows of the master ---

TEST_F(ControlServerTest, ServiceStatusShowsAllOrThoseThatAreNamed) {
  const Answered all = ask("service-status");
  EXPECT_EQ(all.code, 0);
  EXPECT_EQ(all.rows.size(), 5u);
  const Answered one = ask("service-status", {{"name", "imap-login"}, {"name", "nosuch"}});
  ASSERT_EQ(one.rows.size(), 1u);
  EXPECT_EQ(wire::control_field(one.rows[0], "name"), "imap-login");
  EXPECT_EQ(wire::control_field(one.rows[0], "process_count"), "1");
  EXPECT_EQ(wire::control_field(one.rows[0], "state"), "running");
  EXPECT_TRUE(ask("service-status", {{"name", "nosuch"}}).rows.empty());
}

TEST_F(ControlServerTest, ProcessStatusShowsWhatIsRunning) {
  EXPECT_EQ(ask("process-status").rows.size(), 3u);  // log, anvil, imap-login
  const Answered got = ask("process-status", {{"name", "imap-login"}});
  ASSERT_EQ(got.rows.size(), 1u);
  EXPECT_EQ(wire::control_field(got.rows[0], "pid"), std::to_string(login_pid()));
  EXPECT_EQ(wire::control_field(got.rows[0], "relaying"), "2");
}

TEST_F(ControlServerTest, LogErrorsAreTheLogProcesss) {
  const Answered got = ask("log-errors", {{"since", "1"}});
  EXPECT_EQ(got.code, 0);
  EXPECT_TRUE(got.rows.empty());
}

TEST_F(ControlServerTest, LogReopenMakesTheFileAnewOrSaysWhyNot) {
  ASSERT_EQ(::rename((scratch / "log").c_str(), (scratch / "log.1").c_str()), 0);
  EXPECT_EQ(ask("log-reopen").code, 0);
  EXPECT_EQ(::access((scratch / "log").c_str(), F_OK), 0);
  ASSERT_EQ(::unlink((scratch / "log").c_str()), 0);
  ASSERT_EQ(::mkdir((scratch / "log").c_str(), 0700), 0);
  const Answered got = ask("log-reopen");
  EXPECT_EQ(got.code, EX_CANTCREAT);
  EXPECT_NE(got.text.find(scratch / "log"), std::string::npos) << got.text;
}

TEST_F(ControlServerTest, AReloadWithErrorsTellsEachAndChangesNothing) {
  const pid_t before = login_pid();
  write_config("nosuch = 1\nlisten = here\n");
  const Answered got = ask("reload");
  EXPECT_EQ(got.code, EX_CONFIG);
  ASSERT_GE(got.rows.size(), 2u);
  EXPECT_NE(wire::control_field(got.rows[0], "error").find("nosuch"), std::string::npos);
  for (int i = 0; i < 20; ++i) loop.run_once(false);
  EXPECT_EQ(login_pid(), before);
  EXPECT_TRUE(is_served());
}

TEST_F(ControlServerTest, AReloadStartsNewProcessesAndKeepsServing) {
  const pid_t before = login_pid();
  Client old = connect();
  const Answered got = ask(old, "reload");
  EXPECT_EQ(got.code, 0) << got.text;
  EXPECT_TRUE(wait([this, before] {
    const auto children = supervisor->login_children();
    return children.size() == 1 && children[0].second->pid() != before;
  }));
  EXPECT_EQ(ask(old, "ping").code, 0);
  EXPECT_TRUE(is_served());
}

TEST_F(ControlServerTest, AControlSocketThatWasRemovedIsBackAfterAReloadHoweverItCame) {
  ASSERT_EQ(::unlink((scratch / "run/control").c_str()), 0);
  EXPECT_TRUE(supervisor->reload().empty());
  EXPECT_TRUE(is_served());
}

TEST_F(ControlServerTest, AStormOfHangupsIsFewReloads) {
  const auto generations = [this] {
    unsigned most = 0;
    supervisor->for_each_service(
        [&most](const ServiceRun&, unsigned generation) { most = std::max(most, generation); });
    return most;
  };
  const unsigned before = generations();
  for (int i = 0; i < 50; ++i) ::raise(SIGHUP);
  EXPECT_TRUE(wait([&] { return generations() > before; }));
  for (int i = 0; i < 20; ++i) loop.run_once(false);
  EXPECT_LE(generations(), before + 2);
  EXPECT_TRUE(is_served());
}

TEST_F(ControlServerTest, StopGivesThePidOfTheMasterAndEndsIt) {
  Client client = connect();
  client.send(wire::control_request_line({"stop", {}}));
  loop.run();  // returns when the last child is gone
  EXPECT_TRUE(supervisor->stopping());
  EXPECT_TRUE(supervisor->login_children().empty());
  client.read();
  const auto reply = wire::parse_control_reply(client.take_line());
  ASSERT_TRUE(reply.ok());
  ASSERT_TRUE(std::holds_alternative<wire::ControlEnd>(reply.value()));
  EXPECT_EQ(std::get<wire::ControlEnd>(reply.value()).text, std::to_string(::getpid()));
}

}  // namespace
}  // namespace postern::master

int main(int argc, char** argv) {
  if (argc > 1 && std::string_view(argv[1]) == "--fake-child") postern::master::be_a_child();
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
