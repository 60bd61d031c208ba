#pragma once

#include <cstdint>
#include <string>

#include "auth/request.h"
#include "lib/secret.h"

/// The lines auth answers with. Every value goes through one encoder (wire/tab-line.h).
namespace postern::auth {

/// `OK ID user=… [fields]`.
/// @param login_socket  `pass` and `master` may be told: the peer logs the user in
void write_ok(WipingBuffer& out, std::uint32_t id, const Request& request, bool login_socket);

/// `FAIL ID [user=…] [nodelay] [code=…] [fields]`.
/// @param code  empty: wrong name or password
void write_fail(WipingBuffer& out, std::uint32_t id, const Request& request, std::string_view code,
                std::string_view reason);

/// `PASS ID user=… [fields]`.
void write_pass(WipingBuffer& out, std::uint32_t id, const Request& request);

/// `USER ID NAME [fields]`, without its end: REQUEST adds more.
void write_user(WipingBuffer& out, std::uint32_t id, const Request& request);

/// The `code=` of a failed walk.
std::string_view fail_code(const Request& request, PassdbResult result);

/// A reply line for the debug log: values of keys with `pass` in them become <hidden>.
std::string hide_passwords(std::string_view line);

}  // namespace postern::auth
