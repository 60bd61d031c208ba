#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "config/config.h"
#include "master/listener.h"
#include "master/service-run.h"

/// From a configuration to what services are started with. Everything that can be found wrong is
/// found here, before anything listens or starts.
namespace postern::master {

/// The socket over which the master reaches auth-worker on auth's behalf, below base_dir.
inline constexpr std::string_view kWorkerSocket = "internal/auth-worker";

/// A configuration that can be started, or why not.
struct Prepared {
  std::shared_ptr<const config::Configuration> configuration;
  std::map<std::string, Identity> identities;  // by service; empty without root
  std::vector<ListenerSpec> listeners;         // of all services and the master
  std::vector<std::string> warnings;
};

/// Checks the certificates and keys, that the programs are there, and looks up users and groups.
/// @param errors  gets one line each
/// @return nothing if there were errors
std::optional<Prepared> prepare(std::shared_ptr<const config::Configuration> configuration,
                                std::vector<std::string>& errors);

/// The sockets of `service` in the order its processes get them, the internal one included.
std::vector<config::SocketInfo> sockets_of(const config::Configuration& configuration,
                                           const std::string& service);

/// @param opened  what open_listeners() gave for prepared.listeners
/// @param log     the service's log pipe; null for the log process
ServiceSetup make_setup(const Prepared& prepared, const config::ServiceSettings& service,
                        const Listeners& opened, std::shared_ptr<LogPipe> log, int stderr_fd);

/// What is off without root, in one line; empty with root.
std::string missing_protections();

/// TLS settings that cannot be used together.
struct BadFiles {
  std::string text;                // why, with the place in postern.conf
  std::vector<std::string> paths;  // of the files they came from
};
/// Reads the TLS settings of a configuration as a login process would.
std::vector<BadFiles> check_certificates(const config::Configuration& configuration);
/// The same for those whose files have other content than `before`, which is otherwise the same
/// configuration; TLS to backends, too.
std::vector<BadFiles> check_changed_files(const config::Configuration& before,
                                          const config::Configuration& fresh);

}  // namespace postern::master
