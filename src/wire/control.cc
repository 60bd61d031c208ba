#include "wire/control.h"

#include <algorithm>
#include <cerrno>
#include <nlohmann/json.hpp>
#include <optional>

namespace postern::wire {
namespace {

// Keeps the order of members: the columns of a table follow it.
using Json = nlohmann::ordered_json;

constexpr std::size_t kMaxName = 64;  // bytes

Error bad(std::string_view what) {
  return Error{EPROTO, std::string(what)};
}

bool is_name(std::string_view text) noexcept {
  return !text.empty() && text.size() <= kMaxName &&
         text.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-_") == std::string_view::npos;
}

/// A string, whole number or boolean as text; nothing for anything else.
std::optional<std::string> scalar(const Json& value) {
  if (const auto* text = value.get_ptr<const std::string*>()) return *text;
  if (value.is_number_integer() || value.is_boolean()) return value.dump();
  return std::nullopt;
}

std::string line_of(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + '\n';
}

/// The one object of a line; discarded (not an object) when it is no JSON or too long.
Json parse_line(std::string_view line) {
  if (line.size() >= kMaxControlLine) return Json(Json::value_t::discarded);
  return Json::parse(line.begin(), line.end(), nullptr, false);
}

/// Adds one member of "args": a scalar, or a list of them under the same name.
bool add_values(const std::string& name, const Json& value, ControlFields& out) {
  if (!value.is_array()) {
    auto text = scalar(value);
    if (!text) return false;
    out.emplace_back(name, std::move(*text));
    return true;
  }
  for (const Json& each : value) {
    auto text = scalar(each);
    if (!text) return false;
    out.emplace_back(name, std::move(*text));
  }
  return true;
}

}  // namespace

std::string_view control_field(const ControlFields& fields, std::string_view name) noexcept {
  const auto found =
      std::find_if(fields.begin(), fields.end(), [name](const auto& f) { return f.first == name; });
  return found == fields.end() ? std::string_view{} : std::string_view(found->second);
}

std::string control_request_line(const ControlRequest& request) {
  Json args = Json::object();
  for (const auto& [name, value] : request.args) {
    Json& member = args[name];
    if (member.is_null()) {
      member = value;
    } else if (member.is_array()) {
      member.push_back(value);
    } else {
      member = Json::array({member, value});
    }
  }
  Json json = Json::object();
  json["command"] = request.command;
  json["args"] = std::move(args);
  return line_of(json);
}

std::string control_row_line(const ControlFields& row) {
  Json fields = Json::object();
  for (const auto& [name, value] : row) fields[name] = value;
  Json json = Json::object();
  json["row"] = std::move(fields);
  return line_of(json);
}

std::string control_end_line(int code, std::string_view text) {
  Json end = Json::object();
  end["code"] = code;
  end["text"] = text;
  Json json = Json::object();
  json["end"] = std::move(end);
  return line_of(json);
}

Result<ControlRequest> parse_control_request(std::string_view line) {
  const Json json = parse_line(line);
  if (!json.is_object()) return bad("a request is one JSON object of less than 64 KiB");
  ControlRequest out;
  const auto command = json.find("command");
  if (command == json.end()) return bad("a request needs \"command\"");
  if (const auto* text = command->get_ptr<const std::string*>()) out.command = *text;
  if (!is_name(out.command)) return bad("\"command\" is not the name of a command");
  const auto args = json.find("args");
  if (args == json.end()) return out;
  if (!args->is_object()) return bad("\"args\" is not an object");
  for (const auto& [name, value] : args->items()) {
    if (!is_name(name)) return bad("a name in \"args\" is not of a-z, 0-9, - and _");
    if (!add_values(name, value, out.args)) return bad("a value in \"args\" is not a string");
    if (out.args.size() > kMaxControlArgs) return bad("too many values in \"args\"");
  }
  return out;
}

Result<ControlReply> parse_control_reply(std::string_view line) {
  const Json json = parse_line(line);
  if (!json.is_object()) return bad("a reply is one JSON object of less than 64 KiB");
  if (const auto row = json.find("row"); row != json.end()) {
    if (!row->is_object()) return bad("\"row\" is not an object");
    ControlFields out;
    for (const auto& [name, value] : row->items()) {
      if (!add_values(name, value, out)) return bad("a value in \"row\" is not a string");
    }
    return ControlReply(std::move(out));
  }
  const auto end = json.find("end");
  if (end == json.end() || !end->is_object()) return bad("a reply has neither \"row\" nor \"end\"");
  ControlEnd out;
  const auto code = end->find("code");
  if (code == end->end() || !code->is_number_integer()) return bad("\"code\" is not a number");
  const auto number = code->get<std::int64_t>();
  if (number < 0 || number > 255) return bad("\"code\" is not an exit code");
  out.code = static_cast<int>(number);
  if (const auto text = end->find("text"); text != end->end()) {
    const auto* words = text->get_ptr<const std::string*>();
    if (words == nullptr) return bad("\"text\" is not a string");
    out.text = *words;
  }
  return ControlReply(std::move(out));
}

}  // namespace postern::wire
