// imap-login: accepts IMAP clients, finds out through auth who they are, and relays them to their
// backend. Talks to clients, backends and auth; the master started it, gave it its listeners,
// certificates and settings, and confined it before the first client. After that it can open
// connections to backends and ask the master for one to auth, and nothing else: no file, no other
// process.
#include "imap-login/imap-dialogues.h"
#include "login-common/protocol.h"

namespace {

constexpr postern::login::Protocol kImap{
    .program = "imap-login",
    .name = "imap",
    .port = 143,
    .ssl_port = 993,
    .make_client_dialogue = postern::imap_login::make_imap_client_dialogue,
    .make_backend_dialogue = postern::imap_login::make_imap_backend_dialogue,
};

}  // namespace

int main(int argc, char** argv) {
  return postern::login::run(kImap, argc, argv);
}
