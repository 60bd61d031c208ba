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
  postern::auth::LoopEnvironment environment(service);
  auto made = postern::auth::ServerContext::make(environment, service.take_snapshot(),
                                                 static_cast<unsigned>(::getpid()));
  if (!made.ok()) postern::log::fatal(EX_CONFIG, "{}", made.error().text);
  postern::auth::ServerContext& context = *made.value();
  postern::log::set_debug(context.settings().auth_debug);
  environment.set_max_workers(context.settings().auth_worker_max_count);
  environment.start_penalties();
  postern::auth::Server server(service, environment, context);
  return service.run(server);
}
