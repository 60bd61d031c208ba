#pragma once

#include <memory>

#include "login-common/backend-dialogue.h"
#include "login-common/client-dialogue.h"

/// ManageSieve's two halves of a login. Both are machines without I/O.
namespace postern::managesieve_login {

/// Towards the client. `context` is borrowed: the driver changes it (TLS, SNI), the dialogue looks
/// at it when it needs it.
std::unique_ptr<login::ClientDialogue> make_sieve_client_dialogue(
    const login::ClientContext& context);

/// Towards the backend. `target` is borrowed for the dialogue's life.
std::unique_ptr<login::BackendDialogue> make_sieve_backend_dialogue(
    const login::BackendTarget& target);

}  // namespace postern::managesieve_login
