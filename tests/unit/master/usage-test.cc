#include "master/usage.h"

#include <gtest/gtest.h>

namespace postern::master {
namespace {

using namespace std::chrono_literals;

ServiceLimits limits(unsigned processes, unsigned clients, unsigned sessions = 0) {
  ServiceLimits out;
  out.name = "imap-login";
  out.process_limit = processes;
  out.client_limit = clients;
  out.max_sessions = sessions;
  out.login = true;
  return out;
}

std::map<ProcessId, ProcessRecord> processes(unsigned count, unsigned clients, unsigned relaying) {
  std::map<ProcessId, ProcessRecord> out;
  for (unsigned i = 1; i <= count; ++i) {
    out[i].clients = clients;
    out[i].relaying = relaying;
  }
  return out;
}

std::string warning(const std::map<ProcessId, ProcessRecord>& all, const ServiceLimits& l) {
  return usage_warning(usage_of(all, l), l);
}

TEST(Usage, WarnsFromEightyPercent) {
  EXPECT_EQ(warning(processes(79, 1, 0), limits(100, 1)), "");
  EXPECT_EQ(warning(processes(80, 1, 0), limits(100, 1)),
            "service(imap-login): 80% of its room for clients is used (80 of 100; "
            "process_limit=100, client_limit=1)");
  EXPECT_EQ(warning(processes(2, 900, 0), limits(2, 1000)),
            "service(imap-login): 90% of its room for clients is used (1800 of 2000; "
            "process_limit=2, client_limit=1000)");
}

TEST(Usage, CountsSessionsWhereThereIsANumberOfThem) {
  EXPECT_EQ(warning(processes(2, 10, 390), limits(2, 1000)), "") << "relays take no slot";
  EXPECT_EQ(warning(processes(2, 10, 390), limits(2, 1000, 1000)),
            "service(imap-login): 80% of its room for sessions is used (800 of 1000; "
            "max_sessions=1000)");
}

TEST(Usage, CountsProcessesThatOnlyRelay) {
  ServiceLimits l = limits(100, 1);
  l.service_count = 1;
  l.relay_limit = 100;
  EXPECT_EQ(warning(processes(159, 0, 1), l), "");
  EXPECT_EQ(warning(processes(160, 0, 1), l),
            "service(imap-login): 80% of its room for processes is used (160 of 200; "
            "process_limit=100, and 100 that only relay)");
}

TEST(Usage, SaysNothingWhereOneClientIsMuch) {
  EXPECT_EQ(warning(processes(1, 1, 0), limits(1, 1)), "");
  EXPECT_EQ(warning(processes(1, 5, 0), limits(1, 5)), "");
  EXPECT_EQ(usage_of(processes(1, 5, 0), limits(1, 5)).percent(), 100U);
}

TEST(Usage, IsWarnedOfOnceAMinute) {
  ServiceMachine machine(limits(2, 10));
  TimePoint now{1000h};
  const ProcessId id = machine.started(now, 1);
  const auto warned = [&machine, &now]() {
    const Plan plan = machine.next(now);
    return !plan.lines.empty() && plan.lines[0].level == log::Level::warning &&
           plan.lines[0].text.find("90% of its room") != std::string::npos;
  };
  machine.on_status(id, 1, 9, 0, now);
  EXPECT_FALSE(warned()) << "the other half is free";
  machine.on_status(machine.started(now, 2), 1, 9, 0, now);
  EXPECT_TRUE(warned());
  for (int i = 0; i < 59; ++i) {
    now += 1s;
    machine.on_status(id, 2, 8, 0, now);
    machine.next(now);
    machine.on_status(id, 1, 9, 0, now);
    EXPECT_FALSE(warned()) << i;
  }
  now += 1s;
  EXPECT_TRUE(warned());
}

}  // namespace
}  // namespace postern::master
