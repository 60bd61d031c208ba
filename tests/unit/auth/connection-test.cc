// Sessions and lines over real sockets.
#include "auth/connection.h"

#include <sys/socket.h>
#include <unistd.h>

#include "fixture.h"
#include "io/line-stream.h"
#include "io/loop.h"
#include "io/socket.h"
#include "lib/text.h"

namespace postern::auth {
namespace {

class Owner final : public Connection::Owner {
 public:
  explicit Owner(io::Loop& loop) : loop_(loop) {}
  std::unique_ptr<Connection> connection;
  bool over = false;
  void on_connection_over(Connection& /*connection*/) noexcept override {
    over = true;
    loop_.retire(std::move(connection));
  }

 private:
  io::Loop& loop_;
};

class AuthConnection : public ::testing::Test {
 protected:
  void SetUp() override {
    TestConfig config;
    config.settings = {{"auth_failure_delay", "0"}};
    config.passdbs = {{{"driver", "static"}, {"args", "password=secret forward_x=%u"}}};
    server_ = std::make_unique<Server>(config);
    auto pair = io::socket_pair(SOCK_STREAM);
    ASSERT_TRUE(pair.ok());
    client_ = std::move(pair.value().first);
    Connection::Owner& owner = owner_;
    owner_.connection = std::make_unique<Connection>(loop_, std::move(pair.value().second),
                                                     server_->client(true), owner);
    owner_.connection->start();
  }
  void turns(int n) {
    for (int i = 0; i < n; i++) {
      loop_.run_once(false);
      server_->env.run();
    }
  }
  void write(std::string_view text) {
    ASSERT_EQ(::write(client_.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }
  std::string read_all() {
    std::string out;
    char buffer[65536];
    for (int i = 0; i < 50; i++) {
      turns(1);
      const ssize_t n = ::recv(client_.get(), buffer, sizeof(buffer), MSG_DONTWAIT);
      if (n > 0) out.append(buffer, static_cast<std::size_t>(n)), i = 0;
    }
    return out;
  }

  io::Loop loop_;
  std::unique_ptr<Server> server_;
  Owner owner_{loop_};
  UniqueFd client_;
};

TEST_F(AuthConnection, SpeaksFirstAndAnswersWhatIsPipelined) {
  const std::string greeting = read_all();
  EXPECT_TRUE(greeting.starts_with("VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nSPID\t4711\n"))
      << greeting;
  EXPECT_TRUE(greeting.ends_with("DONE\n"));
  const std::string resp = base64_encode(std::string("\0a\0secret", 9));
  write("VERSION\t1\t2\nCPID\t5\nAUTH\t1\tPLAIN\tservice=imap\tresp=" + resp +
        "\nAUTH\t2\tPLAIN\tservice=imap\tresp=" + resp + "\n");
  EXPECT_EQ(read_all(), "OK\t1\tuser=a\tforward_x=a\nOK\t2\tuser=a\tforward_x=a\n");
  client_.reset();
  turns(5);
  EXPECT_TRUE(owner_.over);
  EXPECT_EQ(owner_.connection, nullptr);
}

TEST_F(AuthConnection, ClosesAfterTheLastBytesAreWritten) {
  write("VERSION\t2\t0\n");
  const std::string greeting = read_all();
  EXPECT_TRUE(greeting.ends_with("DONE\n"));
  EXPECT_TRUE(owner_.over);
  char byte = 0;
  EXPECT_EQ(::recv(client_.get(), &byte, 1, MSG_DONTWAIT), 0);
}

TEST_F(AuthConnection, AnswersEverythingToAClientThatReadsLate) {
  write("VERSION\t1\t2\nCPID\t5\n");
  std::string many;
  for (int i = 1; i <= 20000; i++) many += "CONT\t" + std::to_string(i) + "\teA==\n";
  std::size_t sent = 0;
  for (int i = 0; i < 1000 && sent < many.size(); i++) {
    const ssize_t n = ::send(client_.get(), many.data() + sent, many.size() - sent, MSG_DONTWAIT);
    if (n > 0) sent += static_cast<std::size_t>(n);
    turns(1);
  }
  std::string answers = read_all();
  while (sent < many.size()) {
    const ssize_t n = ::send(client_.get(), many.data() + sent, many.size() - sent, MSG_DONTWAIT);
    ASSERT_GT(n, 0);
    sent += static_cast<std::size_t>(n);
    answers += read_all();
  }
  std::size_t lines = 0;
  for (std::size_t at = 0; (at = answers.find("FAIL\t", at)) != std::string::npos; at++) lines++;
  EXPECT_EQ(lines, 20000U);
}

TEST(LineStream, CarriesLinesAndTellsTheEnd) {
  struct Taker final : io::LineStream::Owner {
    std::vector<std::string> lines;
    bool closed = false;
    void on_line(io::LineStream& stream, std::string_view line) override {
      lines.emplace_back(line);
      stream.send("got " + std::string(line) + "\n");
    }
    void on_closed(io::LineStream& stream) override {
      closed = true;
      stream.close();
    }
  };
  io::Loop loop;
  auto pair = io::socket_pair(SOCK_STREAM);
  ASSERT_TRUE(pair.ok());
  Taker taker;
  io::LineStream stream(loop, std::move(pair.value().second), 64, taker);
  const UniqueFd peer = std::move(pair.value().first);
  ASSERT_EQ(::write(peer.get(), "one\ntwo\nthr", 11), 11);
  for (int i = 0; i < 5; i++) loop.run_once(false);
  EXPECT_EQ(taker.lines, (std::vector<std::string>{"one", "two"}));
  char buffer[64] = {};
  EXPECT_EQ(::recv(peer.get(), buffer, sizeof(buffer), MSG_DONTWAIT), 16);
  const std::string long_line(100, 'x');
  ASSERT_EQ(::write(peer.get(), long_line.data(), long_line.size()), 100);
  for (int i = 0; i < 5; i++) loop.run_once(false);
  EXPECT_TRUE(taker.closed);
}

}  // namespace
}  // namespace postern::auth
