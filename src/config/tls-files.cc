// Files whose content is a TLS setting: which there are, and what has become of them since.
#include <algorithm>
#include <cerrno>
#include <climits>
#include <map>
#include <utility>

#include "config/config.h"
#include "config/files.h"
#include "config/sections.h"
#include "lib/text.h"

namespace postern::config {
namespace {

constexpr std::string_view kTicketKeys = "ssl_ticket_keys";

bool is_tls_file(const Entry& entry) noexcept {
  const bool tls = entry.row->group == Group::ssl || entry.row->name == kTicketKeys;
  return tls && !entry.value.path.empty();
}

Entry copy_of(const Entry& entry) {
  return {entry.row, entry.value.copy(), entry.where};
}

Section copy_of(const Section& section) {
  Section out;
  out.kind = section.kind;
  out.filter = section.filter;
  out.service = section.service;
  out.name = section.name;
  out.protocol = section.protocol;
  out.builtin = section.builtin;
  out.where = section.where;
  for (const Entry& entry : section.defaults) out.defaults.push_back(copy_of(entry));
  for (const Entry& entry : section.given) out.given.push_back(copy_of(entry));
  out.refused = section.refused;
  return out;
}

/// Files as they are now, each read once. (One may be the value of settings of different kinds.)
class PresentFiles {
 public:
  explicit PresentFiles(const std::vector<std::string>& paths) : paths_(paths) {
    std::sort(paths_.begin(), paths_.end());
  }

  bool contains(const std::string& path) const {
    return std::binary_search(paths_.begin(), paths_.end(), path);
  }
  /// Null if it cannot be read, or has become empty; that is told once.
  const Value* read(const Entry& entry, std::vector<std::string>& errors) {
    const auto key = std::make_pair(entry.value.path, entry.row->content);
    const auto found = values_.find(key);
    if (found != values_.end()) return found->second ? &*found->second : nullptr;
    Result<Value> value = read_value(*entry.row, entry.value.path);
    // To have no certificate is not what a full disk, or who truncates a file, wants to say.
    if (value.ok() && value.value().view().empty() && !entry.value.view().empty()) {
      value = Error{ENODATA, log_safe_line(entry.value.path, PATH_MAX) + " is empty"};
    }
    std::optional<Value>& kept = values_[key];
    if (value.ok()) {
      kept = std::move(value).value();
    } else {
      errors.push_back(std::string(entry.row->name) + ": " + value.error().text);
    }
    return kept ? &*kept : nullptr;
  }

 private:
  std::vector<std::string> paths_;
  std::map<std::pair<std::string, Content>, std::optional<Value>> values_;
};

}  // namespace

std::vector<std::string> Configuration::tls_files() const {
  std::vector<std::string> out;
  for (const Section* block : impl_->blocks()) {
    for (const Entry& entry : block->given) {
      if (is_tls_file(entry)) out.push_back(entry.value.path);
    }
  }
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

std::optional<Configuration> Configuration::with_present_files(
    const std::vector<std::string>& paths, std::vector<std::string>& errors) const {
  PresentFiles files(paths);
  auto fresh = std::make_unique<ConfigurationImpl>();
  fresh->path = impl_->path;
  fresh->master = impl_->master;
  fresh->services = impl_->services;
  fresh->master_service = impl_->master_service;
  bool changed = false;
  for (const Section& section : impl_->sections) {
    Section& copy = fresh->sections.emplace_back(copy_of(section));
    if (copy.kind != Section::Kind::block) continue;
    for (Entry& entry : copy.given) {
      if (!is_tls_file(entry) || !files.contains(entry.value.path)) continue;
      const Value* const now = files.read(entry, errors);
      if (now == nullptr || now->view() == entry.value.view()) continue;
      entry.value = now->copy();
      if (entry.row->name == kTicketKeys) {
        static_cast<void>(assign(fresh->master, kTicketKeys, entry.value).ok());
      }
      changed = true;
    }
  }
  if (!changed) return std::nullopt;
  return Configuration(std::move(fresh));
}

}  // namespace postern::config
