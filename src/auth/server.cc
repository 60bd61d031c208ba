#include "auth/server.h"

#include <sys/stat.h>

#include "auth/client-session.h"
#include "auth/master-session.h"
#include "lib/log.h"

namespace postern::auth {

SocketKind socket_kind(std::string_view name) noexcept {
  const std::size_t slash = name.rfind('/');
  if (slash != std::string_view::npos) name.remove_prefix(slash + 1);
  const std::size_t dash = name.rfind('-');
  if (dash != std::string_view::npos) name.remove_prefix(dash + 1);
  if (name == "login") return SocketKind::login;
  if (name == "token" || name == "tokenlogin") return SocketKind::token;
  if (name == "master") return SocketKind::master;
  if (name == "userdb") return SocketKind::userdb;
  return SocketKind::client;
}

std::unique_ptr<LineSession> Server::make_session(const config::SocketInfo& socket, int fd) {
  const SocketKind kind = socket_kind(socket.name);
  switch (kind) {
    case SocketKind::client:
      return std::make_unique<ClientSession>(context_, false);
    case SocketKind::login:
      return std::make_unique<ClientSession>(context_, true);
    case SocketKind::token:
      return nullptr;
    case SocketKind::master:
    case SocketKind::userdb:
      break;
  }
  MasterPeer peer;
  peer.userdb_socket = kind == SocketKind::userdb;
  peer.mode = socket.mode;
  peer.socket = socket.path;
  const auto credentials = io::peer_credentials(fd);
  if (credentials.ok()) {
    peer.pid = credentials.value().pid;
    peer.uid = credentials.value().uid;
    peer.gid = credentials.value().gid;
  } else if (peer.userdb_socket) {
    log::error("{}: cannot find out who connected: {}", socket.text(), credentials.error().text);
    return nullptr;
  }
  // As the file system has it: without root the master could not give it to anybody else.
  struct stat status {};
  if (::stat(socket.path.c_str(), &status) == 0) {
    peer.socket_uid = status.st_uid;
    peer.socket_gid = status.st_gid;
  }
  return std::make_unique<MasterSession>(context_, std::move(peer));
}

void Server::on_accept(std::size_t index, io::Accepted connection) noexcept {
  const config::SocketInfo& socket = service_.listeners()[index];
  std::unique_ptr<LineSession> session = make_session(socket, connection.fd.get());
  if (!session) return;
  Connection::Owner& owner = *this;
  auto made = std::make_unique<Connection>(service_.loop(), std::move(connection.fd),
                                           std::move(session), owner);
  Connection* key = made.get();
  connections_.emplace(key, std::move(made));
  service_.set_load({static_cast<unsigned>(connections_.size()), 0});
  key->start();
}

void Server::on_connection_over(Connection& connection) noexcept {
  const auto it = connections_.find(&connection);
  if (it == connections_.end()) return;
  service_.loop().retire(std::move(it->second));
  connections_.erase(it);
  service_.set_load({static_cast<unsigned>(connections_.size()), 0});
  if (connections_.empty() && service_.draining()) service_.finish();
}

void Server::on_drain() noexcept {
  // Login processes keep their connection as long as they have clients; they are served till then.
  if (connections_.empty()) service_.finish();
}

void Server::on_terminate() noexcept {
  // Some may have calls of this turn before them.
  for (auto& [key, connection] : connections_) service_.loop().retire(std::move(connection));
  connections_.clear();
  service_.finish();
}

}  // namespace postern::auth
