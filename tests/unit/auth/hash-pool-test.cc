#include "auth/hash-pool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <optional>

#include "auth/worker-protocol.h"
#include "fake-environment.h"

namespace postern::auth {
namespace {

using std::chrono::seconds;

class FakeWorkers final : public HashPool::Workers {
 public:
  unsigned asked = 0;
  std::map<std::uint64_t, std::string> sent;
  std::vector<std::uint64_t> dropped;
  void connect() override { asked++; }
  void send(std::uint64_t worker, std::string_view line) override {
    sent[worker] = std::string(line);
  }
  void drop(std::uint64_t worker) override { dropped.push_back(worker); }
};

class Pool : public ::testing::Test {
 protected:
  HashJob job(const std::string& client, const std::string& password = "secret") {
    HashJob out;
    out.scheme = find_scheme("PLAIN");
    out.stored = Secret(std::string_view("secret"));
    out.password = Secret(password);
    out.client = client;
    return out;
  }
  std::uint64_t ask(const std::string& client, const std::string& password = "secret") {
    const std::size_t at = answers_.size();
    answers_.emplace_back();
    return pool_.verify(job(client, password), [this, at](VerifyResult r) { answers_[at] = r; });
  }
  void connected(std::uint64_t worker) {
    pool_.on_connected(worker);
    std::string greeting = worker_greeting();
    greeting.pop_back();
    pool_.on_line(worker, greeting);
  }
  /// What a worker would answer.
  void work(std::uint64_t worker) {
    std::string line = workers_.sent[worker];
    line.pop_back();
    const auto request = parse_worker_request(line);
    ASSERT_TRUE(request.has_value());
    WipingBuffer reply;
    write_worker_reply(reply, request->id,
                       verify_password(*request->job.scheme, request->job.stored.reveal(),
                                       request->job.password.reveal()));
    pool_.on_line(worker, reply.view().substr(0, reply.size() - 1));
  }

