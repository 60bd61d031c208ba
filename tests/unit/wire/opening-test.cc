#include "wire/opening.h"

#include <gtest/gtest.h>

#include <string>

namespace postern::wire {
namespace {

using namespace std::string_literals;
using Kind = Opening::Kind;

/// What is made of `bytes`, whole, in two pieces wherever cut, and one by one: always the same.
Kind kind_of(const std::string& bytes) {
  Opening whole;
  const Kind kind = whole.add(bytes);
  for (std::size_t cut = 0; cut <= bytes.size(); ++cut) {
    Opening two;
    two.add(bytes.substr(0, cut));
    EXPECT_EQ(two.add(bytes.substr(cut)), kind) << bytes << " cut at " << cut;
  }
  Opening one_by_one;
  for (const char c : bytes) one_by_one.add(std::string(1, c));
  EXPECT_EQ(one_by_one.kind(), kind) << bytes;
  return kind;
}

TEST(Opening, AProxyHeaderIsKnownHoweverItIsCut_T_NET_14) {
  for (const std::string& header :
       {"PROXY TCP4 192.0.2.1 192.0.2.2 1 143\r\n"s, "PROXY TCP6 ::1 ::1 1 143\r\n"s,
        "PROXY UNKNOWN\r\n"s, "PROXY UNKNOWN x\r\n"s, "\r\n\r\n\0\r\nQUIT\n!\x11\0\x0c"s}) {
    EXPECT_EQ(kind_of(header), Kind::proxy_header);
  }
}

TEST(Opening, TlsAndRubbishAreKnownByTheirFirstByte_T_NET_17) {
  EXPECT_EQ(kind_of("\x16\x03\x01\x02"), Kind::tls);
  for (const std::string& bytes : {"\0"s, "\x01 LOGIN"s, "\x7f"s, "\x80.\x01"s, "\xef\xbb\xbf"s}) {
    EXPECT_EQ(kind_of(bytes), Kind::binary);
  }
}

TEST(Opening, ClientsArePassedOn) {
  for (const std::string& bytes :
       {"a LOGIN u p\r\n"s, "PROXY NOOP\r\n"s, "PROXY UNKNOWNS\r\n"s, "PROXY TCP5 "s,
        "\r\n\r\n\r\n"s, "\r\n\r\nQUIT\r\n"s, "\r\nQUIT\r\n"s, "\nQUIT"s, "\tx"s, "\xff\xfb\x1f"s,
        "CAPA\r\n"s, "a \x16\x03\x01\r\n"s, "GET / HTTP/1.1\r\n"s}) {
    EXPECT_EQ(kind_of(bytes), Kind::client);
  }
  for (const std::string& bytes :
       {""s, "P"s, "PROXY"s, "PROXY TCP4"s, "PROXY UNKNOWN"s, "\r\n"s, "\r\n\r\n"s}) {
    EXPECT_EQ(kind_of(bytes), Kind::undecided);
  }
}

TEST(Opening, OnlyTheFirstBytesCount) {
  Opening opening;
  EXPECT_EQ(opening.add("NOOP\r\n"), Kind::client);
  EXPECT_EQ(opening.add("PROXY TCP4 "), Kind::client);
  EXPECT_EQ(opening.add("\x16\x03"), Kind::client);
}

TEST(ForeignCommand, BrowsersAreKnownEverywhereAndMailServersWhereSmtpIsNotSpoken) {
  for (const char* word : {"GET", "get", "POST", "HEAD", "OPTIONS", "CONNECT", "PRI"}) {
    EXPECT_TRUE(is_foreign_command(word, true)) << word;
    EXPECT_TRUE(is_foreign_command(word, false)) << word;
  }
  for (const char* word : {"HELO", "ehlo", "LHLO"}) {
    EXPECT_FALSE(is_foreign_command(word, true)) << word;
    EXPECT_TRUE(is_foreign_command(word, false)) << word;
  }
  for (const char* word : {"", "G", "GETS", "GET ", "PUT", "PUTSCRIPT", "DELE", "a1", "CAPA"}) {
    EXPECT_FALSE(is_foreign_command(word, false)) << word;
  }
}

}  // namespace
}  // namespace postern::wire
