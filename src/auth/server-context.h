#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "auth/database-set.h"
#include "auth/environment.h"
#include "auth/request.h"
#include "config/snapshot.h"
#include "lib/result.h"
#include "sasl/server.h"

namespace postern::auth {

class ClientSession;

/// What all sessions of one auth process share. Outlives them.
class ServerContext {
 public:
  /// @return an Error when databases or settings cannot work
  static Result<std::unique_ptr<ServerContext>> make(Environment& environment,
                                                     config::Snapshot snapshot, std::uint32_t pid);

  Environment& environment() noexcept { return environment_; }
  std::uint32_t pid() const noexcept { return pid_; }
  /// The unix time at which this process began.
  std::int64_t started() const noexcept { return started_; }
  std::uint64_t next_connection() noexcept { return ++connections_; }
  /// The global settings.
  const config::AuthSettings& settings() const noexcept { return *global_; }
  /// Of a request's service.
  RequestContext request_context(std::string_view service);
  /// The mechanisms to offer, in configured order.
  const std::vector<const sasl::ServerMechRow*>& mechs() const noexcept { return mechs_; }
  /// In lower case hexadecimal; 2 × `bytes` digits.
  static std::string random_hex(std::size_t bytes);
  /// What a mail process may use to prove whom it serves: depends on this process's own secret.
  std::string auth_token(std::uint32_t session_pid, std::string_view session,
                         std::string_view service, std::string_view user) const;

  // Login clients by their pid, for REQUEST.
  ClientSession* login_client(std::uint32_t pid) const noexcept;
  /// False if another live connection has that pid.
  bool add_login_client(std::uint32_t pid, ClientSession& session);
  void remove_login_client(std::uint32_t pid, const ClientSession& session) noexcept;

 private:
  ServerContext(Environment& environment, config::Snapshot snapshot, DatabaseSet databases,
                std::uint32_t pid);

  Environment& environment_;
  config::AuthConfig config_;
  DatabaseSet databases_;
  std::uint32_t pid_;
  std::int64_t started_;
  std::uint64_t connections_ = 0;
  std::shared_ptr<const config::AuthSettings> global_;
  std::map<const config::AuthSettings*, std::unique_ptr<RequestSettings>> compiled_;
  std::vector<const sasl::ServerMechRow*> mechs_;
  std::unordered_map<std::uint32_t, ClientSession*> login_clients_;
  Secret token_secret_;
};

}  // namespace postern::auth
