#pragma once

#include <string>
#include <vector>

#include "config/variables.h"
#include "lib/result.h"
#include "lib/secret.h"

namespace postern::config {

/// An SQL query with %variables, made into a statement and its parameters once. No value ever
/// becomes SQL text: a string literal that holds variables, `'%n'` or `'prefix-%n'`, becomes one
/// parameter; a variable anywhere else is a configuration mistake.
class SqlQuery {
 public:
  static Result<SqlQuery> compile(std::string_view text);

  /// The statement, with `?1` … in the place of such literals.
  const std::string& sql() const noexcept { return sql_; }
  std::size_t parameter_count() const noexcept { return parameters_.size(); }
  /// The value of parameter `index` (from 0).
  void expand(std::size_t index, const VariableLookup& variables, WipingBuffer& out) const;

 private:
  struct Piece {
    bool literal = true;
    std::string text;      // of a literal
    std::size_t part = 0;  // of the template
  };
  friend class SqlScanner;

  Template text_;
  std::string sql_;
  std::vector<std::vector<Piece>> parameters_;
};

}  // namespace postern::config
