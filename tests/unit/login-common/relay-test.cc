#include "login-common/relay.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "io/tls.h"
#include "proxy-fixture.h"
#include "test-certificate.h"

namespace postern::login {
namespace {

using test::LogCapture;
using test::run_dry;
using test::run_until;

/// Byte `i` of everything that is sent here: a lost, doubled or moved block does not look the same.
char pattern(std::size_t i) noexcept {
  return static_cast<char>((i * 2654435761U) >> 13U);
}

/// The far end of one side: sends `to_send` bytes of the pattern, reads and checks what comes.
struct Peer {
  io::Stream stream;
  std::size_t to_send = 0, sent = 0;
  std::size_t got = 0, mismatches = 0;
  std::string text;        // instead of the pattern
  bool keep_text = false;  // gather instead of checking
  std::string gathered;
  bool reading = true;
  std::size_t read_limit = SIZE_MAX;  // bytes per turn
  bool eof = false, broken = false, ready = true, close_write_when_sent = false, shut = false;

  void on_event(unsigned events) noexcept {
    if ((events & io::Stream::kTlsFailed) != 0) broken = true;
    if ((events & io::Stream::kTlsStarted) != 0) ready = true;
    if (ready) go();
  }
  void go() {
    static std::vector<char> buffer(64 * 1024);
    std::size_t budget = read_limit;
    while (reading && !eof && !broken && budget > 0) {
      const io::IoResult r = stream.read(buffer.data(), std::min(buffer.size(), budget));
      if (r.status == io::IoStatus::closed) eof = true;
      if (r.status == io::IoStatus::error) broken = true;
      if (r.status != io::IoStatus::ok) break;
      if (keep_text) gathered.append(buffer.data(), r.bytes);
      for (std::size_t i = 0; i < r.bytes && !keep_text; ++i) {
        if (buffer[i] != pattern(got + i)) ++mismatches;
      }
      got += r.bytes;
      budget -= std::min(budget, r.bytes);
    }
    while (sent < to_send && !broken) {
      const std::size_t n = std::min<std::size_t>(buffer.size(), to_send - sent);
      for (std::size_t i = 0; i < n; ++i) buffer[i] = pattern(sent + i);
      const io::IoResult r = stream.write({buffer.data(), n});
      if (r.status == io::IoStatus::error) broken = true;
      if (r.status != io::IoStatus::ok) break;
      sent += r.bytes;
    }
    if (sent == to_send && close_write_when_sent && !shut && !broken) {
      shut = true;
      stream.shutdown_write();
    }
    if (stream.is_open()) stream.want(reading && !eof && !broken, sent < to_send && !broken);
  }
  /// Sends a text at once; small enough for the socket.
  void say(std::string_view words) {
    const io::IoResult r = stream.write(words);
    EXPECT_EQ(r.bytes, words.size());
  }
};

struct Pair {
  std::unique_ptr<io::Stream> near = std::make_unique<io::Stream>();
  Peer far;
};

class Nobody {
 public:
  void on_event(unsigned events) noexcept {
    if ((events & io::Stream::kTlsStarted) != 0) started = true;
  }
  bool started = false;
};

class RelayTest : public ::testing::Test {
 protected:
  RelayTest() : settings_(std::make_shared<config::LoginSettings>()), relay_(loop_, "imap") {
    client_.far.keep_text = backend_.far.keep_text = false;
  }

  void connect(Pair& pair) {
    const UniqueFd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_storage address{};
    const socklen_t size = Endpoint{*IpAddress::parse("127.0.0.1"), 0}.to_sockaddr(address);
    ASSERT_EQ(::bind(listener.get(), test::as_sockaddr(address), size), 0);
    ASSERT_EQ(::listen(listener.get(), 1), 0);
    Result<UniqueFd> far = io::connect_tcp(io::local_endpoint(listener.get()), std::nullopt);
    ASSERT_TRUE(far.ok());
    Result<io::Accepted> near = io::accept_connection(listener.get());
    ASSERT_TRUE(near.ok());
    pair.near->open(loop_, std::move(near.value().fd),
                    io::Callback<unsigned>::to<&Nobody::on_event>(nobody_));
    pair.far.stream.open(loop_, std::move(far).value(),
                         io::Callback<unsigned>::to<&Peer::on_event>(pair.far));
  }

