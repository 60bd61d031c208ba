#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "config/settings.h"
#include "lib/ip.h"

/// The texts of the proxy's log lines, as Dovecot 2.3 writes them (spec: transcripts proxy-*). No
/// I/O.
namespace postern::login {

/// "proxy(joe,192.0.2.1:143): "; IPv6 addresses stand without brackets.
std::string proxy_prefix(std::string_view user, const Endpoint& backend);
/// "proxy(joe): ", before a destination is known.
std::string proxy_prefix(std::string_view user);

/// login_log_format with `message` and `elements` put in.
std::string session_line(const config::LoginSettings& settings, std::string_view message,
                         std::string_view elements);

/// What "Started proxying to" tells.
struct StartedFacts {
  std::string_view host;       // as the passdb gave it
  IpAddress ip;                // connected to
  IpAddress source;            // bound to; none: the kernel's choice
  std::string_view user;       // of the login here
  std::string_view dest_user;  // of the login there
  std::string_view master;
};
/// " from 127.0.0.3 as user bobby (master boss)": what differs from the usual.
std::string identity_text(const StartedFacts& facts);
/// "Started proxying to <127.0.0.1> (<mail.example.com>) (0.016 secs, 1 reconnects)".
std::string started_text(const StartedFacts& facts, std::uint64_t milliseconds,
                         unsigned reconnects);

/// How a relayed session went.
struct TransferFacts {
  std::uint64_t idle_seconds = 0;
  std::uint64_t in = 0;        // bytes written to the backend
  std::uint64_t out = 0;       // bytes written to the client
  std::uint64_t buffered = 0;  // for the client, not written any more
  bool client_blocked = false;
  bool server_blocked = false;
};
/// "2s idle, in=212, out=4040966+4096, client output blocked".
std::string transfer_text(const TransferFacts& facts);

}  // namespace postern::login
