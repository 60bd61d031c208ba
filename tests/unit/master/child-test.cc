#include "master/child.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <vector>

#include "io/socket.h"
#include "wire/channel.h"

namespace postern::master {
namespace {

/// Notes what a child says; can end the child at its first message, as the master does.
class Notes final : public Child::Owner {
 public:
  explicit Notes(io::Loop& loop) : loop_(loop) {}
  void on_child_message(Child& /*child*/, ChildMessage message) noexcept override {
    messages.push_back(std::move(message));
    if (retire) loop_.retire(std::move(*retire));
    retire = nullptr;
  }
  void on_channel_end(Child& /*child*/, std::string_view why) noexcept override {
    ++ends;
    last_why = why;
  }
  std::vector<ChildMessage> messages;
  unsigned ends = 0;
  std::string last_why = "(no end)";
  std::unique_ptr<Child>* retire = nullptr;

 private:
  io::Loop& loop_;
};

class ChildTest : public testing::Test {
 protected:
  ChildTest() : notes(loop) {
    auto ends = io::socket_pair(SOCK_SEQPACKET);
    EXPECT_TRUE(ends.ok());
    channel = std::move(ends.value().first);
    peer = std::move(ends.value().second);
  }
  void make(pid_t pid) {
    child = std::make_unique<Child>(loop, notes, ProcessId{7}, pid, std::move(channel));
  }
  void say(std::string_view packet) {
    ASSERT_EQ(::send(peer.get(), packet.data(), packet.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(packet.size()));
  }
  /// Turns until nothing happens any more.
  void turn() {
    for (int i = 0; i < 20; ++i) loop.run_once(false);
  }
  /// What the master sent, one packet; empty if nothing is there.
  io::Packet hear() {
    auto packet = io::receive_packet(peer.get(), wire::kMaxPacket);
    return packet.ok() ? std::move(packet).value() : io::Packet{};
  }

  io::Loop loop;
  Notes notes;
  UniqueFd channel;
  UniqueFd peer;
  std::unique_ptr<Child> child;
};

TEST_F(ChildTest, MessagesArriveInTheOrderTheyWereSent) {
  make(1);
  say("ready");
  say("status\t3\t2\t1");
  say("finished");
  turn();
  ASSERT_EQ(notes.messages.size(), 3u);
  EXPECT_TRUE(std::holds_alternative<ReadyMessage>(notes.messages[0]));
  ASSERT_TRUE(std::holds_alternative<StatusMessage>(notes.messages[1]));
  EXPECT_EQ(std::get<StatusMessage>(notes.messages[1]).available, 3u);
  EXPECT_TRUE(std::holds_alternative<FinishedMessage>(notes.messages[2]));
  EXPECT_EQ(notes.ends, 0u);
  EXPECT_TRUE(child->channel_open());
}

TEST_F(ChildTest, FieldsAreEscapedAndADescriptorGoesAlong) {
  make(1);
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const UniqueFd read_end(ends[0]);
  child->send("connected", {"a\tb\nc", ""}, UniqueFd(ends[1]));
  const io::Packet packet = hear();
  EXPECT_EQ(packet.bytes.view(), "connected\ta\001tb\001nc\t");
  ASSERT_TRUE(packet.fd);
  ASSERT_EQ(::write(packet.fd.get(), "x", 1), 1);
  char got = 0;
  ASSERT_EQ(::read(read_end.get(), &got, 1), 1);
  EXPECT_EQ(got, 'x');
}

TEST_F(ChildTest, WhatItDoesNotReadYetWaitsInOrderWithItsDescriptors) {
  make(1);
  const std::string filling(4000, 'x');
  constexpr unsigned kPackets = 1000;  // far more than the kernel queues
  for (unsigned i = 0; i < kPackets; ++i) {
    UniqueFd fd;
    if (i % 100 == 0) fd.reset(::dup(peer.get()));
    child->send("n", {std::to_string(i), filling}, std::move(fd));
  }
  EXPECT_TRUE(child->channel_open());
  unsigned next = 0;
  for (unsigned turns = 0; next < kPackets && turns < 100000; ++turns) {
    const io::Packet packet = hear();
    if (packet.bytes.empty()) {
      loop.run_once(false);
      continue;
    }
    ASSERT_EQ(packet.bytes.view(), "n\t" + std::to_string(next) + '\t' + filling);
    ASSERT_EQ(static_cast<bool>(packet.fd), next % 100 == 0) << next;
    ++next;
  }
  EXPECT_EQ(next, kPackets);
  EXPECT_EQ(notes.ends, 0u);
}

TEST_F(ChildTest, OneThatNeverReadsLosesItsChannel) {
  make(1);
  const std::string filling(4000, 'x');
  for (std::size_t i = 0; i < Child::kMaxQueued + 2000 && child->channel_open(); ++i) {
    child->send("n", {filling});
  }
  EXPECT_FALSE(child->channel_open());
  EXPECT_EQ(notes.ends, 1u);
  EXPECT_EQ(notes.last_why, "it does not read its control channel");
  child->send("n", {"more"});
  turn();
  EXPECT_EQ(notes.ends, 1u);
}

TEST_F(ChildTest, APidThatIsNotKnownIsWhatTheKernelSaysOfTheFirstPacket) {
  make(0);
  EXPECT_EQ(child->pid(), 0);
  const pid_t copy = ::fork();
  ASSERT_GE(copy, 0);
  if (copy == 0) {
    // Says another pid than its own; that counts for nothing.
    const std::string_view packet = "forked\t7\t1";
    const bool sent = ::send(peer.get(), packet.data(), packet.size(), MSG_NOSIGNAL) > 0;
    ::_exit(sent ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(copy, &status, 0), copy);
  ASSERT_EQ(status, 0);
  turn();
  ASSERT_EQ(notes.messages.size(), 1u);
  EXPECT_EQ(child->pid(), copy);
  say("ready");
  turn();
  EXPECT_EQ(child->pid(), copy);
}

TEST_F(ChildTest, AKnownPidStays) {
  make(1);
  say("ready");
  turn();
  ASSERT_EQ(notes.messages.size(), 1u);
  EXPECT_EQ(child->pid(), 1);
}

TEST_F(ChildTest, ABadPacketEndsTheChannelAndNothingAfterItCounts) {
  for (const char* packet :
       {"nonsense", "status\t1\t2", "status\t1\t2\t-3", "done\t1\t256", "connect\t1\t../auth",
        "row\tx\tuser=a", "forked\t1", "ready\textra", "\t"}) {
    SCOPED_TRACE(packet);
    auto ends = io::socket_pair(SOCK_SEQPACKET);
    ASSERT_TRUE(ends.ok());
    peer = std::move(ends.value().second);
    Notes own(loop);
    Child bad(loop, own, 1, 1, std::move(ends.value().first));
    say(packet);
    say("ready");
    turn();
    EXPECT_EQ(own.ends, 1u);
    EXPECT_NE(own.last_why, "");
    EXPECT_TRUE(own.messages.empty());
    EXPECT_FALSE(bad.channel_open());
  }
}

TEST_F(ChildTest, APacketThatIsTooLongEndsTheChannel) {
  make(1);
  say("done\t1\t0\t" + std::string(wire::kMaxPacket, 'x'));
  turn();
  EXPECT_EQ(notes.ends, 1u);
  EXPECT_NE(notes.last_why, "");
  EXPECT_TRUE(notes.messages.empty());
}

TEST_F(ChildTest, AChildThatClosesHasBrokenNoRule) {
  make(1);
  say("finished");
  peer.reset();
  turn();
  EXPECT_EQ(notes.messages.size(), 1u);
  EXPECT_EQ(notes.ends, 1u);
  EXPECT_EQ(notes.last_why, "");
}

TEST_F(ChildTest, DrainChannelReadsEverythingWithoutTheLoop) {
  make(1);
  for (int i = 0; i < 100; ++i) say("status\t1\t0\t0");
  peer.reset();
  child->drain_channel();
  EXPECT_EQ(notes.messages.size(), 100u);
  EXPECT_EQ(notes.ends, 1u);
}

TEST_F(ChildTest, ItMayBeEndedInTheMiddleOfItsOwnMessage) {
  make(1);
  notes.retire = &child;
  say("ready");
  say("finished");
  turn();
  EXPECT_FALSE(child);
  EXPECT_FALSE(notes.messages.empty());
  char byte = 0;
  EXPECT_EQ(::recv(peer.get(), &byte, 1, 0), 0) << "the channel is closed with it";
}

}  // namespace
}  // namespace postern::master
