// The walk through the passdbs.
#include <fmt/format.h>
#include <openssl/evp.h>

#include "auth/request.h"
#include "lib/check.h"
#include "lib/text.h"

namespace postern::auth {
namespace {

constexpr Milliseconds kBusyRetry{20};
constexpr std::chrono::seconds kBusyLimit{5};

std::string sha1_hex(std::string_view text) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> out{};
  unsigned size = 0;
  if (EVP_Digest(text.data(), text.size(), out.data(), &size, EVP_sha1(), nullptr) != 1) return {};
  return hex_encode(std::string(out.begin(), out.begin() + size));
}

}  // namespace

void Request::start_walk(Mode mode) {
  mode_ = mode;
  in_masters_ = !login_user_.empty();
  index_ = 0;
  next_passdb();
}

bool Request::skip(const Passdb& db) const {
  if (!db.is_for(mech_, user_)) return true;
  switch (db.skip) {
    case config::PassdbSkip::never:
      return false;
    case config::PassdbSkip::authenticated:
      return authenticated_;
    case config::PassdbSkip::unauthenticated:
      return !authenticated_;
  }
  return false;
}

Passdb* Request::peek_next(std::size_t from) const {
  const std::vector<Passdb*>& list =
      in_masters_ ? context_.databases.masters : context_.databases.passdbs;
  for (std::size_t i = from; i < list.size(); i++) {
    if (!skip(*list[i])) return list[i];
  }
  return nullptr;
}

void Request::next_passdb() {
  const std::vector<Passdb*>& list =
      in_masters_ ? context_.databases.masters : context_.databases.passdbs;
  while (index_ < list.size()) {
    Passdb* db = list[index_++];
    if (skip(*db)) continue;
    passdb_ = db;
    asked_any_ = true;
    before_ = state_.copy();
    stored_.reset();
    costlier_.reset();
    check_failed_ = failed_by_field_ = unacceptable_ = busy_ = false;
    log_debug(db->name, "Performing passdb lookup");
    if (!set_fields(db->default_fields)) return end_passdb(PassdbResult::internal);
    return ask_passdb();
  }
  passdb_ = nullptr;
  if (!asked_any_) {
    log_error(mech_prefix(), "All password databases were skipped");
    return end_walk(PassdbResult::internal);
  }
  if (last_ == PassdbResult::next) {
    log_error(mech_prefix(), "Last passdb had noauthenticate field, cannot authenticate user");
    return end_walk(PassdbResult::internal);
  }
  if (success_) return end_walk(PassdbResult::ok);
  if (internal_seen_) return end_walk(PassdbResult::internal);
  end_walk(last_ == PassdbResult::ok ? PassdbResult::mismatch : last_);
}

void Request::ask_passdb() {
  const auto lookup = [this](const config::VariableRef& ref) { return variable(ref); };
  const DbQuery query{lookup, context_.environment.now()};
  if (context_.settings.settings->auth_debug && !busy_) {
    const std::string text = passdb_->database->debug_text(query);
    if (!text.empty()) log_debug(passdb_->name, text);
  }
  DbAnswer answer = passdb_->database->lookup(query);
  if (answer.kind == DbAnswer::Kind::busy) {
    if (!busy_) busy_since_ = query.now;
    busy_ = true;
    if (query.now - busy_since_ < kBusyLimit) {
      waiting_ = context_.environment.after(kBusyRetry, [this] {
        waiting_ = 0;
        ask_passdb();
      });
      return;
    }
    answer.kind = DbAnswer::Kind::internal;
  }
  on_answer(answer);
}

void Request::on_answer(const DbAnswer& answer) {
  switch (answer.kind) {
    case DbAnswer::Kind::unknown:
      return on_unknown();
    case DbAnswer::Kind::busy:
    case DbAnswer::Kind::internal:
      if (!answer.text.empty()) log_error(passdb_->name, answer.text);
      return end_passdb(PassdbResult::internal);
    case DbAnswer::Kind::unsupported:
      return end_passdb(PassdbResult::no_credentials);
    case DbAnswer::Kind::found:
      break;
  }
  for (const Field& field : answer.fields) {
    if (!set_field(field.name, field)) return end_passdb(PassdbResult::internal);
  }
  if (passdb_->deny) {
    log_info(passdb_->name, "User found from deny passdb");
    return end_padded(PassdbResult::ok, 0);
  }
  if (authenticated_) return end_passdb(PassdbResult::ok);
  check_password();
}

void Request::on_unknown() {
  log_info(passdb_->name, "unknown user" + given_password());
  if (passdb_->deny) return end_passdb(PassdbResult::unknown);
  end_padded(PassdbResult::unknown, 0);
}

/// Ends with `result`, but not before as much has been computed as for others: no clock tells an
/// unknown name, or a row without a hash that can be right, from a wrong password.
/// @param work  what has been spent on hashing, see PasswordScheme::work. If it is more than half
///              of the costliest hash nothing is added, which would make the difference greater
void Request::end_padded(PassdbResult result, std::uint64_t work) {
  if (mode_ != Mode::verify || proof_ || authenticated_) return end_passdb(result);
  const StoredPassword* like = costliest();
  if (like == nullptr || work > like->scheme->work(like->data.reveal()) / 2) {
    return end_passdb(result);
  }
  StoredPassword dummy;
  dummy.scheme = like->scheme;
  dummy.data = like->data.copy();
  compare(std::move(dummy), result);
}