  void secure(Pair& pair, bool near_is_server) {
    const auto made = test::make_certificate({}, nullptr);
    const auto server = io::TlsContext::server({{made.chain, made.key, {}}}, io::TlsParameters{});
    const auto client = io::TlsContext::client({}, io::TlsParameters{});
    ASSERT_TRUE(server.ok() && client.ok());
    pair.far.ready = false;
    nobody_.started = false;
    io::Stream& server_end = near_is_server ? *pair.near : pair.far.stream;
    io::Stream& client_end = near_is_server ? pair.far.stream : *pair.near;
    server_end.start_tls_server(server.value(), {});
    client_end.start_tls_client(client.value(), {"test", io::Verify::none, {}});
    ASSERT_TRUE(run_until(loop_, [&] { return nobody_.started && pair.far.ready; }));
  }

  /// Connects both sides and starts the session.
  void start(std::string_view to_client = {}, std::string_view to_backend = {}, bool tls = false) {
    connect(client_);
    connect(backend_);
    if (tls) {
      secure(client_, true);
      secure(backend_, false);
    }
    RelayStart start;
    start.client = std::move(client_.near);
    start.backend = std::move(backend_.near);
    start.to_client.append(to_client);
    start.to_backend.append(to_backend);
    start.sent_to_client = 100;
    start.sent_to_backend = 10;
    start.settings = settings_;
    start.record = &record_;
    start.identity = {"joe",
                      "198.51.100.7",
                      "192.0.2.10",
                      "sess",
                      "TLS",
                      "joseph",
                      {*IpAddress::parse("127.0.0.1"), 1143},
                      "user=<joe>, session=<sess>"};
    relay_.start(std::move(start));
    client_.far.go();
    backend_.far.go();
  }
  void gather() { client_.far.keep_text = backend_.far.keep_text = true; }
  void wait(const std::function<bool()>& done) { ASSERT_TRUE(run_until(loop_, done)); }

