#pragma once

#include <memory>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "auth/connection.h"
#include "auth/loop-environment.h"
#include "auth/server-context.h"
#include "service/service.h"

namespace postern::auth {

/// What a socket of auth's is for.
enum class SocketKind : std::uint8_t { client, login, token, master, userdb };
/// By its name, as Dovecot has it: what follows the last `-` of the last part of the path.
SocketKind socket_kind(std::string_view name) noexcept;

/// The auth process: accepts connections and gives each its session.
class Server final : public service::Handler, private Connection::Owner {
 public:
  Server(service::Service& service, LoopEnvironment& environment, ServerContext& context)
      : service_(service), environment_(environment), context_(context) {}

  void on_accept(std::size_t index, io::Accepted connection) noexcept override;
  void on_drain() noexcept override;
  void on_terminate() noexcept override;

 private:
  std::unique_ptr<LineSession> make_session(const config::SocketInfo& socket, int fd);
  void on_connection_over(Connection& connection) noexcept override;

  service::Service& service_;
  LoopEnvironment& environment_;
  ServerContext& context_;
  std::unordered_map<Connection*, std::unique_ptr<Connection>> connections_;
};

}  // namespace postern::auth