  FakeEnvironment env_;
  FakeWorkers workers_;
  HashPool pool_{env_, workers_, 2};
  std::vector<std::optional<VerifyResult>> answers_;
};

TEST_F(Pool, AsksForAsManyWorkersAsJobsWaitUpToItsLimit) {
  ask("a");
  EXPECT_EQ(workers_.asked, 1U);
  ask("b");
  ask("c");
  EXPECT_EQ(workers_.asked, 2U);
  connected(1);
  connected(2);
  EXPECT_EQ(pool_.queued(), 1U);
  work(1);
  EXPECT_EQ(answers_[0]->verdict, Verdict::match);
  work(1);
  work(2);
  EXPECT_EQ(answers_[1]->verdict, Verdict::match);
  EXPECT_EQ(answers_[2]->verdict, Verdict::match);
}

TEST_F(Pool, OneAddressWithManyGuessesDoesNotKeepOthersWaiting) {
  HashPool one(env_, workers_, 1);
  std::vector<std::string> order;
  for (int i = 0; i < 50; i++)
    one.verify(job("guesser"), [&](VerifyResult) { order.emplace_back("guesser"); });
  one.verify(job("honest"), [&](VerifyResult) { order.emplace_back("honest"); });
  one.on_connected(9);
  std::string greeting = worker_greeting();
  greeting.pop_back();
  one.on_line(9, greeting);
  for (int i = 0; i < 3; i++) {
    std::string line = workers_.sent[9];
    const std::string id = line.substr(0, line.find('\t'));
    one.on_line(9, id + "\tMATCH");
  }
  EXPECT_EQ(order, (std::vector<std::string>{"guesser", "honest", "guesser"}));
}

TEST_F(Pool, ADeadWorkerFailsItsJobOnlyAndIsReplaced) {
  ask("a");
  ask("b");
  connected(1);
  connected(2);
  pool_.on_closed(1);
  ASSERT_TRUE(answers_[0].has_value());
  EXPECT_EQ(answers_[0]->verdict, Verdict::failed);
  EXPECT_FALSE(answers_[1].has_value());
  work(2);
  EXPECT_EQ(answers_[1]->verdict, Verdict::match);
  ask("c");
  work(2);
  EXPECT_EQ(answers_[2]->verdict, Verdict::match);
}

TEST_F(Pool, AbortsWhatWaitsTooLongAndWarns) {
  HashPool pool(env_, workers_, 1);
  pool.on_connected(1);
  std::string greeting = worker_greeting();
  greeting.pop_back();
  pool.on_line(1, greeting);
  std::optional<VerifyResult> first, second;
  pool.verify(job("a"), [&](VerifyResult r) { first = r; });
  env_.advance(seconds(30));
  pool.verify(job("b"), [&](VerifyResult r) { second = r; });
  env_.advance(seconds(5));
  EXPECT_TRUE(std::ranges::any_of(env_.lines, [](const std::string& l) {
    return l.find("Auth request was queued for") != std::string::npos;
  }));
  env_.advance(seconds(30));
  ASSERT_TRUE(first.has_value());
  EXPECT_EQ(first->verdict, Verdict::failed);
  EXPECT_EQ(workers_.dropped, (std::vector<std::uint64_t>{1}));
  env_.advance(seconds(30));
  ASSERT_TRUE(second.has_value());
  EXPECT_EQ(second->verdict, Verdict::failed);
}

TEST_F(Pool, WithoutWorkersJobsFailSoonInsteadOfHanging) {
  ask("a");
  for (int i = 0; i < 3; i++) {
    pool_.on_connect_failed("no such service");
    env_.advance(seconds(2));
  }
  ASSERT_TRUE(answers_[0].has_value());
  EXPECT_EQ(answers_[0]->verdict, Verdict::failed);
}

TEST_F(Pool, ACancelledJobIsNotAnswered) {
  const std::uint64_t first = ask("a");
  const std::uint64_t second = ask("a");
  ask("a");
  connected(1);
  pool_.cancel(first);
  pool_.cancel(second);
  work(1);
  work(1);
  EXPECT_FALSE(answers_[0].has_value());
  EXPECT_FALSE(answers_[1].has_value());
  EXPECT_TRUE(answers_[2].has_value());
}

TEST_F(Pool, AWorkerThatTalksNonsenseIsDropped) {
  ask("a");
  pool_.on_connected(1);
  pool_.on_line(1, "VERSION\tdovecot\t1\t0");
  EXPECT_EQ(workers_.dropped, (std::vector<std::uint64_t>{1}));
  connected(2);
  pool_.on_line(2, "99\tMATCH");
  EXPECT_EQ(answers_[0]->verdict, Verdict::failed);
}

TEST(WorkerProtocol, CarriesEveryByte) {
  std::string all;
  for (int i = 0; i < 256; i++) all += static_cast<char>(i);
  HashJob job;
  job.scheme = find_scheme("ARGON2ID");
  job.stored = Secret(all);
  job.password = Secret(all + "\t\001t");
  WipingBuffer line;
  write_worker_request(line, 7, job);
  ASSERT_EQ(line.view().back(), '\n');
  EXPECT_EQ(line.view().find('\n'), line.size() - 1);
  const auto back = parse_worker_request(line.view().substr(0, line.size() - 1));
  ASSERT_TRUE(back.has_value());
  EXPECT_EQ(back->id, 7U);
  EXPECT_EQ(back->job.scheme, job.scheme);
  EXPECT_EQ(back->job.stored.reveal(), all);
  EXPECT_EQ(back->job.password.reveal(), all + "\t\001t");
}

TEST(WorkerProtocol, RefusesWhatIsNotOfIt) {
  for (const char* line :
       {"", "x", "0\tVERIFY\tPLAIN\ta\tb", "1\tVERIFY\tNONE\ta\tb", "1\tVERIFY\tPLAIN\ta",
        "1\tVERIFY\tPLAIN\ta\tb\tc", "1\tLOOKUP\tPLAIN\ta\tb"}) {
    EXPECT_FALSE(parse_worker_request(line).has_value()) << line;
  }
  for (const char* line : {"", "1", "1\tYES", "x\tMATCH", "1\tMATCH\ta\tb"}) {
    EXPECT_FALSE(parse_worker_reply(line).has_value()) << line;
  }
  EXPECT_EQ(parse_worker_reply("3\tBROKEN\tSSHA password is too short")->result.text,
            "SSHA password is too short");
}

}  // namespace
}  // namespace postern::auth
