// What a process that was taken over could write to its log pipe. The first byte says in what
// pieces it comes.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "lib/check.h"
#include "log/line-reader.h"

// NOLINTNEXTLINE(readability-identifier-naming): libFuzzer's name
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using postern::log::LineReader;
  if (size == 0) return 0;
  const std::size_t piece = data[0] == 0 ? size : data[0];
  const void* start = data + 1;
  std::string_view bytes(static_cast<const char*>(start), size - 1);
  const LineReader::Sink check = [](const postern::log::Line& line) {
    POSTERN_CHECK(line.pid >= 0 && line.text.size() <= 8 * LineReader::kMaxLine + 32);
    for (const char c : line.text) {
      POSTERN_CHECK(static_cast<unsigned char>(c) >= 0x20 && c != 0x7f);
    }
  };
  LineReader reader;
  while (!bytes.empty()) {
    const std::size_t n = std::min(piece, bytes.size());
    reader.feed(bytes.substr(0, n), check);
    bytes.remove_prefix(n);
  }
  reader.end(check);
  POSTERN_CHECK(!reader.unfinished());
  return 0;
}
