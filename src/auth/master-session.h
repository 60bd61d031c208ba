#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "auth/line-session.h"
#include "auth/request.h"
#include "auth/server-context.h"
#include "wire/auth-request.h"

namespace postern::auth {

/// Who is at the other end of an auth-master connection, and what the socket says of it.
struct MasterPeer {
  pid_t pid = 0;
  uid_t uid = 0;
  gid_t gid = 0;
  bool userdb_socket = false;  // auth-userdb: no REQUEST, no CACHE-FLUSH
  unsigned mode = 0600;        // of the socket
  uid_t socket_uid = 0;        // its owner
  gid_t socket_gid = 0;
  std::string socket;  // its path, for messages
};

/// The server's end of one auth-master connection (protocol 1.1): USER, PASS, LIST, REQUEST,
/// CACHE-FLUSH. Source: tests/transcripts/auth-master-proto.txt, auth-request.txt,
/// auth-userdb-restricted.txt.
class MasterSession final : public LineSession, private Request::Owner {
 public:
  static constexpr std::size_t kMaxInFlight = 1000;

  MasterSession(ServerContext& server, MasterPeer peer);
  ~MasterSession() override;

 protected:
  void on_line(std::string_view line) override;
  void on_line_too_long() override;

 private:
  enum class Kind : std::uint8_t { user, pass, request };
  struct Lookup {
    std::uint32_t id = 0;
    Kind kind = Kind::user;
    std::unique_ptr<Request> request;
    std::uint32_t session_pid = 0;
    bool auth_token = false;
  };
  struct Command;

  void on_user(std::string_view args);
  void on_pass(std::string_view args);
  void on_list(std::string_view args);
  void on_request(std::string_view args);
  void on_cache_flush(std::string_view args);
  Lookup* begin(Kind kind, std::string_view args, std::string_view name);
  void on_passdb_done(Request& request, PassdbResult result) override;
  void on_userdb_done(Request& request, UserdbResult result) override;
  bool restricted() const noexcept;
  std::string no_permission(std::string_view what) const;
  void write_request_reply(const Lookup& lookup);
  void reply(std::string_view word, std::uint32_t id, std::string_view reason = {});
  void forget(std::uint64_t key);
  void log_error(std::string_view text);
  void protocol_error(std::string_view text);

  ServerContext& server_;
  Environment& environment_;
  MasterPeer peer_;
  bool greeted_ = false;
  TimePoint created_;
  TimePoint handshake_;
  std::uint64_t next_key_ = 0;
  std::map<std::uint64_t, Lookup> lookups_;
};

}  // namespace postern::auth
