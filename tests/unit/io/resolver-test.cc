#include "io/resolver.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "io/resolver-files.h"
#include "io/socket.h"
#include "lib/text.h"

namespace postern::io {
namespace {

using namespace std::chrono_literals;

/// A name server on loopback that knows what the test tells it.
class FakeServer {
 public:
  explicit FakeServer(Loop& loop) {
    fd_.reset(socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    sockaddr_storage address{};
    const socklen_t length = Endpoint{*IpAddress::parse("127.0.0.1"), 0}.to_sockaddr(address);
    EXPECT_EQ(bind(fd_.get(), reinterpret_cast<sockaddr*>(&address), length), 0);
    watch_.start(loop, fd_.get(), Callback<unsigned>::to<&FakeServer::on_question>(*this));
    watch_.want(FdWatch::kRead);
  }
  std::string address() const { return local_endpoint(fd_.get()).text(); }

  std::map<std::string, std::vector<IpAddress>> names;  // lower case; no addresses: does not exist
  bool silent = false;
  unsigned questions = 0;

 private:
  void on_question(unsigned) noexcept {
    char packet[600];
    sockaddr_storage from{};
    socklen_t length = sizeof from;
    const ssize_t n =
        recvfrom(fd_.get(), packet, sizeof packet, 0, reinterpret_cast<sockaddr*>(&from), &length);
    if (n < 17) return;
    ++questions;
    if (silent) return;
    const std::string reply = answer({packet, static_cast<std::size_t>(n)});
    sendto(fd_.get(), reply.data(), reply.size(), 0, reinterpret_cast<sockaddr*>(&from), length);
  }

  std::string answer(const std::string& question) const {
    std::string name;
    std::size_t at = 12;
    while (question[at] != '\0') {
      const auto label = static_cast<std::size_t>(question[at]);
      if (!name.empty()) name += '.';
      name += to_lower(question.substr(at + 1, label));
      at += label + 1;
    }
    const bool v6 = question[at + 2] == 28;
    std::string out = question.substr(0, at + 5);
    const auto found = names.find(name);
    std::string records;
    char count = 0;
    if (found != names.end()) {
      for (const IpAddress& ip : found->second) {
        if (ip.is_v6() != v6) continue;
        records += std::string("\xc0\x0c\0", 3) + static_cast<char>(v6 ? 28 : 1) +
                   std::string("\0\1\0\0\0\x3c\0", 7) + static_cast<char>(ip.bytes().size());
        records += ip.bytes();
        ++count;
      }
    }
    out[2] = '\x81';
    out[3] = found == names.end() ? '\x83' : '\x80';  // NXDOMAIN
    out[7] = count;
    out[9] = out[11] = 0;
    return out + records;
  }

  UniqueFd fd_;
  FdWatch watch_;
};

class ResolverTest : public ::testing::Test {
 protected:
  Loop loop;
  FakeServer server{loop};
  std::string directory;
  std::unique_ptr<Resolver> resolver;

