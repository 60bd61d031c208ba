#include "config/variables.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bitset>
#include <cstdlib>
#include <utility>

#include "config/variable-functions.h"
#include "lib/check.h"
#include "lib/text.h"

namespace postern::config {
namespace {

constexpr unsigned kMaxDepth = 8;                // %{if…} within %{if…}
constexpr std::size_t kMaxText = 1024UL * 1024;  // bytes of a template
constexpr int kMaxWidth = 9999;
constexpr unsigned kMaxRounds =
    1'000'000;  // of a hash, so that a typing error does not stop logins

Error bad(std::string text) {
  return Error{0, std::move(text)};
}

/// Variables that are the same for the life of the process.
std::optional<std::string> constant(std::string_view name) {
  if (name == "hostname") {
    std::array<char, 256> host{};
    return gethostname(host.data(), host.size() - 1) == 0 ? host.data() : "";
  }
  if (name == "pid") return std::to_string(getpid());
  if (name == "uid") return std::to_string(geteuid());
  if (name == "gid") return std::to_string(getegid());
  if (name.starts_with("env:")) {
    // NOLINTNEXTLINE(concurrency-mt-unsafe): the processes that compile templates have one thread
    const char* value = std::getenv(std::string(name.substr(4)).c_str());
    return value == nullptr ? "" : value;
  }
  return std::nullopt;
}

/// The brace that closes the one before text[0]; npos if none does.
std::size_t closing_brace(std::string_view text) noexcept {
  unsigned depth = 1;
  for (std::size_t i = 0; i < text.size(); i++) {
    if (text[i] == '{') depth++;
    if (text[i] == '}' && --depth == 0) return i;
  }
  return std::string_view::npos;
}

/// Cuts at `separator` where it stands outside braces and behind no backslash; a backslash before
/// `;`, `:`, `\`, `{` or `}` is taken away.
std::vector<std::string> split_outside_braces(std::string_view text, char separator,
                                              std::size_t most) {
  std::vector<std::string> out(1);
  unsigned depth = 0;
  for (std::size_t i = 0; i < text.size(); i++) {
    const char c = text[i];
    if (c == '\\' && i + 1 < text.size() &&
        std::string_view(";:\\{}").find(text[i + 1]) != std::string_view::npos) {
      out.back() += text[++i];
      continue;
    }
    if (c == '{') depth++;
    if (c == '}' && depth > 0) depth--;
    if (c == separator && depth == 0 && out.size() < most) {
      out.emplace_back();
    } else {
      out.back() += c;
    }
  }
  return out;
}

}  // namespace

struct Template::Part {
  enum class Kind : std::uint8_t { literal, constant, variable, hash, condition };
  Kind kind = Kind::literal;
  std::uint8_t id = 0;
  VariableFormat format;
  std::string text;      // literal, constant: the bytes; variable: the argument
  std::string fallback;  // variable: the value if it is not set
  // hash: the salt and the value; condition: the two sides, then what either outcome gives
  std::vector<Template> operands;
  HashSpec hash;
  CompareOp op = CompareOp::str_eq;
  std::shared_ptr<const Regex> regex;
};

struct Template::Code {
  std::string source;
  std::vector<Part> parts;
  std::bitset<256> uses;
  bool has_variables = false;
};

namespace {

using Part = Template::Part;

template <class Out>
bool expand_variable(const Part& part, const VariableLookup& lookup, Out& out) {
  const std::string_view value = lookup({part.id, part.text}).value_or(part.fallback);
  if (part.format.trivial()) {
    out.append(value);
  } else {
    WipingBuffer formatted;
    format_variable(part.format, value, formatted);
    out.append(formatted.view());
  }
  return !value.empty();
}

template <class Out>
bool expand_hash(const Part& part, const VariableLookup& lookup, Out& out) {
  WipingBuffer salt;
  WipingBuffer value;
  part.operands[0].expand(lookup, salt);
  const bool set = part.operands[1].expand(lookup, value);
  WipingBuffer hashed;
  if (!hash_variable(part.hash, salt.view(), value.view(), hashed)) return false;
  WipingBuffer formatted;
  format_variable(part.format, hashed.view(), formatted);
  out.append(formatted.view());
  return set;
}

template <class Out>
bool expand_condition(const Part& part, const VariableLookup& lookup, Out& out) {
  WipingBuffer left;
  WipingBuffer right;
  part.operands[0].expand(lookup, left);
  bool holds = false;
  if (part.regex) {
    holds = part.regex->matches(left.view()) == (part.op == CompareOp::regex);
  } else {
    part.operands[1].expand(lookup, right);
    holds = compare(left.view(), part.op, right.view());
  }
  WipingBuffer chosen;
  part.operands[holds ? 2 : 3].expand(lookup, chosen);
  WipingBuffer formatted;
  format_variable(part.format, chosen.view(), formatted);
  out.append(formatted.view());
  return !formatted.empty();
}

template <class Out>
bool expand_any(const Part& part, const VariableLookup& lookup, Out& out) {
  switch (part.kind) {
    case Part::Kind::literal:
      out.append(part.text);
      return false;
    case Part::Kind::constant:
      out.append(part.text);
      return !part.text.empty();
    case Part::Kind::variable:
      return expand_variable(part, lookup, out);
    case Part::Kind::hash:
      return expand_hash(part, lookup, out);
    case Part::Kind::condition:
      return expand_condition(part, lookup, out);
  }
  return false;
}

/// `[offset.]width` and modifiers at the start of `text`; removes them.
VariableFormat parse_format(std::string_view& text) {
  VariableFormat format;
  const auto number = [&text]() {
    int n = 0;
    while (!text.empty() && text.front() >= '0' && text.front() <= '9') {
      n = std::min(n * 10 + (text.front() - '0'), kMaxWidth);
      text.remove_prefix(1);
    }
    return n;
  };
  const auto sign = [&text]() {
    if (!text.starts_with('-')) return 1;
    text.remove_prefix(1);
    return -1;
  };
  const int first_sign = sign();
  format.zero_padding = text.starts_with('0');
  format.width = number();  // Dovecot forgets the sign of a width that follows no offset
  if (text.starts_with('.')) {
    text.remove_prefix(1);
    format.offset = first_sign * format.width;
    const int second_sign = sign();
    format.zero_padding = text.starts_with('0');
    format.width = second_sign * number();
    if (format.width < 0) format.zero_padding = false;
  }
  while (!text.empty() && format.modifier_count < kMaxModifiers && is_modifier(text.front())) {
    format.modifiers.at(format.modifier_count++) = text.front();
    text.remove_prefix(1);
  }
  return format;
}

}  // namespace

/// Turns a text into parts.
class TemplateCompiler {
 public:
  TemplateCompiler(const VariableSet& known, unsigned depth) : known_(known), depth_(depth) {}

