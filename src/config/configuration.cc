// What the master asks of a loaded configuration.
#include "config/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "config/sections.h"
#include "config/service-defaults.h"
#include "lib/text.h"

namespace postern::config {
namespace {

using Role = ConfigurationImpl::Role;

/// Who is told a global setting.
bool is_read_by(Group group, Role role) noexcept {
  switch (role) {
    case Role::log:
      return group == Group::common || group == Group::log;
    case Role::login:
      return group == Group::common || group == Group::login || group == Group::login_auth ||
             group == Group::ssl || group == Group::submission || group == Group::managesieve;
    case Role::auth:
      return group == Group::common || group == Group::auth || group == Group::login_auth;
    case Role::anvil:
    case Role::other:
      return group == Group::common;
  }
  return false;
}

/// True if a process of `service` can ever meet the filter.
bool is_filter_for(const Filter& filter, const ServiceSettings& service, Role role) {
  if (filter.terms() == 0) return true;
  if (role == Role::auth) return filter.terms() == 1 && !filter.protocol.empty();
  if (role != Role::login) return false;
  if (filter.protocol.empty() || service.protocol.empty()) return true;
  return same_text(filter.protocol, service.protocol) != filter.protocol_not;
}

template <class Database>
Database database_of(const Section& section) {
  Database out;
  out.name = section.name;
  out.protocol = section.protocol;
  for (const Entry& e : section.given) {
    out.raw.push_back({std::string(e.row->name), e.value.text.copy()});
  }
  return out;
}

void copy_fields(const ServiceSettings& from, ServiceSettings& to) {
  to = from;
  to.listeners.clear();
}

bool changes_tls(const Section& block) {
  return std::any_of(block.given.begin(), block.given.end(),
                     [](const Entry& e) { return e.row->group == Group::ssl; });
}

void apply(const Section& block, LoginSettings& settings) {
  for (const Entry& e : block.given) {
    static_cast<void>(assign(settings, e.row->name, e.value).ok());
  }
}

/// True if every connection that `inner` matches is sure to match `outer`: its terms are the same
/// where it has any.
bool covers(const Filter& outer, const Filter& inner) {
  if (&outer == &inner || outer.terms() == 0) return true;
  // Two sections never have the same filter. (And there may be thousands of names.)
  if (outer.terms() >= inner.terms()) return false;
  Filter common = inner;
  if (outer.protocol.empty()) common.protocol.clear();
  if (outer.protocol.empty()) common.protocol_not = false;
  if (outer.local.empty()) common.local.clear();
  if (outer.local_names.empty()) common.local_names.clear();
  if (outer.remote.empty()) common.remote.clear();
  return common.text() == outer.text();
}

}  // namespace

std::string Problem::text() const {
  return line == 0 ? fmt::format("{}: {}", file, what) : fmt::format("{}:{}: {}", file, line, what);
}

Configuration::Configuration(std::unique_ptr<ConfigurationImpl> impl) noexcept
    : impl_(std::move(impl)) {}
Configuration::Configuration(Configuration&&) noexcept = default;
Configuration& Configuration::operator=(Configuration&&) noexcept = default;
Configuration::~Configuration() = default;

const std::string& Configuration::path() const noexcept {
  return impl_->path;
}
const MasterSettings& Configuration::master() const noexcept {
  return impl_->master;
}
const std::vector<ServiceSettings>& Configuration::services() const noexcept {
  return impl_->services;
}

const ServiceSettings* Configuration::service(std::string_view name) const noexcept {
  if (name == kMasterService) return &impl_->master_service;
  const auto found = std::find_if(impl_->services.begin(), impl_->services.end(),
                                  [name](const ServiceSettings& s) { return s.name == name; });
  return found == impl_->services.end() ? nullptr : &*found;
}

std::vector<SocketInfo> Configuration::sockets(std::string_view service_name) const {
  std::vector<SocketInfo> out;
  const ServiceSettings* const s = service(service_name);
  if (s == nullptr) return out;
  for (const ListenerSettings& listener : s->listeners) {
    for (SocketInfo& socket : impl_->sockets_of(listener)) out.push_back(std::move(socket));
  }
  return out;
}

WipingBuffer Configuration::snapshot(std::string_view service_name,
                                     const std::vector<SocketInfo>& opened) const {
  Snapshot out;
  const ServiceSettings* const s = service(service_name);
  if (s == nullptr) return out.serialize();
  const Role role = ConfigurationImpl::role_of(*s);
  copy_fields(*s, out.service);
  out.listeners = opened;
  for (const Section* section : impl_->blocks()) {
    if (!is_filter_for(section->filter, *s, role)) continue;
    SettingsBlock block;
    block.filter = section->filter;
    for (const Entry& e : section->given) {
      if (!is_read_by(e.row->group, role)) continue;
      block.settings.push_back({std::string(e.row->name), e.value.copy()});
    }
    if (block.filter.terms() == 0 || !block.settings.empty())
      out.blocks.push_back(std::move(block));
  }
  if (role == Role::auth) {
    for (const Section& section : impl_->sections) {
      if (section.kind == Section::Kind::passdb) {
        out.passdbs.push_back(database_of<PassdbSettings>(section));
      }
      if (section.kind == Section::Kind::userdb) {
        out.userdbs.push_back(database_of<UserdbSettings>(section));
      }
    }
  }
  return out.serialize();
}

std::vector<Configuration::Tls> Configuration::tls() const {
  std::vector<Tls> out;
  const auto blocks = impl_->blocks();
  for (const Section* block : blocks) {
    const bool global = block->filter.terms() == 0;
    if (!global && !changes_tls(*block)) continue;
    auto settings = std::make_shared<LoginSettings>();
    for (const Section* other : blocks) {
      if (covers(other->filter, block->filter)) apply(*other, *settings);
    }
    Tls& tls = out.emplace_back();
    tls.where = block->filter.text();
    const Entry* place = block->find_given("ssl_cert");
    for (const Entry& e : block->given) {
      if (place == nullptr && e.row->group == Group::ssl) place = &e;
    }
    const Where& where = place != nullptr ? place->where : block->where;
    tls.file = where.file.empty() ? impl_->path : where.file;
    tls.line = where.line;
    tls.settings = std::move(settings);
  }
  return out;
}

}  // namespace postern::config
