#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/secret.h"

namespace postern::auth {

/// One field a database gave: `name` or `name=value`. Any value may be a password (`pass`), so all
/// are kept where they are wiped.
struct Field {
  std::string name;
  bool has_value = false;
  Secret value;

  Field() = default;
  explicit Field(std::string_view name_in) : name(name_in) {}
  Field(std::string_view name_in, std::string_view value_in)
      : name(name_in), has_value(true), value(value_in) {}
  Field copy() const {
    Field out(name);
    out.has_value = has_value;
    out.value = value.copy();
    return out;
  }
};

inline constexpr std::size_t kMaxFields = 128;                        // of one reply
inline constexpr std::size_t kMaxFieldValue = std::size_t{8} * 1024;  // bytes of one value
inline constexpr std::size_t kMaxFieldBytes =
    std::size_t{16} * 1024;  // names and values of one reply

/// Fields in the order they were first set. Setting a name again replaces the value in its place.
class FieldList {
 public:
  const Field* find(std::string_view name) const noexcept;
  bool has(std::string_view name) const noexcept { return find(name) != nullptr; }
  /// The value; empty if it is not set or has none.
  std::string_view value(std::string_view name) const noexcept;
  void set(Field field);
  void set(std::string_view name, std::string_view value) { set(Field(name, value)); }
  void remove(std::string_view name) noexcept;
  bool empty() const noexcept { return fields_.empty(); }
  std::size_t size() const noexcept { return fields_.size(); }
  /// Names and values together, in bytes.
  std::size_t bytes() const noexcept;
  auto begin() const noexcept { return fields_.begin(); }
  auto end() const noexcept { return fields_.end(); }
  FieldList copy() const;

 private:
  std::vector<Field> fields_;
};

/// Splits `KEY=VALUE KEY …` at blanks. Quotes around a word or a value keep its blanks together and
/// are removed; a quote elsewhere is a letter like any other (Dovecot 2.3 knows no quotes).
std::vector<std::string> split_field_text(std::string_view text);

}  // namespace postern::auth
