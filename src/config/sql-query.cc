#include "config/sql-query.h"

namespace postern::config {

/// Follows SQL's quoting over the literal parts of a template.
class SqlScanner {
 public:
  explicit SqlScanner(SqlQuery& out) : out_(out) {}

  void literal(std::string_view text) {
    for (std::size_t i = 0; i < text.size(); i++)
      next(text[i], i + 1 < text.size() ? text[i + 1] : '\0');
  }

  Status variable(std::size_t part) {
    settle();
    if (in_ != In::string) {
      return Error{0,
                   "a %variable may only stand inside single quotes: it becomes a bound "
                   "parameter, as in: WHERE name = '%n'"};
    }
    has_variable_ = true;
    pieces_.push_back({false, {}, part});
    return Done{};
  }

  Status finish() {
    settle();
    if (in_ == In::string || in_ == In::identifier) return Error{0, "a quote is not closed"};
    return Done{};
  }

 private:
  enum class In : std::uint8_t {
    code,
    string,
    string_quote,
    identifier,
    line_comment,
    block_comment
  };

  void next(char c, char after) {
    if (skip_) {
      skip_ = false;
      out_.sql_ += c;
      return;
    }
    if (in_ == In::string_quote) {
      if (c == '\'') {  // '' is one quote in the string
        add('\'');
        in_ = In::string;
        return;
      }
      settle();
    }
    switch (in_) {
      case In::string:
        if (c == '\'')
          in_ = In::string_quote;
        else
          add(c);
        return;
      case In::code:
        if (c == '\'') {
          in_ = In::string;
          pieces_.clear();
          has_variable_ = false;
          return;
        }
        if (c == '"' || c == '`') in_ = In::identifier, quote_ = c;
        if (c == '-' && after == '-') in_ = In::line_comment;
        if (c == '/' && after == '*') in_ = In::block_comment, skip_ = true;
        break;
      case In::identifier:
        if (c == quote_) in_ = In::code;
        break;
      case In::line_comment:
        if (c == '\n') in_ = In::code;
        break;
      case In::block_comment:
        if (c == '*' && after == '/') in_ = In::code, skip_ = true;
        break;
      case In::string_quote:
        break;  // settled above
    }
    out_.sql_ += c;
  }

  void add(char c) {
    if (pieces_.empty() || !pieces_.back().literal) pieces_.push_back({});
    pieces_.back().text += c;
  }

  /// A string literal has ended: it stays text, or becomes a parameter.
  void settle() {
    if (in_ != In::string_quote) return;
    in_ = In::code;
    if (has_variable_) {
      out_.parameters_.push_back(std::move(pieces_));
      pieces_.clear();
      out_.sql_ += "?" + std::to_string(out_.parameters_.size());
      return;
    }
    out_.sql_ += '\'';
    for (const auto& piece : pieces_) {
      for (const char c : piece.text) {
        if (c == '\'') out_.sql_ += '\'';
        out_.sql_ += c;
      }
    }
    out_.sql_ += '\'';
  }

  SqlQuery& out_;
  In in_ = In::code;
  char quote_ = '"';
  bool skip_ = false;
  bool has_variable_ = false;
  std::vector<SqlQuery::Piece> pieces_;
};

Result<SqlQuery> SqlQuery::compile(std::string_view text) {
  auto compiled = Template::compile(text, auth_variables());
  if (!compiled.ok()) return compiled.error();
  SqlQuery out;
  out.text_ = std::move(compiled.value());
  SqlScanner scanner(out);
  for (std::size_t i = 0; i < out.text_.part_count(); i++) {
    if (out.text_.part_is_literal(i)) {
      scanner.literal(out.text_.literal(i));
      continue;
    }
    const Status status = scanner.variable(i);
    if (!status.ok()) return status.error();
  }
  const Status status = scanner.finish();
  if (!status.ok()) return status.error();
  return out;
}

void SqlQuery::expand(std::size_t index, const VariableLookup& variables, WipingBuffer& out) const {
  for (const Piece& piece : parameters_[index]) {
    if (piece.literal)
      out += piece.text;
    else
      text_.expand_part(piece.part, variables, out);
  }
}

}  // namespace postern::config
