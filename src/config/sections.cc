#include "config/sections.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <tuple>
#include <utility>

#include "config/service-defaults.h"
#include "config/suggest.h"
#include "lib/text.h"

namespace postern::config {
namespace {

constexpr std::array<Group, 9> kBlockGroups{
    Group::common, Group::master,     Group::log,        Group::login,      Group::ssl,
    Group::auth,   Group::login_auth, Group::submission, Group::managesieve};
constexpr std::array<Group, 1> kServiceGroups{Group::service};
constexpr std::array<Group, 1> kInetGroups{Group::inet_listener};
constexpr std::array<Group, 1> kUnixGroups{Group::unix_listener};
constexpr std::array<Group, 1> kPassdbGroups{Group::passdb};
constexpr std::array<Group, 1> kUserdbGroups{Group::userdb};

const Entry* find_in(const std::vector<Entry>& entries, std::string_view key) noexcept {
  const auto found = std::find_if(entries.begin(), entries.end(),
                                  [key](const Entry& e) { return e.row->name == key; });
  return found == entries.end() ? nullptr : &*found;
}

/// Bits of the narrowest network, which says how special a filter is.
unsigned narrowest(const std::vector<Network>& networks) noexcept {
  unsigned bits = 0;
  for (const Network& n : networks) bits = std::max(bits, n.bits());
  return bits;
}

/// What orders filters, least to most special. One term: protocol < local < local_name < remote;
/// more terms win; then the narrower network, the exact name, the affirmative protocol.
auto precedence(const Filter& f) noexcept {
  const bool exact_name =
      std::any_of(f.local_names.begin(), f.local_names.end(),
                  [](const std::string& name) { return !name.starts_with("*."); });
  return std::tuple(f.terms(), !f.remote.empty(), !f.local_names.empty(), !f.local.empty(),
                    narrowest(f.remote), exact_name, narrowest(f.local), !f.protocol_not);
}

}  // namespace

std::string Section::head() const {
  switch (kind) {
    case Kind::block:
      return filter.text();
    case Kind::service:
      return "service " + service;
    case Kind::inet_listener:
      return "inet_listener " + service + " " + name;
    case Kind::unix_listener:
      return "unix_listener " + service + " " + name;
    case Kind::passdb:
      return "passdb " + name + (protocol.empty() ? "" : " protocol " + protocol);
    case Kind::userdb:
      return "userdb " + name + (protocol.empty() ? "" : " protocol " + protocol);
  }
  return {};
}

const Entry* Section::find_given(std::string_view key) const noexcept {
  return find_in(given, key);
}

const Entry* Section::find(std::string_view key) const noexcept {
  const Entry* const entry = find_in(given, key);
  return entry != nullptr ? entry : find_in(defaults, key);
}

bool Section::is_refused(std::string_view key) const noexcept {
  return std::find(refused.begin(), refused.end(), key) != refused.end();
}

const Where& Section::where_of(std::string_view key) const noexcept {
  const Entry* const entry = find_given(key);
  return entry != nullptr ? entry->where : where;
}

std::span<const Group> groups_of(Section::Kind kind) {
  switch (kind) {
    case Section::Kind::block:
      return kBlockGroups;
    case Section::Kind::service:
      return kServiceGroups;
    case Section::Kind::inet_listener:
      return kInetGroups;
    case Section::Kind::unix_listener:
      return kUnixGroups;
    case Section::Kind::passdb:
      return kPassdbGroups;
    case Section::Kind::userdb:
      return kUserdbGroups;
  }
  return {};
}

bool may_stand_in_filter(Group group) noexcept {
  return group == Group::login || group == Group::login_auth || group == Group::auth ||
         group == Group::ssl || group == Group::submission || group == Group::managesieve;
}

std::string canonical_value(const SettingRow& row, const Value& value) {
  Result<std::string> text = row.canonical(value);
  return text.ok() ? std::move(text.value()) : std::string{};
}

void Problems::add(const Where& where, std::string what, bool warning) {
  if (!warning) errors_++;
  list_.push_back({where.file, where.line, std::move(what), warning});
}

std::vector<Problem> Problems::take(const std::vector<std::string>& files) {
  const auto rank = [&files](const Problem& p) {
    return std::find(files.begin(), files.end(), p.file) - files.begin();
  };
  std::stable_sort(list_.begin(), list_.end(), [&rank](const Problem& a, const Problem& b) {
    return std::tuple(rank(a), a.line) < std::tuple(rank(b), b.line);
  });
  return std::move(list_);
}

std::vector<const Section*> ConfigurationImpl::blocks() const {
  std::vector<const Section*> out;
  for (const Section& s : sections) {
    if (s.kind == Section::Kind::block) out.push_back(&s);
  }
  std::stable_sort(out.begin(), out.end(), [](const Section* a, const Section* b) {
    return precedence(a->filter) < precedence(b->filter);
  });
  return out;
}

const Section* ConfigurationImpl::find(Section::Kind kind, std::string_view service,
                                       std::string_view name) const noexcept {
  const auto found = std::find_if(sections.begin(), sections.end(), [&](const Section& s) {
    return s.kind == kind && s.service == service && s.name == name;
  });
  return found == sections.end() ? nullptr : &*found;
}

}  // namespace postern::config
