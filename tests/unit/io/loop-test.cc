#include "io/loop.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <optional>
#include <string>
#include <vector>

#include "io/socket.h"
#include "lib/handle.h"

namespace postern::io {
namespace {

using namespace std::chrono_literals;

std::pair<UniqueFd, UniqueFd> pair() {
  auto made = socket_pair(SOCK_STREAM);
  EXPECT_TRUE(made.ok());
  return std::move(made.value());
}

/// Counts what a watch, timer or signal tells.
struct Probe {
  std::vector<unsigned> ready;
  unsigned times = 0;
  std::string log;
  FdWatch* to_stop = nullptr;

  void on_ready(unsigned what) noexcept {
    ready.push_back(what);
    if (to_stop != nullptr) to_stop->stop();
  }
  void on_time() noexcept { ++times; }
  void on_signal(int number) noexcept { times += static_cast<unsigned>(number); }
  Callback<unsigned> readiness() { return Callback<unsigned>::to<&Probe::on_ready>(*this); }
  Callback<> time() { return Callback<>::to<&Probe::on_time>(*this); }
};

/// Runs turns without waiting; what is ready is told in them.
void turns(Loop& loop, int count = 3) {
  for (int i = 0; i < count; i++) loop.run_once(false);
}

TEST(FdWatch, TellsReadinessAgainUntilItIsRead) {
  Loop loop;
  auto [a, b] = pair();
  Probe probe;
  FdWatch watch;
  watch.start(loop, a.get(), probe.readiness());
  watch.want(FdWatch::kRead);
  turns(loop);
  EXPECT_TRUE(probe.ready.empty());
  ASSERT_EQ(write(b.get(), "x", 1), 1);
  turns(loop, 2);
  EXPECT_EQ(probe.ready, (std::vector<unsigned>{FdWatch::kRead, FdWatch::kRead}));
}

TEST(FdWatch, TellsOnlyWhatIsWanted) {
  Loop loop;
  auto [a, b] = pair();
  Probe probe;
  FdWatch watch;
  watch.start(loop, a.get(), probe.readiness());
  ASSERT_EQ(write(b.get(), "x", 1), 1);
  watch.want(FdWatch::kWrite);
  loop.run_once(true);
  EXPECT_EQ(probe.ready, std::vector<unsigned>{FdWatch::kWrite});
  watch.want(FdWatch::kRead | FdWatch::kWrite);
  loop.run_once(true);
  EXPECT_EQ(probe.ready.back(), FdWatch::kRead | FdWatch::kWrite);
  probe.ready.clear();
  watch.want(FdWatch::kNothing);
  turns(loop);
  EXPECT_TRUE(probe.ready.empty());
  watch.want(FdWatch::kRead);
  loop.run_once(true);
  EXPECT_EQ(probe.ready, std::vector<unsigned>{FdWatch::kRead});
}

/// The kernel's list of what an epoll descriptor watches has `fd` in it.
bool is_registered(int fd) {
  for (int epoll = 3; epoll < 64; epoll++) {
    const std::string path = "/proc/self/fdinfo/" + std::to_string(epoll);
    const UniqueFd info(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!info) continue;
    std::string text(8192, '\0');
    const ssize_t n = read(info.get(), text.data(), text.size());
    text.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
    char needle[32];
    snprintf(needle, sizeof needle, "tfd: %8d ", fd);
    if (text.find(needle) != std::string::npos) return true;
  }
  return false;
}

TEST(FdWatch, StaysRegisteredWhileReadingIsOffUntilSomethingComes) {
  Loop loop;
  auto [a, b] = pair();
  Probe probe;
  FdWatch watch;
  watch.start(loop, a.get(), probe.readiness());
  watch.want(FdWatch::kRead);
  turns(loop);
  watch.want(FdWatch::kNothing);
  turns(loop);
  EXPECT_TRUE(is_registered(a.get()));
  ASSERT_EQ(write(b.get(), "x", 1), 1);
  turns(loop);
  EXPECT_FALSE(is_registered(a.get()));
  EXPECT_TRUE(probe.ready.empty());
  watch.want(FdWatch::kRead);
  loop.run_once(true);
  EXPECT_EQ(probe.ready, std::vector<unsigned>{FdWatch::kRead});
}

TEST(FdWatch, TellsTheHangUpWithoutReadingEvenBehindUnreadBytes) {
  for (const bool unread : {false, true}) {
    SCOPED_TRACE(unread);
    Loop loop;
    auto [a, b] = pair();
    Probe probe;
    FdWatch watch;
    watch.start(loop, a.get(), probe.readiness());
    watch.want(FdWatch::kHangUp);
    turns(loop);
    if (unread) {
      ASSERT_EQ(write(b.get(), "x", 1), 1);
      turns(loop, 5);
      EXPECT_TRUE(probe.ready.empty());
    }
    b.reset();
    loop.run_once(true);
    ASSERT_FALSE(probe.ready.empty());
    EXPECT_EQ(probe.ready.front(), FdWatch::kHangUp);
  }
}

TEST(FdWatch, DoesNotSpinOnUnreadBytesWhileItWaitsForTheHangUp) {
  Loop loop;
  auto [a, b] = pair();
  Probe probe;
  Probe clock;
  FdWatch watch;
  watch.start(loop, a.get(), probe.readiness());
  watch.want(FdWatch::kHangUp);
  ASSERT_EQ(write(b.get(), "x", 1), 1);
  turns(loop, 3);
  Timer timer;
  timer.start(loop, clock.time());
  timer.set(50ms);
  unsigned count = 0;
  while (clock.times == 0) {
    loop.run_once(true);
    ++count;
  }
  EXPECT_LE(count, 3U);
}

TEST(FdWatch, TellsAResetToWhoWaitsForTheHangUp) {
  Loop loop;
  const UniqueFd listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_storage address{};
  const socklen_t length = Endpoint{*IpAddress::parse("127.0.0.1"), 0}.to_sockaddr(address);
  ASSERT_EQ(bind(listener.get(), reinterpret_cast<sockaddr*>(&address), length), 0);
  ASSERT_EQ(listen(listener.get(), 1), 0);
  auto client = connect_tcp(local_endpoint(listener.get()), {});
  ASSERT_TRUE(client.ok());
  auto accepted = accept_connection(listener.get());
  ASSERT_TRUE(accepted.ok());
  Probe probe;
  FdWatch watch;
  watch.start(loop, accepted.value().fd.get(), probe.readiness());
  watch.want(FdWatch::kHangUp);
  turns(loop);
  const linger now{1, 0};
  setsockopt(client.value().get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
  client.value().reset();
  loop.run_once(true);
  EXPECT_EQ(probe.ready, std::vector<unsigned>{FdWatch::kHangUp});
}

TEST(FdWatch, LeavesNothingBehindForADescriptorThatIsGivenAway) {
  Loop loop;
  auto [a, b] = pair();
  Probe probe;
  FdWatch watch;
  watch.start(loop, a.get(), probe.readiness());
  watch.want(FdWatch::kRead);
  turns(loop);
  const UniqueFd elsewhere(dup(a.get()));  // as another process would hold it
  watch.stop();
  EXPECT_FALSE(is_registered(a.get()));
  a.reset();
  ASSERT_EQ(write(b.get(), "x", 1), 1);
  Timer timer;
  Probe clock;
  timer.start(loop, clock.time());
  timer.set(30ms);
  unsigned count = 0;
  while (clock.times == 0) {
    loop.run_once(true);
    ++count;
  }
  EXPECT_LE(count, 2U);
  EXPECT_TRUE(probe.ready.empty());
}

TEST(FdWatch, MayBeStoppedInItsOwnCall) {
  Loop loop;
  auto [a, b] = pair();
  Probe probe;
  FdWatch watch;
  probe.to_stop = &watch;
  watch.start(loop, a.get(), probe.readiness());
  watch.want(FdWatch::kRead);
  ASSERT_EQ(write(b.get(), "x", 1), 1);
  turns(loop);
  EXPECT_EQ(probe.ready.size(), 1U);
  EXPECT_FALSE(watch.started());
}

TEST(Timer, FiresOnceAndMayBeSetAgain) {
  Loop loop;
  Probe probe;
  Timer timer;
  timer.start(loop, probe.time());
  EXPECT_FALSE(timer.armed());
  timer.set(1h);
  timer.set(5ms);
  EXPECT_TRUE(timer.armed());
  loop.run_once(true);
  EXPECT_EQ(probe.times, 1U);
  EXPECT_FALSE(timer.armed());
  timer.set(5ms);
  timer.cancel();
  EXPECT_FALSE(timer.armed());
}

TEST(SignalWatch, DeliversASignalAsAnEvent) {
  Loop loop;
  Probe probe;
  SignalWatch watch;
  watch.start(loop, SIGUSR2, Callback<int>::to<&Probe::on_signal>(probe));
  raise(SIGUSR2);
  loop.run_once(true);
  EXPECT_EQ(probe.times, static_cast<unsigned>(SIGUSR2));
}

struct Mortal {
  explicit Mortal(std::string& log) : log_(log) {}
  ~Mortal() { log_ += "destroyed "; }
  std::string& log_;
};

struct Caller {
  std::string log;
  Loop* loop = nullptr;
  Deferred* again = nullptr;
  void on_call() noexcept {
    log += "called ";
    if (again != nullptr) again->trigger();
  }
};

TEST(Loop, CallsWhatWasDeferredThenDestroysWhatWasRetired) {
  Loop loop;
  Caller caller;
  loop.retire(std::make_unique<Mortal>(caller.log));
  loop.defer(Callback<>::to<&Caller::on_call>(caller));
  EXPECT_EQ(caller.log, "");
  loop.run_once(true);  // does not wait: there is work
  EXPECT_EQ(caller.log, "called destroyed ");
}

TEST(Deferred, IsCalledOnceATurnAndCanBeTakenBack) {
  Loop loop;
  Caller caller;
  Deferred deferred;
  deferred.start(loop, Callback<>::to<&Caller::on_call>(caller));
  deferred.trigger();
  deferred.trigger();
  loop.run_once(false);
  EXPECT_EQ(caller.log, "called ");
  deferred.trigger();
  deferred.cancel();
  loop.run_once(false);
  EXPECT_EQ(caller.log, "called ");
  caller.again = &deferred;
  deferred.trigger();
  loop.run_once(true);
  EXPECT_EQ(caller.log, "called called ");
  caller.again = nullptr;
  loop.run_once(true);
  EXPECT_EQ(caller.log, "called called called ");
}

TEST(Deferred, OfARetiredObjectIsNotCalled) {
  struct Owner {
    explicit Owner(Loop& loop, Caller& caller) {
      deferred.start(loop, Callback<>::to<&Caller::on_call>(caller));
    }
    Deferred deferred;
  };
  Loop loop;
  Caller caller;
  auto owner = std::make_unique<Owner>(loop, caller);
  owner->deferred.trigger();
  loop.retire(std::move(owner));
  loop.run_once(false);
  EXPECT_EQ(caller.log, "");
}

TEST(Loop, GivesOneTimeATurn) {
  Loop loop;
  const TimePoint first = loop.now();
  EXPECT_EQ(first, loop.now());
  const std::uint64_t turn = loop.turn();
  usleep(2000);
  loop.run_once(false);
  EXPECT_EQ(loop.turn(), turn + 1);
  EXPECT_GT(loop.now(), first);
}

TEST(Loop, WatchesTheSameAfterAFork) {
  Loop loop;
  auto [a, b] = pair();
  Probe probe;
  FdWatch watch;
  watch.start(loop, a.get(), probe.readiness());
  watch.want(FdWatch::kRead);
  turns(loop);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    loop.after_fork();
    watch.stop();  // must not take it from the parent
    _exit(0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  ASSERT_EQ(write(b.get(), "x", 1), 1);
  loop.run_once(true);
  EXPECT_EQ(probe.ready.size(), 1U);
}

}  // namespace
}  // namespace postern::io
