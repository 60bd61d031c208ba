#pragma once

#include <array>
#include <bitset>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "auth/environment.h"
#include "auth/fields.h"
#include "auth/passdb.h"
#include "config/settings.h"
#include "config/variables.h"
#include "lib/secret.h"
#include "sasl/server.h"
#include "wire/auth-request.h"
#include "wire/proxy-hosts.h"

/// One question about one user: the name is made into its final form, the passdbs are walked, the
/// fields checked, the backend's name resolved; or the userdbs are walked. No sockets: everything
/// outside is Environment. Source: spec of the passdb walk as Dovecot 2.3 documents it under
/// "Password databases", and tests/transcripts/auth-*.txt.
namespace postern::auth {

inline constexpr std::size_t kMaxUserName = 320;  // bytes

/// Settings of one service, compiled once.
struct RequestSettings {
  std::shared_ptr<const config::AuthSettings> settings;
  config::Template username_format;
  std::array<char, 256> translation{};
  std::bitset<256> allowed;

  static Result<RequestSettings> make(std::shared_ptr<const config::AuthSettings> settings);
};

/// The databases of one service, in order.
struct Databases {
  std::vector<Passdb*> passdbs;
  std::vector<Passdb*> masters;
  std::vector<Userdb*> userdbs;
};

enum class PassdbResult : std::uint8_t {
  ok,
  next,  // noauthenticate
  mismatch,
  unknown,
  internal,
  disabled,
  expired,
  no_credentials,  // the passdbs cannot be asked without a password
};
enum class UserdbResult : std::uint8_t { ok, unknown, internal };

/// What a request is part of.
struct RequestContext {
  Environment& environment;
  const RequestSettings& settings;
  const Databases& databases;
};

class Request final : public Retirable {
 public:
  /// Whoever asked. Called at most once per question, maybe before the question's function returns;
  /// the request may be retired in the call.
  class Owner {
   public:
    virtual void on_passdb_done(Request& request, PassdbResult result) = 0;
    virtual void on_userdb_done(Request& request, UserdbResult result) = 0;

   protected:
    ~Owner() = default;
  };

  /// @param mech        upper case; empty for lookups without login
  /// @param client_pid  %p
  Request(RequestContext context, wire::AuthProperties properties, std::string_view mech,
          std::uint32_t client_pid, Owner& owner);
  ~Request() override;
  Request(const Request&) = delete;
  Request& operator=(const Request&) = delete;

  /// The owner's number for it.
  std::uint64_t tag = 0;

  // The name. Each returns an empty text, or why the name is refused.
  /// @param may_be_master  the master user separator counts
  std::string set_username(std::string_view raw, bool may_be_master);
  std::string set_login_username(std::string_view raw);
  /// The name in the client's certificate, where that is the user's (auth_ssl_username_from_cert).
  std::string_view certificate_name() const noexcept;
  /// Why the certificate, or its absence, ends the request before its mechanism begins; or empty.
  std::string_view certificate_problem() const noexcept;

  // The questions.
  /// @param resolve_proxy  decide proxy_maybe and resolve `host` once the user is in (login
  /// sockets)
  void authenticate(Secret password, bool resolve_proxy);
  /// The same for who shows a proof instead of the password: only a password stored in clear can
  /// confirm it, and nopassword does not.
  void prove(std::unique_ptr<sasl::PasswordProof> proof, bool resolve_proxy);
  /// PASS: the fields of a user, nothing is verified.
  void look_up();
  /// USER; after a successful authenticate() it goes on with what that gave.
  void look_up_user();
  /// Another owner: what is asked from now on is answered there.
  void set_owner(Owner& owner) noexcept { owner_ = &owner; }
  /// Stops everything; the owner is not called any more.
  void abandon() noexcept;

  // What came of it.
  const wire::AuthProperties& properties() const noexcept { return properties_; }
  std::string_view mech() const noexcept { return mech_; }
  bool has_user() const noexcept { return has_user_; }
  const std::string& user() const noexcept { return user_; }
  const std::string& original_user() const noexcept { return original_user_; }
  bool has_original_user() const noexcept { return has_original_; }
  const std::string& master_user() const noexcept { return master_user_; }
  const Secret& password() const noexcept { return password_; }
  /// False: the client showed a proof of it.
  bool has_password() const noexcept { return !proof_; }
  const FieldList& fields() const noexcept { return state_.fields; }
  const FieldList& userdb_fields() const noexcept { return state_.userdb; }
  /// The settings of its service.
  const config::AuthSettings& settings() const noexcept { return *context_.settings.settings; }
  /// No failure delay: a passdb said so.
  bool no_delay() const noexcept { return state_.fields.has("nodelay"); }
  bool master_verified() const noexcept { return !master_user_.empty(); }
  const std::string& userdb_reason() const noexcept { return userdb_reason_; }

  // Its lines in the log: "prefix(user,ip,<session>): text".
  void log_info(std::string_view prefix, std::string_view text) const;  // auth_verbose
  void log_error(std::string_view prefix, std::string_view text) const;
  void log_debug(std::string_view prefix, std::string_view text) const;  // auth_debug
  /// Why it failed, if auth_log_failures wants that told and auth_verbose has not told it.
  void log_failure(PassdbResult result) const;
  void log_failure(std::string_view why) const;
  std::string mech_prefix() const;  // lower case mechanism, or "auth"

