#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

/// Recorded dialogues as the tests replay them (form: tests/transcripts/README.md), and the tables
/// that go with them.
namespace postern::test {

struct Event {
  enum class Kind : std::uint8_t {
    client,      // bytes of the client
    server,      // a line to the client, without its end
    to_backend,  // a line to the backend
    backend,     // a line of the backend
    accepted,    // a new connection to the backend
    tls,         // a handshake succeeded; the recorder's note of it
  };
  Kind kind = Kind::client;
  std::string bytes;
};

struct Transcript {
  std::string file;
  std::string server;                // "# server:" line
  std::vector<std::string> configs;  // "# config:" lines
  std::vector<Event> events;
  std::vector<std::string> logs;           // without "LOG "
  std::vector<std::string> auth_requests;  // "AUTH>" and "AUTH<" lines, tabs undone
  std::vector<std::string> auth_replies;

  bool logged(std::string_view text) const;
  /// `key=value` of the configuration, unquoted, without what follows a `;`.
  std::optional<std::string> setting(std::string_view key) const;
  /// The same in the `local_name` block of the name that the client asked for in TLS.
  std::optional<std::string> setting_of_name(std::string_view key) const;
};

/// Reads one file. Client transcripts use C escapes and expressions, proxy ones are plain.
Transcript read_transcript(const std::string& path, bool escapes);

/// The names `PREFIX*.txt` in the transcript directory, sorted.
std::vector<std::string> transcripts(std::string_view prefix);

/// One row of a TAB-separated table in the transcript directory; `#` lines are comments.
using Row = std::vector<std::string>;
std::vector<Row> read_table(const std::string& name);

/// Where Postern differs on purpose (differences.txt).
class Differences {
 public:
  Differences();
  /// What Postern has in place of the recorded `lines` ("S: …"), which stand one after another.
  std::vector<std::string> apply(const std::string& file, const std::vector<std::string>& lines);
  /// Lines Postern has behind everything recorded, as ("(end)") says.
  std::vector<std::string> at_end(const std::string& file, std::string_view prefix);
  /// True if `line` is listed for the file as what is said here; of a log message its start will
  /// do, up to the remark in brackets. E.g. "LOG: Disconnected: Inactivity".
  bool listed(const std::string& file, const std::string& line);
  /// Rows for files with the prefix that nothing used; those are stale. Without those that only
  /// a replay over the wire can use (tests/integration/test_*transcripts.py).
  std::vector<std::string> unused(std::string_view prefix) const;

 private:
  struct Entry {
    std::string file, recorded, ours;
    bool used = false;
  };
  std::vector<Entry> entries_;
};

}  // namespace postern::test
