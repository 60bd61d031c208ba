// anvil: counts who is connected how often, and remembers the penalties of addresses that failed to
// log in. auth and the login processes talk to it over one UNIX socket, in Dovecot's anvil protocol
// (anvil/dialogue.h). What a process has said goes with its connection. It is confined to an empty
// directory, opens no files, connects to nobody and forgets everything when it ends.
#include "anvil/anvil-server.h"
#include "service/service.h"

int main() {
  postern::service::Service service("anvil");
  postern::anvil::AnvilServer server(service);
  return service.run(server);
}
