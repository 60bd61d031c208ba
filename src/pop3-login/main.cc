// pop3-login: accepts POP3 clients, finds out through auth who they are, and relays them to their
// backend. Talks to clients, backends and auth; the master started it, gave it its listeners,
// certificates and settings, and confined it before the first client. After that it can open
// connections to backends and ask the master for one to auth, and nothing else: no file, no other
// process.
#include "login-common/protocol.h"
#include "pop3-login/pop3-dialogues.h"

namespace {

constexpr postern::login::Protocol kPop3{
    .program = "pop3-login",
    .name = "pop3",
    .port = 110,
    .ssl_port = 995,
    .make_client_dialogue = postern::pop3_login::make_pop3_client_dialogue,
    .make_backend_dialogue = postern::pop3_login::make_pop3_backend_dialogue,
    .private_mechanisms = true,
};

}  // namespace

int main(int argc, char** argv) {
  return postern::login::run(kPop3, argc, argv);
}
