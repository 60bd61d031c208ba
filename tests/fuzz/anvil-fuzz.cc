// Two clients of anvil, a line each in turn; when they are gone nothing of theirs is left.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "anvil/dialogue.h"
#include "lib/check.h"

// NOLINTNEXTLINE(readability-identifier-naming): libFuzzer's name
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace postern::anvil;
  const void* start = data;
  std::string_view bytes(static_cast<const char*>(start), size);
  State state;
  Dialogue one(state, 1);
  Dialogue two(state, 2);
  Now now{TimePoint() + std::chrono::hours(1), 1'000'000};
  postern::WipingBuffer out;
  for (Dialogue* dialogue : {&one, &two}) {
    POSTERN_CHECK(dialogue->on_line("VERSION\tanvil\t1\t0", now, out).ok());
  }
  bool first = true;
  while (!bytes.empty()) {
    const std::string_view line = bytes.substr(0, bytes.find('\n'));
    bytes.remove_prefix(std::min(bytes.size(), line.size() + 1));
    out.clear();
    static_cast<void>((first ? one : two).on_line(line, now, out).ok());
    if (!out.empty()) POSTERN_CHECK(out.view().ends_with('\n'));
    first = !first;
    now.unix_time++;
    now.steady += std::chrono::seconds(1);
  }
  state.counts.drop(1);
  state.counts.drop(2);
  POSTERN_CHECK(state.counts.entries() == 0);
  return 0;
}
