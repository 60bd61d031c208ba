#include "auth/reply.h"

#include "lib/text.h"
#include "wire/tab-line.h"

namespace postern::auth {
namespace {

void add_field(wire::TabLine& line, const Field& field, bool bare) {
  if (field.has_value && !bare)
    line.key(field.name, field.value.reveal());
  else
    line.flag(field.name);
}

void add_names(wire::TabLine& line, const Request& request) {
  const FieldList& fields = request.fields();
  if (!fields.has("original_user") && request.has_original_user() &&
      (!request.has_user() || request.original_user() != request.user())) {
    line.key("original_user", request.original_user());
  }
  if (!fields.has("auth_user") && request.master_verified())
    line.key("auth_user", request.master_user());
}

}  // namespace

void write_ok(WipingBuffer& out, std::uint32_t id, const Request& request, bool login_socket) {
  const FieldList& fields = request.fields();
  wire::TabLine line(out, "OK");
  line.add(id).key("user", request.user());
  for (const Field& field : fields) {
    // What opens the backend is for those who connect to it, not for every service that may ask
    // whether a password is right.
    if (!login_socket && field.name == "pass") continue;
    add_field(line, field, field.name == "proxy" || field.name == "nologin");
  }
  add_names(line, request);
  if (login_socket && fields.has("proxy")) {
    // Who showed a proof has not told the password: then the database must have `pass`.
    if (!fields.has("pass") && request.has_password())
      line.key("pass", request.password().reveal());
    if (request.master_verified() && !fields.has("master"))
      line.key("master", request.master_user());
  }
  line.end();
}

void write_fail(WipingBuffer& out, std::uint32_t id, const Request& request, std::string_view code,
                std::string_view reason) {
  wire::TabLine line(out, "FAIL");
  line.add(id);
  if (request.has_user())
    line.key("user", request.user());
  else if (request.has_original_user())
    line.key("user", request.original_user());
  if (request.no_delay()) line.flag("nodelay");
  if (!code.empty()) line.key("code", code);
  if (!reason.empty() && !request.fields().has("reason")) line.key("reason", reason);
  for (const Field& field : request.fields()) {
    if (field.name == "pass") continue;  // never with a failure
    add_field(line, field, false);
  }
  add_names(line, request);
  line.end();
}

void write_pass(WipingBuffer& out, std::uint32_t id, const Request& request) {
  wire::TabLine line(out, "PASS");
  line.add(id).key("user", request.user());
  for (const Field& field : request.fields()) add_field(line, field, false);
  line.end();
}

void write_user(WipingBuffer& out, std::uint32_t id, const Request& request) {
  wire::TabLine line(out, "USER");
  line.add(id).add(request.user());
  for (const Field& field : request.userdb_fields()) add_field(line, field, false);
}

std::string_view fail_code(const Request& request, PassdbResult result) {
  switch (result) {
    case PassdbResult::internal:
      return "temp_fail";
    case PassdbResult::disabled:
      return request.master_verified() ? "authz_fail" : "user_disabled";
    case PassdbResult::expired:
      return request.master_verified() ? "authz_fail" : "pass_expired";
    case PassdbResult::ok:
    case PassdbResult::next:
    case PassdbResult::mismatch:
    case PassdbResult::unknown:
    case PassdbResult::no_credentials:
      break;
  }
  return request.master_verified() ? "authz_fail" : "";
}

std::string hide_passwords(std::string_view line) {
  std::string out;
  if (line.ends_with('\n')) line.remove_suffix(1);
  wire::TabFields fields(line);
  bool first = true;
  while (const auto field = fields.next()) {
    if (!first) out += '\t';
    first = false;
    const std::size_t equals = field->find('=');
    const std::string key = to_lower(field->substr(0, equals));
    const bool hide = equals != std::string_view::npos &&
                      (key.find("pass") != std::string::npos || key == "resp");
    out += hide ? field->substr(0, equals + 1) : *field;
    if (hide) out += "<hidden>";
  }
  return out;
}

}  // namespace postern::auth
