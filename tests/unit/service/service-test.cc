#include "service/service.h"

#include <gtest/gtest.h>
#include <sysexits.h>

#include <csignal>

#include "fake-master.h"

namespace postern::service {
namespace {

using ServiceStart = FakeMaster;
using ServiceLoad = FakeMaster;
using ServiceEnd = FakeMaster;
using ServiceCalls = FakeMaster;
using Template = FakeMaster;

TEST_F(ServiceStart, SaysReadyAndServes) {
  start();
  ASSERT_EQ(channel.receive(), "ready");
  TestClient client(listening);
  EXPECT_EQ(client.hear(), "welcome 0");
  EXPECT_EQ(client.ask("hello"), "hello");
}

TEST_F(ServiceStart, DamagedSettingsAreFatal) {
  start({}, true, false);
  EXPECT_EQ(channel.receive(), "(end)");
  EXPECT_EQ(end(), EX_CONFIG);
  EXPECT_TRUE(log_text().starts_with("\001\005")) << "a fatal line";
}

TEST(ServiceByHand, IsRefusedWithAWord) {
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  const pid_t child = fork();
  if (child == 0) {
    dup2(ends[1], 2);
    for (int fd = 3; fd < 100; fd++) close(fd);
    execl(POSTERN_ECHO_PROCESS, POSTERN_ECHO_PROCESS, static_cast<char*>(nullptr));
    _exit(99);
  }
  close(ends[1]);
  char text[1000];
  const ssize_t n = read(ends[0], text, sizeof text);
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(WEXITSTATUS(status), EX_USAGE);
  EXPECT_EQ(std::string(text, n > 0 ? static_cast<std::size_t>(n) : 0),
            "echo: Fatal: this program is a part of postern, which starts it\n");
}

TEST_F(ServiceStart, ItsLogLinesCarryItsPid) {
  start();
  ASSERT_EQ(channel.receive(), "ready");
  TestClient client(listening);
  client.hear();
  client.ask("log");
  EXPECT_EQ(log_text(), "\001\003" + std::to_string(pid) + " a word for the log\n");
}

TEST_F(ServiceLoad, FullIsSaidAtOnceAndNobodyIsAccepted) {
  start();
  ASSERT_EQ(channel.receive(), "ready");
  TestClient one(listening);
  EXPECT_EQ(one.hear(), "welcome 0");
  EXPECT_EQ(channel.receive(), "status|1|1|0");
  TestClient two(listening);
  EXPECT_EQ(two.hear(), "welcome 0");
  EXPECT_EQ(channel.receive(), "status|0|2|0|2|192.0.2.1|2");
  TestClient three(listening);
  EXPECT_EQ(three.hear(200), "(nothing)");
  EXPECT_EQ(one.ask("quit"), "bye");
  EXPECT_EQ(channel.receive(), "status|1|1|0");
  EXPECT_EQ(three.hear(), "welcome 0");
  EXPECT_EQ(channel.receive(), "status|0|2|0|2|192.0.2.1|2");
}

TEST_F(ServiceLoad, ABurstDoesNotOverfillWhoTellsItsLoadAtTheEndOfATurn_T_NET_07) {
  snapshot.service.client_limit = 10;
  start();
  ASSERT_EQ(channel.receive(), "ready");
  TestClient one(listening);
  EXPECT_EQ(one.hear(), "welcome 0");
  EXPECT_EQ(channel.receive(), "status|9|1|0");
  EXPECT_EQ(one.ask("lazy"), "yawn");
  ASSERT_EQ(kill(pid, SIGSTOP), 0);
  std::vector<std::unique_ptr<TestClient>> queue;
  for (int i = 0; i < 30; i++) queue.push_back(std::make_unique<TestClient>(listening));
  ASSERT_EQ(kill(pid, SIGCONT), 0);
  std::string status = channel.receive();
  for (int i = 0; i < 5 && !status.starts_with("status|0|"); i++) status = channel.receive();
  EXPECT_EQ(status, "status|0|10|0|10|192.0.2.1|10");
  EXPECT_EQ(one.ask("quit"), "bye");
  EXPECT_EQ(channel.receive(), "status|1|9|0") << "room is said at once";
}

TEST_F(ServiceLoad, SessionsThatRelayDoNotFillIt) {
  start();
  ASSERT_EQ(channel.receive(), "ready");
  std::vector<std::unique_ptr<TestClient>> clients;
  for (int i = 0; i < 5; i++) {
    clients.push_back(std::make_unique<TestClient>(listening));
    EXPECT_EQ(clients.back()->hear(), "welcome 0");
    EXPECT_EQ(clients.back()->ask("relay"), "relaying");
  }
  EXPECT_EQ(channel.receive(), "status|1|1|0");
  EXPECT_EQ(channel.receive(), "status|2|0|5") << "the rest within a second, in one message";
  EXPECT_EQ(channel.receive(1300), "(nothing)");
}

TEST_F(ServiceLoad, EvictsWhomTheMasterNames) {
  start();
  ASSERT_EQ(channel.receive(), "ready");
  TestClient one(listening);
  EXPECT_EQ(one.hear(), "welcome 0");
  TestClient two(listening);
  EXPECT_EQ(two.hear(), "welcome 0");
  channel.send("evict\t1");
  EXPECT_EQ(one.hear(), "evicted");
  EXPECT_EQ(one.hear(), "(end)");
  EXPECT_EQ(two.ask("x"), "x");
}

TEST_F(ServiceLoad, WhoHasNobodyToEvictSaysSoAtOnce_T_NET_01) {
  snapshot.service.client_limit = 1;
  start();
  ASSERT_EQ(channel.receive(), "ready");
  TestClient one(listening);
  EXPECT_EQ(one.hear(), "welcome 0");
  EXPECT_EQ(channel.receive(), "status|0|1|0|1|192.0.2.1|1");
  EXPECT_EQ(one.ask("shy"), "not me");
  channel.send("evict\t1");
  EXPECT_EQ(channel.receive(), "status|0|1|0|0||0");
  EXPECT_EQ(one.ask("x"), "x");
}

TEST_F(ServiceLoad, UsedUpCanBeEvictedUntilTheLoginAndThenOnlyFinishes) {
  snapshot.service.client_limit = 1;
  snapshot.service.service_count = 1;
  start();
  ASSERT_EQ(channel.receive(), "ready");
  TestClient one(listening);
  EXPECT_EQ(one.hear(), "welcome 0");
  EXPECT_EQ(channel.receive(), "status|0|1|0|1|192.0.2.1|1");
  EXPECT_EQ(one.ask("relay"), "relaying");
  EXPECT_EQ(channel.receive(), "status|0|0|1");
  EXPECT_EQ(channel.receive(), "finished");
  auto late = io::connect_tcp(listening, {});
  if (late.ok()) {
    usleep(50'000);
    EXPECT_EQ(io::connect_error(late.value().get()), ECONNREFUSED) << "the listener is closed";
  }
  EXPECT_EQ(one.ask("quit"), "bye");
  EXPECT_EQ(end(), 0);
}

TEST_F(ServiceLoad, ServiceCountBoundsALife) {
  snapshot.service.service_count = 3;
  snapshot.service.client_limit = 10;
  start();
  ASSERT_EQ(channel.receive(), "ready");
  for (int i = 0; i < 3; i++) {
    TestClient client(listening);
    EXPECT_EQ(client.hear(), "welcome 0");
    EXPECT_EQ(client.ask("quit"), "bye");
  }
  EXPECT_EQ(end(), 0);
}

TEST_F(ServiceLoad, OutOfDescriptorsIsSaidOnceAndWaitsAndClientsAreTold_T_NET_06) {
  // Some are open already: the loop's, the listener, the channel. A few clients fit.
  max_files = 20;
  snapshot.service.client_limit = 100;
  snapshot.service.protocol = "imap";
  start();
  ASSERT_EQ(channel.receive(), "ready");
  std::vector<std::unique_ptr<TestClient>> clients;
  for (int i = 0; i < 20; i++) clients.push_back(std::make_unique<TestClient>(listening));
  EXPECT_EQ(clients.front()->hear(), "welcome 0");
  usleep(300'000);
  const std::string text = log_text();
  EXPECT_NE(text.find("accept: Too many open files"), std::string::npos) << text;
  EXPECT_EQ(text.find("accept"), text.rfind("accept")) << "one line a second";
  EXPECT_EQ(clients.back()->hear(), "* BYE [UNAVAILABLE] Too many connections, try again later.\r");
  EXPECT_EQ(clients.back()->hear(), "(end)");
  TestClient late(listening);  // nobody has gone
  EXPECT_EQ(late.hear(), "* BYE [UNAVAILABLE] Too many connections, try again later.\r");
  for (auto& client : clients) client->close();
  TestClient later(listening);
  EXPECT_EQ(later.hear(), "welcome 0") << "it tries again";
}

TEST_F(ServiceCalls, AreAnsweredWithRowsThenDone) {
  start();
  ASSERT_EQ(channel.receive(), "ready");
  channel.send("call\t5\tsessions\ta\tb\001tc");
  EXPECT_EQ(channel.receive(), "row|5|argument=a|clients=0");
  EXPECT_EQ(channel.receive(), "row|5|argument=b\001tc|clients=0");
  EXPECT_EQ(channel.receive(), "done|5|0|that is all");
}

TEST_F(ServiceCalls, MayBeAnsweredLaterAndNeverGetLost) {
  start();
  ASSERT_EQ(channel.receive(), "ready");
  TestClient client(listening);
  client.hear();
  EXPECT_EQ(channel.receive(), "status|1|1|0");
  channel.send("call\t1\tkeep");
  channel.send("call\t2\tforget");
  EXPECT_EQ(channel.receive(), "done|2|75|not answered");
  EXPECT_EQ(client.ask("answer"), "answered");
  EXPECT_EQ(channel.receive(), "done|1|0");
}

TEST_F(ServiceCalls, ManyRowsAllArrive) {
  start();
  ASSERT_EQ(channel.receive(), "ready");
  std::string packet = "call\t1\tx";
  for (int i = 0; i < 5000; i++) packet += "\t" + std::to_string(i);
  channel.send(packet);
  usleep(200'000);  // more than the socket holds
  for (int i = 0; i < 5000; i++) {
    ASSERT_EQ(channel.receive(), "row|1|argument=" + std::to_string(i) + "|clients=0");
  }
  EXPECT_EQ(channel.receive(), "done|1|0|that is all");
}

TEST_F(ServiceCalls, ConnectsThroughTheMaster) {
  start();
  ASSERT_EQ(channel.receive(), "ready");
  TestClient client(listening);
  client.hear();
  EXPECT_EQ(channel.receive(), "status|1|1|0");
  client.say("connect auth/login/login");
  EXPECT_EQ(channel.receive(), "connect|1|auth/login/login");
  auto ends = io::socket_pair(SOCK_STREAM);
  channel.send("connected\t1", ends.value().second.get());
  EXPECT_EQ(client.hear(), "connected");
  char text[5];
  EXPECT_EQ(read(ends.value().first.get(), text, 5), 5);
  client.say("connect anvil");
  EXPECT_EQ(channel.receive(), "connect|2|anvil");
  channel.send("connected\t2\tnot for you");
  EXPECT_EQ(client.hear(), "failed: not for you");
}

TEST_F(ServiceCalls, BadMessageOfTheMastersIsFatal) {
  for (const char* packet : {"evict\tx", "connected\t99", "unknown", "fork\t1"}) {
    SCOPED_TRACE(packet);
    start();
    ASSERT_EQ(channel.receive(), "ready");
    channel.send(packet);
    EXPECT_EQ(end(), EX_PROTOCOL);
    EXPECT_TRUE(log_text().starts_with("\001\005"));
  }
}

TEST_F(ServiceEnd, DrainClosesTheListenersAndEndsWithTheLastClient) {
  start();
  ASSERT_EQ(channel.receive(), "ready");
  TestClient client(listening);
  client.hear();
  channel.send("drain");
  usleep(50'000);
  EXPECT_EQ(client.ask("still here"), "still here");
  const auto late = io::connect_tcp(listening, {});
  if (late.ok()) {
    usleep(50'000);
    EXPECT_EQ(io::connect_error(late.value().get()), ECONNREFUSED);
  }
  EXPECT_EQ(client.ask("quit"), "bye");
  EXPECT_EQ(end(), 0);
}

TEST_F(ServiceEnd, DrainOfAnIdleProcessEndsIt) {
  start();
  ASSERT_EQ(channel.receive(), "ready");
  channel.send("drain");
  EXPECT_EQ(end(), 0);
}

TEST_F(ServiceEnd, MasterGoneIsADrainAndConnectsFail) {
  start();
  ASSERT_EQ(channel.receive(), "ready");
  TestClient client(listening);
  client.hear();
  client.say("connect auth");
  usleep(50'000);
  channel.close();
  EXPECT_EQ(client.hear(), "failed: the master process is gone");
  EXPECT_EQ(client.ask("connect auth"), "failed: the master process is gone");
  EXPECT_EQ(client.ask("still here"), "still here");
  EXPECT_EQ(client.ask("quit"), "bye");
  EXPECT_EQ(end(), 0);
}

TEST_F(ServiceEnd, StopAndSigtermTellTheClients) {
  for (const bool by_signal : {false, true}) {
    SCOPED_TRACE(by_signal);
    start();
    ASSERT_EQ(channel.receive(), "ready");
    TestClient client(listening);
    client.hear();
    if (by_signal) {
      kill(pid, SIGTERM);
    } else {
      channel.send("stop");
    }
    EXPECT_EQ(client.hear(), "BYE");
    EXPECT_EQ(client.hear(), "(end)");
    EXPECT_EQ(end(), 0);
  }
}

TEST_F(ServiceEnd, StopEndsWhoDoesNotFinishAfterFiveSeconds) {
  start();
  ASSERT_EQ(channel.receive(), "ready");
  TestClient client(listening);
  client.hear();
  EXPECT_EQ(client.ask("stubborn"), "never");
  channel.send("stop");
  EXPECT_EQ(client.hear(8000), "(end)");
  EXPECT_EQ(end(), 0);
}

TEST_F(ServiceEnd, SigintEndsOnlyWhoIsIdle) {
  start();
  ASSERT_EQ(channel.receive(), "ready");
  {
    TestClient client(listening);
    client.hear();
    kill(pid, SIGINT);
    kill(pid, SIGUSR1);
    kill(pid, SIGHUP);
    usleep(50'000);
    EXPECT_EQ(client.ask("still here"), "still here");
    EXPECT_EQ(client.ask("quit"), "bye");
  }
  EXPECT_EQ(channel.receive(), "status|1|1|0");
  EXPECT_EQ(channel.receive(), "status|2|0|0");
  kill(pid, SIGINT);
  EXPECT_EQ(end(), 0);
}

TEST_F(Template, MakesCopiesThatAreTheMastersChildren) {
  start({"--template"});
  ASSERT_EQ(channel.receive(), "ready");
  // A template accepts nobody.
  TestClient early(listening);
  EXPECT_EQ(early.hear(200), "(nothing)");
  channel.send("word\tsecret");
  auto [ours, theirs] = channel_pair();
  TestChannel copy(std::move(ours));
  channel.send("fork\t11", theirs.get());
  theirs.reset();
  EXPECT_EQ(copy.receive(), "ready");
  const std::string forked = channel.receive();
  ASSERT_TRUE(forked.starts_with("forked|11|")) << forked;
  const pid_t copy_pid = std::stoi(forked.substr(10));
  EXPECT_EQ(early.hear(), "welcome 0");
  EXPECT_EQ(early.ask("who"), std::to_string(copy_pid) + " copy secret");
  EXPECT_EQ(copy.receive(), "status|1|1|0");
  copy.send("call\t1\tx\ty");
  EXPECT_EQ(copy.receive(), "row|1|argument=y|clients=1");
  EXPECT_EQ(copy.receive(), "done|1|0|that is all");
  EXPECT_EQ(early.ask("log"), "logged");
  EXPECT_EQ(log_text(), "\001\003" + std::to_string(copy_pid) + " a word for the log\n");
  // The template's end is not the copy's.
  channel.send("drain");
  EXPECT_EQ(end(), 0);
  EXPECT_EQ(early.ask("still here"), "still here");
  EXPECT_EQ(early.ask("quit"), "bye");
  copy.send("drain");
  EXPECT_EQ(end_of(copy_pid), 0) << "waitpid() works: it is our own child";
}

TEST_F(Template, MakesManyAndEndsWithTheMaster) {
  snapshot.service.service_count = 1;
  snapshot.service.client_limit = 1;
  start({"--template"});
  ASSERT_EQ(channel.receive(), "ready");
  for (int i = 0; i < 10; i++) {
    auto [ours, theirs] = channel_pair();
    TestChannel copy(std::move(ours));
    channel.send("fork\t" + std::to_string(i), theirs.get());
    theirs.reset();
    const std::string forked = channel.receive();
    ASSERT_TRUE(forked.starts_with("forked|" + std::to_string(i) + "|")) << forked;
    EXPECT_EQ(copy.receive(), "ready");
    TestClient client(listening);
    EXPECT_EQ(client.hear(), "welcome 0");
    EXPECT_EQ(client.ask("quit"), "bye");
    EXPECT_EQ(end_of(std::stoi(forked.substr(9))), 0);
  }
  channel.close();
  EXPECT_EQ(end(), 0);
}

}  // namespace
}  // namespace postern::service