  Result<Template> compile(std::string_view text) {
    if (depth_ > kMaxDepth) return bad("variables are nested too deeply");
    if (text.size() > kMaxText) return bad("the text is too long");
    code_->source = text;
    while (!text.empty()) {
      const std::size_t percent = std::min(text.find('%'), text.size());
      if (percent > 0) add_literal(text.substr(0, percent));
      text.remove_prefix(percent);
      if (text.empty()) break;
      text.remove_prefix(1);
      const Status status = one(text);
      if (!status.ok()) return status.error();
    }
    Template out;
    out.code_ = std::move(code_);
    return out;
  }

 private:
  void add_literal(std::string_view text) {
    if (code_->parts.empty() || code_->parts.back().kind != Part::Kind::literal) {
      code_->parts.emplace_back();
    }
    code_->parts.back().text += text;
  }

  void add(Part&& part) {
    code_->has_variables = true;
    if (part.kind == Part::Kind::variable) code_->uses.set(part.id);
    for (const Template& operand : part.operands) code_->uses |= operand.code_->uses;
    code_->parts.push_back(std::move(part));
  }

  /// What follows a percent sign; removes it from `text`.
  Status one(std::string_view& text) {
    Part part;
    part.format = parse_format(text);
    if (text.empty())
      return bad("'%' without a variable at the end (a percent sign is written %%)");
    const char name = text.front();
    text.remove_prefix(1);
    if (name == '%') {
      add_literal("%");
      return Done{};
    }
    if (name != '{') {
      const VariableName* found = known_.find_short(name);
      if (found == nullptr) {
        return bad(fmt::format("Unknown variable '%{}'", log_safe_line({&name, 1})));
      }
      part.kind = Part::Kind::variable;
      part.id = found->id;
      add(std::move(part));
      return Done{};
    }
    const std::size_t end = closing_brace(text);
    if (end == std::string_view::npos) return bad("'%{' without its '}'");
    const std::string_view inside = text.substr(0, end);
    text.remove_prefix(end + 1);
    const std::string_view word = inside.substr(0, inside.find_first_of(";:"));
    if (word == "if" && inside.starts_with("if;"))
      return condition(std::move(part), inside.substr(3));
    if (word.size() < inside.size()) {
      if (const auto method = hash_method(word)) {
        return hash(std::move(part), *method, inside.substr(word.size()));
      }
    }
    return long_name(std::move(part), inside);
  }

