#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "lib/result.h"

/// The control socket (`base_dir`/control): what posternctl says to the master. One JSON object a
/// line, LF at its end, at most kMaxControlLine bytes; the connection carries one request at a
/// time.
///
///     {"command":"who","args":{"user":"u*"}}
///     {"row":{"user":"u1","service":"imap",…}}     zero or more
///     {"end":{"code":0,"text":""}}                 exactly one, last
///
/// `code` is a sysexits value (contract.md: 0, 2, 67, 68, 75, 77, 78), `text` a sentence for the
/// operator or the answer of a command without rows. All values are strings; a list of strings in
/// `args` stands for the key given several times.
// clang-format off
///
/// | command        | args                                        | rows, text                          |
/// | -------------- | ------------------------------------------- | ----------------------------------- |
/// | ping           | –                                           | text: version of the master         |
/// | who            | –                                           | every session of every process      |
/// | kick           | user, ip, session, dest-ip (masks), proxied | text: the number kicked             |
/// | reload         | –                                           | rows `error` (FILE:LINE: …), 78     |
/// | stop           | –                                           | text: pid of the master             |
/// | service-status | name*                                       | one row a service                   |
/// | process-status | name*                                       | one row a process                   |
/// | log-errors     | since (unix time)                           | rows time, level, prefix, text      |
/// | proxy-status   | address* (or network)                       | one row a backend and protocol      |
/// | proxy-disable  | address, port                               | –                                   |
/// | proxy-enable   | address, port                               | 68 if it was not disabled           |
/// | tls-list       |                                             | rows names, state, days, file …     |
/// | tls-reload     |                                             | rows error                          |
/// | log-reopen     | –                                           | –                                   |
// clang-format on
///
/// A session's row is what its login process said (wire/channel.h, `sessions`): user, service, rip,
/// lip, session, secured, state (login, proxied, closing, local), and for proxied ones dest-user,
/// dest-ip, dest-port; the master adds pid. `secured` is about the client's connection and says
/// what the log says: empty, `secured` (no TLS, but from the same host or a trusted network), or
/// `TLS`, before the login perhaps with more words behind it ("TLS handshaking").
namespace postern::wire {

inline constexpr std::size_t kMaxControlLine = 64UL * 1024;  // bytes, with its LF
inline constexpr std::size_t kMaxControlArgs = 1024;         // values in one request

/// Names and values in the order they were given; a name may come more than once.
using ControlFields = std::vector<std::pair<std::string, std::string>>;

/// The first value called `name`, or an empty view.
std::string_view control_field(const ControlFields& fields, std::string_view name) noexcept;

struct ControlRequest {
  std::string command;  // 1..64 of a-z, 0-9 and '-'
  ControlFields args;   // names 1..64 bytes of a-z, 0-9, '-' and '_'
};

/// The answer's end.
struct ControlEnd {
  int code = 0;  // 0..255
  std::string text;
};

/// One line of an answer.
using ControlReply = std::variant<ControlFields, ControlEnd>;

/// The line of a request, with its LF. Bytes that are not UTF-8 become U+FFFD.
std::string control_request_line(const ControlRequest& request);
/// The line of one row, with its LF.
std::string control_row_line(const ControlFields& row);
/// The line that ends an answer, with its LF.
std::string control_end_line(int code, std::string_view text);

/// Reads a request. All or nothing; an Error's text quotes nothing of `line`.
/// @param line  without LF; may hold any byte
Result<ControlRequest> parse_control_request(std::string_view line);
/// Reads one line of an answer.
/// @param line  without LF; may hold any byte
Result<ControlReply> parse_control_reply(std::string_view line);

}  // namespace postern::wire
