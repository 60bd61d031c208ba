#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/settings.h"
#include "config/snapshot.h"
#include "config/table.h"
#include "lib/secret.h"

/// postern.conf as the master reads it: all files, all errors at once, everything resolved.
namespace postern::config {

/// One thing that is wrong with the configuration, or worth a warning.
struct Problem {
  std::string file;
  unsigned line = 0;  // 1 is the first; 0: the whole file
  std::string what;   // what is wrong, and what would be right
  bool warning = false;
  /// "FILE:LINE: what".
  std::string text() const;
};

class ConfigurationImpl;

/// What a file of the TLS settings holds.
struct PresentFile {
  std::string path;
  Content content = Content::text;  // how it was read; one file may be read in several ways
  WipingBuffer bytes;
};

/// A configuration without errors. Immutable; holds secrets and file contents until it is
/// destroyed.
class Configuration {
 public:
  Configuration(Configuration&&) noexcept;
  Configuration& operator=(Configuration&&) noexcept;
  ~Configuration();

  /// The file it was read from.
  const std::string& path() const noexcept;
  const MasterSettings& master() const noexcept;
  /// The services to run, in the order to start them: log, anvil, auth, auth-worker, login
  /// services.
  const std::vector<ServiceSettings>& services() const noexcept;
  const ServiceSettings* service(std::string_view name) const noexcept;
  /// The sockets of a service, one per address, in the order the child gets their descriptors.
  /// A listener whose ssl = yes is left out where ssl = no holds globally, as in Dovecot.
  std::vector<SocketInfo> sockets(std::string_view service) const;
  /// What a process of `service` reads, for a sealed memfd. `opened` are the sockets it will
  /// inherit, in order (sockets(), less those that could not be opened).
  WipingBuffer snapshot(std::string_view service, const std::vector<SocketInfo>& opened) const;
  /// The login settings without filters and with each filter that changes TLS: to check that every
  /// certificate loads and matches its key. The first is the global one.
  struct Tls {
    std::string where;  // "" or "local_name mail.example.com"
    std::string file;   // where ssl_cert was set
    unsigned line = 0;
    std::shared_ptr<const LoginSettings> settings;
  };
  std::vector<Tls> tls() const;

  /// The files and directories that TLS settings were read from, each once: certificates, keys,
  /// CAs.
  std::vector<std::string> tls_files() const;
  /// What `paths` (of tls_files()) hold now, each read once for each way it is read. One that
  /// cannot be read, or has become empty, is left out.
  /// @param errors  gets one line for each of those
  std::vector<PresentFile> present_files(const std::vector<std::string>& paths,
                                         std::vector<std::string>& errors) const;
  /// The same configuration with those. Reads no file.
  /// @return nothing if all content is what it was
  std::optional<Configuration> with_files(const std::vector<PresentFile>& files) const;

  /// postern -n: what differs from the defaults, as INI that reads back the same; passwords as
  /// `<hidden>` (which does not).
  std::string print_changed() const;
  /// postern -a: everything.
  std::string print_all() const;

 private:
  friend class Loader;
  explicit Configuration(std::unique_ptr<ConfigurationImpl> impl) noexcept;
  std::unique_ptr<ConfigurationImpl> impl_;
};

/// What loading gave: the configuration unless there were errors, and every error and warning.
struct Loaded {
  std::optional<Configuration> configuration;
  std::vector<Problem> problems;  // in the order of files and lines
};

/// Reads `path` and what it includes. Opens no socket, writes nothing.
Loaded load(const std::string& path);
/// The same from memory, for tests and fuzzing. `name` stands for the file's path in messages and
/// for relative includes; files are read only if `may_read_files`.
Loaded load_text(std::string_view text, const std::string& name, bool may_read_files);

}  // namespace postern::config