  Status long_name(Part&& part, std::string_view name) {
    if (const VariableName* found = known_.find_long(name)) {
      part.kind = Part::Kind::variable;
      part.id = found->id;
      add(std::move(part));
      return Done{};
    }
    if (const VariableName* found = known_.find_prefix(name)) {
      const std::string_view argument = name.substr(found->long_name.size());
      const std::size_t colon = argument.find(':');
      part.kind = Part::Kind::variable;
      part.id = found->id;
      part.text = argument.substr(0, colon);
      if (colon != std::string_view::npos) part.fallback = argument.substr(colon + 1);
      add(std::move(part));
      return Done{};
    }
    if (const auto value = constant(name)) {
      WipingBuffer formatted;
      format_variable(part.format, *value, formatted);
      part.kind = Part::Kind::constant;
      part.text = formatted.view();
      add(std::move(part));
      return Done{};
    }
    return bad(fmt::format("Unknown variable '%{}'", log_safe_line(name)));
  }

  Result<Template> nested(std::string_view text) const {
    return TemplateCompiler(known_, depth_ + 1).compile(text);
  }

  /// FIELD;OP;VALUE;TRUE;FALSE
  Status condition(Part&& part, std::string_view text) {
    const auto pieces = split_outside_braces(text, ';', 5);
    if (pieces.size() < 4) return bad("%{if} needs a value, an operator, a value and two results");
    const auto op = compare_op(pieces[1]);
    if (!op) return bad(fmt::format("%{{if}} has no operator '{}'", log_safe_line(pieces[1])));
    part.kind = Part::Kind::condition;
    part.op = *op;
    for (const std::size_t i : {0U, 2U, 3U, 4U}) {
      Result<Template> operand = nested(i < pieces.size() ? std::string_view(pieces[i]) : "");
      if (!operand.ok()) return operand.error();
      part.operands.push_back(std::move(operand.value()));
    }
    if (part.op == CompareOp::regex || part.op == CompareOp::not_regex) {
      if (part.operands[1].has_variables())
        return bad("a regular expression cannot hold variables");
      auto regex = Regex::compile(pieces[2]);
      if (!regex.ok()) return regex.error();
      part.regex = std::move(regex.value());
    }
    add(std::move(part));
    return Done{};
  }

