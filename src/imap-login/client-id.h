#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "config/settings.h"
#include "login-common/client-dialogue.h"
#include "wire/imap-arguments.h"
#include "wire/imap-text.h"

namespace postern::imap_login {

/// The arguments of one ID command, taken in as they arrive; memory does not grow with their
/// number. Nothing of it counts before the command is complete. Source: RFC 2971; Dovecot,
/// Design.ParameterForwarding, "IMAP protocol".
class ClientId {
 public:
  static constexpr std::size_t kMaxKey = 30;        // bytes, Dovecot's
  static constexpr std::size_t kMaxPairs = 30;      // RFC 2971; more are read and forgotten
  static constexpr std::size_t kMaxBytes = 8192;    // of the whole command
  static constexpr std::size_t kMaxLog = 1000;      // bytes of the log text
  static constexpr std::size_t kMaxRetained = 256;  // bytes of the retained list

  /// @param log      imap_id_log: the keys to log, or `*`
  /// @param believe  the x- fields of this command may change the connection
  ClientId(std::string_view log, bool believe) : log_keys_(log), believe_(believe) {}

  /// One event of the reader: argument, list_open or list_close. False: not an ID's argument.
  bool take(wire::ImapArgumentReader::Event event, const wire::ImapArgumentReader& reader);

  /// After the line's end.
  bool forwards() const noexcept { return forwards_; }
  login::Forwarded take_forwarded() { return std::move(forwarded_); }
  /// "name=x, os=NIL"; empty if nothing is to be logged.
  const std::string& log_text() const noexcept { return log_text_; }
  wire::ImapIdFields take_retained() { return std::move(retained_); }

 private:
  enum class State : std::uint8_t { start, key, value, nested, done };

  bool take_argument(const wire::ImapArgumentReader& reader);
  void take_pair(std::string_view key, const std::string_view* value);
  void log_pair(std::string_view key, const std::string_view* value);
  void retain_pair(std::string_view key, const std::string_view* value);
  void forward_pair(std::string_view key, std::string_view value);
  bool forward_address(std::string_view key, std::string_view value);

  std::string_view log_keys_;
  bool believe_;
  State state_ = State::start;
  std::string key_;
  std::size_t pairs_ = 0;
  std::string log_text_;
  bool log_full_ = false;
  wire::ImapIdFields retained_;
  std::size_t retained_bytes_ = 0;
  login::Forwarded forwarded_;
  bool forwards_ = false;
};

/// The ID reply's list from imap_id_send: a value `*` stands for what we are.
std::string id_reply(std::string_view setting);

}  // namespace postern::imap_login
