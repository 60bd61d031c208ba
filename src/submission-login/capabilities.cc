#include "submission-login/capabilities.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "config/settings.h"
#include "lib/text.h"
#include "login-common/offer.h"

namespace postern::submission_login {
namespace {

/// What the operator says of the backends (submission_backend_capabilities), and what follows.
class Backends {
 public:
  explicit Backends(const config::LoginSettings& settings) : settings_(settings) {
    const auto& workarounds = settings.submission_client_workarounds;
    exotic_ =
        std::find(workarounds.begin(), workarounds.end(), "exotic-backend") != workarounds.end();
  }
  bool have(std::string_view keyword) const {
    const auto& all = settings_.submission_backend_capabilities;
    return std::any_of(all.begin(), all.end(), [keyword](const std::string& capability) {
      return same_text(capability, keyword);
    });
  }
  /// What Dovecot's own submission service adds, whatever it relays to.
  bool usual(std::string_view keyword) const { return !exotic_ || have(keyword); }

 private:
  const config::LoginSettings& settings_;
  bool exotic_ = false;
};

/// "AUTH PLAIN LOGIN"; nothing if there is no mechanism to name.
std::string auth_line(const login::ClientContext& context) {
  std::string out = "AUTH";
  for (const login::Mechanism& mechanism : *context.mechanisms) {
    if (mechanism.anonymous || !login::is_advertised(context, mechanism)) continue;
    out.append(" ").append(mechanism.name);
  }
  const config::LoginSettings& settings = *context.settings;
  if (out.find(' ') != std::string::npos) return out;
  // Dovecot 2.3 has the word with a blank and nothing behind it, which RFC 4954 does not know.
  const bool shown = context.security.secured || settings.ssl != config::Ssl::required;
  return shown && settings.login_compat == config::LoginCompat::dovecot_2_3 ? "AUTH " : "";
}

std::string size_line(const config::LoginSettings& settings, const Backends& backends) {
  if (settings.submission_max_mail_size != 0) {
    return "SIZE " + std::to_string(settings.submission_max_mail_size);
  }
  return backends.usual("SIZE") ? "SIZE" : "";
}

}  // namespace

void append_ehlo(const login::ClientContext& context, WipingBuffer& out) {
  const Backends backends(*context.settings);
  std::vector<std::string> lines{context.host_name};
  const auto add_if = [&lines](bool there, std::string_view line) {
    if (there && !line.empty()) lines.emplace_back(line);
  };
  const bool binary = backends.have("BINARYMIME");
  add_if(backends.have("8BITMIME"), "8BITMIME");
  add_if(true, auth_line(context));
  add_if(binary, "BINARYMIME");
  add_if(backends.usual("BURL"), "BURL imap");
  add_if(binary || backends.usual("CHUNKING"), "CHUNKING");
  add_if(backends.have("DSN"), "DSN");
  add_if(backends.usual("ENHANCEDSTATUSCODES"), "ENHANCEDSTATUSCODES");
  add_if(true, size_line(*context.settings, backends));
  add_if(backends.have("SMTPUTF8"), "SMTPUTF8");
  add_if(login::can_start_tls(context), "STARTTLS");
  add_if(backends.usual("PIPELINING"), "PIPELINING");
  add_if(backends.have("VRFY"), "VRFY");
  add_if(context.security.trusted,
         "XCLIENT ADDR PORT PROTO HELO LOGIN SESSION TTL TIMEOUT FORWARD");
  for (const std::string& line : lines) {
    out.append(&line == &lines.back() ? "250 " : "250-").append(line).append("\r\n");
  }
}

}  // namespace postern::submission_login
