#include "lib/ip.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/un.h>

#include <cstring>

namespace postern {
namespace {

IpAddress ip(std::string_view text) {
  const auto parsed = IpAddress::parse(text);
  EXPECT_TRUE(parsed) << text;
  return parsed.value_or(IpAddress{});
}

TEST(IpAddress, PrintsItsCanonicalText) {
  EXPECT_EQ(ip("192.0.2.1").text(), "192.0.2.1");
  EXPECT_EQ(ip("2001:DB8:0:0:0:0:0:1").text(), "2001:db8::1");
  EXPECT_EQ(ip("::").text(), "::");
  EXPECT_EQ(IpAddress().text(), "");
  EXPECT_FALSE(IpAddress());
  EXPECT_EQ(ip("192.0.2.1").bytes().size(), 4U);
  EXPECT_EQ(ip("::1").bytes().size(), 16U);
}

TEST(IpAddress, RefusesEverythingElse) {
  for (const char* bad :
       {"", "1.2.3", "1.2.3.4.5", "256.1.1.1", "01.2.3.4x", " 1.2.3.4", "1.2.3.4 ", "localhost",
        "[::1]", "fe80::1%lo", "::1::", "1:2:3:4:5:6:7:8:9", "g::"}) {
    EXPECT_FALSE(IpAddress::parse(bad)) << bad;
  }
  EXPECT_FALSE(IpAddress::parse(std::string_view("1.2.3.4\0x", 9)))
      << "what follows a NUL is not passed over";
  EXPECT_FALSE(IpAddress::parse(std::string(1000, '1')));
}

TEST(IpAddress, HoldsMappedAddressesAsIpv4) {
  EXPECT_TRUE(ip("::ffff:192.0.2.1").is_v4());
  EXPECT_EQ(ip("::ffff:192.0.2.1"), ip("192.0.2.1"));
  EXPECT_NE(ip("::192.0.2.1"), ip("192.0.2.1"));
}

TEST(Endpoint, GoesToTheSystemAndBack) {
  for (const char* text : {"192.0.2.1", "2001:db8::1"}) {
    const Endpoint out{ip(text), 143};
    sockaddr_storage address{};
    const socklen_t size = out.to_sockaddr(address);
    EXPECT_EQ(size, out.ip.is_v4() ? sizeof(sockaddr_in) : sizeof(sockaddr_in6));
    EXPECT_EQ(Endpoint::from_sockaddr(address), out);
  }
  sockaddr_storage unix_address{};
  unix_address.ss_family = AF_UNIX;
  EXPECT_FALSE(Endpoint::from_sockaddr(unix_address).ip);
}

TEST(Endpoint, PutsIpv6InBrackets) {
  EXPECT_EQ((Endpoint{ip("192.0.2.1"), 143}).text(), "192.0.2.1:143");
  EXPECT_EQ((Endpoint{ip("2001:db8::1"), 993}).text(), "[2001:db8::1]:993");
}

TEST(Network, ContainsWhatSharesItsBits) {
  const auto contains = [](const char* network, const char* address) {
    const auto parsed = Network::parse(network);
    EXPECT_TRUE(parsed) << network;
    return parsed && parsed->contains(ip(address));
  };
  EXPECT_TRUE(contains("10.0.0.0/8", "10.255.0.1"));
  EXPECT_FALSE(contains("10.0.0.0/8", "11.0.0.0"));
  EXPECT_TRUE(contains("192.0.2.128/25", "192.0.2.255"));
  EXPECT_FALSE(contains("192.0.2.128/25", "192.0.2.127"));
  EXPECT_TRUE(contains("192.0.2.130/25", "192.0.2.129")) << "host bits do not matter";
  EXPECT_TRUE(contains("0.0.0.0/0", "203.0.113.9"));
  EXPECT_FALSE(contains("0.0.0.0/0", "::1")) << "families do not mix";
  EXPECT_FALSE(contains("::/0", "192.0.2.1"));
  EXPECT_TRUE(contains("2001:db8::/33", "2001:db8:7fff::1"));
  EXPECT_FALSE(contains("2001:db8::/33", "2001:db8:8000::1"));
  EXPECT_TRUE(contains("192.0.2.1", "192.0.2.1"));
  EXPECT_FALSE(contains("192.0.2.1", "192.0.2.0"));
  EXPECT_FALSE(Network::parse("10.0.0.0/8")->contains(IpAddress()));
}

TEST(Network, RefusesBadPrefixes) {
  for (const char* bad : {"", "/8", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/8/8",
                          "::/129", "10.0.0.0/0x8", "10.0.0.0/ 8", "host/8"}) {
    EXPECT_FALSE(Network::parse(bad)) << bad;
  }
  EXPECT_EQ(Network::parse("::1")->text(), "::1/128");
}

TEST(Networks, AnyIsEnough) {
  const std::vector<Network> list{*Network::parse("10.0.0.0/8"), *Network::parse("::1")};
  EXPECT_TRUE(any_contains(list, ip("::1")));
  EXPECT_FALSE(any_contains(list, ip("::2")));
  EXPECT_FALSE(any_contains({}, ip("::1")));
}

}  // namespace
}  // namespace postern