  /// %variables of this request.
  std::optional<std::string_view> variable(const config::VariableRef& ref) const;

 private:
  /// What a database may set, and what is rolled back when it fails.
  struct State {
    FieldList fields;  // visible
    FieldList userdb;
    bool userdb_set = false;
    std::optional<std::int64_t> delay_until;  // unix time
    State copy() const;
  };

  // request.cc
  std::string process_name(std::string_view raw, std::string& out) const;
  /// The name a database gives instead. False: it cannot be one (logged).
  bool rename(std::string_view database, std::string changed);
  std::string prefix(std::string_view name) const;
  bool verbose(config::Tristate override_verbose) const noexcept;

  // request-fields.cc: one field of a passdb. False: the reply is not acceptable (logged).
  bool set_field(std::string_view name, const Field& field);
  bool set_plain_field(std::string_view name, const Field& field);
  bool set_special_field(std::string_view name, const Field& field, bool& known);
  bool set_name_field(std::string_view name, std::string_view value);
  void check_networks(std::string_view name, std::string_view list, const IpAddress& ip);
  void set_delay_until(std::string_view text);
  bool set_fields(const std::vector<config::Template>& fields);
  void import_fields(std::string_view list, bool userdb);

  // passdb-walk.cc
  enum class Mode : std::uint8_t { none, verify, lookup };
  void start_walk(Mode mode);
  void next_passdb();
  bool skip(const Passdb& db) const;
  Passdb* peek_next(std::size_t from) const;
  void ask_passdb();
  void on_answer(const DbAnswer& answer);
  void on_unknown();
  void check_password();
  void note_costlier(const StoredPassword& stored);
  void remember_costlier();
  const StoredPassword* costliest() const;
  void check_proof(const StoredPassword& stored);
  void compare(StoredPassword stored, std::optional<PassdbResult> instead);
  void on_compared(const VerifyResult& result, std::uint64_t work,
                   std::optional<PassdbResult> instead);
  void end_padded(PassdbResult result, std::uint64_t work);
  void end_passdb(PassdbResult result);
  void roll_back(bool failed_by_field);
  void become_login_user();
  void end_walk(PassdbResult result);
  std::string given_password() const;

  // proxy-fields.cc
  void after_walk();
  void finish_proxy();
  bool check_proxy_fields();
  void find_hosts();
  void resolve_hosts();
  void on_resolved(std::size_t index, Result<std::vector<IpAddress>> answer);
  void hosts_known();
  bool is_self(std::size_t index) const;
  void set_hosts();
  void remove_proxy_fields() noexcept;
  void done(PassdbResult result);

  // userdb-walk.cc
  void next_userdb();
  void ask_userdb();
  void fetch_user();
  void on_existence_known(PassdbResult result);
  void on_userdb_answer(const DbAnswer& answer);
  bool set_userdb_field(const Field& field);
  void end_userdb(UserdbResult result);
  void end_userdb_walk(UserdbResult result);

  RequestContext context_;
  wire::AuthProperties properties_;
  std::string mech_;
  std::uint32_t client_pid_;
  Owner* owner_;

  std::string user_, original_user_, master_user_, login_user_;
  bool has_user_ = false;
  bool has_original_ = false;
  Secret password_;
  std::unique_ptr<sasl::PasswordProof> proof_;
  bool resolve_proxy_ = false;

  State state_, before_;  // before_: as it was when the present database was asked
  Mode mode_ = Mode::none;
  bool in_masters_ = false;
  std::size_t index_ = 0;     // of the next database in its list
  Passdb* passdb_ = nullptr;  // being asked
  bool authenticated_ = false;
  bool success_ = false;
  bool internal_seen_ = false;
  bool asked_any_ = false;
  PassdbResult last_ = PassdbResult::unknown;
  // Of the present database.
  std::optional<Secret> stored_;
  std::optional<StoredPassword> costlier_;  // being compared: the sample, should it run
  bool stored_noscheme_ = false;
  bool nopassword_ = false;
  bool noauthenticate_ = false;
  bool check_failed_ = false;
  bool failed_by_field_ = false;
  bool unacceptable_ = false;
  TimePoint busy_since_{};
  bool busy_ = false;

  Userdb* userdb_ = nullptr;
  std::size_t userdb_index_ = 0;
  bool userdb_found_ = false;
  bool userdb_internal_ = false;
  bool checking_existence_ = false;  // the passdbs are walked for a userdb that knows everybody
  std::string userdb_reason_;

  std::uint64_t waiting_ = 0;  // the one thing outside that is awaited
  /// The hosts the user may be proxied to, while their addresses are found out.
  struct HostSearch {
    std::vector<wire::HostSpec> hosts;              // in their order of preference
    std::vector<std::vector<IpAddress>> addresses;  // of each
    std::vector<std::uint64_t> waiting;             // for each; 0: not, or no more
    std::size_t open = 0;
    TimePoint began{};
  };
  std::unique_ptr<HostSearch> search_;
  mutable std::string scratch_;
};

}  // namespace postern::auth
