#include "wire/proxy-hosts.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace postern::wire {
namespace {

std::vector<HostSpec> parsed(std::string_view text) {
  auto got = parse_host_list(text);
  EXPECT_TRUE(got.ok()) << text;
  return got.ok() ? got.value() : std::vector<HostSpec>{};
}

TEST(HostList, ReadsNamesAddressesPortsAndWeights) {
  const auto ip = [](const char* text) { return IpAddress::parse(text); };
  EXPECT_EQ(parsed("mail.test"), (std::vector<HostSpec>{{"mail.test", {}, 0, 1}}));
  EXPECT_EQ(parsed("192.0.2.1"), (std::vector<HostSpec>{{"192.0.2.1", ip("192.0.2.1"), 0, 1}}));
  EXPECT_EQ(parsed("2001:db8::1"),
            (std::vector<HostSpec>{{"2001:db8::1", ip("2001:db8::1"), 0, 1}}));
  EXPECT_EQ(parsed("h1, h2:143 ,h3*3,[::1]:993*2,[2001:db8::1],192.0.2.1:1"),
            (std::vector<HostSpec>{{"h1", {}, 0, 1},
                                   {"h2", {}, 143, 1},
                                   {"h3", {}, 0, 3},
                                   {"::1", ip("::1"), 993, 2},
                                   {"2001:db8::1", ip("2001:db8::1"), 0, 1},
                                   {"192.0.2.1", ip("192.0.2.1"), 1, 1}}));
}

TEST(HostList, AnEntryThatComesTwiceCountsOnce) {
  EXPECT_EQ(parsed("h1,H1,h1*5,h1:143").size(), 2U);
  EXPECT_EQ(parsed("::1,[0::1]").size(), 2U) << "another name for the certificate";
}

TEST(HostList, OneWrongEntrySpoilsTheList_T_DAT_10) {
  for (const char* text :
       {"",         ",",       "a,",     ",a",    "a,,b",     "a b",     "a\rb",
        "a\n",      "a/b",     "../a",   "a:",    "a:0",      "a:65536", "a:1x",
        "a:+1",     "a*",      "a*0",    "a*101", "a*1*2",    "*2",      ":143",
        "[::1",     "[::1]x",  "[::1]:", "[]",    "[]:1",     "[a]",     "[192.0.2.1]",
        "::1:143x", "[::1]:0", "1.2.3",  "a\x80", "a,b:143:1"}) {
    SCOPED_TRACE(text);
    // Three numbers are no address, but a name that DNS may know.
    EXPECT_EQ(parse_host_list(text).ok(), std::string_view(text) == "1.2.3");
  }
  EXPECT_FALSE(parse_host_list(std::string_view("a\0", 2)).ok());
  EXPECT_FALSE(parse_host_list(std::string(254, 'a')).ok());
  EXPECT_FALSE(parse_host_list(std::string(kMaxHostText + 1, ',')).ok());
}

TEST(HostList, IsBounded_T_DAT_10) {
  std::string text = "h0";
  for (std::size_t i = 1; i < kMaxProxyHosts; i++) text += ",h" + std::to_string(i);
  EXPECT_EQ(parsed(text).size(), kMaxProxyHosts);
  EXPECT_FALSE(parse_host_list(text + ",more").ok());
}

TEST(ProxyHosts, WhatIsWrittenIsRead) {
  const std::vector<ProxyHost> hosts{
      {"a.test", 0, {*IpAddress::parse("192.0.2.1"), *IpAddress::parse("2001:db8::1")}},
      {"2001:db8::2", 1143, {*IpAddress::parse("2001:db8::2")}}};
  const std::string text = proxy_hosts_text(hosts);
  EXPECT_EQ(text, "a.test 0 192.0.2.1,2001:db8::1;2001:db8::2 1143 2001:db8::2");
  const auto got = parse_proxy_hosts(text);
  ASSERT_TRUE(got.ok());
  EXPECT_EQ(got.value(), hosts);
  // Cut anywhere it is an error or a shorter list, never something else.
  for (std::size_t cut = 0; cut < text.size(); cut++) {
    SCOPED_TRACE(cut);
    const auto part = parse_proxy_hosts(text.substr(0, cut));
    if (part.ok()) {
      EXPECT_EQ(part.value().at(0).name, "a.test");
    }
  }
}

TEST(ProxyHosts, IsStrictAndBounded_T_DAT_10) {
  for (const char* text :
       {"", ";", "a", "a 1", "a 1 ", "a 1 192.0.2.1;", "a 65536 192.0.2.1", "a -1 192.0.2.1",
        "a 1 192.0.2.1 ", " 1 192.0.2.1", "a 1 192.0.2", "a 1 192.0.2.1,", "a  1 192.0.2.1",
        "a/b 1 192.0.2.1", "a 1 192.0.2.1;b"}) {
    SCOPED_TRACE(text);
    EXPECT_FALSE(parse_proxy_hosts(text).ok());
  }
  std::string addresses = "a 0 192.0.2.1";
  for (std::size_t i = 1; i < kMaxProxyAddresses; i++) addresses += ",192.0.2.1";
  EXPECT_TRUE(parse_proxy_hosts(addresses).ok());
  EXPECT_FALSE(parse_proxy_hosts(addresses + ",192.0.2.1").ok());
  EXPECT_FALSE(parse_proxy_hosts(addresses + ";b 0 192.0.2.1").ok());
}

}  // namespace
}  // namespace postern::wire
