#include "master/child-message.h"

#include <gtest/gtest.h>

namespace postern::master {
namespace {

template <class T>
const T* read(const Result<ChildMessage>& result) {
  return result.ok() ? std::get_if<T>(&result.value()) : nullptr;
}

TEST(ChildMessage, ReadsEveryVerb) {
  EXPECT_NE(read<ReadyMessage>(parse_child_message("ready")), nullptr);
  EXPECT_NE(read<FinishedMessage>(parse_child_message("finished")), nullptr);

  const auto status = parse_child_message("status\t3\t20\t100");
  ASSERT_NE(read<StatusMessage>(status), nullptr);
  EXPECT_EQ(read<StatusMessage>(status)->available, 3u);
  EXPECT_EQ(read<StatusMessage>(status)->clients, 20u);
  EXPECT_EQ(read<StatusMessage>(status)->relaying, 100u);

  EXPECT_FALSE(read<StatusMessage>(status)->has_evictable);

  const auto full = parse_child_message("status\t0\t20\t100\t9\t192.0.2.1\t3");
  ASSERT_NE(read<StatusMessage>(full), nullptr);
  EXPECT_TRUE(read<StatusMessage>(full)->has_evictable);
  EXPECT_EQ(read<StatusMessage>(full)->evictable, 9u);
  EXPECT_EQ(read<StatusMessage>(full)->holder, "192.0.2.1");
  EXPECT_EQ(read<StatusMessage>(full)->held, 3u);

  const auto connect = parse_child_message("connect\t7\tlogin/login");
  ASSERT_NE(read<ConnectMessage>(connect), nullptr);
  EXPECT_EQ(read<ConnectMessage>(connect)->id, 7u);
  EXPECT_EQ(read<ConnectMessage>(connect)->name, "login/login");

  const auto row = parse_child_message("row\t9\tuser=a\001tb\tstate=");
  ASSERT_NE(read<RowMessage>(row), nullptr);
  EXPECT_EQ(read<RowMessage>(row)->fields,
            (std::vector<std::pair<std::string, std::string>>{{"user", "a\tb"}, {"state", ""}}));

  const auto done = parse_child_message("done\t9\t68\tno such session");
  ASSERT_NE(read<DoneMessage>(done), nullptr);
  EXPECT_EQ(read<DoneMessage>(done)->code, 68);
  EXPECT_EQ(read<DoneMessage>(done)->text, "no such session");

  const auto forked = parse_child_message("forked\t5\t31399");
  ASSERT_NE(read<ForkedMessage>(forked), nullptr);
  EXPECT_EQ(read<ForkedMessage>(forked)->pid, 31399);
  EXPECT_EQ(read<ForkedMessage>(parse_child_message("forked\t5\t0\tno memory"))->text, "no memory");
}

TEST(ChildMessage, ReadsWhatLoginProcessesSayOfBackends) {
  const auto failed =
      parse_child_message("backend-failed\t192.0.2.1\t143\t30\t1030\t30000\ta\001tb");
  ASSERT_NE(read<BackendFailedMessage>(failed), nullptr);
  const BackendFailedMessage& message = *read<BackendFailedMessage>(failed);
  EXPECT_EQ(message.backend.text(), "192.0.2.1:143");
  EXPECT_EQ(message.failure.took.count(), 30);
  EXPECT_EQ(message.failure.since_success.count(), 1030);
  EXPECT_EQ(message.failure.patience.count(), 30000);
  EXPECT_EQ(message.failure.text, "a\tb");
  const auto worked = parse_child_message("backend-worked\t2001:db8::1\t993");
  ASSERT_NE(read<BackendWorkedMessage>(worked), nullptr);
  EXPECT_EQ(read<BackendWorkedMessage>(worked)->backend.text(), "[2001:db8::1]:993");
  const auto probe = parse_child_message("backend-probe\t7\t192.0.2.1\t143");
  ASSERT_NE(read<BackendProbeMessage>(probe), nullptr);
  EXPECT_EQ(read<BackendProbeMessage>(probe)->id, 7U);
  const auto slow = parse_child_message("backend-slow\t192.0.2.1\t143\t9");
  ASSERT_NE(read<BackendSlowMessage>(slow), nullptr);
  EXPECT_EQ(read<BackendSlowMessage>(slow)->count, 9U);
}

TEST(ChildMessage, OneWrongFieldFailsThePacket) {
  for (const char* packet : {"backend-failed",
                             "backend-failed\t192.0.2.1\t143\t30\t1030",
                             "backend-failed\t192.0.2.1\t143\t86400001\t1\t1\tx",
                             "backend-failed\t192.0.2.1\t143\t1\t-1\t1\tx",
                             "backend-failed\t192.0.2.1\t143\t1\t1\t1\tx\ty",
                             "backend-failed\thost\t143\t1\t1\t1\tx",
                             "backend-worked",
                             "backend-worked\t192.0.2.1",
                             "backend-worked\t192.0.2.1\t0",
                             "backend-worked\t192.0.2.1\t65536",
                             "backend-worked\t192.0.2\t143",
                             "backend-worked\t192.0.2.1\t143\t1",
                             "backend-probe\t192.0.2.1\t143",
                             "backend-probe\t-1\t192.0.2.1\t143",
                             "backend-slow\t192.0.2.1\t143",
                             "backend-slow\t192.0.2.1\t143\t1000000001",
                             "",
                             "hello",
                             "ready\t",
                             "READY",
                             "status",
                             "status\t1\t2",
                             "status\t1\t2\t3\t4",
                             "status\t1\t2\t3\t4\tx",
                             "status\t1\t2\t3\t4\tx\ty",
                             "status\t1\t2\t3\t4\tx\t5\t6",
                             "status\t-1\t0\t0",
                             "status\t1\t\t0",
                             "status\t1000000001\t0\t0",
                             "connect\t1",
                             "connect\t1\t",
                             "connect\t1\t../../etc/x",
                             "connect\t1\tA",
                             "connect\tx\tauth",
                             "connect\t18446744073709551616\tauth",
                             "row",
                             "row\t1\tnovalue",
                             "row\t1\t=x",
                             "row\t\ta=b",
                             "done\t1",
                             "done\t1\t256",
                             "done\t1\t0\ttext\tmore",
                             "forked\t1",
                             "forked\t1\t2147483648",
                             "forked\t1\t-5"}) {
    SCOPED_TRACE(packet);
    EXPECT_FALSE(parse_child_message(packet).ok());
  }
}

TEST(ChildMessage, BoundsTheFieldsOfARow) {
  std::string packet = "row\t1";
  for (std::size_t i = 0; i < kMaxRowFields; ++i) packet += "\ta=b";
  EXPECT_TRUE(parse_child_message(packet).ok());
  EXPECT_FALSE(parse_child_message(packet + "\ta=b").ok());
}

}  // namespace
}  // namespace postern::master
