#include "auth/database-set.h"

#include <algorithm>

#include "lib/text.h"

namespace postern::auth {

Result<DatabaseSet> DatabaseSet::make(const std::vector<config::PassdbSettings>& passdbs,
                                      const std::vector<config::UserdbSettings>& userdbs) {
  DatabaseSet out;
  std::string problems;
  unsigned id = 0;
  for (const config::PassdbSettings& settings : passdbs) {
    auto db = make_passdb(settings, ++id);
    if (db.ok())
      out.passdbs_.push_back(std::move(db.value()));
    else
      problems += (problems.empty() ? "" : "; ") + db.error().text;
  }
  id = 0;
  for (const config::UserdbSettings& settings : userdbs) {
    auto db = make_userdb(settings, ++id);
    if (db.ok())
      out.userdbs_.push_back(std::move(db.value()));
    else
      problems += (problems.empty() ? "" : "; ") + db.error().text;
  }
  if (!problems.empty()) return Error{0, problems};
  return out;
}

const Databases& DatabaseSet::for_service(std::string_view service) {
  // Names come from peers: only services that a block names have a list of their own.
  const auto named = [&](const auto& list) {
    return std::ranges::any_of(
        list, [&](const auto& db) { return !db->protocol.empty() && db->protocol == service; });
  };
  const std::string key(named(passdbs_) || named(userdbs_) ? service : std::string_view{});
  const auto known = by_service_.find(key);
  if (known != by_service_.end()) return known->second;
  Databases& out = by_service_[key];
  for (const bool own : {false, true}) {
    for (const auto& db : passdbs_) {
      if (own ? db->protocol.empty() || db->protocol != key : !db->protocol.empty()) continue;
      (db->master ? out.masters : out.passdbs).push_back(db.get());
    }
    for (const auto& db : userdbs_) {
      if (own ? db->protocol.empty() || db->protocol != key : !db->protocol.empty()) continue;
      out.userdbs.push_back(db.get());
    }
  }
  // A first passdb that waits for somebody else to have said yes can never be asked.
  if (!out.passdbs.empty() && out.passdbs.front()->skip == config::PassdbSkip::unauthenticated) {
    out.passdbs.erase(out.passdbs.begin());
  }
  return out;
}

}  // namespace postern::auth
