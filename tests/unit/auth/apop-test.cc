// APOP: a proof of a password instead of the password.
#include <fmt/format.h>
#include <openssl/evp.h>

#include <algorithm>
#include <array>

#include "fixture.h"
#include "lib/text.h"

namespace postern::auth {
namespace {

class Apop : public ::testing::Test {
 protected:
  using Lines = std::vector<std::string>;

  void start(const std::string& users, Keys settings = {}) {
    TestConfig config;
    config.settings = {
        {"auth_verbose", "yes"}, {"auth_mechanisms", "plain apop"}, {"auth_failure_delay", "0"}};
    for (auto& s : settings) config.settings.push_back(s);
    config.passdbs = {
        {{"driver", "passwd-file"}, {"passwd_file_path", dir_.write("users", users)}}};
    server_ = std::make_unique<Server>(config);
    client_ = server_->client(true);
    client_->feed("VERSION\t1\t2\nCPID\t77\n");
    take_lines(*client_);
  }
  Lines ask(const std::string& response, unsigned id = 1) {
    client_->feed(fmt::format("AUTH\t{}\tAPOP\tservice=pop3\trip=192.0.2.9{}\n", id,
                              response.empty() ? "" : "\tresp=" + response));
    server_->env.run();
    return take_lines(*client_);
  }
  bool logged(std::string_view text) const {
    return std::ranges::any_of(server_->env.lines, [&](const std::string& l) {
      return l.find(text) != std::string::npos;
    });
  }

  ScratchDir dir_;
  std::unique_ptr<Server> server_;
  std::unique_ptr<ClientSession> client_;
};

/// The response of a POP3 process for a client that knows `password`.
std::string apop(const std::string& user, const std::string& password, unsigned connection = 1,
                 std::int64_t time = 1'700'000'001) {
  const std::string challenge =
      fmt::format("<{:x}.{:x}.{:x}.cmFuZG9t@gate>", 4711, connection, time);
  const std::string text = challenge + password;
  std::array<unsigned char, EVP_MAX_MD_SIZE> out{};
  unsigned size = 0;
  EXPECT_EQ(EVP_Digest(text.data(), text.size(), out.data(), &size, EVP_md5(), nullptr), 1);
  const std::string nul(1, '\0');
  return base64_encode(challenge + nul + user + nul + std::string(out.begin(), out.begin() + size));
}

TEST_F(Apop, NeedsAPasswordThatIsStoredInClear) {
  start(
      "alice:{PLAIN}secret\nbob:{SHA256}XohImNooBHFR0OVvjcYpJ3NgPQ1qq73WKhHvch0VQtg=\n"
      "open:::::::nopassword=y\nempty:{PLAIN}\nfar:{PLAIN}secret::::::proxy=y host=192.0.2.1\n"
      "farther:{PLAIN}secret::::::proxy=y host=192.0.2.1 pass=theirs\n");
  struct Row {
    std::string user, password, reply, log;
  };
  unsigned id = 0;
  for (const Row& row :
       {Row{"alice", "secret", "OK\t{}\tuser=alice", ""},
        Row{"alice", "wrong", "FAIL\t{}\tuser=alice",
            "passwd-file(alice,192.0.2.9): Password mismatch"},
        Row{"bob", "password", "FAIL\t{}\tuser=bob",
            "passwd-file(bob,192.0.2.9): Requested PLAIN scheme, but we have only SHA256"},
        Row{"open", "any", "FAIL\t{}\tuser=open",
            "passwd-file(open,192.0.2.9): Requested PLAIN scheme, but we have a NULL password"},
        Row{"empty", "", "FAIL\t{}\tuser=empty", "passwd-file(empty,192.0.2.9): Password mismatch"},
        Row{"nobody", "x", "FAIL\t{}\tuser=nobody", "passwd-file(nobody,192.0.2.9): unknown user"},
        Row{"far", "secret", "OK\t{}\tuser=far\tproxy\thost=192.0.2.1", ""},
        Row{"farther", "secret", "OK\t{}\tuser=farther\tproxy\thost=192.0.2.1\tpass=theirs", ""}}) {
    SCOPED_TRACE(row.user + " " + row.password);
    id++;
    EXPECT_EQ(ask(apop(row.user, row.password), id),
              Lines{fmt::format(fmt::runtime(row.reply), id)});
    EXPECT_TRUE(row.log.empty() || logged(row.log));
  }
  EXPECT_FALSE(logged("secret"));
}

TEST_F(Apop, IsBoundToProcessConnectionAndTime) {
  start("alice:{PLAIN}secret\n");
  EXPECT_EQ(ask(apop("alice", "secret", 2)), Lines{"FAIL\t1"});
  EXPECT_EQ(ask(apop("alice", "secret", 1, 1'699'999'999)), Lines{"FAIL\t1"});
  EXPECT_TRUE(logged("apop(?,192.0.2.9): invalid input"));
  EXPECT_EQ(ask(""), Lines{"FAIL\t1"});
  EXPECT_EQ(ask(apop("alice", "secret")), Lines{"OK\t1\tuser=alice"});
  const auto second = server_->client(false);
  EXPECT_NE(second->output().view().find("MECH\tAPOP\tprivate\tdictionary\tactive\n"),
            std::string_view::npos);
  second->feed("VERSION\t1\t2\nCPID\t78\nAUTH\t1\tAPOP\tservice=pop3\tresp=" +
               apop("alice", "secret", 2) + "\n");
  server_->env.run();
  EXPECT_EQ(take_lines(*second).back(), "OK\t1\tuser=alice");
}

}  // namespace
}  // namespace postern::auth
