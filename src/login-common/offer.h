#pragma once

#include "login-common/client-dialogue.h"

/// What may be offered before login, as the connection stands.
namespace postern::login {

/// STARTTLS can be offered: TLS is configured and nobody does it already.
bool can_start_tls(const ClientContext& context) noexcept;

/// LOGIN, or USER and PASS, would not be refused for lack of TLS.
bool plaintext_permitted(const ClientContext& context) noexcept;

/// A mechanism is announced only if an attempt with it would not be refused for lack of TLS.
bool is_advertised(const ClientContext& context, const Mechanism& mechanism) noexcept;

}  // namespace postern::login
