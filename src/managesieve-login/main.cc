// managesieve-login: accepts ManageSieve clients, finds out through auth who they are, and relays
// them to their backend. Talks to clients, backends and auth; the master started it, gave it its
// listeners, certificates and settings, and confined it before the first client. After that it can
// open connections to backends and ask the master for one to auth, and nothing else: no file, no
// other process.
#include "login-common/protocol.h"
#include "managesieve-login/sieve-dialogues.h"

namespace {

constexpr postern::login::Protocol kManageSieve{
    .program = "managesieve-login",
    .name = "sieve",
    .alpn = "managesieve",
    .port = 4190,
    .ssl_port = 4190,
    .make_client_dialogue = postern::managesieve_login::make_sieve_client_dialogue,
    .make_backend_dialogue = postern::managesieve_login::make_sieve_backend_dialogue,
    .refuse_anonymous = true,
};

}  // namespace

int main(int argc, char** argv) {
  return postern::login::run(kManageSieve, argc, argv);
}
