#pragma once

#include <span>
#include <string_view>

/// The services Postern has without being told. Source: Dovecot's defaults (`doveconf -d`), with
/// Postern's users.
namespace postern::config {

struct DefaultKey {
  std::string_view key;
  std::string_view value;
};

struct DefaultListener {
  std::string_view kind;  // "inet_listener" or "unix_listener"
  std::string_view name;
  std::span<const DefaultKey> keys;
};

struct DefaultService {
  std::string_view name;
  std::span<const DefaultKey> keys;
  std::span<const DefaultListener> listeners;
  bool single = false;  // more than one process would each know half of the truth
};

/// The master itself under a name of its own: it has listeners, but no [service] section.
inline constexpr std::string_view kMasterService = "master";

/// In the order to start them; the master last.
std::span<const DefaultService> default_services();
/// Null if Postern has no such service.
const DefaultService* default_service(std::string_view name);
/// A service that Dovecot has and Postern does not: its sections are passed over with a warning.
bool is_foreign_service(std::string_view name);

}  // namespace postern::config