  void SetUp() override {
    char name[] = "/tmp/postern-resolver-XXXXXX";
    directory = mkdtemp(name);
    write_file("hosts", "127.0.0.1 localhost # here\n::1 localhost\n192.0.2.9\tMail.Test mail\n");
    write_file("resolv.conf", "# comment\nsearch example.com\nnameserver " + server.address() +
                                  "\noptions timeout:1 attempts:1\n");
    resolver = std::make_unique<Resolver>(
        loop, ResolverFiles{directory + "/resolv.conf", directory + "/hosts"});
  }
  void TearDown() override {
    unlink((directory + "/hosts").c_str());
    unlink((directory + "/resolv.conf").c_str());
    rmdir(directory.c_str());
  }
  void write_file(const std::string& name, const std::string& text) const {
    const UniqueFd fd(open((directory + "/" + name).c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    ASSERT_EQ(write(fd.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }

  struct Outcome {
    std::optional<Result<std::vector<IpAddress>>> result;
    std::string text() const {
      if (!result) return "nothing";
      if (!result->ok()) return "error " + std::to_string(result->error().code);
      std::string out;
      for (const IpAddress& ip : result->value()) out += ip.text() + " ";
      return out;
    }
  };
  std::uint64_t ask(const std::string& name, Outcome& out, Milliseconds timeout = 3s) {
    return resolver->resolve(name, timeout, [&out](Result<std::vector<IpAddress>> answer) {
      out.result.emplace(std::move(answer));
    });
  }
  std::string resolve(const std::string& name) {
    Outcome out;
    ask(name, out);
    EXPECT_FALSE(out.result) << "answered before resolve() returned";
    run_until([&out] { return out.result.has_value(); });
    return out.text();
  }
  template <class Done>
  void run_until(Done done) {
    for (int i = 0; i < 3000 && !done(); i++) {
      loop.run_once(false);
      if (i > 20) usleep(1000);
    }
  }
};

TEST_F(ResolverTest, GivesBothKindsOfAddresses) {
  server.names["backend.example"] = {*IpAddress::parse("2001:db8::5"),
                                     *IpAddress::parse("192.0.2.1"),
                                     *IpAddress::parse("192.0.2.2")};
  EXPECT_EQ(resolve("backend.example"), "192.0.2.1 192.0.2.2 2001:db8::5 ");
  EXPECT_EQ(resolve("BACKEND.example."), "192.0.2.1 192.0.2.2 2001:db8::5 ");
  server.names["only6.example"] = {*IpAddress::parse("2001:db8::6")};
  EXPECT_EQ(resolve("only6.example"), "2001:db8::6 ");
}

TEST_F(ResolverTest, KnowsAddressesAndHostsWithoutAsking) {
  EXPECT_EQ(resolve("192.0.2.77"), "192.0.2.77 ");
  EXPECT_EQ(resolve("2001:db8::7"), "2001:db8::7 ");
  EXPECT_EQ(resolve("localhost"), "127.0.0.1 ::1 ");
  EXPECT_EQ(resolve("MAIL.test"), "192.0.2.9 ");
  EXPECT_EQ(server.questions, 0U);
}

TEST_F(ResolverTest, NameThatDoesNotExistIsEnoent) {
  EXPECT_EQ(resolve("missing.example"), "error " + std::to_string(ENOENT));
  server.names["empty.example"] = {};
  EXPECT_EQ(resolve("empty.example"), "error " + std::to_string(ENOENT));
}

TEST_F(ResolverTest, SearchesNoDomains) {
  server.names["short.example.com"] = {*IpAddress::parse("192.0.2.1")};
  EXPECT_EQ(resolve("short"), "error " + std::to_string(ENOENT));
}

TEST_F(ResolverTest, RefusesWhatIsNoHostName) {
  for (const std::string name : {"", "a b", "a..b", ".a", "a\nb", "host:143"}) {
    SCOPED_TRACE(name);
    EXPECT_EQ(resolve(name), "error " + std::to_string(EINVAL));
  }
  EXPECT_EQ(resolve(std::string(300, 'a')), "error " + std::to_string(EINVAL));
  EXPECT_EQ(server.questions, 0U);
}

TEST_F(ResolverTest, SimultaneousRequestsShareOneQuestion) {
  server.names["shared.example"] = {*IpAddress::parse("192.0.2.1")};
  std::vector<Outcome> outcomes(20);
  for (Outcome& out : outcomes) ask("shared.example", out);
  run_until([&] { return outcomes.back().result.has_value(); });
  for (const Outcome& out : outcomes) EXPECT_EQ(out.text(), "192.0.2.1 ");
  EXPECT_EQ(server.questions, 2U);  // A and AAAA
}

TEST_F(ResolverTest, CancelledRequestIsNotAnswered) {
  server.names["a.example"] = {*IpAddress::parse("192.0.2.1")};
  Outcome cancelled;
  Outcome kept;
  const std::uint64_t id = ask("a.example", cancelled);
  ask("a.example", kept);
  resolver->cancel(id);
  run_until([&] { return kept.result.has_value(); });
  EXPECT_EQ(kept.text(), "192.0.2.1 ");
  EXPECT_FALSE(cancelled.result);
}

TEST_F(ResolverTest, SilentServerTimesOut) {
  server.silent = true;
  Outcome out;
  const TimePoint start = Clock::now();
  ask("slow.example", out, 100ms);
  run_until([&] { return out.result.has_value(); });
  EXPECT_EQ(out.text(), "error " + std::to_string(ETIMEDOUT));
  EXPECT_LT(Clock::now() - start, 1s);
  // evdns gives up after a second; only then is the question forgotten.
  run_until([start] { return Clock::now() - start > 2500ms; });
}

TEST_F(ResolverTest, MayEndWithQuestionsOnTheirWay) {
  server.silent = true;
  Outcome out;
  ask("slow.example", out);
  loop.run_once(false);
  resolver.reset();
  for (int i = 0; i < 5; i++) loop.run_once(false);
  EXPECT_FALSE(out.result);
}

TEST_F(ResolverTest, AnswerMayAskAgain) {
  server.names["one.example"] = {*IpAddress::parse("192.0.2.1")};
  server.names["two.example"] = {*IpAddress::parse("192.0.2.2")};
  Outcome second;
  resolver->resolve("one.example", 3s, [&](Result<std::vector<IpAddress>> answer) {
    EXPECT_TRUE(answer.ok());
    ask("two.example", second);
  });
  run_until([&] { return second.result.has_value(); });
  EXPECT_EQ(second.text(), "192.0.2.2 ");
}

TEST(ResolverFiles, ReadWhatTheyUnderstand) {
  const ResolvConf conf = parse_resolv_conf(
      "nameserver 192.0.2.53 # first\n; comment\nnameserver fe80::1%eth0\nnameserver nonsense\n"
      "nameserver 127.0.0.1:5300\nnameserver [::1]:53\noptions rotate timeout:2 attempts:x\n"
      "nameserver\n");
  EXPECT_EQ(conf.servers,
            (std::vector<std::string>{"192.0.2.53", "[fe80::1]", "127.0.0.1:5300", "[::1]:53"}));
  ASSERT_EQ(conf.options.size(), 1U);
  EXPECT_EQ(conf.options[0].first, "timeout");
  const Hosts hosts = parse_hosts("192.0.2.1 a B\n192.0.2.2 b\nnonsense c\n192.0.2.1 b\n");
  EXPECT_EQ(hosts.at("b").size(), 2U);
  EXPECT_FALSE(hosts.contains("c"));
}

}  // namespace
}  // namespace postern::io
