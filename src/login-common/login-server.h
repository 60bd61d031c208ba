#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "config/snapshot.h"
#include "login-common/auth-client.h"
#include "login-common/client-table.h"
#include "login-common/process-title.h"
#include "login-common/protocol.h"
#include "login-common/proxy.h"
#include "login-common/session-id.h"
#include "login-common/tls-contexts.h"
#include "service/service.h"

/// A login process as its master sees it: who may come in, how full it is, what it tells of its
/// sessions, and how it ends.
namespace postern::login {

class LoginServer final : public service::Handler {
 public:
  /// Loads certificates and CA files; ends the process (fatal) if it is told to do what it cannot.
  LoginServer(service::Service& service, const Protocol& protocol, int argc, char** argv);
  ~LoginServer() override;
  LoginServer(const LoginServer&) = delete;
  LoginServer& operator=(const LoginServer&) = delete;

  /// Connects to auth; not in the template, whose copies do it for themselves.
  void connect_auth() { auth_.start(); }

  void on_accept(std::size_t index, io::Accepted connection) noexcept override;
  void on_drain() noexcept override;
  void on_terminate() noexcept override;
  void on_evict(unsigned count) noexcept override;
  service::Evictable evictable() const override;
  void on_call(service::Call call) noexcept override;
  void on_forked() noexcept override;
  bool on_packet(std::string_view verb, const std::vector<std::string>& fields,
                 UniqueFd fd) noexcept override;

 private:
  void on_change() noexcept;
  void show_title();
  void answer_sessions(service::Call& call);
  void answer_backends(service::Call& call);
  void answer_kick(service::Call& call);
  /// Connects by way of the master.
  AuthClient::Connect connector(std::string_view name);
  void load_tls();
  void renew_settings(int fd);

  service::Service& service_;
  const Protocol& protocol_;
  config::LoginConfig config_;
  std::shared_ptr<const config::LoginSettings> global_;
  TlsContexts tls_;
  SessionIds session_ids_;
  std::unique_ptr<ProxyCore> proxy_;
  AuthClient auth_;
  AddressCounts counts_;
  ClientShared shared_;
  ClientTable clients_;
  io::Deferred changed_;
  ProcessTitle title_;
  bool ending_ = false;
};

}  // namespace postern::login