/// The costliest hash the database has shown. A deny passdb has none: its users are to look like
/// those of the passdbs behind it.
const StoredPassword* Request::costliest() const {
  if (!passdb_->deny) return passdb_->sample ? &*passdb_->sample : nullptr;
  const StoredPassword* most = nullptr;
  std::uint64_t work = 0;
  for (const Passdb* db : in_masters_ ? context_.databases.masters : context_.databases.passdbs) {
    if (!db->sample) continue;
    const std::uint64_t its = db->sample->scheme->work(db->sample->data.reveal());
    if (its <= work) continue;
    most = &*db->sample;
    work = its;
  }
  return most;
}

void Request::check_password() {
  const bool has_stored = stored_ && !stored_->empty();
  if (nopassword_) {
    if (!has_stored && proof_) {
      log_info(passdb_->name, "Requested PLAIN scheme, but we have a NULL password");
      return end_passdb(PassdbResult::mismatch);
    }
    if (!has_stored) {
      log_debug(passdb_->name, "Allowing any password");
      return end_passdb(PassdbResult::ok);
    }
    log_error(passdb_->name, "nopassword set but password is non-empty");
  }
  if (!stored_) {
    log_info(passdb_->name, "No password returned (and no nopassword)");
    if (mode_ == Mode::lookup) return end_passdb(PassdbResult::no_credentials);
    return end_padded(PassdbResult::mismatch, 0);
  }
  StoredPassword stored;
  WipingBuffer text;
  if (stored_noscheme_) {
    text += '{';
    text += passdb_->database->default_scheme();
    text += '}';
  }
  text += stored_->reveal();
  const std::string problem =
      split_stored(text.view(), passdb_->database->default_scheme(), stored);
  if (!problem.empty()) {
    log_error(passdb_->name, problem);
    if (mode_ == Mode::lookup) return end_passdb(PassdbResult::no_credentials);
    return end_padded(PassdbResult::mismatch, 0);
  }
  if (mode_ == Mode::lookup) return end_passdb(PassdbResult::ok);
  if (proof_) return check_proof(stored);
  note_costlier(stored);
  compare(std::move(stored), std::nullopt);
}

/// What an unknown user's password is compared with later: the hash that takes the longest, so that
/// no known one is told from him by taking longer. It becomes the sample only once it has run: a
/// row that asks for much and is refused would cost the unknown nothing.
void Request::note_costlier(const StoredPassword& stored) {
  if (!can_be_password(password_.reveal())) return;  // mismatches without work
  const std::uint64_t work = stored.scheme->work(stored.data.reveal());
  const std::optional<StoredPassword>& sample = passdb_->sample;
  if (work == 0 || (sample && sample->scheme->work(sample->data.reveal()) >= work)) return;
  costlier_.emplace();
  costlier_->scheme = stored.scheme;
  costlier_->data = stored.data.copy();
}

/// The comparison ran to its end. Another request may have shown a costlier one meanwhile.
void Request::remember_costlier() {
  if (!costlier_) return;
  std::optional<StoredPassword>& sample = passdb_->sample;
  const std::uint64_t work = costlier_->scheme->work(costlier_->data.reveal());
  if (!sample || sample->scheme->work(sample->data.reveal()) < work) sample = std::move(costlier_);
  costlier_.reset();
}

void Request::check_proof(const StoredPassword& stored) {
  if (!is_in_clear(*stored.scheme)) {
    log_info(passdb_->name,
             fmt::format("Requested PLAIN scheme, but we have only {}", stored.scheme->name));
    return end_passdb(PassdbResult::mismatch);
  }
  // As with passwords: an empty one is nobody's.
  const bool right = !stored.data.empty() && proof_->matches(stored.data.reveal());
  on_compared({right ? Verdict::match : Verdict::mismatch, {}}, 0, std::nullopt);
}

/// @param instead  what it ends with whatever comes out: the comparison is for show
void Request::compare(StoredPassword stored, std::optional<PassdbResult> instead) {
  const std::uint64_t work = stored.scheme->work(stored.data.reveal());
  if (work == 0) {
    VerifyResult result = verify_password(*stored.scheme, stored.data.reveal(), password_.reveal());
    return on_compared(result, work, instead);
  }
  HashJob job;
  job.scheme = stored.scheme;
  job.stored = std::move(stored.data);
  job.password = password_.copy();
  job.client = properties_.rip.text();
  waiting_ = context_.environment.verify(std::move(job),
                                         [this, work, instead](const VerifyResult& result) {
                                           waiting_ = 0;
                                           on_compared(result, work, instead);
                                         });
}

