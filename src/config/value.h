#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "lib/secret.h"

namespace postern::config {

/// What stands behind `key =`, before it means anything: the operator's text, or the content of the
/// file a `<FILE` names. It may be a password, so it is kept where it is wiped.
struct Value {
  Secret text;
  std::string path;  // of the file; empty for a value given in place

  Value() = default;
  explicit Value(std::string_view text_in) : text(text_in) {}
  Value(std::string_view text_in, std::string path_in) : text(text_in), path(std::move(path_in)) {}
  std::string_view view() const noexcept { return text.reveal(); }
  Value copy() const { return {view(), path}; }
};

/// The content of a file, read by the master when it loaded the configuration (the processes that
/// use it cannot open it: they are confined and unprivileged). Copies share the bytes.
struct FileText {
  std::string path;  // empty: none, or given in place
  std::shared_ptr<const Secret> content;

  bool empty() const noexcept { return content == nullptr || content->empty(); }
  /// The bytes; empty if there are none.
  std::string_view reveal() const noexcept {
    return content ? content->reveal() : std::string_view{};
  }
  /// The same file with the same bytes in it, whenever it was read.
  bool operator==(const FileText& other) const noexcept {
    if (path != other.path) return false;
    return content == other.content || reveal() == other.reveal();
  }
};

}  // namespace postern::config
