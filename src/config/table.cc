#include "config/table.h"

#include <algorithm>
#include <array>
#include <type_traits>

#include "config/settings.h"
#include "postern-build.h"

namespace postern::config {
namespace {

template <class Kind>
Result<std::string> canonical_text(const Value& value, std::string_view choices) {
  auto parsed = Kind::parse(value, choices);
  if (!parsed.ok()) return parsed.error();
  return Kind::print(parsed.value(), choices);
}

template <class Kind>
constexpr Content content_of() {
  if constexpr (std::is_same_v<Kind, kinds::ca_file>) return Content::ca_file;
  if constexpr (std::is_same_v<Kind, kinds::ca_dir>) return Content::ca_dir;
  if constexpr (std::is_same_v<Kind, kinds::file>) return Content::file;
  return Content::text;
}

#define SETTING(kind, name, default_text, choices, help)    \
  SettingRow{kGroup,                                        \
             #name,                                         \
             #kind,                                         \
             default_text,                                  \
             choices,                                       \
             help,                                          \
             std::is_base_of_v<kinds::secret, kinds::kind>, \
             content_of<kinds::kind>(),                     \
             &canonical_text<kinds::kind>},

template <Group>
struct Rows;

template <>
struct Rows<Group::common> {
  static constexpr Group kGroup = Group::common;
  static constexpr auto kList = std::to_array<SettingRow>({
#include "config/settings-common.def"
  });
};
template <>
struct Rows<Group::master> {
  static constexpr Group kGroup = Group::master;
  static constexpr auto kList = std::to_array<SettingRow>({
#include "config/settings-master.def"
  });
};
template <>
struct Rows<Group::log> {
  static constexpr Group kGroup = Group::log;
  static constexpr auto kList = std::to_array<SettingRow>({
#include "config/settings-log.def"
  });
};
template <>
struct Rows<Group::login> {
  static constexpr Group kGroup = Group::login;
  static constexpr auto kList = std::to_array<SettingRow>({
#include "config/settings-login.def"
  });
};
template <>
struct Rows<Group::login_auth> {
  static constexpr Group kGroup = Group::login_auth;
  static constexpr auto kList = std::to_array<SettingRow>({
#include "config/settings-login-auth.def"
  });
};
template <>
struct Rows<Group::auth> {
  static constexpr Group kGroup = Group::auth;
  static constexpr auto kList = std::to_array<SettingRow>({
#include "config/settings-auth.def"
  });
};
template <>
struct Rows<Group::ssl> {
  static constexpr Group kGroup = Group::ssl;
  static constexpr auto kList = std::to_array<SettingRow>({
#include "config/settings-ssl.def"
  });
};
template <>
struct Rows<Group::submission> {
  static constexpr Group kGroup = Group::submission;
  static constexpr auto kList = std::to_array<SettingRow>({
#include "config/settings-submission.def"
  });
};
template <>
struct Rows<Group::managesieve> {
  static constexpr Group kGroup = Group::managesieve;
  static constexpr auto kList = std::to_array<SettingRow>({
#include "config/settings-managesieve.def"
  });
};
template <>
struct Rows<Group::service> {
  static constexpr Group kGroup = Group::service;
  static constexpr auto kList = std::to_array<SettingRow>({
#include "config/settings-service.def"
  });
};
template <>
struct Rows<Group::inet_listener> {
  static constexpr Group kGroup = Group::inet_listener;
  static constexpr auto kList = std::to_array<SettingRow>({
#include "config/settings-inet-listener.def"
  });
};
template <>
struct Rows<Group::unix_listener> {
  static constexpr Group kGroup = Group::unix_listener;
  static constexpr auto kList = std::to_array<SettingRow>({
#include "config/settings-unix-listener.def"
  });
};
template <>
struct Rows<Group::passdb> {
  static constexpr Group kGroup = Group::passdb;
  static constexpr auto kList = std::to_array<SettingRow>({
#include "config/settings-passdb.def"
  });
};
template <>
struct Rows<Group::userdb> {
  static constexpr Group kGroup = Group::userdb;
  static constexpr auto kList = std::to_array<SettingRow>({
#include "config/settings-userdb.def"
  });
};
#undef SETTING

#define UNSUPPORTED(name) UnsupportedSetting{#name, false, {}},
#define REFUSED(name, harmless) UnsupportedSetting{#name, true, harmless},
constexpr auto kUnsupported = std::to_array<UnsupportedSetting>({
#include "config/settings-unsupported.def"
});
#undef UNSUPPORTED
#undef REFUSED

}  // namespace

std::span<const SettingRow> setting_rows(Group group) {
  switch (group) {
    case Group::common:
      return Rows<Group::common>::kList;
    case Group::master:
      return Rows<Group::master>::kList;
    case Group::log:
      return Rows<Group::log>::kList;
    case Group::login:
      return Rows<Group::login>::kList;
    case Group::login_auth:
      return Rows<Group::login_auth>::kList;
    case Group::auth:
      return Rows<Group::auth>::kList;
    case Group::ssl:
      return Rows<Group::ssl>::kList;
    case Group::submission:
      return Rows<Group::submission>::kList;
    case Group::managesieve:
      return Rows<Group::managesieve>::kList;
    case Group::service:
      return Rows<Group::service>::kList;
    case Group::inet_listener:
      return Rows<Group::inet_listener>::kList;
    case Group::unix_listener:
      return Rows<Group::unix_listener>::kList;
    case Group::passdb:
      return Rows<Group::passdb>::kList;
    case Group::userdb:
      return Rows<Group::userdb>::kList;
  }
  return {};
}

const SettingRow* find_setting(Group group, std::string_view name) {
  const auto rows = setting_rows(group);
  const auto found = std::find_if(rows.begin(), rows.end(),
                                  [name](const SettingRow& row) { return row.name == name; });
  return found == rows.end() ? nullptr : &*found;
}

std::span<const UnsupportedSetting> unsupported_settings() {
  return kUnsupported;
}

}  // namespace postern::config
