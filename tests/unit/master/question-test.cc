#include "master/question.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sysexits.h>

#include <algorithm>
#include <memory>
#include <optional>

#include "io/socket.h"
#include "lib/text.h"
#include "wire/channel.h"
#include "wire/tab-line.h"

namespace postern::master {
namespace {

/// Passes on what children say, as the supervisor does.
class Bench final : public ServiceRun::Host, public Child::Owner {
 public:
  Bench() : questions(loop), run(loop, *this, setup()) {}

  /// One child with its other end in our hands.
  struct Fake {
    std::unique_ptr<Child> child;
    UniqueFd peer;
  };
  Fake& add(pid_t pid) {
    auto pair = io::socket_pair(SOCK_SEQPACKET);
    EXPECT_TRUE(pair.ok());
    fakes.push_back(std::make_unique<Fake>());
    Fake& out = *fakes.back();
    Child::Owner& owner = *this;
    out.child = std::make_unique<Child>(loop, owner, ProcessId{fakes.size()}, pid,
                                        std::move(pair.value().first));
    out.peer = std::move(pair.value().second);
    return out;
  }
  std::uint64_t ask(const std::vector<std::string>& arguments = {}) {
    std::vector<std::pair<ServiceRun*, Child*>> children;
    for (const auto& fake : fakes) children.emplace_back(&run, fake->child.get());
    return questions.ask(
        children, wire::kSessions, arguments,
        {[this](const ServiceRun& of, pid_t pid, const RowMessage& row) {
           EXPECT_EQ(&of, &run);
           rows.push_back(std::to_string(pid) + ':' + row.fields.at(0).second);
         },
         [this](int the_code, const std::vector<std::string>& the_texts, unsigned is_silent) {
           ++ends;
           code = the_code;
           texts = the_texts;
           silent = is_silent;
         }});
  }
  /// The id of the call that `fake` was sent; checks its form.
  std::string hear_call(Fake& fake, const std::string& rest = "sessions") {
    const auto packet = io::receive_packet(fake.peer.get(), wire::kMaxPacket);
    if (!packet.ok()) {
      ADD_FAILURE() << "no call: " << packet.error().text;
      return {};
    }
    const std::string text(packet.value().bytes.view());
    const std::size_t tab = text.find('\t', 5);
    EXPECT_EQ(text.substr(0, 5), "call\t");
    EXPECT_EQ(text.substr(tab + 1), rest);
    const std::string id = text.substr(5, tab - 5);
    EXPECT_TRUE(decimal(id, 1, UINT64_MAX).has_value()) << text;
    return id;
  }
  void say(Fake& fake, const std::string& packet) {
    ASSERT_EQ(::send(fake.peer.get(), packet.data(), packet.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(packet.size()));
    for (int i = 0; i < 5; ++i) loop.run_once(false);
  }
  void die(Fake& fake) {
    fake.peer.reset();
    for (int i = 0; i < 5; ++i) loop.run_once(false);
    questions.on_child_gone(*fake.child);
  }

  io::Loop loop;
  Questions questions;
  ServiceRun run;
  std::vector<std::unique_ptr<Fake>> fakes;
  std::vector<std::string> rows;
  unsigned ends = 0;
  int code = -1;
  std::vector<std::string> texts;
  unsigned silent = 0;

 private:
  static ServiceSetup setup() {
    ServiceSetup out;
    out.settings.name = "imap-login";
    out.settings.type = config::ServiceType::login;
    return out;
  }
  void on_child_message(Child& child, ChildMessage message) noexcept override {
    if (const auto* row = std::get_if<RowMessage>(&message)) questions.on_row(run, child, *row);
    if (const auto* done = std::get_if<DoneMessage>(&message)) questions.on_done(child, *done);
  }
  void on_channel_end(Child& /*child*/, std::string_view /*why*/) noexcept override {}
  void on_child_started(ServiceRun& /*run*/, Child& /*child*/) noexcept override {}
  void on_child_ready(ServiceRun& /*run*/, Child& /*child*/) noexcept override {}
  void on_connect_request(ServiceRun& /*run*/, Child& /*child*/,
                          const ConnectMessage& /*request*/) noexcept override {}
  void on_row(ServiceRun& /*run*/, Child& /*child*/, RowMessage /*row*/) noexcept override {}
  void on_done(ServiceRun& /*run*/, Child& /*child*/,
               const DoneMessage& /*done*/) noexcept override {}
  void on_backend_message(ServiceRun& /*run*/, Child& /*child*/,
                          const ChildMessage& /*message*/) noexcept override {}
  void on_child_gone(ServiceRun& /*run*/, Child& /*child*/) noexcept override {}
};

TEST(Questions, RowsComeAtOnceAndTheEndWhenEverybodyHasAnswered) {
  Bench bench;
  Bench::Fake& one = bench.add(101);
  Bench::Fake& two = bench.add(102);
  bench.ask({"user=a\tb", "x"});
  const std::string first = bench.hear_call(one, "sessions\tuser=a\001tb\tx");
  const std::string second = bench.hear_call(two, "sessions\tuser=a\001tb\tx");
  EXPECT_NE(first, second);
  bench.say(two, "row\t" + second + "\tuser=c");
  EXPECT_EQ(bench.rows, (std::vector<std::string>{"102:c"}));
  bench.say(two, "done\t" + second + "\t0\t2");
  EXPECT_EQ(bench.ends, 0u);
  bench.say(one, "row\t" + first + "\tuser=a");
  bench.say(one, "row\t" + first + "\tuser=b");
  bench.say(one, "done\t" + first + "\t0\t1");
  EXPECT_EQ(bench.rows, (std::vector<std::string>{"102:c", "101:a", "101:b"}));
  EXPECT_EQ(bench.ends, 1u);
  EXPECT_EQ(bench.code, 0);
  EXPECT_EQ(bench.silent, 0u);
  EXPECT_EQ(bench.texts, (std::vector<std::string>{"2", "1"}));
}

TEST(Questions, NobodyToAskIsAnAnswerAtOnce) {
  Bench bench;
  bench.ask();
  EXPECT_EQ(bench.ends, 1u);
  EXPECT_EQ(bench.code, 0);
  EXPECT_TRUE(bench.texts.empty());
  EXPECT_EQ(bench.silent, 0u);
}

TEST(Questions, TheWorstCodeCounts) {
  Bench bench;
  Bench::Fake& one = bench.add(101);
  Bench::Fake& two = bench.add(102);
  bench.ask();
  const std::string first = bench.hear_call(one);
  const std::string second = bench.hear_call(two);
  bench.say(one, "done\t" + first + "\t75\tbusy");
  bench.say(two, "done\t" + second + "\t0");
  EXPECT_EQ(bench.ends, 1u);
  EXPECT_EQ(bench.code, EX_TEMPFAIL);
}

TEST(Questions, AnAnswerToACallThatWasNotItsOwnCountsForNothing) {
  Bench bench;
  Bench::Fake& one = bench.add(101);
  Bench::Fake& two = bench.add(102);
  bench.ask();
  const std::string first = bench.hear_call(one);
  const std::string second = bench.hear_call(two);
  bench.say(two, "row\t" + first + "\tuser=forged");
  bench.say(two, "done\t" + first + "\t0\t7");
  bench.say(two, "row\t999999\tuser=forged");
  bench.say(two, "done\t999999\t0\t7");
  bench.say(two, "done\t0\t0\t7");
  EXPECT_TRUE(bench.rows.empty());
  bench.say(two, "done\t" + second + "\t0\t0");
  EXPECT_EQ(bench.ends, 0u) << "the first has not answered";
  bench.say(one, "done\t" + first + "\t0\t3");
  EXPECT_EQ(bench.ends, 1u);
  EXPECT_EQ(bench.texts, (std::vector<std::string>{"0", "3"}));
}

TEST(Questions, ASecondAnswerCountsForNothing) {
  Bench bench;
  Bench::Fake& one = bench.add(101);
  Bench::Fake& two = bench.add(102);
  bench.ask();
  const std::string first = bench.hear_call(one);
  const std::string second = bench.hear_call(two);
  bench.say(one, "done\t" + first + "\t0\t1");
  bench.say(one, "done\t" + first + "\t0\t1");
  bench.say(one, "row\t" + first + "\tuser=late");
  EXPECT_EQ(bench.ends, 0u);
  EXPECT_TRUE(bench.rows.empty());
  bench.say(two, "done\t" + second + "\t0\t1");
  EXPECT_EQ(bench.ends, 1u);
  EXPECT_EQ(bench.texts.size(), 2u);
}

TEST(Questions, OneThatEndsIsSilentAndTheOthersAnswersStay) {
  Bench bench;
  Bench::Fake& one = bench.add(101);
  Bench::Fake& two = bench.add(102);
  bench.ask();
  const std::string first = bench.hear_call(one);
  bench.hear_call(two);
  bench.say(one, "row\t" + first + "\tuser=a");
  bench.say(one, "done\t" + first + "\t0");
  EXPECT_EQ(bench.ends, 0u);
  bench.die(two);
  EXPECT_EQ(bench.ends, 1u);
  EXPECT_EQ(bench.silent, 1u);
  EXPECT_EQ(bench.rows, (std::vector<std::string>{"101:a"}));
}

TEST(Questions, OneThatEndsAfterItsAnswerIsNotSilent) {
  Bench bench;
  Bench::Fake& one = bench.add(101);
  Bench::Fake& two = bench.add(102);
  bench.ask();
  const std::string first = bench.hear_call(one);
  const std::string second = bench.hear_call(two);
  bench.say(one, "done\t" + first + "\t0");
  bench.die(one);
  bench.say(two, "done\t" + second + "\t0");
  EXPECT_EQ(bench.ends, 1u);
  EXPECT_EQ(bench.silent, 0u);
}

TEST(Questions, OneThatEndsSettlesEveryQuestionItWasAsked) {
  Bench bench;
  Bench::Fake& one = bench.add(101);
  bench.ask();
  bench.ask();
  bench.die(one);
  EXPECT_EQ(bench.ends, 2u);
}

TEST(Questions, AfterCancelNothingIsHeardAnyMore) {
  Bench bench;
  Bench::Fake& one = bench.add(101);
  const std::uint64_t question = bench.ask();
  const std::string first = bench.hear_call(one);
  bench.questions.cancel(question);
  bench.questions.cancel(question);
  bench.say(one, "row\t" + first + "\tuser=a");
  bench.say(one, "done\t" + first + "\t0");
  bench.die(one);
  EXPECT_EQ(bench.ends, 0u);
  EXPECT_TRUE(bench.rows.empty());
}

TEST(Questions, CancelLeavesOtherQuestionsAlone) {
  Bench bench;
  Bench::Fake& one = bench.add(101);
  const std::uint64_t question = bench.ask();
  bench.hear_call(one);
  bench.ask();
  const std::string second = bench.hear_call(one);
  bench.questions.cancel(question);
  bench.say(one, "done\t" + second + "\t0\t4");
  EXPECT_EQ(bench.ends, 1u);
  EXPECT_EQ(bench.texts, (std::vector<std::string>{"4"}));
}

TEST(Questions, OneThatSaysNothingIsSilentAfterTheDeadline) {
  Bench bench;
  Bench::Fake& one = bench.add(101);
  Bench::Fake& two = bench.add(102);
  const io::TimePoint begin = io::Clock::now();
  bench.ask();
  const std::string first = bench.hear_call(one);
  const std::string second = bench.hear_call(two);
  bench.say(one, "done\t" + first + "\t0\t1");
  while (bench.ends == 0 && io::Clock::now() - begin < 4 * Questions::kDeadline) {
    bench.loop.run_once(true);
  }
  EXPECT_GE(io::Clock::now() - begin, Questions::kDeadline);
  ASSERT_EQ(bench.ends, 1u);
  EXPECT_EQ(bench.silent, 1u);
  EXPECT_EQ(bench.texts, (std::vector<std::string>{"1"}));
  bench.say(two, "row\t" + second + "\tuser=late");
  bench.say(two, "done\t" + second + "\t0\t1");
  EXPECT_EQ(bench.ends, 1u);
  EXPECT_TRUE(bench.rows.empty());
}

TEST(Questions, OneThatIsStillTalkingIsWaitedFor) {
  Bench bench;
  Bench::Fake& one = bench.add(101);
  const io::TimePoint begin = io::Clock::now();
  bench.ask();
  const std::string id = bench.hear_call(one);
  const auto until = [&](io::Milliseconds time) {
    while (io::Clock::now() - begin < time) {
      bench.loop.run_once(false);
      ::poll(nullptr, 0, 10);
    }
  };
  until(Questions::kDeadline / 2);
  bench.say(one, "row\t" + id + "\tuser=u1");
  until(Questions::kDeadline + io::Milliseconds{500});
  EXPECT_EQ(bench.ends, 0u);
  bench.say(one, "row\t" + id + "\tuser=u2");
  bench.say(one, "done\t" + id + "\t0");
  EXPECT_EQ(bench.ends, 1u);
  EXPECT_EQ(bench.silent, 0u);
  EXPECT_EQ(bench.rows.size(), 2u);
}

}  // namespace
}  // namespace postern::master
