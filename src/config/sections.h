#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.h"
#include "config/table.h"

/// What postern.conf says, section by section, with the place of each word; the loader fills it,
/// the checks and `-n` read it.
namespace postern::config {

/// A place in a file.
struct Where {
  std::string file;
  unsigned line = 0;
};

/// One `key = value`.
struct Entry {
  const SettingRow* row = nullptr;
  Value value;
  Where where;
};

struct Section {
  enum class Kind : std::uint8_t {
    block,  // the global settings (a filter without terms) or a filter
    service,
    inet_listener,
    unix_listener,
    passdb,
    userdb,
  };
  Kind kind = Kind::block;
  Filter filter;                // of a block
  std::string service;          // of a service or listener
  std::string name;             // of a listener, passdb or userdb
  std::string protocol;         // of a passdb or userdb; empty: for all
  bool builtin = false;         // there without being mentioned
  Where where;                  // of its first head; line 0 if it was never mentioned
  std::vector<Entry> defaults;  // what a built-in section has that the table has not
  std::vector<Entry> given;     // what the operator wrote
  // Keys that were given with a wrong value, which was told: not missing, so not to be told again.
  std::vector<std::string_view> refused;

  /// What stands between the brackets; empty for the global settings.
  std::string head() const;
  const Entry* find_given(std::string_view key) const noexcept;
  /// Given or built in; null if only the table's default is left.
  const Entry* find(std::string_view key) const noexcept;
  bool is_refused(std::string_view key) const noexcept;
  /// Where `key` was given, else where the section begins.
  const Where& where_of(std::string_view key) const noexcept;
};

/// Groups of the table whose keys stand in such a section.
std::span<const Group> groups_of(Section::Kind kind);
/// True if a [protocol], [local] … filter may change settings of this group.
bool may_stand_in_filter(Group group) noexcept;
/// The value as it prints; empty if it is wrong.
std::string canonical_value(const SettingRow& row, const Value& value);

/// What a section head says, or what is wrong with it.
struct Head {
  Section::Kind kind = Section::Kind::block;
  Filter filter;
  std::string service, name, protocol;
  bool ignored = false;  // known, but not acted on: `note` is a warning
  std::string note;
};
Result<Head> parse_head(std::string_view text);

/// Everything that is wrong so far.
class Problems {
 public:
  void error(const Where& where, std::string what) { add(where, std::move(what), false); }
  void warning(const Where& where, std::string what) { add(where, std::move(what), true); }
  bool has_errors() const noexcept { return errors_ > 0; }
  /// In the order of `files`, then of lines.
  std::vector<Problem> take(const std::vector<std::string>& files);

 private:
  void add(const Where& where, std::string what, bool warning);
  std::vector<Problem> list_;
  std::size_t errors_ = 0;
};

class ConfigurationImpl {
 public:
  std::string path;
  std::vector<Section> sections;  // built-in ones first, then in file order
  MasterSettings master;
  std::vector<ServiceSettings> services;  // resolved, active ones, in the order to start
  ServiceSettings master_service;         // listeners of the master itself

  const Section& global() const noexcept { return sections.front(); }
  /// Global first, then filters in rising precedence.
  std::vector<const Section*> blocks() const;
  const Section* find(Section::Kind kind, std::string_view service,
                      std::string_view name) const noexcept;
  /// The listening sockets of one listener, one an address; addresses that are none are left out.
  std::vector<SocketInfo> sockets_of(const ListenerSettings& listener) const;
  /// Who reads what.
  enum class Role : std::uint8_t { other, log, anvil, login, auth };
  static Role role_of(const ServiceSettings& service) noexcept;
  /// The global settings as one struct.
  template <class S>
  S global_as() const {
    S out;
    for (const Entry& e : global().given) {
      static_cast<void>(assign(out, e.row->name, e.value).ok());
    }
    return out;
  }
};

/// Builds `master` and `services` of `impl` from its sections and checks everything that concerns
/// more than one value.
void resolve(ConfigurationImpl& impl, Problems& problems);
/// Warns where the descriptors of this host do not suffice.
void check_descriptors(const ConfigurationImpl& impl, Problems& problems);
/// What passdb and userdb sections need and must not have.
void check_databases(const ConfigurationImpl& impl, Problems& problems);
/// Certificates, keys, and listeners that need them.
void check_tls(const ConfigurationImpl& impl, Problems& problems);
/// submission_backend_capabilities: words that are no capability.
void check_submission(const ConfigurationImpl& impl, Problems& problems);

}  // namespace postern::config
