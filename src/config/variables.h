#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lib/result.h"
#include "lib/secret.h"

/// Dovecot's %variables: a text is compiled once into a Template, which then expands without
/// parsing and, for plain variables, without allocating anything but the output.
///
///   %u  %{user}                 short and long names
///   %Lu  %L{user}               modifiers: L U case, E escape "'\, X number to hex, R reverse,
///                               H N hash, M MD5, D LDAP dc=, T trim the end; up to ten
///   %2.3u %-3.2u %5u %05u       [offset.]width before the modifiers; 0: pad with zeros
///   %{sha256;rounds=2,salt=x,truncate=16,format=hex:user}
///   %{if;%a;>;100;big;small}    == != < <= > >= eq ne lt le gt ge * !* ~ !~
///   %{passdb:field:default}     variables with an argument
///   %%                          a percent sign
///
/// Source: Dovecot "Config Variables"; tests/transcripts/auth-variables.txt byte for byte.
namespace postern::config {

/// One name of a variable. Several rows may carry one id (aliases).
struct VariableName {
  char short_name;             // '\0': none
  std::string_view long_name;  // empty: none; one that ends in ':' takes an argument
  std::uint8_t id;             // what lookups are asked for
};

/// The variables a place knows. Every set also knows %{hostname}, %{pid}, %{uid}, %{gid} and
/// %{env:NAME}, which are filled in when a template is compiled, unless it has its own of that
/// name.
class VariableSet {
 public:
  /// `names` must outlive the set (static tables).
  constexpr explicit VariableSet(std::span<const VariableName> names) noexcept : names_(names) {}
  const VariableName* find_short(char name) const noexcept;
  const VariableName* find_long(std::string_view name) const noexcept;
  /// The row whose long name ends in ':' and begins `text`.
  const VariableName* find_prefix(std::string_view text) const noexcept;
  std::span<const VariableName> names() const noexcept { return names_; }

 private:
  std::span<const VariableName> names_;
};

/// What login_greeting, login_log_format and login_log_format_elements may use.
enum class LoginVariable : std::uint8_t {
  user,
  username,
  domain,
  orig_user,
  orig_username,
  orig_domain,
  auth_user,
  auth_username,
  auth_domain,
  service,
  home,
  remote_ip,
  local_ip,
  remote_port,
  local_port,
  real_remote_ip,
  real_local_ip,
  real_remote_port,
  real_local_port,
  pid,
  mech,
  secured,
  ssl_security,
  mail_pid,
  session,
  listener,
  local_name,
  passdb,    // argument: the field
  message,   // login_log_format only: %$
  elements,  // login_log_format only: %s
};

/// What auth's settings, passdbs and userdbs may use.
enum class AuthVariable : std::uint8_t {
  user,
  username,
  domain,
  service,
  local_ip,
  remote_ip,
  local_port,
  remote_port,
  real_local_ip,
  real_remote_ip,
  real_local_port,
  real_remote_port,
  mech,
  secured,
  cert,
  password,
  pid,
  db_id,
  session,
  session_pid,
  local_name,
  client_id,
  login_user,
  login_username,
  login_domain,
  orig_user,
  orig_username,
  orig_domain,
  auth_user,
  auth_username,
  auth_domain,
  master_user,
  domain_first,
  domain_last,
  passdb,
  userdb,  // argument: the field
};

const VariableSet& login_greeting_variables();  // NOLINT(readability-redundant-declaration)
const VariableSet& login_log_variables();       // NOLINT(readability-redundant-declaration)
const VariableSet& login_log_line_variables();  // NOLINT(readability-redundant-declaration)
const VariableSet& auth_variables();            // NOLINT(readability-redundant-declaration)

/// A variable a template asks for.
struct VariableRef {
  std::uint8_t id = 0;        // of the set the template was compiled against
  std::string_view argument;  // %{passdb:host}: "host"
  template <class Enum>
  Enum as() const noexcept {
    return static_cast<Enum>(id);
  }
};

/// Where values come from: anything callable as
/// `std::optional<std::string_view>(const VariableRef&)`; nothing is "not set". The returned view
/// must stay valid until the next call. Borrows the callable for the call it is passed to.
class VariableLookup {
 public:
  template <class F>
  requires(!std::is_same_v<std::remove_cvref_t<F>, VariableLookup>)
      // NOLINTNEXTLINE(google-explicit-constructor,bugprone-forwarding-reference-overload)
      VariableLookup(F&& f)
  noexcept
      : object_(const_cast<void*>(static_cast<const void*>(&f))),
        call_([](void* object, const VariableRef& ref) -> std::optional<std::string_view> {
          return (*static_cast<std::remove_reference_t<F>*>(object))(ref);
        }) {}
  std::optional<std::string_view> operator()(const VariableRef& ref) const {
    return call_(object_, ref);
  }

 private:
  void* object_;
  std::optional<std::string_view> (*call_)(void*, const VariableRef&);
};

class TemplateCompiler;

/// A compiled text. A value: copies share the compiled form, which never changes.
class Template {
 public:
  struct Part;  // a literal, or something that is computed; opaque but for the functions below

  /// An empty text.
  Template();
  /// @return an Error "Unknown variable '%x'" or what else is wrong with the text
  static Result<Template> compile(std::string_view text, const VariableSet& known);

  /// Appends the expansion to `out`.
  /// @return true if any variable had a value that is not empty (Dovecot leaves a log element out
  ///         when all its variables are empty)
  bool expand(const VariableLookup& lookup, std::string& out) const;
  /// The same into memory that is wiped; no intermediate copy survives either.
  bool expand(const VariableLookup& lookup, WipingBuffer& out) const;

  /// The text it was compiled from.
  const std::string& text() const noexcept;
  bool has_variables() const noexcept;
  /// True if variable `id` occurs anywhere, also inside %{if…} and hashes.
  bool uses(std::uint8_t id) const noexcept;
  template <class Enum>
  bool uses(Enum variable) const noexcept requires(std::is_enum_v<Enum>) {
    return uses(static_cast<std::uint8_t>(variable));
  }

  // The parts one by one, for SQL: literals are query text, everything else becomes a parameter.
  std::size_t part_count() const noexcept;
  bool part_is_literal(std::size_t i) const noexcept;
  /// Of a literal part.
  std::string_view literal(std::size_t i) const noexcept;
  /// Of a part that is one plain variable (with or without modifiers): which. Nothing for %{if…},
  /// hashes.
  std::optional<VariableRef> variable(std::size_t i) const noexcept;
  /// Appends one part, computed with its modifiers.
  bool expand_part(std::size_t i, const VariableLookup& lookup, WipingBuffer& out) const;

 private:
  friend class TemplateCompiler;
  struct Code;
  std::shared_ptr<const Code> code_;
};

}  // namespace postern::config
