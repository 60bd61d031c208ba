// auth: finds out who somebody is. Login processes, MTAs and mail services talk to it over UNIX
// sockets in Dovecot's auth-client and auth-master protocols; it reads the user databases and
// resolves the names of backends. It runs as its own user, sees no TLS key, talks to no client of
// the network and to nothing but its databases, name servers, anvil and its workers, which compare
// the slow hashes for it.
#include <sysexits.h>
#include <unistd.h>

#include "auth/loop-environment.h"
#include "auth/server.h"
#include "lib/log.h"
#include "service/service.h"

int main() {
  postern::service::Service service("auth");
  postern::config::Snapshot snapshot = service.take_snapshot();
  unsigned workers = 0;
  bool debug = false;
  {
    // Read before the snapshot moves on.
    postern::config::AuthSettings settings;
    for (const auto& block : snapshot.blocks) {
      if (block.filter.terms() != 0) continue;
      for (const auto& [key, value] : block.settings) {
        static_cast<void>(postern::config::assign(settings, key, value.copy()).ok());
      }
    }
    workers = settings.auth_worker_max_count;
    debug = settings.auth_debug;
  }
  postern::log::set_debug(debug);
  postern::auth::LoopEnvironment environment(service, workers);
  auto context = postern::auth::ServerContext::make(environment, std::move(snapshot),
                                                    static_cast<unsigned>(::getpid()));
  if (!context.ok()) postern::log::fatal(EX_CONFIG, "{}", context.error().text);
  environment.start_penalties();
  postern::auth::Server server(service, environment, *context.value());
  return service.run(server);
}
