// driver = static: the same fields for everybody, expanded for each.
#include "auth/passdb.h"

namespace postern::auth {
namespace {

class StaticDb final : public Database {
 public:
  StaticDb(std::vector<config::Template> fields, std::string default_scheme)
      : fields_(std::move(fields)), default_scheme_(std::move(default_scheme)) {}

  DbAnswer lookup(const DbQuery& query) override {
    DbAnswer out;
    out.kind = DbAnswer::Kind::found;
    for (const config::Template& field : fields_)
      out.fields.push_back(expand_field(field, query.variables, out.fields));
    return out;
  }
  std::string_view default_scheme() const noexcept override { return default_scheme_; }

 private:
  std::vector<config::Template> fields_;
  std::string default_scheme_;
};

}  // namespace

Result<std::unique_ptr<Database>> make_static_db(const DriverSettings& settings) {
  std::vector<config::Template> fields;
  for (const std::string_view text : {settings.args, settings.fields}) {
    auto compiled = compile_fields(text);
    if (!compiled.ok()) return compiled.error();
    for (config::Template& field : compiled.value()) {
      // An option of Dovecot's userdb driver, not a field: the passdbs are not asked here.
      if (!settings.passdb && field.text().starts_with("allow_all_users=")) continue;
      fields.push_back(std::move(field));
    }
  }
  if (!settings.password.empty()) {
    WipingBuffer text(std::string_view{"password="});
    text += settings.password;
    auto compiled = config::Template::compile(text.view(), config::auth_variables());
    if (!compiled.ok()) return Error{0, "password: " + compiled.error().text};
    fields.push_back(std::move(compiled.value()));
  }
  std::string scheme(settings.default_scheme.empty() ? "PLAIN" : settings.default_scheme);
  return std::unique_ptr<Database>(
      std::make_unique<StaticDb>(std::move(fields), std::move(scheme)));
}

}  // namespace postern::auth
