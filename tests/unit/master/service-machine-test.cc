#include "master/service-machine.h"

#include <gtest/gtest.h>

#include <csignal>

namespace postern::master {
namespace {

using namespace std::chrono_literals;

/// A machine with a clock in the test's hand.
class Bench {
 public:
  explicit Bench(ServiceLimits limits) : machine(std::move(limits)) {}

  Plan turn(std::chrono::milliseconds later = 0ms) {
    now += later;
    Plan plan = machine.next(now);
    for (unsigned i = 0; i < plan.start; ++i) ids.push_back(machine.started(now, next_pid++));
    for (unsigned i = 0; i < plan.fork; ++i) ids.push_back(machine.started(now, 0));
    if (plan.start_template) template_id = machine.started(now, next_pid++, true);
    return plan;
  }
  void ready(ProcessId id) { machine.on_ready(id, now); }
  void status(ProcessId id, unsigned available, unsigned clients, unsigned relaying) {
    machine.on_status(id, available, clients, relaying, now);
  }
  void end(ProcessId id, int code, bool by_signal = false) {
    machine.on_end(id, ProcessEnd{by_signal, code}, now);
  }

  TimePoint now{1000h};
  ServiceMachine machine;
  std::vector<ProcessId> ids;
  ProcessId template_id = 0;
  pid_t next_pid = 100;
};

ServiceLimits limits() {
  ServiceLimits out;
  out.name = "imap-login";
  out.process_limit = 3;
  out.client_limit = 1;
  out.service_count = 1;
  out.login = true;
  return out;
}

bool says(const Plan& plan, std::string_view text) {
  for (const PlanLine& line : plan.lines) {
    if (line.text == text) return true;
  }
  return false;
}

TEST(ServiceMachine, KeepsTheMinimumAvailable) {
  ServiceLimits l = limits();
  l.process_min_avail = 2;
  Bench b(l);
  EXPECT_EQ(b.turn().start, 2u);
  EXPECT_EQ(b.turn().start, 0u);
  b.ready(b.ids[0]);
  b.ready(b.ids[1]);
  b.status(b.ids[0], 0, 1, 0);
  EXPECT_EQ(b.turn().start, 1u);
  b.end(b.ids[1], SIGSEGV, true);
  EXPECT_EQ(b.turn().start, 1u);
}

TEST(ServiceMachine, NeverStartsMoreThanTheLimit) {
  ServiceLimits l = limits();
  l.process_min_avail = 3;
  Bench b(l);
  b.turn();
  for (ProcessId id : b.ids) b.status(id, 0, 1, 0);
  const Plan plan = b.turn();
  EXPECT_EQ(plan.start, 0u);
  EXPECT_TRUE(plan.watch_listeners);
  EXPECT_EQ(b.machine.counted(), 3u);
}

TEST(ServiceMachine, StartsAtMostTenATurnAndComesBackForTheRest) {
  ServiceLimits l = limits();
  l.process_limit = 100;
  l.process_min_avail = 25;
  Bench b(l);
  Plan plan = b.turn();
  EXPECT_EQ(plan.start, 10u);
  EXPECT_EQ(plan.wake, b.now);
  EXPECT_EQ(b.turn().start, 10u);
  EXPECT_EQ(b.turn().start, 5u);
  EXPECT_EQ(b.turn().start, 0u);
}

TEST(ServiceMachine, StartsWhenSomebodyWaitsAndNobodyHasRoom) {
  Bench b(limits());
  Plan plan = b.turn();
  EXPECT_EQ(plan.start, 0u);
  EXPECT_TRUE(plan.watch_listeners);
  b.machine.waiting(1);
  plan = b.turn();
  EXPECT_EQ(plan.start, 1u);
  EXPECT_FALSE(plan.watch_listeners);  // the new one will take it
  b.ready(b.ids[0]);
  EXPECT_FALSE(b.turn().watch_listeners);
  b.status(b.ids[0], 0, 1, 0);
  EXPECT_TRUE(b.turn().watch_listeners);
}

TEST(ServiceMachine, StartsAsManyAsWaitUpToTheLimit) {
  Bench b(limits());
  b.machine.waiting(7);
  EXPECT_EQ(b.turn().start, 3u);
}

TEST(ServiceMachine, RelaysDoNotCountAgainstTheLimit) {
  Bench b(limits());
  for (int i = 0; i < 50; ++i) {
    b.machine.waiting(1);
    const Plan plan = b.turn();
    ASSERT_EQ(plan.start, 1u) << i;
    b.status(b.ids.back(), 0, 1, 0);
    b.status(b.ids.back(), 0, 0, 1);
  }
  EXPECT_EQ(b.machine.counted(), 0u);
  EXPECT_EQ(b.machine.processes().size(), 50u);
}

TEST(ServiceMachine, RelaysHaveTheirOwnLimit) {
  ServiceLimits l = limits();
  l.relay_limit = 2;
  Bench b(l);
  for (int i = 0; i < 5; ++i) {
    b.machine.waiting(1);
    ASSERT_EQ(b.turn().start, 1u);
    b.status(b.ids.back(), 0, 0, 1);
  }
  b.machine.waiting(1);
  EXPECT_EQ(b.turn().start, 0u);
}

TEST(ServiceMachine, BacksOffAfterFailedStartsUpToAMinute) {
  ServiceLimits l = limits();
  l.process_min_avail = 1;
  Bench b(l);
  for (const auto seconds : {2, 4, 8, 16, 32, 60, 60}) {
    SCOPED_TRACE(seconds);
    ASSERT_EQ(b.turn().start, 1u);
    b.end(b.ids.back(), 1);
    Plan plan = b.turn();
    EXPECT_TRUE(says(plan, "service(imap-login): command startup failed, throttling for " +
                               std::to_string(seconds) + ".000 secs"));
    EXPECT_EQ(plan.start, 0u);
    EXPECT_FALSE(plan.watch_listeners);
    EXPECT_EQ(plan.wake, b.now + std::chrono::seconds(seconds));
    plan = b.turn(std::chrono::seconds(seconds) - 1ms);
    EXPECT_EQ(plan.start, 0u);
    b.now += 1ms;
  }
}

TEST(ServiceMachine, AnExitBeforeReadyIsAFailureWhateverItsStatus) {
  ServiceLimits l = limits();
  l.process_min_avail = 1;
  Bench b(l);
  b.turn();
  b.end(b.ids[0], 0);
  EXPECT_EQ(b.turn().start, 0u);
  EXPECT_EQ(b.machine.throttle(), 2s);
}

TEST(ServiceMachine, AStartThatSucceedsEndsTheBackOff) {
  ServiceLimits l = limits();
  l.process_min_avail = 1;
  Bench b(l);
  b.turn();
  b.end(b.ids[0], 1);
  b.turn();
  b.turn(2s);
  b.ready(b.ids[1]);
  b.end(b.ids[1], SIGKILL, true);
  EXPECT_EQ(b.turn().start, 1u);
  b.end(b.ids[2], 1);
  b.turn();
  EXPECT_EQ(b.machine.throttle(), 2s);
}

TEST(ServiceMachine, KillsWhoIsNotReadyInTimeAndBacksOff) {
  ServiceLimits l = limits();
  l.process_min_avail = 1;
  Bench b(l);
  Plan plan = b.turn();
  plan = b.turn();
  EXPECT_EQ(plan.wake, b.now + 30s);
  plan = b.turn(30s - 1ms);
  EXPECT_TRUE(plan.kill.empty());
  plan = b.turn(1ms);
  ASSERT_EQ(plan.kill.size(), 1u);
  EXPECT_TRUE(says(plan,
                   "service(imap-login): Initial status notification not received in 30 seconds, "
                   "killing the process"));
  EXPECT_TRUE(b.turn().kill.empty());  // once
  b.end(b.ids[0], SIGKILL, true);
  EXPECT_EQ(b.turn().start, 0u);
  EXPECT_EQ(b.machine.throttle(), 2s);
}

TEST(ServiceMachine, ManyCrashesAfterReadyThrottleOnlyAServiceThatNeverWorked) {
  for (const bool worked : {false, true}) {
    SCOPED_TRACE(worked);
    ServiceLimits l = limits();
    l.process_min_avail = 1;
    Bench b(l);
    b.turn();
    if (worked) {
      b.ready(b.ids.back());
      b.end(b.ids.back(), 0);
      b.turn();
    }
    for (int i = 0; i < 11; ++i) {
      ASSERT_EQ(b.machine.throttle(), 0s) << i;
      b.ready(b.ids.back());
      b.end(b.ids.back(), SIGSEGV, true);
      b.turn();
    }
    EXPECT_EQ(b.machine.throttle() > 0s, !worked);
  }
}

TEST(ServiceMachine, DrainsIdleProcessesDownToTheMinimum) {
  ServiceLimits l = limits();
  l.process_min_avail = 1;
  l.idle_kill = 60s;
  Bench b(l);
  b.machine.waiting(3);
  b.turn();
  b.turn();
  ASSERT_EQ(b.ids.size(), 3u);
  for (ProcessId id : b.ids) b.ready(id);
  b.status(b.ids[1], 1, 0, 1);  // relays and has room: not idle
  Plan plan = b.turn(59s);
  EXPECT_TRUE(plan.drain.empty());
  plan = b.turn(1s);
  EXPECT_EQ(plan.drain, (std::vector<ProcessId>{b.ids[0], b.ids[2]}));
  EXPECT_EQ(b.machine.with_room(), 1u);
  b.end(b.ids[0], 0);
  EXPECT_EQ(b.turn().start, 0u);
}

TEST(ServiceMachine, WarnsAtMostOnceASecondAndEvictsTheOldest) {
  Bench b(limits());
  for (int i = 0; i < 3; ++i) {
    b.machine.waiting(1);
    b.turn(10ms);
    b.status(b.ids.back(), 0, 1, 0);
  }
  b.machine.waiting(1);
  Plan plan = b.turn(10ms);
  EXPECT_TRUE(says(plan,
                   "service(imap-login): process_limit (3) reached, client connections are being "
                   "dropped"));
  ASSERT_EQ(plan.evict.size(), 1u);
  EXPECT_EQ(plan.evict[0], (std::pair<ProcessId, unsigned>{b.ids[0], 1u}));
  EXPECT_FALSE(plan.watch_listeners);  // until the eviction shows
  b.end(b.ids[0], 0);
  plan = b.turn(1ms);
  EXPECT_TRUE(plan.watch_listeners);
  b.machine.waiting(1);
  plan = b.turn();
  EXPECT_EQ(plan.start, 1u);
  b.status(b.ids.back(), 0, 1, 0);
  b.turn();
  b.machine.waiting(1);
  plan = b.turn(1ms);
  EXPECT_TRUE(plan.lines.empty());
  ASSERT_EQ(plan.evict.size(), 1u);
  EXPECT_EQ(plan.evict[0].first, b.ids[1]);
}

TEST(ServiceMachine, EvictsAsManyAsWait) {
  ServiceLimits l = limits();
  l.process_limit = 2;
  l.client_limit = 5;
  l.service_count = 0;
  Bench b(l);
  b.machine.waiting(2);
  b.turn();
  b.status(b.ids[0], 0, 5, 0);
  b.machine.waiting(1);
  b.turn(1ms);
  b.status(b.ids[1], 0, 5, 0);
  b.machine.waiting(7);
  const Plan plan = b.turn();
  ASSERT_EQ(plan.evict.size(), 2u);
  EXPECT_EQ(plan.evict[0], (std::pair<ProcessId, unsigned>{b.ids[0], 5u}));
  EXPECT_EQ(plan.evict[1], (std::pair<ProcessId, unsigned>{b.ids[1], 2u}));
}

/// Full processes of one client each: `holders` says where these come from.
std::vector<ProcessId> fill(Bench& b, const std::vector<std::string>& holders) {
  for (const std::string& holder : holders) {
    b.machine.waiting(1);
    b.turn(10ms);
    b.machine.on_status(b.ids.back(), 0, 1, 0, b.now, {true, 1, holder, 1});
  }
  return b.ids;
}

TEST(ServiceMachine, EvictsTheOldestOfTheBusiestHolder_T_NET_01) {
  ServiceLimits l = limits();
  l.process_limit = 5;
  Bench b(l);
  const auto ids = fill(b, {"192.0.2.9", "192.0.2.1", "192.0.2.2", "192.0.2.1", "192.0.2.2"});
  b.machine.waiting(3);
  using Asked = std::vector<std::pair<ProcessId, unsigned>>;
  // Two holders have two each; of these the older, then the other's, then who came first.
  EXPECT_EQ(b.turn().evict, (Asked{{ids[0], 1}, {ids[1], 1}, {ids[2], 1}}));
}

TEST(ServiceMachine, WhoIsBeingAuthenticatedIsNotEvicted_T_NET_01) {
  ServiceLimits l = limits();
  l.process_limit = 3;
  Bench b(l);
  const auto ids = fill(b, {"192.0.2.1", "192.0.2.1", "192.0.2.2"});
  b.machine.waiting(1);
  ASSERT_EQ(b.turn().evict.size(), 1U);
  // The process says that its client has begun to log in: the next one is asked at once.
  b.machine.on_status(ids[0], 0, 1, 0, b.now, {true, 0, "", 0});
  b.machine.waiting(1);
  const Plan plan = b.turn(1ms);
  ASSERT_EQ(plan.evict.size(), 1U);
  EXPECT_EQ(plan.evict[0].first, ids[1]);
  EXPECT_EQ(b.machine.find(ids[0])->phase, Phase::ready);
}

TEST(ServiceMachine, EvictsFromTheProcessThatHoldsMostOfTheBusiestHolder) {
  ServiceLimits l = limits();
  l.process_limit = 2;
  l.client_limit = 5;
  l.service_count = 0;
  Bench b(l);
  b.machine.waiting(2);
  b.turn();
  b.machine.on_status(b.ids[0], 0, 5, 0, b.now, {true, 5, "192.0.2.1", 2});
  b.machine.waiting(1);
  b.turn(1ms);
  b.machine.on_status(b.ids[1], 0, 5, 0, b.now, {true, 4, "192.0.2.2", 4});
  b.machine.waiting(3);
  const Plan plan = b.turn();
  ASSERT_EQ(plan.evict.size(), 2U);
  EXPECT_EQ(plan.evict[0], (std::pair<ProcessId, unsigned>{b.ids[0], 1U}));  // then they are even
  EXPECT_EQ(plan.evict[1], (std::pair<ProcessId, unsigned>{b.ids[1], 2U}));
}

TEST(ServiceMachine, AnEvictionThatDoesNotHappenIsTriedAgainAfterASecond) {
  ServiceLimits l = limits();
  l.process_limit = 1;
  Bench b(l);
  b.machine.waiting(1);
  b.turn();
  b.status(b.ids[0], 0, 1, 0);
  b.machine.waiting(1);
  Plan plan = b.turn();
  EXPECT_TRUE(says(plan,
                   "service(imap-login): client_limit/service_count (1) reached, client "
                   "connections are being dropped"));
  EXPECT_EQ(plan.wake, b.now + 1s);
  b.machine.waiting(1);
  EXPECT_TRUE(b.turn(500ms).evict.empty());
  EXPECT_TRUE(b.turn(500ms).watch_listeners);
  b.machine.waiting(1);
  EXPECT_EQ(b.turn().evict.size(), 1u);
}

TEST(ServiceMachine, RefusesNewcomersAfterTenSecondsWithNobodyToEvict) {
  ServiceLimits l = limits();
  l.process_limit = 1;
  l.relay_limit = 0;
  Bench b(l);
  b.machine.waiting(1);
  b.turn();
  b.status(b.ids[0], 0, 0, 1);
  std::chrono::milliseconds waited{0};
  while (true) {
    b.machine.waiting(1);
    const Plan plan = b.turn(100ms);
    ASSERT_TRUE(plan.evict.empty());
    if (plan.refuse) break;
    waited += 100ms;
    ASSERT_LE(waited, 11s);
  }
  EXPECT_GE(waited, 10s);
}

TEST(ServiceMachine, AWorkerServiceReachesItsLimitSilently) {
  ServiceLimits l = limits();
  l.process_limit = 1;
  l.login = false;
  l.worker = true;
  Bench b(l);
  b.machine.waiting(1);
  b.turn();
  b.status(b.ids[0], 0, 1, 0);
  b.machine.waiting(1);
  const Plan plan = b.turn();
  EXPECT_TRUE(plan.lines.empty());
  EXPECT_FALSE(plan.watch_listeners);
  EXPECT_EQ(plan.wake, b.now + 100ms);
}

TEST(ServiceMachine, AProcessThatUsedUpItsCountIsReplaced) {
  ServiceLimits l = limits();
  l.process_min_avail = 1;
  Bench b(l);
  b.turn();
  b.ready(b.ids[0]);
  b.status(b.ids[0], 0, 0, 1);
  b.machine.on_finished(b.ids[0], b.now);
  EXPECT_EQ(b.turn().start, 1u);
  EXPECT_EQ(b.machine.find(b.ids[0])->phase, Phase::draining);
  b.end(b.ids[0], 1);  // how it ends does not matter to the back-off
  EXPECT_EQ(b.machine.throttle(), 0s);
}

/// Such a one needs no certificates any more.
TEST(ServiceMachine, KnowsWhoOnlyRelays) {
  Bench b(limits());
  b.machine.waiting(1);
  b.turn();
  const ProcessId id = b.ids.at(0);
  EXPECT_FALSE(b.machine.only_relays(id)) << "starting";
  b.ready(id);
  b.status(id, 0, 1, 0);
  EXPECT_FALSE(b.machine.only_relays(id)) << "has a client before login";
  b.status(id, 0, 0, 1);
  EXPECT_FALSE(b.machine.only_relays(id)) << "may take another client when this one has gone";
  b.machine.on_finished(id, b.now);
  EXPECT_TRUE(b.machine.only_relays(id));
  b.end(id, 0);
  EXPECT_FALSE(b.machine.only_relays(id)) << "has ended";
}

TEST(ServiceMachine, ATemplateIsStartedFirstAndAskedForCopies) {
  ServiceLimits l = limits();
  l.process_min_avail = 2;
  l.use_template = true;
  Bench b(l);
  Plan plan = b.turn();
  EXPECT_TRUE(plan.start_template);
  EXPECT_EQ(plan.start + plan.fork, 0u);
  plan = b.turn();
  EXPECT_FALSE(plan.start_template);
  EXPECT_EQ(plan.fork, 0u);
  EXPECT_FALSE(plan.watch_listeners);
  b.ready(b.template_id);
  plan = b.turn();
  EXPECT_EQ(plan.fork, 2u);
  EXPECT_EQ(b.machine.with_room(), 2u);
  EXPECT_TRUE(b.machine.forked(b.ids[0], 500));
  EXPECT_FALSE(b.machine.forked(b.ids[0], 501));  // once
  EXPECT_FALSE(b.machine.forked(4711, 501));
  // The template dies and a new one is started; the copy it had not yet made ends.
  b.end(b.template_id, SIGKILL, true);
  plan = b.turn();
  EXPECT_TRUE(plan.start_template);
  b.end(b.ids[1], 70);
  EXPECT_EQ(b.machine.find(b.ids[1]), nullptr);
  b.ready(b.template_id);
  EXPECT_EQ(b.machine.throttle(), 0ms);
  EXPECT_EQ(b.turn().fork, 1u);
}

TEST(ServiceMachine, ACopyWhoseTemplateDiedBeforeItSpokeIsKnown) {
  ServiceLimits l = limits();
  l.process_min_avail = 1;
  l.use_template = true;
  Bench b(l);
  b.turn();
  b.ready(b.template_id);
  ASSERT_EQ(b.turn().fork, 1u);
  b.end(b.template_id, SIGKILL, true);
  b.turn();
  EXPECT_TRUE(b.machine.forked(b.ids[0], 500));
  b.ready(b.ids[0]);
  ASSERT_NE(b.machine.find(b.ids[0]), nullptr);
  EXPECT_EQ(b.machine.find(b.ids[0])->phase, Phase::ready);
  b.end(b.ids[0], SIGSEGV, true);
  EXPECT_EQ(b.machine.failures(), 2u) << "its own end counts like any other's";
}

TEST(ServiceMachine, ACopyThatNobodyMadeIsForgottenWithoutHarmToTheNextTemplate) {
  ServiceLimits l = limits();
  l.process_min_avail = 1;
  l.use_template = true;
  Bench b(l);
  b.turn();
  b.ready(b.template_id);
  ASSERT_EQ(b.turn().fork, 1u);
  b.end(b.template_id, SIGKILL, true);
  b.turn();
  b.ready(b.template_id);
  const Plan plan = b.turn(30s);
  EXPECT_TRUE(plan.kill.empty());
  EXPECT_EQ(b.machine.find(b.ids[0]), nullptr);
  EXPECT_EQ(plan.fork, 1u);
}

TEST(ServiceMachine, StartsOnlyAsManyAsHaveRoomForThoseWhoWait) {
  ServiceLimits l = limits();
  l.process_limit = 100;
  l.client_limit = 1000;
  l.service_count = 0;
  Bench b(l);
  b.machine.waiting(300);
  EXPECT_EQ(b.turn().start, 1u);
  b.status(b.ids[0], 0, 1000, 0);
  b.machine.waiting(1001);
  EXPECT_EQ(b.turn().start, 2u);
}

TEST(ServiceMachine, ATemplateThatDoesNotAnswerIsKilled) {
  ServiceLimits l = limits();
  l.process_min_avail = 1;
  l.use_template = true;
  Bench b(l);
  b.turn();
  b.ready(b.template_id);
  EXPECT_EQ(b.turn().fork, 1u);
  const Plan plan = b.turn(30s);
  EXPECT_EQ(plan.kill, std::vector<ProcessId>{b.template_id});
}

TEST(ServiceMachine, DrainTellsEveryProcessOnceAndStartsNothing) {
  ServiceLimits l = limits();
  l.process_min_avail = 2;
  Bench b(l);
  b.turn();
  b.ready(b.ids[0]);
  b.machine.drain();
  b.machine.waiting(1);
  Plan plan = b.turn();
  EXPECT_EQ(plan.drain, b.ids);
  EXPECT_EQ(plan.start, 0u);
  EXPECT_FALSE(plan.watch_listeners);
  EXPECT_TRUE(b.turn().drain.empty());
  b.end(b.ids[0], 0);
  b.end(b.ids[1], SIGTERM, true);
  EXPECT_TRUE(b.machine.empty());
  EXPECT_EQ(b.turn().start, 0u);
  EXPECT_EQ(b.machine.failures(), 0u);
}

// Whatever the children say and however they end: never more processes than allowed, and while
// nothing has room and nothing is under way the machine watches or wakes up again.
TEST(ServiceMachine, NoSequenceOfEventsBreaksTheLimitsOrStallsTheService) {
  unsigned random = 12345;
  const auto pick = [&random](unsigned n) {
    random = random * 1664525u + 1013904223u;
    return (random >> 16) % n;
  };
  for (unsigned service_count = 0; service_count <= 3; ++service_count) {
    for (unsigned client_limit : {1u, 3u}) {
      ServiceLimits l = limits();
      l.service_count = service_count;
      l.client_limit = client_limit;
      l.process_min_avail = pick(3);
      l.relay_limit = 4;
      Bench b(l);
      for (int step = 0; step < 3000; ++step) {
        std::vector<ProcessId> living;
        for (const auto& [id, process] : b.machine.processes()) living.push_back(id);
        const ProcessId id =
            living.empty() ? 0 : living[pick(static_cast<unsigned>(living.size()))];
        switch (pick(6)) {
          case 0:
            b.ready(id);
            break;
          case 1:
            b.status(id, pick(client_limit + 1), pick(client_limit + 1), pick(3));
            break;
          case 2:
            b.machine.on_finished(id, b.now);
            break;
          case 3:
            b.end(id, static_cast<int>(pick(2)), pick(2) == 0);
            break;
          case 4:
            b.machine.waiting(pick(5));
            break;
          default:
            break;
        }
        const Plan plan = b.turn(std::chrono::milliseconds(pick(3000)));
        ASSERT_LE(b.machine.processes().size(), std::size_t{l.process_limit} + l.relay_limit);
        const bool under_way = plan.start > 0 || b.machine.with_room() > 0;
        ASSERT_TRUE(plan.watch_listeners || plan.wake || under_way);
      }
    }
  }
}

TEST(EndText, UsesDovecotsWords) {
  EXPECT_EQ(end_text("auth", 7, {false, 0}, false), "");
  EXPECT_EQ(end_text("auth", 7, {false, 1}, false), "service(auth): child 7 returned error 1");
  EXPECT_EQ(end_text("auth", 7, {false, 78}, false),
            "service(auth): child 7 returned error 78 (Bad configuration)");
  EXPECT_EQ(end_text("imap-login", 31399, {true, SIGSEGV}, false),
            "service(imap-login): child 31399 killed with signal 11 (core dumps disabled)");
  EXPECT_EQ(end_text("anvil", 31369, {true, SIGKILL}, false),
            "service(anvil): child 31369 killed with signal 9");
}

}  // namespace
}  // namespace postern::master
