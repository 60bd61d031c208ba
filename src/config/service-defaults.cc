#include "config/service-defaults.h"

#include <algorithm>
#include <array>

namespace postern::config {
namespace {

constexpr std::array<DefaultKey, 5> kLogKeys{{{"type", "log"},
                                              {"executable", "log"},
                                              {"user", "$default_internal_user"},
                                              {"process_limit", "1"},
                                              {"idle_kill", "infinite"}}};

constexpr std::array<DefaultKey, 6> kAnvilKeys{{{"type", "anvil"},
                                                {"executable", "anvil"},
                                                {"user", "$default_internal_user"},
                                                {"chroot", "empty"},
                                                {"process_limit", "1"},
                                                {"idle_kill", "infinite"}}};
constexpr std::array<DefaultKey, 1> kPrivateMode{{{"mode", "0600"}}};
constexpr std::array<DefaultListener, 1> kAnvilListeners{
    {{"unix_listener", "anvil", kPrivateMode}}};

constexpr std::array<DefaultKey, 3> kAuthKeys{
    {{"executable", "auth"}, {"user", "postern-auth"}, {"process_limit", "1"}}};
constexpr std::array<DefaultKey, 2> kInternalOnly{
    {{"mode", "0600"}, {"user", "$default_internal_user"}}};
constexpr std::array<DefaultKey, 2> kUserdbMode{
    {{"mode", "0666"}, {"user", "$default_internal_user"}}};
constexpr std::array<DefaultKey, 1> kPublicMode{{{"mode", "0666"}}};
// login/login may be reached by everybody who gets into the directory, which is the login group.
constexpr std::array<DefaultListener, 5> kAuthListeners{
    {{"unix_listener", "auth-client", kInternalOnly},
     {"unix_listener", "auth-login", kInternalOnly},
     {"unix_listener", "auth-master", kPrivateMode},
     {"unix_listener", "auth-userdb", kUserdbMode},
     {"unix_listener", "login/login", kPublicMode}}};

// It has no socket of its own: auth reaches it through the master. process_limit is
// auth_worker_max_count where none is given.
constexpr std::array<DefaultKey, 4> kWorkerKeys{{{"type", "worker"},
                                                 {"executable", "auth-worker"},
                                                 {"user", "postern-auth"},
                                                 {"client_limit", "1"}}};

constexpr std::array<DefaultKey, 6> kImapLoginKeys{{{"protocol", "imap"},
                                                    {"type", "login"},
                                                    {"executable", "imap-login"},
                                                    {"user", "$default_login_user"},
                                                    {"chroot", "empty"},
                                                    {"service_count", "1"}}};
constexpr std::array<DefaultKey, 1> kImapPort{{{"port", "143"}}};
constexpr std::array<DefaultKey, 2> kImapsPort{{{"port", "993"}, {"ssl", "yes"}}};
constexpr std::array<DefaultListener, 2> kImapListeners{
    {{"inet_listener", "imap", kImapPort}, {"inet_listener", "imaps", kImapsPort}}};

constexpr std::array<DefaultKey, 6> kPop3LoginKeys{{{"protocol", "pop3"},
                                                    {"type", "login"},
                                                    {"executable", "pop3-login"},
                                                    {"user", "$default_login_user"},
                                                    {"chroot", "empty"},
                                                    {"service_count", "1"}}};
constexpr std::array<DefaultKey, 1> kPop3Port{{{"port", "110"}}};
constexpr std::array<DefaultKey, 2> kPop3sPort{{{"port", "995"}, {"ssl", "yes"}}};
constexpr std::array<DefaultListener, 2> kPop3Listeners{
    {{"inet_listener", "pop3", kPop3Port}, {"inet_listener", "pop3s", kPop3sPort}}};

constexpr std::array<DefaultKey, 6> kSubmissionLoginKeys{{{"protocol", "submission"},
                                                          {"type", "login"},
                                                          {"executable", "submission-login"},
                                                          {"user", "$default_login_user"},
                                                          {"chroot", "empty"},
                                                          {"service_count", "1"}}};
constexpr std::array<DefaultKey, 1> kSubmissionPort{{{"port", "587"}}};
constexpr std::array<DefaultKey, 2> kSubmissionsPort{{{"port", "465"}, {"ssl", "yes"}}};
constexpr std::array<DefaultListener, 2> kSubmissionListeners{
    {{"inet_listener", "submission", kSubmissionPort},
     {"inet_listener", "submissions", kSubmissionsPort}}};
constexpr std::array<DefaultKey, 6> kSieveLoginKeys{{{"protocol", "sieve"},
                                                     {"type", "login"},
                                                     {"executable", "managesieve-login"},
                                                     {"user", "$default_login_user"},
                                                     {"chroot", "empty"},
                                                     {"service_count", "1"}}};
constexpr std::array<DefaultKey, 1> kSievePort{{{"port", "4190"}}};
constexpr std::array<DefaultListener, 1> kSieveListeners{{{"inet_listener", "sieve", kSievePort}}};

constexpr std::array<DefaultListener, 1> kMasterListeners{
    {{"unix_listener", "control", kPrivateMode}}};

constexpr std::array<DefaultService, 9> kServices{
    {{"log", kLogKeys, {}, true},
     {"anvil", kAnvilKeys, kAnvilListeners, true},
     {"auth", kAuthKeys, kAuthListeners, true},
     {"auth-worker", kWorkerKeys, {}, false},
     {"imap-login", kImapLoginKeys, kImapListeners, false},
     {"pop3-login", kPop3LoginKeys, kPop3Listeners, false},
     {"submission-login", kSubmissionLoginKeys, kSubmissionListeners, false},
     {"managesieve-login", kSieveLoginKeys, kSieveListeners, false},
     {kMasterService, {}, kMasterListeners, true}}};

constexpr std::array<std::string_view, 26> kForeign{"aggregator",
                                                    "config",
                                                    "dict",
                                                    "dict-async",
                                                    "dict-expire",
                                                    "director",
                                                    "dns-client",
                                                    "doveadm",
                                                    "health-check",
                                                    "imap",
                                                    "imap-hibernate",
                                                    "imap-urlauth",
                                                    "imap-urlauth-login",
                                                    "imap-urlauth-worker",
                                                    "indexer",
                                                    "indexer-worker",
                                                    "ipc",
                                                    "lmtp",
                                                    "managesieve",
                                                    "old-stats",
                                                    "pop3",
                                                    "replicator",
                                                    "stats",
                                                    "submission",
                                                    "tcpwrap",
                                                    "welcome"};

}  // namespace

std::span<const DefaultService> default_services() {
  return kServices;
}

const DefaultService* default_service(std::string_view name) {
  const auto* const found =
      std::find_if(kServices.begin(), kServices.end(),
                   [name](const DefaultService& s) { return s.name == name; });
  return found == kServices.end() ? nullptr : found;
}

bool is_foreign_service(std::string_view name) {
  return std::find(kForeign.begin(), kForeign.end(), name) != kForeign.end();
}

}  // namespace postern::config
