#pragma once

#include <string_view>
#include <vector>

namespace postern::config {

/// The candidate that `word` most likely was meant to be (fewest insertions, deletions, changes and
/// swaps of neighbours, case aside); empty if none is near. The view is the candidate's.
std::string_view closest(std::string_view word, const std::vector<std::string_view>& candidates);

}  // namespace postern::config
