#include "wire/proxy-header.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

namespace postern::wire {
namespace {

using Status = ProxyHeaderParse::Status;
using std::string_literals::operator""s;

const std::string kSignature = "\r\n\r\n\0\r\nQUIT\n"s;
const std::string kInet = "\xc0\x00\x02\x01\xc6\x33\x64\x02\x04\xd2\x00\x8f"s;

std::string with_length(const std::string& payload) {
  return std::string{static_cast<char>(payload.size() >> 8U),
                     static_cast<char>(payload.size() & 0xFFU)} +
         payload;
}

std::string v2(char command, char family, const std::string& payload) {
  return kSignature + command + family + with_length(payload);
}

std::string tlv(char type, const std::string& value) {
  return type + with_length(value);
}

std::string ssl(char client, const std::string& verify, const std::string& inner) {
  return tlv('\x20', client + verify + inner);
}

std::string proxied(const std::string& tlvs) {
  return v2('\x21', '\x11', kInet + tlvs);
}

const std::string kVerified = "\0\0\0\0"s;

ProxyHeader header_of(const std::string& bytes) {
  const ProxyHeaderParse parsed = parse_proxy_header(bytes);
  EXPECT_EQ(parsed.status, Status::done) << parsed.error;
  EXPECT_EQ(parsed.consumed, bytes.size());
  return parsed.header;
}

std::string error_of(const std::string& bytes) {
  const ProxyHeaderParse parsed = parse_proxy_header(bytes);
  EXPECT_EQ(parsed.status, Status::bad);
  EXPECT_EQ(parsed.consumed, 0U);
  EXPECT_FALSE(parsed.header.has_addresses || parsed.header.tls);
  return parsed.error;
}

/// Headers that are good, each with something of its own.
const std::vector<std::string>& good_headers() {
  static const std::vector<std::string> headers{
      "PROXY TCP4 192.0.2.1 198.51.100.2 1234 143\r\n",
      "PROXY TCP6 2001:db8::1 2001:db8::2 1234 143\r\n",
      "PROXY UNKNOWN\r\n",
      "PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n",
      proxied(""),
      proxied(tlv('\x02', "mail.example.test") +
              ssl('\x07', kVerified, tlv('\x21', "TLSv1.3") + tlv('\x22', "carol"))),
      v2('\x20', '\x11', kInet),
      v2('\x20', '\0', ""),
      v2('\x21', '\x21', std::string(36, '\x20')),
      v2('\x21', '\x01', ""),
  };
  return headers;
}

TEST(ProxyHeader, AnyPartOfAGoodHeaderAsksForMore) {
  for (const std::string& header : good_headers()) {
    for (std::size_t cut = 0; cut < header.size(); ++cut) {
      SCOPED_TRACE(cut);
      EXPECT_EQ(parse_proxy_header(header.substr(0, cut)).status, Status::need_more);
    }
    EXPECT_EQ(parse_proxy_header(header).status, Status::done);
  }
}

TEST(ProxyHeader, WhatStandsBehindItIsLeft) {
  for (const std::string& header : good_headers()) {
    for (const std::string& behind : {"a LOGIN x y\r\n"s, "\x16\x03\x01\0\0"s, header}) {
      const ProxyHeaderParse parsed = parse_proxy_header(header + behind);
      EXPECT_EQ(parsed.status, Status::done);
      EXPECT_EQ(parsed.consumed, header.size());
    }
  }
}

TEST(ProxyHeader, VersionOneNamesBothEnds) {
  const ProxyHeader v4 = header_of(good_headers()[0]);
  EXPECT_TRUE(v4.has_addresses);
  EXPECT_FALSE(v4.local || v4.tls || v4.valid_certificate);
  EXPECT_EQ(v4.source.text(), "192.0.2.1:1234");
  EXPECT_EQ(v4.destination.text(), "198.51.100.2:143");
  const ProxyHeader v6 = header_of(good_headers()[1]);
  EXPECT_EQ(v6.source.text(), "[2001:db8::1]:1234");
  EXPECT_EQ(v6.destination.text(), "[2001:db8::2]:143");
  EXPECT_FALSE(header_of(good_headers()[2]).has_addresses);
  EXPECT_FALSE(header_of(good_headers()[3]).has_addresses);
}

TEST(ProxyHeader, VersionOneIsReadStrictly) {
  const struct {
    std::string fields, error;
  } rows[] = {
      {"", "Field for proxied protocol is missing ("},
      {"UDP4 192.0.2.1 198.51.100.2 1 2", "Unknown proxied protocol (protocol=`UDP4', "},
      {"tcp4 192.0.2.1 198.51.100.2 1 2", "Unknown proxied protocol (protocol=`tcp4', "},
      {"TCP4", "Field for proxied remote address is missing ("},
      {"TCP4 ", "Proxied remote address is invalid (address=`', "},
      {"TCP4  192.0.2.1", "Proxied remote address is invalid (address=`', "},
      {"TCP4 192.0.2.1", "Field for proxied local address is missing ("},
      {"TCP4 2001:db8::1 ::1 1 2", "Proxied remote address is invalid (address=`2001:db8::1', "},
      {"TCP6 192.0.2.1 ::1 1 2", "Proxied remote address is invalid (address=`192.0.2.1', "},
      {"TCP4 192.0.2.1 198.51.100 1 2", "Proxied local address is invalid (address=`198.51.100', "},
      {"TCP4 192.0.2.1 198.51.100.2", "Field for proxied local port is missing ("},
      {"TCP4 192.0.2.1 198.51.100.2 1", "Field for proxied local port is missing ("},
      {"TCP4 192.0.2.1 198.51.100.2 99999 143", "Proxied remote port is invalid (port=`99999', "},
      {"TCP4 192.0.2.1 198.51.100.2 0 143", "Proxied remote port is invalid (port=`0', "},
      {"TCP4 192.0.2.1 198.51.100.2 1 -3", "Proxied local port is invalid (port=`-3', "},
      {"TCP4 192.0.2.1 198.51.100.2 1 2 ", "Header line has spurius extra field (field=`', "},
      {"TCP4 192.0.2.1 198.51.100.2 1 2 3", "Header line has spurius extra field (field=`3', "},
      {"TCP4 192.0.2.1 198.51.100.2 1 2\n", "Proxied local port is invalid (port=`2?', "},
      {"TCP4 192.0.2.1\r198.51.100.2 1 2",
       "Proxied remote address is invalid "
       "(address=`192.0.2.1?198.51.100.2', "},
      {"TCP4 192.0.2.1\0 198.51.100.2 1 2"s,
       "Proxied remote address is invalid (address=`192.0.2.1?', "},
  };
  for (const auto& [fields, error] : rows) {
    EXPECT_EQ(error_of("PROXY " + fields + "\r\n"), "haproxy(v1): Client disconnected: " + error);
  }
}

TEST(ProxyHeader, VersionOneEndsWithin108Bytes) {
  const std::string line = "PROXY UNKNOWN " + std::string(92, 'x');
  EXPECT_EQ(line.size() + 2, kMaxProxyHeaderV1);
  EXPECT_EQ(parse_proxy_header(line + "\r\n").consumed, kMaxProxyHeaderV1);
  EXPECT_EQ(error_of(line + "x\r\n"), "haproxy: Client disconnected: Too long header (");
  EXPECT_EQ(error_of("PROXY " + std::string(102, 'x')),
            "haproxy: Client disconnected: Too long header (");
}

TEST(ProxyHeader, WhatIsNoHeaderIsRefusedAtItsFirstWrongByte) {
  const std::string error = "haproxy: Client disconnected: Failed to read valid HAproxy data (";
  for (const std::string& bytes :
       {"a CAPABILITY\r\n"s, "\x16\x03\x01"s, "proxy TCP4"s, "PROXYTCP4"s, "\r\n\r\nQUIT"s, "\n"s,
        "\0"s, "GET / HTTP/1.1\r\n"s}) {
    EXPECT_EQ(error_of(bytes), error);
  }
}

TEST(ProxyHeader, VersionTwoNamesBothEnds) {
  const ProxyHeader v4 = header_of(proxied(""));
  EXPECT_EQ(v4.source.text(), "192.0.2.1:1234");
  EXPECT_EQ(v4.destination.text(), "198.51.100.2:143");
  const std::string one = "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"s;
  const std::string two = "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02"s;
  const ProxyHeader v6 = header_of(v2('\x21', '\x21', one + two + "\x04\xd2\x00\x8f"s));
  EXPECT_EQ(v6.source.text(), "[2001:db8::1]:1234");
  EXPECT_EQ(v6.destination.text(), "[2001:db8::2]:143");
}

TEST(ProxyHeader, LocalSaysNothingWhateverItCarries) {
  for (const std::string& payload : {""s, kInet, kInet + "\x20\xff\xff"s, "x"s}) {
    for (const char family : {'\x00', '\x11', '\x12', '\xff'}) {
      const ProxyHeader header = header_of(v2('\x20', family, payload));
      EXPECT_TRUE(header.local);
      EXPECT_FALSE(header.has_addresses || header.tls);
    }
  }
}

TEST(ProxyHeader, FamiliesWithoutAddressesKeepTheConnectionsOwn) {
  const std::string name = tlv('\x02', "mail.example.test");
  const ProxyHeader none = header_of(v2('\x21', '\x01', name));
  EXPECT_FALSE(none.has_addresses);
  EXPECT_EQ(none.authority, "mail.example.test");
  EXPECT_EQ(none.remark, "haproxy(v2): Unsupported address family (family=00, ");
  const ProxyHeader unix_socket = header_of(v2('\x21', '\x31', std::string(216, 'x') + name));
  EXPECT_FALSE(unix_socket.has_addresses);
  EXPECT_EQ(unix_socket.authority, "mail.example.test");
  EXPECT_EQ(unix_socket.remark, "haproxy(v2): Unsupported address family (family=03, ");
}

TEST(ProxyHeader, VersionTwoIsReadStrictly) {
  const std::string v = "haproxy(v2): Client disconnected: ";
  EXPECT_EQ(error_of(v2('\x11', '\x11', kInet)),
            "haproxy: Client disconnected: Unsupported protocol version (version=01, ");
  EXPECT_EQ(error_of(v2('\x22', '\x11', kInet)), v + "Invalid command (cmd=02, ");
  EXPECT_EQ(error_of(v2('\x21', '\x12', kInet)), v + "Not using TCP (type=02, ");
  EXPECT_EQ(error_of(v2('\x21', '\0', "")), v + "Not using TCP (type=00, ");
  EXPECT_EQ(error_of(v2('\x21', '\x41', kInet)), v + "Unknown address family (family=04, ");
  EXPECT_EQ(error_of(v2('\x21', '\x11', kInet.substr(1))), v + "IPv4 data is incomplete (");
  EXPECT_EQ(error_of(v2('\x21', '\x21', std::string(35, 'x'))), v + "IPv6 data is incomplete (");
  EXPECT_EQ(error_of(kSignature + "\x21\x11\x05\xcd"s),
            "haproxy: Client disconnected: Too long header (");
}

TEST(ProxyHeader, VersionTwoMayHave1500Bytes) {
  const std::string header = proxied(tlv('\xe0', std::string(1500 - 16 - 12 - 3, 'x')));
  ASSERT_EQ(header.size(), kMaxProxyHeaderV2);
  EXPECT_TRUE(header_of(header).has_addresses);
}

TEST(ProxyHeader, ATruncatedTlvIsNoHeader) {
  const std::string v = "haproxy(v2): Client disconnected: Invalid TLV: ";
  const std::string end = " failed: Truncated data (cmd=01, ";
  EXPECT_EQ(error_of(proxied("\x02\0Pabc"s)), v + "get_tlv(0)" + end);
  EXPECT_EQ(error_of(proxied("\x02"s)), v + "get_tlv(0)" + end);
  EXPECT_EQ(error_of(proxied("\x02\0"s)), v + "get_tlv(0)" + end);
  EXPECT_EQ(error_of(proxied(tlv('\xee', "abc") + "\x02\0\x02x"s)), v + "get_tlv(6)" + end);
  EXPECT_EQ(error_of(proxied(tlv('\x20', "\x01\0\0\0"s))), v + "get_ssl_tlv(0)" + end);
  EXPECT_EQ(error_of(proxied(ssl('\x01', kVerified, "\x22\0\x09x"s))), v + "get_ssl_tlv(0)" + end);
  EXPECT_EQ(error_of(proxied(ssl('\x01', kVerified, tlv('\x21', "TLSv1.3") + "\x22"s))),
            v + "get_ssl_tlv(10)" + end);
}

TEST(ProxyHeader, UnknownTlvsAreSkipped) {
  std::string tlvs;
  for (int type = 0x30; type < 0x100; ++type) tlvs += tlv(static_cast<char>(type), "x");
  const ProxyHeader header = header_of(proxied(tlvs + tlv('\x02', "mail") + tlv('\x01', "imap")));
  EXPECT_EQ(header.authority, "mail");
  EXPECT_EQ(header.alpn, "imap");
  EXPECT_FALSE(header.tls);
}

TEST(ProxyHeader, LongNamesAreCut) {
  const ProxyHeader header =
      header_of(proxied(tlv('\x02', std::string(300, 'x')) + tlv('\x01', std::string(300, 'y'))));
  EXPECT_EQ(header.authority.size(), 255U);
  EXPECT_EQ(header.alpn.size(), 255U);
}

TEST(ProxyHeader, TheBalancersTlsIsTold) {
  EXPECT_TRUE(header_of(proxied(ssl('\x01', kVerified, ""))).tls);
  EXPECT_FALSE(header_of(proxied(ssl('\x00', kVerified, ""))).tls);
  EXPECT_FALSE(header_of(proxied(ssl('\x06', kVerified, tlv('\x22', "x")))).valid_certificate);
}

TEST(ProxyHeader, ANameCountsOnlyFromACertificateThatWasVerified) {
  const std::string name = tlv('\x22', "carol");
  for (const char client : {'\x03', '\x05', '\x07'}) {
    const ProxyHeader header = header_of(proxied(ssl(client, kVerified, name)));
    EXPECT_TRUE(header.valid_certificate);
    EXPECT_EQ(header.common_name, "carol");
  }
  const std::string none = "no certificate was shown";
  EXPECT_FALSE(header_of(proxied(ssl('\x01', kVerified, name))).valid_certificate) << none;
  EXPECT_EQ(header_of(proxied(ssl('\x01', kVerified, name))).common_name, "") << none;
  for (const std::string& verify : {"\0\0\0\x01"s, "\x01\0\0\0"s, "\xff\xff\xff\xff"s}) {
    const ProxyHeader header = header_of(proxied(ssl('\x07', verify, name)));
    EXPECT_TRUE(header.tls);
    EXPECT_FALSE(header.valid_certificate);
    EXPECT_EQ(header.common_name, "");
  }
}

TEST(ProxyHeader, WhatIsWrittenIsReadAgain) {
  const Endpoint v4{*IpAddress::parse("192.0.2.1"), 1234};
  const Endpoint v6{*IpAddress::parse("2001:db8::1"), 65535};
  for (const auto& [source, destination] : {std::pair{v4, v4}, {v6, v6}, {v4, v6}, {v6, v4}}) {
    for (const unsigned version : {1U, 2U}) {
      ProxyHeader header;
      header.source = source;
      header.destination = destination;
      header.tls = true;
      header.authority = "mail.example.test";
      const ProxyHeader read = header_of(write_proxy_header(version, header, "abc"));
      EXPECT_EQ(read.source, source);
      EXPECT_EQ(read.destination, destination);
      EXPECT_EQ(read.tls, version == 2);
      EXPECT_EQ(read.authority, version == 2 ? header.authority : "");
      EXPECT_FALSE(read.valid_certificate);
    }
  }
}

TEST(ProxyHeader, IsWrittenAsTheDocumentHasIt) {
  ProxyHeader header;
  EXPECT_EQ(write_proxy_header(1, header, "abc"), "PROXY UNKNOWN\r\n");
  EXPECT_EQ(write_proxy_header(2, header, "abc"), v2('\x20', '\0', ""));
  header.source = {*IpAddress::parse("192.0.2.1"), 1234};
  header.destination = {*IpAddress::parse("198.51.100.2"), 143};
  EXPECT_EQ(write_proxy_header(1, header, "abc"), "PROXY TCP4 192.0.2.1 198.51.100.2 1234 143\r\n");
  EXPECT_EQ(write_proxy_header(2, header, ""), proxied(""));
  EXPECT_EQ(write_proxy_header(2, header, "abc"), proxied(tlv('\x05', "abc")));
  header.tls = true;
  EXPECT_EQ(write_proxy_header(2, header, ""), proxied(ssl('\x01', "\0\0\0\1"s, "")));
  header.source.ip = *IpAddress::parse("2001:db8::1");
  EXPECT_EQ(write_proxy_header(1, header, ""),
            "PROXY TCP6 2001:db8::1 ::ffff:198.51.100.2 1234 143\r\n");
}

}  // namespace
}  // namespace postern::wire
