#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "io/loop.h"
#include "lib/handle.h"
#include "lib/log.h"
#include "lib/result.h"

/// Asks other programs whether a client may come in at all (login_access_sockets), one after the
/// other: each gets the client's descriptor with the name of the protocol, "imap\n", and answers
/// "1\n" or "0\n". Source: Dovecot 2.3, access-lookup; tcpwrap is such a program.
namespace postern::login {

class AccessLookup {
 public:
  static constexpr std::chrono::seconds kTimeout{60};  // for each answer

  /// Gets a connection to the socket of that number, or says why not; never before it returns.
  using Connect = std::function<void(std::size_t index, std::function<void(Result<UniqueFd>)>)>;
  /// How it ended.
  struct Verdict {
    bool granted = false;
    log::Level level = log::Level::info;
    std::string line;  // refused: "access(PATH): Client refused", for the log
  };

  /// @param paths     at least one; borrowed, outlive the lookup
  /// @param protocol  "imap"; static text
  /// @param client_fd stays the caller's
  /// @param done      called once, never before start() returns; may destroy the lookup
  AccessLookup(io::Loop& loop, Connect connect, const std::vector<std::string>& paths,
               std::string_view protocol, int client_fd, std::function<void(Verdict)> done);
  ~AccessLookup();
  AccessLookup(const AccessLookup&) = delete;
  AccessLookup& operator=(const AccessLookup&) = delete;

  void start();
  /// "access(PATH): what", of the socket that is being asked.
  std::string line(std::string_view what) const;

 private:
  void connected(Result<UniqueFd> answer);
  void on_ready(unsigned what) noexcept;
  void on_time() noexcept;
  void refuse(log::Level level, std::string_view what);
  void end(Verdict verdict);
  void drop() noexcept;

  io::Loop& loop_;
  Connect connect_;
  const std::vector<std::string>& paths_;
  std::string_view protocol_;
  int client_fd_;
  std::function<void(Verdict)> done_;
  std::size_t index_ = 0;
  UniqueFd fd_;
  io::FdWatch watch_;
  std::string answer_;
  io::Timer timer_;
  std::shared_ptr<AccessLookup*> alive_;  // null inside once this has gone
};

}  // namespace postern::login
