// Supervisor: what login processes tell each other of backends, by way of the master.
#include <algorithm>
#include <ctime>
#include <variant>

#include "master/supervisor.h"
#include "wire/channel.h"

namespace postern::master {
namespace {

constexpr std::size_t kNewsInPacket = 500;  // each far below 100 bytes

}  // namespace

Moment Supervisor::moment() noexcept {
  return {io::Clock::now(), std::time(nullptr)};
}

/// Of a configuration that is in use from now on.
void Supervisor::take_backend_settings() {
  backends_.set_limit(configuration().master().proxy_down_failures);
  const auto all = configuration().tls();  // the first is without filters
  proxy_max_pending_ = all.empty() ? 0 : all.front().settings->proxy_max_pending;
}

/// How many logins of this service may wait for one backend: they must leave room for the others.
unsigned Supervisor::most_pending(const ServiceRun& run) const noexcept {
  const ServiceLimits& limits = run.machine().limits();
  const std::uint64_t room = std::uint64_t{limits.process_limit} * limits.client_limit;
  const std::uint64_t half = std::max<std::uint64_t>(room / 2, 1);
  return static_cast<unsigned>(std::min<std::uint64_t>(proxy_max_pending_, half));
}

void Supervisor::tell_of_backend(std::string_view protocol, const wire::BackendNews& news) {
  const std::string text = wire::backend_news_text(news);
  each_run([&](ServiceRun& run) {
    if (run.settings().type != config::ServiceType::login) return;
    if (!protocol.empty() && run.settings().protocol != protocol) return;
    run.tell_all(wire::kBackends, {text});
  });
}

/// What a login process that starts has missed.
void Supervisor::feed_backends(const ServiceRun& run, Child& child) {
  const auto all = backends_.news(run.settings().protocol);
  for (std::size_t i = 0; i < all.size(); i += kNewsInPacket) {
    std::vector<std::string> texts;
    for (std::size_t k = i; k < std::min(i + kNewsInPacket, all.size()); k++) {
      texts.push_back(wire::backend_news_text(all[k]));
    }
    child.send(wire::kBackends, {texts.begin(), texts.end()});
  }
}

void Supervisor::on_backend_message(ServiceRun& run, Child& child,
                                    const ChildMessage& message) noexcept {
  // The others have no backends; what they say of them is nobody's loss.
  if (run.settings().type != config::ServiceType::login) return;
  const Moment at = moment();
  const auto key = [&run](const Endpoint& backend) {
    return BackendKey{run.settings().protocol, backend};
  };
  if (const auto* failed = std::get_if<BackendFailedMessage>(&message)) {
    backends_.on_failed(key(failed->backend), failed->failure, at);
  } else if (const auto* worked = std::get_if<BackendWorkedMessage>(&message)) {
    backends_.on_worked(key(worked->backend), at);
  } else if (const auto* slow = std::get_if<BackendSlowMessage>(&message)) {
    backends_.on_slow(&child, key(slow->backend), slow->count, most_pending(run), at);
  } else if (const auto* probe = std::get_if<BackendProbeMessage>(&message)) {
    std::chrono::milliseconds wait{0};
    const bool yes = backends_.may_probe(key(probe->backend), at, wait);
    const std::string id = std::to_string(probe->id);
    child.send(wire::kProbe, {id, yes ? "1" : "0", std::to_string(wait.count())});
  }
}

}  // namespace postern::master
