#include "login-common/proxy-core.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <cerrno>

#include "lib/log.h"
#include "login-common/proxy-attempt.h"

namespace postern::login {

std::unique_ptr<ProxyCore> ProxyCore::make(io::Loop& loop, const Protocol& protocol,
                                           const std::vector<config::SocketInfo>& listeners) {
  return std::make_unique<ProxyCoreImpl>(loop, protocol, LoopGuard(listeners, local_addresses()));
}

ProxyCoreImpl::ProxyCoreImpl(io::Loop& loop, const Protocol& protocol, LoopGuard guard)
    : loop_(loop),
      protocol_(protocol),
      guard_(std::move(guard)),
      records_(loop),
      relay_(loop, protocol.name) {}

namespace {

/// A raw log that cannot be, or shows what nobody should see, is told of before it is needed.
void check_raw_log(const config::LoginSettings& settings) {
  const std::string& directory = settings.login_proxy_rawlog_dir;
  if (directory.empty()) return;
  struct stat info {};
  if (::stat(directory.c_str(), &info) != 0) {
    log::error("login_proxy_rawlog_dir: {}",
               system_error(fmt::format("stat({}) failed", directory), errno).text);
  } else if (!S_ISDIR(info.st_mode)) {
    log::error("login_proxy_rawlog_dir: {} is not a directory", directory);
  }
  if (settings.proxy_rawlog_secrets) {
    log::warning("proxy_rawlog_secrets = yes: passwords of users are written to files");
  }
}

}  // namespace

void ProxyCoreImpl::prepare(const std::vector<std::shared_ptr<const config::LoginSettings>>& all) {
  tls_.begin_again();
  for (const auto& settings : all) {
    check_raw_log(*settings);
    for (const bool verify : {true, false}) {
      const auto context = tls_.get(*settings, verify);
      if (!context.ok()) {
        log::error("TLS to backends is not possible: {}", context.error().text);
      }
    }
    source_ips(*settings);
  }
  tls_.forget_unused();
}

std::unique_ptr<ProxyAttempt> ProxyCoreImpl::start(ProxyFields fields, ProxyClient client,
                                                   std::function<void(ProxyVerdict)> done) {
  auto attempt = std::make_unique<Attempt>(*this, std::move(client), std::move(done));
  attempt->begin(std::move(fields));
  return attempt;
}

void ProxyCoreImpl::for_each_backend(const std::function<void(const BackendRow&)>& visit) const {
  records_.for_each([&visit](const BackendRecord& record) {
    visit({record.backend, record.attempts, record.sessions, record.logins});
  });
}

SourceIps& ProxyCoreImpl::source_ips(const config::LoginSettings& settings) {
  for (auto& [setting, ips] : source_ips_) {
    if (setting == settings.login_source_ips) return ips;
  }
  source_ips_.emplace_back(settings.login_source_ips, SourceIps(settings.login_source_ips));
  return source_ips_.back().second;
}

}  // namespace postern::login
