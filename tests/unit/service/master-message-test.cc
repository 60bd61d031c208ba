#include "service/master-message.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <cerrno>

namespace postern::service {
namespace {

UniqueFd some_fd() {
  return UniqueFd(open("/dev/null", O_RDONLY | O_CLOEXEC));
}

bool parses(std::string_view packet, bool with_fd = false) {
  return parse_master_message(packet, with_fd ? some_fd() : UniqueFd()).ok();
}

TEST(MasterMessage, ReadsEveryVerb) {
  auto connected = parse_master_message("connected\t7", some_fd());
  ASSERT_TRUE(connected.ok());
  EXPECT_TRUE(std::get<ConnectedMessage>(connected.value()).fd);
  EXPECT_EQ(std::get<ConnectedMessage>(connected.value()).id, 7U);
  auto failed = parse_master_message("connected\t7\tno\001tsuch", {});
  EXPECT_EQ(std::get<ConnectedMessage>(failed.value()).text, "no\tsuch");
  auto call = parse_master_message("call\t1\tkick\tuser=a\001nb\t", {});
  EXPECT_EQ(std::get<CallMessage>(call.value()).verb, "kick");
  EXPECT_EQ(std::get<CallMessage>(call.value()).arguments,
            (std::vector<std::string>{"user=a\nb", ""}));
  EXPECT_TRUE(std::holds_alternative<DrainMessage>(parse_master_message("drain", {}).value()));
  EXPECT_TRUE(std::holds_alternative<StopMessage>(parse_master_message("stop", {}).value()));
  EXPECT_EQ(std::get<EvictMessage>(parse_master_message("evict\t3", {}).value()).count, 3U);
  auto fork = parse_master_message("fork\t9", some_fd());
  EXPECT_EQ(std::get<ForkMessage>(fork.value()).id, 9U);
  auto other = parse_master_message("pipe\timap-login", some_fd());
  EXPECT_EQ(std::get<OtherMessage>(other.value()).verb, "pipe");
  EXPECT_EQ(std::get<OtherMessage>(other.value()).fields, std::vector<std::string>{"imap-login"});
}

TEST(MasterMessage, RefusesWrongFieldsAndStrayDescriptors) {
  for (const char* packet :
       {"", "connected", "connected\tx", "connected\t1\ta\tb", "connected\t-1", "call\t1",
        "call\t1\t", "call\tx\tkick", "drain\tnow", "stop\t1", "evict", "evict\t", "evict\t1\t2",
        "evict\t-1", "evict\t99999999999999", "fork\t1", "fork"}) {
    SCOPED_TRACE(packet);
    EXPECT_FALSE(parses(packet));
  }
  for (const char* packet : {"drain", "stop", "evict\t1", "call\t1\tkick", "connected\t1\ttext",
                             "fork", "fork\t1\t2", "fork\tx"}) {
    SCOPED_TRACE(packet);
    EXPECT_FALSE(parses(packet, true));
  }
  EXPECT_EQ(parse_master_message("evict", {}).error().code, EPROTO);
}

}  // namespace
}  // namespace postern::service
