#include "master/eviction.h"

#include <algorithm>
#include <string_view>

namespace postern::master {
namespace {

struct Candidate {
  const ProcessRecord* process = nullptr;
  unsigned left = 0;  // clients that may still be asked for
  unsigned held = 0;  // of them, those of the process's busiest holder
  unsigned asked = 0;
};

bool may_evict(const ProcessRecord& process, TimePoint now) noexcept {
  return !process.is_template && process.phase == Phase::ready && process.busy_since &&
         !(process.refused_until && now < *process.refused_until);
}

}  // namespace

std::vector<std::pair<ProcessId, unsigned>> choose_evictions(
    const std::map<ProcessId, ProcessRecord>& processes, unsigned needed, TimePoint now) {
  std::vector<Candidate> candidates;
  std::map<std::string_view, unsigned> holders;
  for (const auto& [id, process] : processes) {
    if (!may_evict(process, now)) continue;
    // Where more is known, it may be that of a moment ago; the process decides in the end.
    const unsigned left = process.evictable.known ? process.evictable.clients : process.clients;
    if (left == 0) continue;
    candidates.push_back({&process, left, process.evictable.held, 0});
    if (process.evictable.held > 0) holders[process.evictable.holder] += process.evictable.held;
  }
  std::sort(candidates.begin(), candidates.end(), [](const Candidate& a, const Candidate& b) {
    const auto age = [](const Candidate& c) {
      return std::pair(*c.process->busy_since, c.process->id);
    };
    return age(a) < age(b);
  });
  for (; needed > 0; --needed) {
    Candidate* best = nullptr;
    unsigned most = 0;
    for (Candidate& candidate : candidates) {
      if (candidate.left == 0) continue;
      const unsigned holds = candidate.held > 0 ? holders[candidate.process->evictable.holder] : 0;
      if (best != nullptr && holds <= most) continue;
      best = &candidate;
      most = holds;
    }
    if (best == nullptr) break;
    --best->left;
    ++best->asked;
    if (best->held > 0) {
      --best->held;
      --holders[best->process->evictable.holder];
    }
  }
  std::vector<std::pair<ProcessId, unsigned>> out;
  for (const Candidate& candidate : candidates) {
    if (candidate.asked > 0) out.emplace_back(candidate.process->id, candidate.asked);
  }
  std::sort(out.begin(), out.end());
  return out;
}

}  // namespace postern::master
