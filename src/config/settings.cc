#include "config/settings.h"

#include <array>
#include <functional>

#include "lib/check.h"
#include "postern-build.h"

namespace postern::config {
namespace {

template <class Kind>
typename Kind::type default_of(std::string_view text, std::string_view choices) {
  auto parsed = Kind::parse(Value(text), choices);
  POSTERN_CHECK(parsed.ok());  // the table's own text
  return std::move(parsed.value());
}

/// How one member is set from text.
template <class S>
struct Member {
  std::string_view name;
  Status (*set)(S&, const Value&);
};

}  // namespace

#define SETTING(kind, name, default_text, choices, help) \
  name = default_of<kinds::kind>(default_text, choices);

CommonSettings::CommonSettings(){
#include "config/settings-common.def"
} MasterSettings::MasterSettings(){
#include "config/settings-log.def"
#include "config/settings-master.def"
} LogSettings::LogSettings(){
#include "config/settings-log.def"
} LoginSettings::LoginSettings(){
#include "config/settings-login-auth.def"
#include "config/settings-login.def"
#include "config/settings-managesieve.def"
#include "config/settings-ssl.def"
#include "config/settings-submission.def"
} AuthSettings::AuthSettings(){
#include "config/settings-auth.def"
#include "config/settings-login-auth.def"
} PassdbSettings::PassdbSettings(){
#include "config/settings-passdb.def"
} UserdbSettings::UserdbSettings(){
#include "config/settings-userdb.def"
} ListenerSettings::ListenerSettings(){
#include "config/settings-inet-listener.def"
#include "config/settings-unix-listener.def"
} ServiceSettings::ServiceSettings() {
#include "config/settings-service.def"
}
#undef SETTING

namespace {

#define SETTING(kind, name, default_text, choices, help)           \
  Member<S>{#name, [](S& settings, const Value& value) -> Status { \
              auto parsed = kinds::kind::parse(value, choices);    \
              if (!parsed.ok()) return parsed.error();             \
              settings.name = std::move(parsed.value());           \
              return Done{};                                       \
            }},

template <class S>
struct Members;

template <>
struct Members<CommonSettings> {
  using S = CommonSettings;
  static constexpr auto kList = std::to_array<Member<S>>({
#include "config/settings-common.def"
  });
};
template <>
struct Members<AnvilSettings> {
  using S = AnvilSettings;
  static constexpr auto kList = std::to_array<Member<S>>({
#include "config/settings-common.def"
  });
};
template <>
struct Members<MasterSettings> {
  using S = MasterSettings;
  static constexpr auto kList = std::to_array<Member<S>>({
#include "config/settings-common.def"
#include "config/settings-log.def"
#include "config/settings-master.def"
  });
};
template <>
struct Members<LogSettings> {
  using S = LogSettings;
  static constexpr auto kList = std::to_array<Member<S>>({
#include "config/settings-common.def"
#include "config/settings-log.def"
  });
};
template <>
struct Members<LoginSettings> {
  using S = LoginSettings;
  static constexpr auto kList = std::to_array<Member<S>>({
#include "config/settings-common.def"
#include "config/settings-login-auth.def"
#include "config/settings-login.def"
#include "config/settings-managesieve.def"
#include "config/settings-ssl.def"
#include "config/settings-submission.def"
  });
};
template <>
struct Members<AuthSettings> {
  using S = AuthSettings;
  static constexpr auto kList = std::to_array<Member<S>>({
#include "config/settings-auth.def"
#include "config/settings-common.def"
#include "config/settings-login-auth.def"
  });
};
template <>
struct Members<PassdbSettings> {
  using S = PassdbSettings;
  static constexpr auto kList = std::to_array<Member<S>>({
#include "config/settings-passdb.def"
  });
};
template <>
struct Members<UserdbSettings> {
  using S = UserdbSettings;
  static constexpr auto kList = std::to_array<Member<S>>({
#include "config/settings-userdb.def"
  });
};
template <>
struct Members<ListenerSettings> {
  using S = ListenerSettings;
  static constexpr auto kList = std::to_array<Member<S>>({
#include "config/settings-inet-listener.def"
#include "config/settings-unix-listener.def"
  });
};
template <>
struct Members<ServiceSettings> {
  using S = ServiceSettings;
  static constexpr auto kList = std::to_array<Member<S>>({
#include "config/settings-service.def"
  });
};
#undef SETTING

}  // namespace

template <class S>
Result<bool> assign(S& settings, std::string_view name, const Value& value) {
  for (const Member<S>& member : Members<S>::kList) {
    if (member.name != name) continue;
    const Status status = member.set(settings, value);
    if (!status.ok()) return status.error();
    return true;
  }
  return false;
}
template Result<bool> assign(CommonSettings&, std::string_view, const Value&);
template Result<bool> assign(MasterSettings&, std::string_view, const Value&);
template Result<bool> assign(LogSettings&, std::string_view, const Value&);
template Result<bool> assign(AnvilSettings&, std::string_view, const Value&);
template Result<bool> assign(LoginSettings&, std::string_view, const Value&);
template Result<bool> assign(AuthSettings&, std::string_view, const Value&);
template Result<bool> assign(PassdbSettings&, std::string_view, const Value&);
template Result<bool> assign(UserdbSettings&, std::string_view, const Value&);
template Result<bool> assign(ListenerSettings&, std::string_view, const Value&);
template Result<bool> assign(ServiceSettings&, std::string_view, const Value&);

}  // namespace postern::config
