#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "login-common/backend-dialogue.h"
#include "login-common/client-dialogue.h"

/// What one protocol brings; all else is shared. A login program is a table of this kind and a call
/// of login::run().
namespace postern::login {

struct Protocol {
  std::string_view program;  // "imap-login": of the log
  std::string_view name;     // "imap": `service=` to auth, %{service}, [protocol NAME]
  /// What clients may ask for by ALPN (RFC 7301), if it is not `name`; blanks between several.
  std::string_view alpn = {};
  std::uint16_t port = 0;  // of the backend, unless the passdb says otherwise
  std::uint16_t ssl_port = 0;
  std::unique_ptr<ClientDialogue> (*make_client_dialogue)(const ClientContext&) = nullptr;
  std::unique_ptr<BackendDialogue> (*make_backend_dialogue)(const BackendTarget&) = nullptr;
  /// POP3: the greeting has a challenge if auth offers a private mechanism (APOP), which may be
  /// used though it is not advertised.
  bool private_mechanisms = false;
  bool refuse_anonymous = false;      // submission, ManageSieve
  bool final_response_in_ok = false;  // the success reply can carry SASL data
  /// Submission: greetings and EHLO have the machine's name with its domain.
  bool says_host_name = false;
  /// Submission: the log gives as the reason of an end what the client was told of it.
  bool logs_client_text = false;
};

/// Runs the process: never returns before it ends.
/// @param argv  of main(); its memory is used for the process title
/// @return the exit status
int run(const Protocol& protocol, int argc, char** argv);

}  // namespace postern::login
