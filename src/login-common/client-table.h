#pragma once

#include <cstddef>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "io/loop.h"
#include "io/socket.h"
#include "login-common/client.h"
#include "service/service.h"

/// The clients of a process before their login, oldest first.
namespace postern::login {

/// What a session must be like: `sessions` and `kick` of the control channel (wire/channel.h).
class SessionMask {
 public:
  /// @param terms  FIELD=VALUE: user, session, ip, dest-ip (with * and ?, or a network for the
  ///               addresses); `proxied`, with or without a value, means those at a backend
  ///               or on the way to one
  /// @return an Error for a field that is none of these
  static Result<SessionMask> parse(const std::vector<std::string>& terms);
  bool matches(const SessionRow& row) const;

 private:
  std::vector<std::pair<std::string, std::string>> terms_;
  bool proxied_ = false;
};

class ClientTable final : public ClientOwner {
 public:
  explicit ClientTable(ClientShared& shared) : shared_(shared) {}
  ~ClientTable();
  ClientTable(const ClientTable&) = delete;
  ClientTable& operator=(const ClientTable&) = delete;

  /// @param listener  outlives the client
  void add(const config::SocketInfo& listener, io::Accepted connection);
  std::size_t size() const noexcept { return clients_.size(); }
  bool empty() const noexcept { return clients_.empty(); }
  const Client& oldest() const { return *clients_.front(); }
  /// Called at each change of size().
  void on_change(std::function<void()> changed) { changed_ = std::move(changed); }
  /// Called when a balancer has said where a client comes from.
  void on_known(std::function<void()> known) { known_ = std::move(known); }

  /// Auth's handshake is done: those that wait are greeted.
  void auth_ready();
  /// Auth never came up: those that wait are sent away.
  void auth_broken();
  /// Closes `count`: first those with nothing under way, then those that owe a response; never one
  /// that auth or a backend is busy with. Of those the ones go first whose address holds the most
  /// connections here, of these the oldest.
  void evict(unsigned count);
  /// Whom evict() would close, as the master is told: those with nothing under way, where there are
  /// any, and the address most of them come from.
  service::Evictable evictable() const;
  /// Says "Shutting down" to all.
  void shut_down();
  void for_each(const std::function<void(const SessionRow&)>& visit);
  /// Ends those that match; returns how many.
  unsigned kick(const SessionMask& mask);

  void on_client_end(Client& client) noexcept override;
  void on_client_known() noexcept override;

 private:
  /// Those of now: ending one changes the list.
  std::vector<Client*> snapshot() const;

  ClientShared& shared_;
  std::list<std::unique_ptr<Client>> clients_;
  std::function<void()> changed_;
  std::function<void()> known_;
};

}  // namespace postern::login
