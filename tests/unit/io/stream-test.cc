#include "io/stream.h"

#include <gtest/gtest.h>

#include <cerrno>

#include "stream-fixture.h"

namespace postern::io::test {
namespace {

using PlainStream = StreamTest;
using TlsStream = StreamTest;

TEST_F(PlainStream, PassesBytesBothWaysAndTheEnd) {
  server.stream.want(true, false);
  EXPECT_EQ(client.stream.write("hello").bytes, 5U);
  ASSERT_TRUE(run_until([this] { return server.received == "hello"; }));
  client.stream.shutdown_write();
  ASSERT_TRUE(run_until([this] { return server.last == IoStatus::closed; }));
  // Half-closed: the other direction goes on.
  client.stream.want(true, false);
  EXPECT_EQ(server.stream.write("bye").status, IoStatus::ok);
  ASSERT_TRUE(run_until([this] { return client.received == "bye"; }));
}

TEST_F(PlainStream, PeekLeavesTheBytes) {
  client.stream.write("PROXY");
  char room[16];
  EXPECT_EQ(server.stream.peek(room, sizeof room).bytes, 5U);
  EXPECT_EQ(server.stream.read(room, sizeof room).bytes, 5U);
  EXPECT_EQ(server.stream.read(room, sizeof room).status, IoStatus::again);
}

TEST_F(PlainStream, FullSocketIsAgainAndThenWritable) {
  const std::string block(65536, 'x');
  IoResult result;
  do {
    result = client.stream.write(block);
  } while (result.status == IoStatus::ok);
  EXPECT_EQ(result.status, IoStatus::again);
  client.stream.want(false, true);
  for (int i = 0; i < 5; i++) loop.run_once(false);
  EXPECT_FALSE(client.saw(Stream::kWritable));
  server.read_at_once = 1 << 20;
  server.stream.want(true, false);
  EXPECT_TRUE(run_until([this] { return client.saw(Stream::kWritable); }));
}

TEST_F(PlainStream, BrokenConnectionHasTheSystemsWords) {
  server.stream.close();
  EXPECT_EQ(client.stream.write("x").status, IoStatus::error);
  EXPECT_EQ(client.stream.error(), "Broken pipe");
  EXPECT_EQ(client.stream.error_code(), EPIPE);
}

TEST_F(PlainStream, TellsTheHangUpWhileNothingIsRead) {
  client.stream.write("unread");
  server.stream.want(false, false);
  server.stream.want_hang_up(true);
  for (int i = 0; i < 5; i++) loop.run_once(false);
  EXPECT_EQ(server.events, 0U);
  client.stream.close();
  EXPECT_TRUE(run_until([this] { return server.saw(Stream::kHungUp); }));
  EXPECT_FALSE(server.saw(Stream::kReadable));
}

TEST_F(PlainStream, ReleaseGivesTheSocketAway) {
  server.stream.want(true, false);
  loop.run_once(false);
  const UniqueFd fd = server.stream.release();
  EXPECT_FALSE(server.stream.is_open());
  client.stream.write("x");
  for (int i = 0; i < 3; i++) loop.run_once(false);
  EXPECT_EQ(server.events, 0U);
  char c = 0;
  EXPECT_EQ(recv(fd.get(), &c, 1, 0), 1);
}

TEST_F(TlsStream, CarriesBytesOnceTheCertificateIsVerified) {
  const Site site;
  shake_hands(server_context(site), client_context(site.ca));
  ASSERT_TRUE(client.saw(Stream::kTlsStarted)) << client.stream.error();
  ASSERT_TRUE(server.saw(Stream::kTlsStarted)) << server.stream.error();
  const TlsInfo info = server.stream.tls_info();
  EXPECT_EQ(info.protocol, "TLSv1.3");
  EXPECT_EQ(info.text(), "TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits)");
  EXPECT_EQ(info.server_name, "localhost");
  EXPECT_FALSE(info.key_exchange.empty());
  server.stream.want(true, false);
  client.stream.want(true, false);
  EXPECT_EQ(client.stream.write("a LOGIN u p\r\n").status, IoStatus::ok);
  ASSERT_TRUE(run_until([this] { return server.received == "a LOGIN u p\r\n"; }));
  server.stream.write("a OK\r\n");
  ASSERT_TRUE(run_until([this] { return client.received == "a OK\r\n"; }));
}

TEST_F(TlsStream, BytesThatOpenSslHoldsAreToldWithoutTheSocket) {
  const Site site;
  shake_hands(server_context(site), client_context(site.ca));
  // Many small records in one segment; the owner takes three bytes a time and never loops.
  server.read_at_once = 3;
  std::string sent;
  for (int i = 0; i < 200; i++) {
    const std::string line = "line " + std::to_string(i) + "\r\n";
    sent += line;
    ASSERT_EQ(client.stream.write(line).bytes, line.size());
  }
  server.stream.want(true, false);
  EXPECT_TRUE(run_until([&] { return server.received == sent; }));
}

TEST_F(TlsStream, BytesBehindTheHandshakeWaitForTheOwner) {
  const Site site;
  // The client's first words travel with its last handshake message.
  server.stream.start_tls_server(server_context(site), {});
  client.stream.start_tls_client(client_context(site.ca),
                                 {"localhost", Verify::chain_and_name, {}});
  server.reads = false;
  server.stream.want(true, false);
  ASSERT_TRUE(run_until([this] { return client.saw(Stream::kTlsStarted); }));
  client.stream.write("early");
  ASSERT_TRUE(run_until([this] { return server.saw(Stream::kReadable); }));
  // Not taken: told again, then not while it is not wanted, then again.
  server.stream.want(false, false);
  loop.run_once(false);
  const unsigned before = server.readable;
  for (int i = 0; i < 5; i++) loop.run_once(false);
  EXPECT_EQ(server.readable, before);
  server.reads = true;
  server.stream.want(true, false);
  EXPECT_TRUE(run_until([this] { return server.received == "early"; }));
}

TEST_F(TlsStream, HalfARecordDoesNotSpin) {
  const Site site;
  shake_hands(server_context(site), client_context(site.ca));
  server.stream.want(true, false);
  // A record's head and a part of its body, as a slow network delivers it.
  const char head[] = "\x17\x03\x03\x00\x40half";
  ASSERT_EQ(send(client.stream.fd(), head, sizeof head - 1, 0),
            static_cast<ssize_t>(sizeof head - 1));
  for (int i = 0; i < 10; i++) loop.run_once(false);
  const unsigned told = server.readable;
  for (int i = 0; i < 50; i++) loop.run_once(false);
  EXPECT_EQ(server.readable, told);
  EXPECT_EQ(server.last, IoStatus::again);
}

TEST_F(TlsStream, PartialWritesGoOnWhereTheyStopped) {
  const Site site;
  shake_hands(server_context(site), client_context(site.ca));
  std::string all;
  for (int i = 0; i < 60'000; i++) all += std::to_string(i) + ' ';
  std::size_t done = 0;
  bool was_full = false;
  server.read_at_once = 10'000;
  for (int i = 0; i < 100'000 && server.received.size() < all.size(); i++) {
    if (done < all.size()) {
      // A copy at another address each time, as buffers move.
      const std::string rest = all.substr(done);
      const IoResult result = client.stream.write(rest);
      ASSERT_NE(result.status, IoStatus::error);
      was_full = was_full || result.status == IoStatus::again;
      done += result.bytes;
      if (result.status == IoStatus::again) server.stream.want(true, false);
    }
    if (done == all.size()) server.stream.want(true, false);
    loop.run_once(false);
  }
  EXPECT_TRUE(was_full);
  EXPECT_EQ(server.received, all);
}

TEST_F(TlsStream, CloseNotifyAndBareEofAreBothTheEnd) {
  const Site site;
  for (const bool polite : {true, false}) {
    SCOPED_TRACE(polite);
    shake_hands(server_context(site), client_context(site.ca));
    server.stream.want(true, false);
    if (polite) {
      client.stream.shutdown_write();
    } else {
      ::shutdown(client.stream.fd(), SHUT_WR);
    }
    EXPECT_TRUE(run_until([this] { return server.last == IoStatus::closed; }));
    // The polite one may still be answered.
    if (polite) {
      client.stream.want(true, false);
      EXPECT_EQ(server.stream.write("BYE").status, IoStatus::ok);
      EXPECT_TRUE(run_until([this] { return client.received == "BYE"; }));
    }
    server.last = IoStatus::again;
    reconnect();
  }
}

TEST_F(TlsStream, GarbageForAHelloIsNamedAsDovecotDoes) {
  const Site site;
  server.stream.start_tls_server(server_context(site), {});
  client.stream.write("a LOGIN user password\r\n");
  ASSERT_TRUE(run_until([this] { return server.saw(Stream::kTlsFailed); }));
  EXPECT_EQ(server.stream.error(),
            "SSL_accept() failed: error:0A00010B:SSL routines::wrong version number");
  EXPECT_EQ(server.stream.error_code(), EPROTO);
  char c = 0;
  EXPECT_EQ(server.stream.read(&c, 1).status, IoStatus::error);
  EXPECT_EQ(server.stream.write("x").status, IoStatus::error);
}

TEST_F(TlsStream, HttpForAHelloIsNamed) {
  const Site site;
  server.stream.start_tls_server(server_context(site), {});
  client.stream.write("GET / HTTP/1.0\r\n\r\n");
  ASSERT_TRUE(run_until([this] { return server.saw(Stream::kTlsFailed); }));
  EXPECT_EQ(server.stream.error(),
            "SSL_accept() failed: error:0A00009C:SSL routines::http request");
}

TEST_F(TlsStream, PlainServerIsNamedToTheClient) {
  client.stream.start_tls_client(client_context(nullptr), {"localhost", Verify::none, {}});
  server.stream.write("* OK IMAP ready\r\n");
  ASSERT_TRUE(run_until([this] { return client.saw(Stream::kTlsFailed); }));
  EXPECT_EQ(client.stream.error(),
            "SSL_connect() failed: error:0A00010B:SSL routines::wrong version number");
}

TEST_F(TlsStream, PeerThatLeavesInTheHandshakeIsNoTlsError) {
  const Site site;
  server.stream.start_tls_server(server_context(site), {});
  loop.run_once(false);
  client.stream.close();
  ASSERT_TRUE(run_until([this] { return server.saw(Stream::kTlsFailed); }));
  EXPECT_EQ(server.stream.error(), "Connection closed");
  EXPECT_EQ(server.stream.error_code(), EPIPE);
}

TEST_F(TlsStream, MayBeClosedInItsOwnCall) {
  struct Closer {
    Stream stream;
    bool called = false;
    void on_event(unsigned) noexcept {
      called = true;
      stream.close();
    }
  } closer;
  const Site site;
  closer.stream.open(loop, server.stream.release(),
                     Callback<unsigned>::to<&Closer::on_event>(closer));
  closer.stream.want(true, false);
  closer.stream.start_tls_server(server_context(site), {});
  client.stream.start_tls_client(client_context(site.ca), {"localhost", Verify::chain, {}});
  EXPECT_TRUE(run_until([&closer] { return closer.called; }));
}

}  // namespace
}  // namespace postern::io::test
