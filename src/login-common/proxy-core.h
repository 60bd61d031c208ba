#pragma once

#include <array>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "io/loop.h"
#include "login-common/backend-record.h"
#include "login-common/backend-tls.h"
#include "login-common/destination.h"
#include "login-common/proxy.h"
#include "login-common/relay.h"
#include "login-common/source-ips.h"

namespace postern::login {

/// What ProxyCore::make() gives: what all attempts and sessions of a process share.
class ProxyCoreImpl final : public ProxyCore {
 public:
  ProxyCoreImpl(io::Loop& loop, const Protocol& protocol, LoopGuard guard);

  void prepare(const std::vector<std::shared_ptr<const config::LoginSettings>>& all) override;
  std::unique_ptr<ProxyAttempt> start(ProxyFields fields, ProxyClient client,
                                      std::function<void(ProxyVerdict)> done) override;
  unsigned relaying() const noexcept override { return relay_.count(); }
  void for_each(const std::function<void(const SessionRow&)>& visit) const override {
    relay_.for_each(visit);
  }
  unsigned kick(const std::function<bool(const SessionRow&)>& match, std::string_view reason,
                bool spread) override {
    return relay_.kick(match, reason, spread);
  }
  void use_master(BackendRecords::Tell tell) override { records_.use(std::move(tell)); }
  bool on_packet(std::string_view verb, const std::vector<std::string>& fields) override {
    return records_.on_packet(verb, fields);
  }
  void for_each_backend(const std::function<void(const BackendRow&)>& visit) const override;
  void on_change(std::function<void()> changed) override { relay_.on_change(std::move(changed)); }

  io::Loop& loop() noexcept { return loop_; }
  const Protocol& protocol() const noexcept { return protocol_; }
  const LoopGuard& guard() const noexcept { return guard_; }
  BackendRecords& records() noexcept { return records_; }
  BackendTlsContexts& tls() noexcept { return tls_; }
  Relay& relay() noexcept { return relay_; }
  /// login_source_ips of `settings`.
  SourceIps& source_ips(const config::LoginSettings& settings);
  /// What attempts read into; its content lasts until the next read.
  std::array<char, 4096>& scratch() noexcept { return scratch_; }

 private:
  io::Loop& loop_;
  Protocol protocol_;
  LoopGuard guard_;
  BackendRecords records_;
  BackendTlsContexts tls_;
  std::vector<std::pair<std::vector<std::string>, SourceIps>> source_ips_;
  std::array<char, 4096> scratch_{};
  Relay relay_;  // its sessions point into records_
};

}  // namespace postern::login
