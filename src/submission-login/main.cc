// submission-login: accepts SMTP clients that want to submit mail, finds out through auth who they
// are, and relays them to their backend. Talks to clients, backends and auth; the master started
// it, gave it its listeners, certificates and settings, and confined it before the first client.
// After that it can open connections to backends and ask the master for one to auth, and nothing
// else: no file, no other process.
#include "login-common/protocol.h"
#include "submission-login/submission-dialogues.h"

namespace {

constexpr postern::login::Protocol kSubmission{
    .program = "submission-login",
    .name = "submission",
    .alpn = "submission smtp",
    .port = 587,
    .ssl_port = 465,
    .make_client_dialogue = postern::submission_login::make_submission_client_dialogue,
    .make_backend_dialogue = postern::submission_login::make_submission_backend_dialogue,
    .refuse_anonymous = true,
    .says_host_name = true,
    .logs_client_text = true,
};

}  // namespace

int main(int argc, char** argv) {
  return postern::login::run(kSubmission, argc, argv);
}
