// Run when the build is configured: can the limits of the libinih at hand be raised at run time?
#include <ini.h>

#include <string>

namespace {

struct Feed {
  std::string line;
  std::string value;
  bool done = false;
};

char* next(char* buffer, int room, void* feed_in) {
  auto& feed = *static_cast<Feed*>(feed_in);
  if (feed.done || room < static_cast<int>(feed.line.size()) + 2) return nullptr;
  feed.done = true;
  feed.line.copy(buffer, feed.line.size());
  buffer[feed.line.size()] = '\n';
  buffer[feed.line.size() + 1] = '\0';
  return buffer;
}

int pair(void* feed_in, const char* /*section*/, const char* /*name*/, const char* value) {
  static_cast<Feed*>(feed_in)->value = value;
  return 1;
}

}  // namespace

int main() {
  const std::string value = std::string(70000, 'v') + " ; 'x' # =[";
  Feed feed{"key = " + value, {}};
  ini_use_stack = false;
  ini_allow_realloc = false;
  ini_max_line = ini_initial_alloc = static_cast<int>(feed.line.size() + 3);
  ini_allow_inline_comments = false;
  ini_allow_multiline = false;
  return ini_parse_stream(next, &feed, pair, &feed) == 0 && feed.value == value ? 0 : 1;
}
