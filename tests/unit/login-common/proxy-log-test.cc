#include "login-common/proxy-log.h"

#include <gtest/gtest.h>

namespace postern::login {
namespace {

const IpAddress kIp = *IpAddress::parse("127.0.0.1");

TEST(ProxyLog, PrefixNamesUserAndBackend) {
  EXPECT_EQ(proxy_prefix("joe", {kIp, 23501}), "proxy(joe,127.0.0.1:23501): ");
  EXPECT_EQ(proxy_prefix("joe", {*IpAddress::parse("::1"), 143}), "proxy(joe,::1:143): ");
  EXPECT_EQ(proxy_prefix("j\noe"), "proxy(j?oe): ");
}

// transcripts proxy-imap-dovecot-login, -host-name, -source-ip, -login-unavailable-then-ok
TEST(ProxyLog, StartedLinesAreDovecots) {
  StartedFacts facts;
  facts.host = "127.0.0.1";
  facts.ip = kIp;
  facts.user = facts.dest_user = "joe";
  EXPECT_EQ(started_text(facts, 16, 0), "Started proxying to <127.0.0.1> (0.016 secs)");
  EXPECT_EQ(started_text(facts, 1002, 1),
            "Started proxying to <127.0.0.1> (1.002 secs, 1 reconnects)");
  facts.host = "localhost";
  EXPECT_EQ(started_text(facts, 0, 0),
            "Started proxying to <127.0.0.1> (<localhost>) (0.000 secs)");
  facts.host = "127.0.0.1";
  facts.source = *IpAddress::parse("127.0.0.3");
  facts.dest_user = "bobby";
  facts.master = "boss";
  EXPECT_EQ(started_text(facts, 0, 0),
            "Started proxying to <127.0.0.1> from 127.0.0.3 as user bobby (master boss) (0.000 "
            "secs)");
}

// transcripts proxy-relay-backpressure, -backpressure-up
TEST(ProxyLog, TransferTextMarksWhatIsBlocked) {
  TransferFacts facts;
  facts.in = 212;
  facts.out = 251;
  EXPECT_EQ(transfer_text(facts), "0s idle, in=212, out=251");
  facts.idle_seconds = 2;
  facts.out = 4040966;
  facts.buffered = 4096;
  facts.client_blocked = true;
  EXPECT_EQ(transfer_text(facts), "2s idle, in=212, out=4040966+4096, client output blocked");
  facts.buffered = 0;
  facts.client_blocked = false;
  facts.server_blocked = true;
  EXPECT_EQ(transfer_text(facts), "2s idle, in=212, out=4040966, server output blocked");
}

TEST(ProxyLog, LineFormatIsTheSetting) {
  config::LoginSettings settings;
  EXPECT_EQ(session_line(settings, "Hello", "user=<joe>"), "Hello: user=<joe>");
  settings.login_log_format = "[%s] %$.";
  EXPECT_EQ(session_line(settings, "Hello", "user=<joe>"), "[user=<joe>] Hello.");
  settings.login_log_format = "%$: %s";
  EXPECT_EQ(session_line(settings, "Hello", "x"), "Hello: x");
}

}  // namespace
}  // namespace postern::login