  /// `;option=value,…:FIELD` or `:FIELD`
  Status hash(Part&& part, const std::string& method, std::string_view text) {
    part.kind = Part::Kind::hash;
    part.hash.method = method;
    if (!has_hash_method(method)) {
      return bad(fmt::format("this OpenSSL has no {} (it may be in its legacy provider)", method));
    }
    if (method.empty()) part.hash.rounds = 2048;
    std::string options;
    std::string field;
    if (text.starts_with(';')) {
      auto pieces = split_outside_braces(text.substr(1), ':', 2);
      if (pieces.size() < 2) return bad("a hash needs a variable after ':'");
      options = std::move(pieces[0]);
      field = std::move(pieces[1]);
    } else {
      field = text.substr(1);
    }
    std::string salt;
    for (const std::string_view option : words(options, ",")) {
      if (Status status = hash_option(part.hash, salt, option); !status.ok()) return status;
    }
    for (const std::string& operand : {salt, "%{" + field + "}"}) {
      Result<Template> compiled = nested(operand);
      if (!compiled.ok()) return compiled.error();
      part.operands.push_back(std::move(compiled.value()));
    }
    add(std::move(part));
    return Done{};
  }

  static Status hash_option(HashSpec& spec, std::string& salt, std::string_view option) {
    const std::size_t equals = std::min(option.find('='), option.size());
    const std::string_view key = option.substr(0, equals);
    const std::string_view value = option.substr(std::min(equals + 1, option.size()));
    if (key == "salt") {
      salt = value;
      return Done{};
    }
    if (key == "rounds") {
      if (const auto n = decimal(value, 1, kMaxRounds)) {
        spec.rounds = static_cast<unsigned>(*n);
        return Done{};
      }
    }
    if (key == "truncate") {
      if (const auto n = decimal(value, 1, 8192)) {
        spec.truncate = static_cast<unsigned>(*n);
        return Done{};
      }
    }
    if (key == "format") {
      if (value == "hex") spec.form = HashSpec::Form::hex;
      if (value == "hexuc") spec.form = HashSpec::Form::hex_upper;
      if (value == "base64") spec.form = HashSpec::Form::base64;
      if (value == "hex" || value == "hexuc" || value == "base64") return Done{};
    }
    return bad(
        fmt::format("a hash cannot have '{}' (rounds=, salt=, truncate=, format=hex|hexuc|base64)",
                    log_safe_line(option)));
  }

  const VariableSet& known_;
  unsigned depth_;
  std::shared_ptr<Template::Code> code_ = std::make_shared<Template::Code>();
};

Template::Template() : code_(std::make_shared<const Code>()) {}

Result<Template> Template::compile(std::string_view text, const VariableSet& known) {
  return TemplateCompiler(known, 0).compile(text);
}

bool Template::expand(const VariableLookup& lookup, std::string& out) const {
  bool set = false;
  for (const Part& part : code_->parts) set = expand_any(part, lookup, out) || set;
  return set;
}

bool Template::expand(const VariableLookup& lookup, WipingBuffer& out) const {
  bool set = false;
  for (const Part& part : code_->parts) set = expand_any(part, lookup, out) || set;
  return set;
}

const std::string& Template::text() const noexcept {
  return code_->source;
}
bool Template::has_variables() const noexcept {
  return code_->has_variables;
}
bool Template::uses(std::uint8_t id) const noexcept {
  return code_->uses[id];
}
std::size_t Template::part_count() const noexcept {
  return code_->parts.size();
}

bool Template::part_is_literal(std::size_t i) const noexcept {
  POSTERN_CHECK(i < code_->parts.size());
  return code_->parts[i].kind == Part::Kind::literal;
}

std::string_view Template::literal(std::size_t i) const noexcept {
  return part_is_literal(i) ? std::string_view(code_->parts[i].text) : std::string_view{};
}

std::optional<VariableRef> Template::variable(std::size_t i) const noexcept {
  POSTERN_CHECK(i < code_->parts.size());
  const Part& part = code_->parts[i];
  if (part.kind != Part::Kind::variable) return std::nullopt;
  return VariableRef{part.id, part.text};
}

bool Template::expand_part(std::size_t i, const VariableLookup& lookup, WipingBuffer& out) const {
  POSTERN_CHECK(i < code_->parts.size());
  return expand_any(code_->parts[i], lookup, out);
}

}  // namespace postern::config
