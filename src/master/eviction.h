#pragma once

#include <map>
#include <utility>
#include <vector>

#include "master/service-machine.h"

/// Whose client goes when a service is full and somebody waits.
namespace postern::master {

/// Picks up to `needed` clients: one after another from the process that holds one of the holder
/// with the most connections over all processes, among such processes from the one that has been
/// busy for longest. A process whose clients are all being authenticated is left alone, and so is
/// one that has just said that it has nobody to send away. Where nothing is known of holders the
/// longest busy goes first.
/// @return how many clients of which process, by process id
std::vector<std::pair<ProcessId, unsigned>> choose_evictions(
    const std::map<ProcessId, ProcessRecord>& processes, unsigned needed, TimePoint now);

}  // namespace postern::master
