#pragma once

#include <string>
#include <utility>
#include <variant>

namespace postern {

/// What went wrong, and a phrase that completes "cannot …: ".
struct Error {
  int code = 0;      // errno value, or a domain's own enum
  std::string text;  // safe to log: names the thing, quotes no secret and no unescaped peer bytes
};

/// The value of a Result that has nothing else to tell.
struct Done {};

/// A T or an Error; `return Error{…}` and `return value` both convert.
template <class T>
class [[nodiscard]] Result {
 public:
  // NOLINTNEXTLINE(google-explicit-constructor)
  Result(T value) : v_(std::in_place_index<0>, std::move(value)) {}
  // NOLINTNEXTLINE(google-explicit-constructor)
  Result(Error error) : v_(std::in_place_index<1>, std::move(error)) {}
  bool ok() const noexcept { return v_.index() == 0; }
  // Asking for the wrong one aborts: std::get throws, noexcept terminates.
  const T& value() const& noexcept { return std::get<0>(v_); }
  T& value() & noexcept { return std::get<0>(v_); }
  T&& value() && noexcept { return std::get<0>(std::move(v_)); }
  const Error& error() const& noexcept { return std::get<1>(v_); }

 private:
  std::variant<T, Error> v_;
};

/// Success, or why not.
using Status = Result<Done>;

/// An Error that ends in the system's words for `errnum`: "what: No such file or directory".
Error system_error(std::string what, int errnum);

}  // namespace postern