  io::Loop loop_;
  std::shared_ptr<config::LoginSettings> settings_;
  BackendRecord record_;
  Nobody nobody_;
  Pair client_, backend_;
  Relay relay_;
};

TEST_F(RelayTest, BroughtBytesComeFirstAndOnce) {
  gather();
  start("a OK in\r\n* 1 EXISTS\r\n", "b NOOP\r\n");
  EXPECT_EQ(relay_.count(), 1U);
  EXPECT_EQ(record_.sessions, 1U);
  client_.far.say("c NOOP\r\n");
  backend_.far.say("b OK\r\n");
  wait([&] { return client_.far.gathered.size() >= 27 && backend_.far.gathered.size() >= 16; });
  run_dry(loop_);
  EXPECT_EQ(client_.far.gathered, "a OK in\r\n* 1 EXISTS\r\nb OK\r\n");
  EXPECT_EQ(backend_.far.gathered, "b NOOP\r\nc NOOP\r\n");
}

TEST_F(RelayTest, LogoutByTheBackendIsDovecotsLine) {
  gather();
  LogCapture log;
  start("a OK in\r\n", "");
  backend_.far.say("* BYE\r\n");
  run_dry(loop_);
  backend_.far.stream.close();
  wait([&] { return client_.far.eof; });
  client_.far.stream.close();
  wait([&] { return relay_.count() == 0; });
  run_dry(loop_);
  EXPECT_EQ(record_.sessions, 0U);
  EXPECT_EQ(client_.far.gathered, "a OK in\r\n* BYE\r\n");
  EXPECT_NE(log.text().find("Info: proxy(joe,127.0.0.1:1143): Disconnected by server (0s idle, "
                            "in=10, out=116): user=<joe>, session=<sess>\n"),
            std::string::npos)
      << log.text();
}

TEST_F(RelayTest, ClientThatLeavesIsNamed) {
  LogCapture log;
  start();
  client_.far.stream.close();
  wait([&] { return backend_.far.eof; });
  backend_.far.stream.close();
  wait([&] { return relay_.count() == 0; });
  EXPECT_NE(log.text().find("Disconnected by client (0s idle, in=10, out=100): user="),
            std::string::npos)
      << log.text();
}

class RelayReset : public RelayTest, public ::testing::WithParamInterface<bool> {};
INSTANTIATE_TEST_SUITE_P(Side, RelayReset, ::testing::Bool());

TEST_P(RelayReset, NamesTheSideThatBroke) {
  {
    const bool client = GetParam();
    LogCapture log;
    start();
    run_dry(loop_);
    io::Stream& stream = client ? client_.far.stream : backend_.far.stream;
    const linger hard{1, 0};
    ::setsockopt(stream.fd(), SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    stream.close();
    wait([&] { return relay_.count() == 0; });
    wait([&] { return client ? backend_.far.eof : client_.far.eof; });
    const std::string who = client ? "client" : "server";
    EXPECT_NE(log.text().find("Disconnected by " + who + ": read(size="), std::string::npos)
        << log.text();
    EXPECT_NE(log.text().find(") failed: Connection reset by peer (0s idle, in=10, out=100)"),
              std::string::npos)
        << log.text();
  }
}

class RelayHalfClose : public RelayTest, public ::testing::WithParamInterface<bool> {};
INSTANTIATE_TEST_SUITE_P(Tls, RelayHalfClose, ::testing::Bool());

TEST_P(RelayHalfClose, ByTheClientStillGetsItsAnswer) {
  gather();
  LogCapture log;
  start({}, {}, GetParam());
  client_.far.say("b SLOW\r\n");
  client_.far.stream.shutdown_write();
  wait([&] { return backend_.far.eof; });
  EXPECT_EQ(backend_.far.gathered, "b SLOW\r\n");
  EXPECT_EQ(relay_.count(), 1U);
  backend_.far.say("b OK at last\r\n");
  backend_.far.stream.close();
  wait([&] { return client_.far.eof; });
  EXPECT_EQ(client_.far.gathered, "b OK at last\r\n");
  wait([&] { return relay_.count() == 0; });
  EXPECT_NE(log.text().find("Disconnected by client (0s idle, in=18, out=114)"), std::string::npos)
      << log.text();
}

TEST_P(RelayHalfClose, ByTheBackendIsPassedOnToo) {
  gather();
  start({}, {}, GetParam());
  backend_.far.stream.shutdown_write();
  wait([&] { return client_.far.eof; });
  client_.far.say("still here\r\n");
  wait([&] { return backend_.far.gathered == "still here\r\n"; });
  client_.far.stream.close();
  wait([&] { return relay_.count() == 0; });
}

TEST_F(RelayTest, WithoutHalfCloseBothSidesEndAfterWhatWasRead) {
  settings_->proxy_half_close = false;
  gather();
  LogCapture log;
  start();
  client_.far.say("b SLOW\r\n");
  client_.far.stream.shutdown_write();
  wait([&] { return relay_.count() == 0; });
  wait([&] { return backend_.far.eof && client_.far.eof; });
  EXPECT_EQ(backend_.far.gathered, "b SLOW\r\n");
  EXPECT_NE(log.text().find("Disconnected by client (0s idle, in=18, out=100)"), std::string::npos)
      << log.text();
}

TEST_F(RelayTest, KickEndsWhomItPicksAndSaysWhy) {
  gather();
  LogCapture log;
  start();
  unsigned changes = 0;
  relay_.on_change([&changes] { ++changes; });
  std::vector<SessionRow> rows;
  relay_.for_each([&rows](const SessionRow& row) { rows.push_back(row); });
  ASSERT_EQ(rows.size(), 1U);
  EXPECT_EQ(rows[0].user, "joe");
  EXPECT_EQ(rows[0].service, "imap");
  EXPECT_EQ(rows[0].rip, "198.51.100.7");
  EXPECT_EQ(rows[0].lip, "192.0.2.10");
  EXPECT_EQ(rows[0].session, "sess");
  EXPECT_EQ(rows[0].secured, "TLS");
  EXPECT_EQ(rows[0].state, "proxied");
  EXPECT_EQ(rows[0].dest_user, "joseph");
  EXPECT_EQ(rows[0].dest_ip, "127.0.0.1");
  EXPECT_EQ(rows[0].dest_port, "1143");
  EXPECT_EQ(relay_.kick([](const SessionRow& row) { return row.user == "bob"; }, "no"), 0U);
  EXPECT_EQ(relay_.kick([](const SessionRow& row) { return row.user == "joe"; }, "Kicked by admin"),
            1U);
  EXPECT_EQ(relay_.count(), 0U);
  EXPECT_EQ(changes, 1U);
  wait([&] { return client_.far.eof && backend_.far.eof; });
  EXPECT_NE(log.text().find("Disconnected by proxy: Kicked by admin: user=<joe>, session=<sess>\n"),
            std::string::npos)
      << log.text();
}

/// A session whose client has to wait for its turn: many others were there and went.
class RelayLinger : public RelayTest {
 protected:
  RelayLinger() {
    settings_->login_proxy_max_disconnect_delay = std::chrono::milliseconds(1000);
    record_.sessions = 3;
    record_.disconnects = 2;
    record_.disconnects_start = loop_.now();
    record_.lingering = 1;
    gather();
  }
};

TEST_F(RelayLinger, ClientLearnsLaterThatItsBackendIsGone_T_BCK_07) {
  LogCapture log;
  start();
  const io::TimePoint before = loop_.now();
  backend_.far.say("* BYE\r\n");
  run_dry(loop_);
  backend_.far.stream.close();
  wait([&] { return record_.lingering == 2; });
  EXPECT_EQ(client_.far.gathered, "* BYE\r\n");
  EXPECT_FALSE(client_.far.eof);
  EXPECT_EQ(record_.sessions, 3U);
  unsigned rows = 0;
  relay_.for_each([&rows](const SessionRow&) { ++rows; });
  EXPECT_EQ(rows, 0U);
  client_.far.say("a NOOP\r\n");
  wait([&] { return client_.far.eof; });
  EXPECT_GE(loop_.now() - before, std::chrono::milliseconds(300));
  EXPECT_FALSE(client_.far.broken);
  EXPECT_EQ(relay_.count(), 0U);
  EXPECT_EQ(record_.lingering, 1U);
  EXPECT_NE(log.text().find("Disconnected by server (0s idle, in=10, out=107) - disconnecting "
                            "client in "),
            std::string::npos)
      << log.text();
}

TEST_F(RelayLinger, ClientThatLeavesIsNotWaitedFor) {
  start({}, {}, true);
  backend_.far.stream.close();
  wait([&] { return record_.lingering == 2; });
  client_.far.stream.close();
  wait([&] { return relay_.count() == 0; });
  EXPECT_EQ(record_.lingering, 1U);
}

TEST_F(RelayLinger, OwnEndIsNotSpread) {
  start();
  relay_.kick([](const SessionRow&) { return true; }, "Process shutting down");
  EXPECT_EQ(relay_.count(), 0U);
}

TEST_F(RelayLinger, AnEndWhileItLingersIsNow) {
  LogCapture log;
  start();
  EXPECT_EQ(relay_.kick([](const SessionRow&) { return true; }, "Kicked by admin", true), 1U);
  EXPECT_EQ(relay_.count(), 1U);
  EXPECT_EQ(relay_.kick([](const SessionRow&) { return true; }, "Process shutting down"), 0U);
  EXPECT_EQ(relay_.count(), 0U);
  EXPECT_EQ(log.text().find("Process shutting down"), std::string::npos);
  EXPECT_NE(log.text().find("Disconnected by proxy: Kicked by admin - disconnecting client in "),
            std::string::npos);
}

TEST_F(RelayTest, IdleSessionsEndWhenTheSettingSaysSo) {
  settings_->proxy_idle_timeout = std::chrono::milliseconds(300);
  LogCapture log;
  start();
  wait([&] { return relay_.count() == 0; });
  EXPECT_NE(log.text().find("Disconnected by proxy: Idle for too long (0s idle, in=10, out=100)"),
            std::string::npos)
      << log.text();
}

/// How bulk goes: what joins the sides, and how fast the reader reads.
struct Bulk {
  bool tls;
  bool upwards;
  std::size_t read_limit;
  std::size_t size;
};

class RelayBulk : public RelayTest, public ::testing::WithParamInterface<Bulk> {};

TEST_P(RelayBulk, EveryByteArrivesInOrderAndLittleWaitsHere) {
  const Bulk& bulk = GetParam();
  Peer& source = bulk.upwards ? client_.far : backend_.far;
  Peer& sink = bulk.upwards ? backend_.far : client_.far;
  LogCapture log;
  source.to_send = bulk.size;
  source.close_write_when_sent = true;
  sink.read_limit = bulk.read_limit;
  start({}, {}, bulk.tls);
  std::size_t most = 0;
  wait([&] {
    most = std::max(most, relay_.waiting());
    return sink.eof || sink.broken || source.broken;
  });
  EXPECT_FALSE(sink.broken);
  EXPECT_FALSE(source.broken);
  EXPECT_EQ(sink.got, bulk.size);
  EXPECT_EQ(sink.mismatches, 0U);
  // One read, or one pipe: never what the source has to give.
  EXPECT_LE(most, Relay::kBufferBytes + static_cast<std::size_t>(PipePool::kPipeBytes));
  sink.stream.close();
  wait([&] { return relay_.count() == 0; });
  const std::string in = bulk.upwards ? std::to_string(bulk.size + 10) : "10";
  const std::string out = bulk.upwards ? "100" : std::to_string(bulk.size + 100);
  EXPECT_NE(log.text().find("idle, in=" + in + ", out=" + out + ")"), std::string::npos)
      << log.text();
}

constexpr std::size_t kMega = 1024 * 1024;
INSTANTIATE_TEST_SUITE_P(Plain, RelayBulk,
                         ::testing::Values(Bulk{false, false, SIZE_MAX, 100 * kMega},
                                           Bulk{false, true, SIZE_MAX, 32 * kMega},
                                           Bulk{false, false, 10000, 8 * kMega},
                                           Bulk{false, true, 10000, 8 * kMega}));
INSTANTIATE_TEST_SUITE_P(Tls, RelayBulk,
                         ::testing::Values(Bulk{true, false, SIZE_MAX, 16 * kMega},
                                           Bulk{true, true, SIZE_MAX, 16 * kMega},
                                           Bulk{true, false, 10000, 4 * kMega}));

/// What was brought is more than the socket takes; what is read behind it goes through a pipe.
TEST_F(RelayTest, BroughtBytesComeBeforeSplicedOnes) {
  const std::string brought(6 * kMega, '!');
  client_.far.keep_text = true;
  client_.far.reading = false;
  backend_.far.to_send = 8 * kMega;
  backend_.far.close_write_when_sent = true;
  start(brought);
  run_dry(loop_);
  EXPECT_GT(relay_.waiting(), 0U);
  client_.far.reading = true;
  client_.far.go();
  wait([&] { return client_.far.eof || client_.far.broken; });
  EXPECT_TRUE(relay_.splices());
  const std::string& got = client_.far.gathered;
  ASSERT_EQ(got.size(), brought.size() + 8 * kMega);
  EXPECT_EQ(got.compare(0, brought.size(), brought), 0);
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < 8 * kMega; ++i) {
    if (got[brought.size() + i] != pattern(i)) ++wrong;
  }
  EXPECT_EQ(wrong, 0U);
}

TEST_F(RelayTest, AReaderThatStopsStopsTheWriter) {
  backend_.far.to_send = 64 * kMega;
  client_.far.reading = false;
  LogCapture log;
  start();
  std::size_t before = 1;
  for (int quiet = 0; quiet < 50;) {
    loop_.run_once(false);
    quiet = backend_.far.sent == before ? quiet + 1 : 0;
    before = backend_.far.sent;
  }
  // What the kernel's buffers hold on loopback; far from all of it.
  EXPECT_LT(backend_.far.sent, 24 * kMega);
  EXPECT_GT(relay_.waiting(), 0U);
  EXPECT_LE(relay_.waiting(), Relay::kBufferBytes + static_cast<std::size_t>(PipePool::kPipeBytes));
  relay_.kick([](const SessionRow&) { return true; }, "Kicked by admin");
  client_.far.reading = true;
  client_.far.go();
  wait([&] { return client_.far.eof || client_.far.broken; });
  EXPECT_EQ(client_.far.mismatches, 0U);
}

TEST_F(RelayTest, BothWaysAtOnce) {
  client_.far.to_send = backend_.far.to_send = 8 * kMega;
  client_.far.close_write_when_sent = backend_.far.close_write_when_sent = true;
  start();
  wait([&] { return relay_.count() == 0; });
  wait([&] { return client_.far.eof && backend_.far.eof; });
  EXPECT_EQ(client_.far.got, 8 * kMega);
  EXPECT_EQ(backend_.far.got, 8 * kMega);
  EXPECT_EQ(client_.far.mismatches + backend_.far.mismatches, 0U);
}

TEST_F(RelayTest, TlsCloseIsPassedOn) {
  gather();
  start("hello\r\n", "", true);
  client_.far.say("b LOGOUT\r\n");
  wait([&] { return backend_.far.gathered == "b LOGOUT\r\n"; });
  backend_.far.say("* BYE\r\n");
  backend_.far.stream.close();
  wait([&] { return client_.far.eof; });
  EXPECT_FALSE(client_.far.broken);
  EXPECT_EQ(client_.far.gathered, "hello\r\n* BYE\r\n");
}

TEST(PipePool, LendsCleanPipesAndOnlySoMany) {
  PipePool pool;
  std::vector<std::unique_ptr<PipePool::Pipe>> taken;
  for (std::size_t i = 0; i < PipePool::kMaxPipes; ++i) {
    taken.push_back(pool.take());
    ASSERT_TRUE(taken.back());
  }
  EXPECT_FALSE(pool.take());
  taken.back()->filled = 1;
  const int dirty = taken.back()->read_end.get();
  pool.give_back(std::move(taken.back()));
  taken.pop_back();
  EXPECT_EQ(::fcntl(dirty, F_GETFD), -1) << "a pipe with bytes in it must not be lent again";
  const int clean = taken.back()->read_end.get();
  pool.give_back(std::move(taken.back()));
  taken.pop_back();
  EXPECT_EQ(pool.take()->read_end.get(), clean);
}

}  // namespace
}  // namespace postern::login
