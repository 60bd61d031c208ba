// Checks that concern one section as a whole: databases and TLS.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>

#include "config/sections.h"
#include "config/suggest.h"
#include "lib/text.h"

namespace postern::config {
namespace {

using Kind = Section::Kind;

/// The keys that only some drivers read.
struct DriverKey {
  std::string_view key;
  std::string_view drivers;  // blank-separated
};
constexpr std::array<DriverKey, 8> kDriverKeys{{{"username_format", "passwd-file"},
                                                {"passwd_file_path", "passwd-file"},
                                                {"password", "static"},
                                                {"fields", "static"},
                                                {"sql_driver", "sql"},
                                                {"connect", "sql"},
                                                {"password_query", "sql"},
                                                {"user_query", "sql"}}};

/// SASL mechanisms that exist, here or in Dovecot.
constexpr auto kMechanisms = std::to_array<std::string_view>(
    {"none", "plain", "login", "external", "anonymous", "cram-md5", "digest-md5", "apop",
     "scram-sha-1", "scram-sha-256", "scram-sha-1-plus", "scram-sha-256-plus", "xoauth2",
     "oauthbearer", "gssapi", "gss-spnego", "ntlm", "otp", "dovecot-token"});

/// What may stand in submission_backend_capabilities, whether it changes anything or not.
constexpr auto kSmtpCapabilities = std::to_array<std::string_view>(
    {"8BITMIME", "AUTH", "BINARYMIME", "BURL", "CHUNKING", "DSN", "ENHANCEDSTATUSCODES", "ETRN",
     "PIPELINING", "SIZE", "SMTPUTF8", "STARTTLS", "VRFY", "XCLIENT"});

std::string canonical_of(const Section& s, std::string_view key) {
  const Entry* const e = s.find_given(key);
  return e == nullptr ? std::string{} : canonical_value(*e->row, e->value);
}

/// True also if it has a wrong one.
bool has_value(const Section& s, std::string_view key) {
  const Entry* const e = s.find_given(key);
  if (s.is_refused(key)) return true;
  return e != nullptr && !e->value.text.empty();
}

/// `[scheme=S] [username_format=F] PATH`. True if there is a path.
bool check_passwd_file_args(const Section& s, Problems& problems) {
  const Entry* const args = s.find_given("args");
  bool path = false;
  if (args == nullptr) return path;
  for (const std::string_view word : words(args->value.view())) {
    if (word.starts_with("username_format=")) continue;
    if (!word.starts_with("scheme=")) {
      path = true;
      continue;
    }
    const SettingRow* const row = find_setting(Group::passdb, "default_pass_scheme");
    const Result<std::string> scheme = row->canonical(Value(word.substr(word.find('=') + 1)));
    if (!scheme.ok()) problems.error(args->where, "args: scheme: " + scheme.error().text);
  }
  return path;
}

void check_database(const Section& s, Problems& problems) {
  if (s.is_refused("driver")) return;
  const bool passdb = s.kind == Kind::passdb;
  const Entry* const entry = s.find_given("driver");
  const std::string driver = entry == nullptr ? "none" : canonical_value(*entry->row, entry->value);
  const auto need = [&](std::string_view key, std::string_view what) {
    problems.error(s.where_of("driver"),
                   fmt::format("{} {}: driver = {} needs {} ({})", passdb ? "passdb" : "userdb",
                               log_safe_line(s.name, 80), driver, key, what));
  };
  if (driver == "none") {
    problems.error(s.where_of("driver"),
                   fmt::format("{} {}: driver is missing (one of static, passwd-file, sql{})",
                               passdb ? "passdb" : "userdb", log_safe_line(s.name, 80),
                               passdb ? "" : ", prefetch"));
    return;
  }
  if (driver == "passwd-file" && !s.is_refused("args")) {
    const bool path = check_passwd_file_args(s, problems) || has_value(s, "passwd_file_path");
    if (!path) need("passwd_file_path", "the file");
  }
  if (driver == "sql") {
    const Entry* const sql = s.find_given("sql_driver");
    const bool none = sql == nullptr || canonical_value(*sql->row, sql->value) == "none";
    if (none && !s.is_refused("sql_driver")) {
      need("sql_driver", "sqlite");
    }
    if (!has_value(s, "connect")) need("connect", "the SQLite file");
    if (has_value(s, "args")) {
      problems.error(s.where_of("args"),
                     "args: a file of sql settings is not read; put its keys into this section "
                     "(driver there is sql_driver here)");
    }
  }
  for (const DriverKey& k : kDriverKeys) {
    if (k.drivers == driver || !has_value(s, k.key)) continue;
    problems.warning(s.where_of(k.key), fmt::format("{} has no effect with driver = {} (it is for "
                                                    "{})",
                                                    k.key, driver, k.drivers));
  }
}

void check_passdb(const Section& s, Problems& problems) {
  if (has_value(s, "user_query")) {
    problems.warning(s.where_of("user_query"),
                     "user_query has no effect in a passdb (it goes into a [userdb NAME])");
  }
  const std::string success = canonical_of(s, "result_success");
  if (canonical_of(s, "pass") == "yes" && !success.empty() && success != "return-ok") {
    problems.error(s.where_of("pass"),
                   "pass is the old spelling of result_success = continue; "
                   "take it out, as result_success is set");
  }
  const std::string mechanisms = canonical_of(s, "mechanisms");
  for (const std::string_view name : words(mechanisms)) {
    const auto same = [name](std::string_view known) { return same_text(known, name); };
    if (std::any_of(kMechanisms.begin(), kMechanisms.end(), same)) continue;
    const std::string_view near = closest(name, {kMechanisms.begin(), kMechanisms.end()});
    problems.error(s.where_of("mechanisms"),
                   fmt::format("mechanisms: {} is no SASL mechanism{}", log_safe_line(name, 80),
                               near.empty() ? "" : fmt::format(" (did you mean {}?)", near)));
  }
}

/// The last database to be asked must not only say that another is to be asked.
void check_last_passdb(const ConfigurationImpl& impl, Problems& problems) {
  const Section* last = nullptr;
  for (const bool own : {false, true}) {  // those of one protocol follow the others
    for (const Section& s : impl.sections) {
      const bool counts = s.kind == Kind::passdb && s.protocol.empty() != own;
      if (counts && canonical_of(s, "master") != "yes") last = &s;
    }
  }
  if (last == nullptr || canonical_of(*last, "pass") != "yes") return;
  problems.error(last->where_of("pass"),
                 fmt::format("passdb {}: the last passdb cannot have pass = yes: nothing follows "
                             "that could let anybody in",
                             log_safe_line(last->name, 80)));
}

/// What a block's connections get for `key`: its own, or the global one.
bool effective(const ConfigurationImpl& impl, const Section& block, std::string_view key) {
  return has_value(block, key) || has_value(impl.global(), key);
}

void check_pair(const ConfigurationImpl& impl, const Section& block, std::string_view cert,
                std::string_view key, Problems& problems) {
  if (block.find_given(cert) != nullptr && has_value(block, cert) && !effective(impl, block, key)) {
    problems.error(block.where_of(cert), fmt::format("{} is set, but {} is not", cert, key));
  }
  if (block.find_given(key) != nullptr && has_value(block, key) && !effective(impl, block, cert)) {
    problems.error(block.where_of(key), fmt::format("{} is set, but {} is not", key, cert));
  }
}

/// Clients' certificates cannot be judged without the CAs that sign them.
void check_client_certificates(const ConfigurationImpl& impl, const Section& block,
                               Problems& problems) {
  for (const std::string_view key : {"ssl_verify_client_cert", "auth_ssl_require_client_cert"}) {
    if (block.find_given(key) == nullptr || canonical_of(block, key) != "yes") continue;
    if (effective(impl, block, "ssl_ca")) continue;
    problems.error(block.where_of(key), fmt::format("{} is set, but ssl_ca is not", key));
  }
  const std::string_view username = "auth_ssl_username_from_cert";
  if (block.find_given(username) == nullptr || canonical_of(block, username) != "yes") return;
  for (const std::string_view key : {"ssl_verify_client_cert", "auth_ssl_require_client_cert"}) {
    const Section& from = block.find_given(key) != nullptr ? block : impl.global();
    if (canonical_of(from, key) == "yes") return;
  }
  problems.warning(block.where_of(username),
                   fmt::format("{} has no effect: clients are not asked for a certificate "
                               "(ssl_verify_client_cert, auth_ssl_require_client_cert)",
                               username));
}

/// The first listener that speaks TLS from the first byte.
const Section* ssl_listener(const ConfigurationImpl& impl) {
  for (const ServiceSettings& service : impl.services) {
    for (const ListenerSettings& listener : service.listeners) {
      if (listener.kind != ListenerSettings::Kind::inet || !listener.ssl) continue;
      return impl.find(Kind::inet_listener, service.name, listener.name);
    }
  }
  return nullptr;
}

void check_server_certificate(const ConfigurationImpl& impl, Problems& problems) {
  const bool logins =
      std::any_of(impl.services.begin(), impl.services.end(),
                  [](const ServiceSettings& s) { return s.type == ServiceType::login; });
  const Ssl ssl = impl.global_as<LoginSettings>().ssl;
  if (!logins || ssl == Ssl::no || has_value(impl.global(), "ssl_cert")) return;
  const Where& where = impl.global().where_of("ssl");
  const std::string what =
      fmt::format("ssl = {}, but ssl_cert is not set", ssl == Ssl::yes ? "yes" : "required");
  const auto blocks = impl.blocks();
  const bool elsewhere = std::any_of(blocks.begin(), blocks.end(), [](const Section* block) {
    return has_value(*block, "ssl_cert");
  });
  if (elsewhere) {
    problems.warning(where, what +
                                " for connections that no filter with a certificate matches; "
                                "they cannot use TLS");
    return;
  }
  const Section* const listener = ssl_listener(impl);
  if (listener != nullptr) {
    const bool own = listener->where.line != 0;
    problems.error(own ? listener->where_of("ssl") : where,
                   fmt::format("{}, and [{}] needs one (ssl_cert = </path/of/cert.pem and ssl_key "
                               "= </path/of/key.pem, or ssl = no)",
                               what, listener->head()));
  } else if (ssl == Ssl::required) {
    problems.error(where, what +
                              ", so nobody could log in (ssl_cert = </path/of/cert.pem and "
                              "ssl_key = </path/of/key.pem)");
  } else {
    problems.warning(where, what + "; TLS is not offered");
  }
}

}  // namespace

void check_databases(const ConfigurationImpl& impl, Problems& problems) {
  bool passdb = false;
  for (const Section& s : impl.sections) {
    if (s.kind == Kind::passdb || s.kind == Kind::userdb) check_database(s, problems);
    if (s.kind == Kind::passdb) check_passdb(s, problems);
    passdb = passdb || s.kind == Kind::passdb;
  }
  check_last_passdb(impl, problems);
  const bool own_auth = impl.global().find_given("auth_socket_path") == nullptr;
  if (!passdb && own_auth) {
    problems.warning(impl.global().where, "there is no [passdb NAME], so nobody can log in");
  }
}

void check_submission(const ConfigurationImpl& impl, Problems& problems) {
  constexpr std::string_view kSetting = "submission_backend_capabilities";
  for (const Section& s : impl.sections) {
    if (s.kind != Kind::block || s.find_given(kSetting) == nullptr) continue;
    const std::string all = canonical_of(s, kSetting);
    for (const std::string_view name : words(all)) {
      const auto same = [name](std::string_view known) { return same_text(known, name); };
      if (std::any_of(kSmtpCapabilities.begin(), kSmtpCapabilities.end(), same)) continue;
      const std::string_view near =
          closest(to_upper(name), {kSmtpCapabilities.begin(), kSmtpCapabilities.end()});
      problems.warning(
          s.where_of(kSetting),
          fmt::format("Unknown SMTP capability in {}: {}{}", kSetting, log_safe_line(name, 80),
                      near.empty() ? "" : fmt::format(" (did you mean {}?)", near)));
    }
  }
}

void check_tls(const ConfigurationImpl& impl, Problems& problems) {
  for (const Section& s : impl.sections) {
    if (s.kind != Kind::block) continue;
    check_pair(impl, s, "ssl_cert", "ssl_key", problems);
    check_pair(impl, s, "ssl_alt_cert", "ssl_alt_key", problems);
    check_pair(impl, s, "ssl_client_cert", "ssl_client_key", problems);
    check_client_certificates(impl, s, problems);
  }
  check_server_certificate(impl, problems);
}

}  // namespace postern::config
