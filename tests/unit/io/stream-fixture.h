#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <memory>
#include <string>
#include <utility>

#include "io/loop.h"
#include "io/socket.h"
#include "io/stream.h"
#include "test-certificate.h"

/// One end of a connection in a test: gathers what it is told.
namespace postern::io::test {

struct End {
  Stream stream;
  unsigned events = 0;    // all kinds seen
  unsigned readable = 0;  // how often
  std::string received;
  std::size_t read_at_once = 4096;
  bool reads = true;  // takes what is there when it is told
  IoStatus last = IoStatus::again;

  void open(Loop& loop, UniqueFd fd) {
    stream.open(loop, std::move(fd), Callback<unsigned>::to<&End::on_event>(*this));
  }
  void on_event(unsigned event) noexcept {
    events |= event;
    if ((event & Stream::kReadable) == 0) return;
    ++readable;
    if (!reads) return;
    std::string room(read_at_once, '\0');
    const IoResult got = stream.read(room.data(), room.size());
    last = got.status;
    received.append(room, 0, got.bytes);
    if (got.status == IoStatus::closed || got.status == IoStatus::error) {
      stream.want(false, false);
    }
  }
  bool saw(Stream::Event event) const { return (events & event) != 0; }
  bool settled() const { return saw(Stream::kTlsStarted) || saw(Stream::kTlsFailed); }
};

class StreamTest : public ::testing::Test {
 protected:
  Loop loop;
  End client;
  End server;

  void SetUp() override {
    auto ends = socket_pair(SOCK_STREAM);
    ASSERT_TRUE(ends.ok());
    client.open(loop, std::move(ends.value().first));
    server.open(loop, std::move(ends.value().second));
  }

  /// Turns the loop until `done`, or for two seconds.
  template <class Done>
  bool run_until(Done done) {
    for (int i = 0; i < 2000; i++) {
      if (done()) return true;
      loop.run_once(false);
      if (i > 50) usleep(1000);
    }
    return done();
  }

  static std::shared_ptr<TlsContext> server_context(const Site& site,
                                                    const TlsParameters& parameters = {}) {
    const std::string chain = pem_of(site.cert);
    const std::string key = pem_of(site.key);
    auto made = TlsContext::server({{chain, key, {}}}, parameters);
    EXPECT_TRUE(made.ok()) << (made.ok() ? "" : made.error().text);
    return made.value();
  }
  static std::shared_ptr<TlsContext> client_context(const Cert& ca,
                                                    const TlsParameters& parameters = {}) {
    const std::string pem = ca ? pem_of(ca) : std::string();
    auto made = TlsContext::client({pem, {}, "the test's CA"}, parameters);
    EXPECT_TRUE(made.ok()) << (made.ok() ? "" : made.error().text);
    return made.value();
  }

  /// Both ends shake hands, to the end or to failure.
  void shake_hands(const std::shared_ptr<TlsContext>& for_server,
                   const std::shared_ptr<TlsContext>& for_client,
                   const std::string& name = "localhost", Verify verify = Verify::chain_and_name,
                   Stream::ChooseContext choose = {}) {
    server.stream.start_tls_server(for_server, choose);
    client.stream.start_tls_client(for_client, {name, verify, {}});
    ASSERT_TRUE(run_until([this] { return server.settled() && client.settled(); }));
  }

  /// The next connection of the test.
  void reconnect() {
    client.stream.close();
    server.stream.close();
    client.events = server.events = 0;
    client.received.clear();
    server.received.clear();
    SetUp();
  }
};

}  // namespace postern::io::test
