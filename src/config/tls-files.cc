// Files whose content is a TLS setting: which there are, and what has become of them since.
#include <algorithm>
#include <cerrno>
#include <climits>
#include <map>
#include <set>
#include <utility>

#include "config/config.h"
#include "config/files.h"
#include "config/sections.h"
#include "lib/text.h"

namespace postern::config {
namespace {

/// A file and how it is read.
using FileKey = std::pair<std::string, Content>;

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

std::vector<PresentFile> Configuration::present_files(const std::vector<std::string>& paths,
                                                      std::vector<std::string>& errors) const {
  const std::set<std::string> wanted(paths.begin(), paths.end());
  std::set<FileKey> seen;
  std::vector<PresentFile> out;
  for (const Section* block : impl_->blocks()) {
    for (const Entry& entry : block->given) {
      if (!is_tls_file(entry) || wanted.count(entry.value.path) == 0) continue;
      if (!seen.emplace(entry.value.path, entry.row->content).second) continue;
      Result<Value> value = read_value(*entry.row, entry.value.path);
      // To have no certificate is not what a full disk, or who truncates a file, wants to say.
      if (value.ok() && value.value().view().empty() && !entry.value.view().empty()) {
        value = Error{ENODATA, log_safe_line(entry.value.path, PATH_MAX) + " is empty"};
      }
      if (value.ok()) {
        out.push_back({entry.value.path, entry.row->content, WipingBuffer(value.value().view())});
      } else {
        errors.push_back(std::string(entry.row->name) + ": " + value.error().text);
      }
    }
  }
  return out;
}

std::optional<Configuration> Configuration::with_files(
    const std::vector<PresentFile>& files) const {
  std::map<FileKey, const PresentFile*> present;
  for (const PresentFile& file : files) present.emplace(FileKey{file.path, file.content}, &file);
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
      if (!is_tls_file(entry)) continue;
      const auto found = present.find({entry.value.path, entry.row->content});
      if (found == present.end()) continue;
      const std::string_view now = found->second->bytes.view();
      if (now == entry.value.view()) continue;
      entry.value = Value(now, entry.value.path);
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
