#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "anvil/connect-counts.h"
#include "anvil/penalties.h"
#include "lib/result.h"
#include "lib/secret.h"

/// Dovecot's anvil protocol 1.0 (spec: master.md 4.1), without I/O, and what Postern has added as
/// 1.1.
///
/// The client begins with `VERSION TAB anvil TAB 1 TAB MINOR`; one of minor 1 and later is told
/// anvil's own version in such a line, before anything else. So each end notices when the other is
/// older, as anvil stays over a reload that brings new programs. Then one command a line, fields
/// separated by TABs and tab-escaped:
///   CONNECT SESSION IDENT            no reply
///   DISCONNECT SESSION IDENT         no reply
///   LOOKUP IDENT                     N
///   RESERVE SESSION IDENT LIMIT      `1 N` counted, `0 N` not (Postern's; see ConnectCounts)
///   CONNECT-DUMP                     lines IDENT SESSION COUNT, an empty line
///   PENALTY-LEVEL IDENT USER         LEVEL blank LEVEL: for that user, for others (1.1)
///   PENALTY-FAIL IDENT CHECKSUM USER no reply (1.1)
///   PENALTY-PASS IDENT USER          no reply (1.1)
///   PENALTY-GET IDENT                VALUE blank LAST
///   PENALTY-INC IDENT CHECKSUM VALUE no reply
///   PENALTY-SET-EXPIRE-SECS N        no reply
///   PENALTY-DUMP                     lines IDENT VALUE LAST LAST-UPDATE, an empty line
/// SESSION is where Dovecot has a pid: whatever the client calls its session by, valid on this
/// connection only. KILL is refused: a process that ends takes its connection and so its entries
/// with it.
namespace postern::anvil {

struct State {
  ConnectCounts counts;
  Penalties penalties;
};

/// What it is at the moment.
struct Now {
  TimePoint steady;
  std::int64_t unix_time = 0;
};

class Dialogue {
 public:
  Dialogue(State& state, Channel channel) : state_(state), channel_(channel) {}

  /// @param line  without its end; any bytes
  /// @param out   the reply is appended
  /// @return an Error: the connection is to be closed and the text logged as it is
  Status on_line(std::string_view line, Now now, WipingBuffer& out);
  /// What was wrong but harmless in the lines so far, to be logged as errors and cleared.
  std::vector<std::string>& complaints() noexcept { return complaints_; }

  static constexpr std::size_t kMaxLine = 1024;  // bytes, with the line end
  static constexpr unsigned kMinor = 1;          // of the protocol's version

 private:
  using Fields = std::vector<std::string>;
  using Handler = Status (Dialogue::*)(const Fields& fields, Now now, WipingBuffer& out);
  struct Command {
    std::string_view name;
    std::size_t parameters;  // at least
    Handler handler;
  };
  static const std::vector<Command>& commands();

  Status on_version(const Fields& fields, WipingBuffer& out);
  void complain_of_age();
  Status connect(const Fields& fields, Now now, WipingBuffer& out);
  Status disconnect(const Fields& fields, Now now, WipingBuffer& out);
  Status lookup(const Fields& fields, Now now, WipingBuffer& out);
  Status reserve(const Fields& fields, Now now, WipingBuffer& out);
  Status connect_dump(const Fields& fields, Now now, WipingBuffer& out);
  Status kill(const Fields& fields, Now now, WipingBuffer& out);
  Status penalty_level(const Fields& fields, Now now, WipingBuffer& out);
  Status penalty_fail(const Fields& fields, Now now, WipingBuffer& out);
  Status penalty_pass(const Fields& fields, Now now, WipingBuffer& out);
  Status penalty_get(const Fields& fields, Now now, WipingBuffer& out);
  Status penalty_inc(const Fields& fields, Now now, WipingBuffer& out);
  Status penalty_set_expire(const Fields& fields, Now now, WipingBuffer& out);
  Status penalty_dump(const Fields& fields, Now now, WipingBuffer& out);

  State& state_;
  Channel channel_;
  bool version_seen_ = false;
  unsigned minor_ = 0;  // the client's
  bool age_told_ = false;
  std::vector<std::string> complaints_;
};

}  // namespace postern::anvil
