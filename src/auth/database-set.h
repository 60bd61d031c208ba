#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "auth/passdb.h"
#include "auth/request.h"
#include "config/settings.h"
#include "lib/result.h"

namespace postern::auth {

/// All databases, and which of them a service has: the global ones, then its own.
class DatabaseSet {
 public:
  /// @return an Error that names every block that cannot work
  static Result<DatabaseSet> make(const std::vector<config::PassdbSettings>& passdbs,
                                  const std::vector<config::UserdbSettings>& userdbs);
  /// Stays valid as long as the set.
  const Databases& for_service(std::string_view service);
  bool has_passdbs() const noexcept { return !passdbs_.empty(); }

 private:
  std::vector<std::unique_ptr<Passdb>> passdbs_;
  std::vector<std::unique_ptr<Userdb>> userdbs_;
  std::map<std::string, Databases, std::less<>> by_service_;
};

}  // namespace postern::auth