void Request::on_compared(const VerifyResult& result, std::uint64_t work,
                          std::optional<PassdbResult> instead) {
  // Nor is an unknown user told by there being no worker for him.
  if (instead && result.verdict != Verdict::failed) return end_passdb(*instead);
  const bool ran = result.verdict == Verdict::match || result.verdict == Verdict::mismatch;
  if (ran) remember_costlier();
  switch (result.verdict) {
    case Verdict::match:
      return end_passdb(PassdbResult::ok);
    case Verdict::mismatch:
      log_info(passdb_->name, "Password mismatch" + given_password());
      return end_padded(PassdbResult::mismatch, work);
    case Verdict::broken:
      log_error(passdb_->name, "Invalid password in passdb: " + result.text);
      return end_padded(PassdbResult::mismatch, 0);
    case Verdict::failed:
      log_error(passdb_->name, "Password could not be verified: " + result.text);
      return end_passdb(PassdbResult::internal);
  }
}

/// What auth_verbose_passwords adds to a line about a failure.
std::string Request::given_password() const {
  const config::PasswordLog& what = context_.settings.settings->auth_verbose_passwords;
  if (!what.sha1 || mode_ != Mode::verify || proof_) return {};
  std::string hash = sha1_hex(password_.reveal());
  if (what.truncate != 0 && what.truncate < hash.size()) hash.resize(what.truncate);
  std::string out = " (SHA1 of given password: " + hash + ")";
  const config::PassdbRule rule = passdb_->rules.failure;
  const bool goes_on = rule == config::PassdbRule::continue_ ||
                       rule == config::PassdbRule::continue_ok ||
                       rule == config::PassdbRule::continue_fail;
  if (goes_on && peek_next(index_) != nullptr) out += " - trying the next passdb";
  return out;
}

void Request::end_passdb(PassdbResult result) {
  using config::PassdbRule;
  const Passdb& db = *passdb_;
  if (!unacceptable_ && !set_fields(db.override_fields)) result = PassdbResult::internal;
  if (unacceptable_) result = PassdbResult::internal;
  log_debug(db.name, "Finished passdb lookup");
  if (noauthenticate_ && result == PassdbResult::ok) result = PassdbResult::next;
  if (db.deny && result != PassdbResult::unknown) {
    state_ = std::move(before_);
    passdb_ = nullptr;
    return end_walk(result == PassdbResult::internal ? result : PassdbResult::disabled);
  }
  const bool failed_by_field = check_failed_ && result == PassdbResult::ok && failed_by_field_;
  if (check_failed_ && result == PassdbResult::ok) result = PassdbResult::unknown;
  last_ = result;
  if (result == PassdbResult::internal) internal_seen_ = true;
  nopassword_ = noauthenticate_ = false;
  if (result != PassdbResult::ok && result != PassdbResult::next) roll_back(failed_by_field);
  if (result == PassdbResult::disabled || result == PassdbResult::expired) {
    passdb_ = nullptr;
    return end_walk(result);
  }

  PassdbRule rule = db.rules.failure;
  if (result == PassdbResult::ok) rule = db.rules.success;
  if (result == PassdbResult::internal) rule = db.rules.internalfail;
  if (result == PassdbResult::next) rule = PassdbRule::continue_;
  bool stop = false;
  switch (rule) {
    case PassdbRule::return_:
      stop = true;
      break;
    case PassdbRule::return_ok:
      stop = success_ = true;
      break;
    case PassdbRule::return_fail:
      stop = true, success_ = false;
      break;
    case PassdbRule::continue_:
      authenticated_ |= result == PassdbResult::ok;
      break;
    case PassdbRule::continue_ok:
      authenticated_ = success_ = true;
      break;
    case PassdbRule::continue_fail:
      success_ = false;
      break;
  }
  if (result == PassdbResult::ok && !login_user_.empty()) become_login_user();
  passdb_ = nullptr;
  if (!stop) return next_passdb();
  if (success_) return end_walk(PassdbResult::ok);
  if (internal_seen_) return end_walk(PassdbResult::internal);
  end_walk(result == PassdbResult::ok ? PassdbResult::mismatch : result);
}

/// Everything a failing database set is forgotten, but for what it says about the failure itself.
void Request::roll_back(bool failed_by_field) {
  const bool no_delay = state_.fields.has("nodelay");
  std::optional<Field> reason;
  if (failed_by_field && state_.fields.has("reason")) reason = state_.fields.find("reason")->copy();
  state_ = std::move(before_);
  if (no_delay && !state_.fields.has("nodelay")) state_.fields.set(Field("nodelay"));
  if (reason) state_.fields.set(std::move(*reason));
}

void Request::become_login_user() {
  log_info(passdb_->name, "Master user logging in as " + log_safe(login_user_));
  master_user_ = std::move(user_);
  user_ = std::move(login_user_);
  login_user_.clear();
  in_masters_ = false;
  index_ = 0;
}

void Request::end_walk(PassdbResult result) {
  if (checking_existence_) return on_existence_known(result);
  if (result == PassdbResult::ok) return after_walk();
  remove_proxy_fields();
  done(result);
}

}  // namespace postern::auth
