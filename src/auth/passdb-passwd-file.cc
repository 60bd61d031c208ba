// driver = passwd-file: Dovecot's passwd-like text files, as passdb and as userdb.
#include <algorithm>
#include <cerrno>

#include "auth/passdb.h"
#include "auth/passwd-file.h"
#include "lib/log.h"
#include "lib/text.h"

namespace postern::auth {
namespace {

constexpr std::size_t kMaxOpenFiles = 1000;

/// What an expanded %variable may put into a path: no way out of the directory.
bool is_path_word(std::string_view text) noexcept {
  return text != "." && text != ".." && std::ranges::all_of(text, [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  std::string_view("._@+-").find(c) != std::string_view::npos;
         });
}

bool is_missing(int code) noexcept {
  return code == ENOENT || code == ENOTDIR || code == EISDIR;
}

class PasswdFileDb final : public Database {
 public:
  PasswdFileDb(config::Template path, config::Template username, std::string scheme, bool passdb)
      : path_(std::move(path)),
        username_(std::move(username)),
        scheme_(std::move(scheme)),
        passdb_(passdb) {}

  DbAnswer lookup(const DbQuery& query) override {
    DbAnswer out;
    const auto path = expand_path(query.variables);
    if (!path) return out;
    const Result<const PasswdTable*> table = file(*path, query.now).table(query.now);
    if (!table.ok()) {
      // A file per domain need not exist for every domain.
      if (path_.has_variables() && is_missing(table.error().code)) return out;
      out.kind = DbAnswer::Kind::internal;
      out.text = table.error().text;
      return out;
    }
    const PasswdEntry* entry = table.value()->find(name(query.variables));
    if (entry == nullptr) return out;
    return passdb_ ? passdb_answer(*entry, query) : userdb_answer(*entry, query);
  }

  Result<std::vector<std::string>> list() override {
    if (path_.has_variables())
      return Error{0, "a passwd-file whose path has variables cannot list its users"};
    const Result<const PasswdTable*> table = file(path_.text(), last_).table(last_);
    if (!table.ok()) return table.error();
    std::vector<std::string> out;
    for (const PasswdEntry& entry : table.value()->entries()) out.push_back(entry.user);
    return out;
  }

  std::string_view default_scheme() const noexcept override { return scheme_; }
  std::string debug_text(const DbQuery& query) const override {
    return "lookup: user=" + log_safe(name(query.variables)) +
           " file=" + log_safe(expand_path(query.variables).value_or("-"), 256);
  }

 private:
  std::optional<std::string> expand_path(const config::VariableLookup& variables) const {
    std::string out;
    for (std::size_t i = 0; i < path_.part_count(); i++) {
      if (path_.part_is_literal(i)) {
        out += path_.literal(i);
        continue;
      }
      WipingBuffer part;
      path_.expand_part(i, variables, part);
      if (!is_path_word(part.view())) return std::nullopt;
      out += part.view();
    }
    return out;
  }

  std::string name(const config::VariableLookup& variables) const {
    std::string out;
    username_.expand(variables, out);
    return escape_passwd_name(out);
  }

  PasswdFile& file(const std::string& path, TimePoint now) {
    last_ = now;
    for (const auto& f : files_) {
      if (f->path() == path) return *f;
    }
    if (files_.size() >= kMaxOpenFiles) {
      files_.erase(
          std::ranges::min_element(files_, {}, [](const auto& f) { return f->last_used(); }));
    }
    files_.push_back(std::make_unique<PasswdFile>(path));
    return *files_.back();
  }

  /// The extra fields, expanded. False: one does not compile (an operator's mistake in the file).
  bool add_extra(const PasswdEntry& entry, const DbQuery& query, DbAnswer& out) const {
    for (const std::string& text : entry.extra) {
      if (text.find('%') == std::string::npos) {
        const std::size_t equals = text.find('=');
        if (equals == std::string::npos)
          out.fields.emplace_back(text);
        else
          out.fields.emplace_back(std::string_view(text).substr(0, equals),
                                  std::string_view(text).substr(equals + 1));
        continue;
      }
      const auto compiled = config::Template::compile(text, config::auth_variables());
      if (!compiled.ok()) {
        out.kind = DbAnswer::Kind::internal;
        out.text = "Failed to expand extra fields: " + compiled.error().text;
        out.fields.clear();
        return false;
      }
      out.fields.push_back(expand_field(compiled.value(), query.variables, out.fields));
    }
    return true;
  }

  DbAnswer passdb_answer(const PasswdEntry& entry, const DbQuery& query) const {
    DbAnswer out;
    out.kind = DbAnswer::Kind::found;
    // A missing password is an empty one, as in Dovecot: nobody's, but the user exists.
    out.fields.emplace_back("password", entry.password.reveal());
    add_extra(entry, query, out);
    return out;
  }

  DbAnswer userdb_answer(const PasswdEntry& entry, const DbQuery& query) const {
    DbAnswer out;
    out.kind = DbAnswer::Kind::found;
    for (const auto& [key, value] : {std::pair{"uid", &entry.uid}, std::pair{"gid", &entry.gid}}) {
      if (value->empty()) continue;
      if (*value == "0") {
        out.kind = DbAnswer::Kind::internal;
        out.text = std::string(key) + " 0 is not allowed";
        return out;
      }
      out.fields.emplace_back(key, *value);
    }
    if (!entry.home.empty()) out.fields.emplace_back("home", entry.home);
    DbAnswer extra;
    if (!add_extra(entry, query, extra)) return extra;
    for (Field& field : extra.fields) {
      if (!field.name.starts_with("userdb_")) continue;
      field.name.erase(0, 7);
      out.fields.push_back(std::move(field));
    }
    return out;
  }

  config::Template path_, username_;
  std::string scheme_;
  bool passdb_;
  TimePoint last_{};
  std::vector<std::unique_ptr<PasswdFile>> files_;
};

}  // namespace

Result<std::unique_ptr<Database>> make_passwd_file_db(const DriverSettings& settings) {
  std::string scheme(settings.default_scheme.empty() ? "CRYPT" : settings.default_scheme);
  std::string username(settings.username_format.empty() ? "%u" : settings.username_format);
  std::string path(settings.passwd_file_path);
  for (const std::string& word : split_field_text(settings.args)) {
    if (word.starts_with("scheme="))
      scheme = word.substr(7);
    else if (word.starts_with("username_format="))
      username = word.substr(16);
    else
      path = word;
  }
  if (path.empty()) return Error{0, "passwd_file_path is missing"};
  auto compiled_path = config::Template::compile(path, config::auth_variables());
  if (!compiled_path.ok()) return Error{0, "passwd_file_path: " + compiled_path.error().text};
  auto compiled_name = config::Template::compile(username, config::auth_variables());
  if (!compiled_name.ok()) return Error{0, "username_format: " + compiled_name.error().text};
  return std::unique_ptr<Database>(std::make_unique<PasswdFileDb>(
      std::move(compiled_path.value()), std::move(compiled_name.value()), std::move(scheme),
      settings.passdb));
}

}  // namespace postern::auth
