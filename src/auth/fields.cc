#include "auth/fields.h"

#include <algorithm>

namespace postern::auth {

const Field* FieldList::find(std::string_view name) const noexcept {
  const auto it = std::ranges::find(fields_, name, &Field::name);
  return it == fields_.end() ? nullptr : &*it;
}

std::string_view FieldList::value(std::string_view name) const noexcept {
  const Field* field = find(name);
  return field != nullptr ? field->value.reveal() : std::string_view{};
}

void FieldList::set(Field field) {
  const auto it = std::ranges::find(fields_, field.name, &Field::name);
  if (it == fields_.end()) {
    fields_.push_back(std::move(field));
  } else {
    *it = std::move(field);
  }
}

void FieldList::remove(std::string_view name) noexcept {
  std::erase_if(fields_, [name](const Field& f) { return f.name == name; });
}

std::size_t FieldList::bytes() const noexcept {
  std::size_t n = 0;
  for (const Field& f : fields_) n += f.name.size() + f.value.size();
  return n;
}

FieldList FieldList::copy() const {
  FieldList out;
  out.fields_.reserve(fields_.size());
  for (const Field& f : fields_) out.fields_.push_back(f.copy());
  return out;
}

std::vector<std::string> split_field_text(std::string_view text) {
  std::vector<std::string> out;
  bool quoted = false;
  bool in_word = false;
  bool may_open = true;  // at the beginning of a word or of its value
  for (const char c : text) {
    if (!quoted && (c == ' ' || c == '\n')) {
      in_word = false;
      may_open = true;
      continue;
    }
    if (!in_word) out.emplace_back();
    const bool first_equals = c == '=' && !quoted && out.back().find('=') == std::string::npos;
    if (c == '"' && (quoted || may_open)) {
      quoted = !quoted;
    } else {
      out.back() += c;
    }
    in_word = true;
    may_open = first_equals;
  }
  return out;
}

}  // namespace postern::auth
