#pragma once

#include <string>
#include <string_view>

#include "lib/result.h"
#include "wire/auth-reply.h"

namespace postern::ctl {

/// What `-x KEY=VALUE` says of the client an auth test is for.
class AuthProperties {
 public:
  /// Reads one pair. An Error if the key is unknown or the value is none of its kind.
  Status set(std::string_view pair);
  /// Borrows this object.
  wire::AuthRequestInfo info() const;

 private:
  std::string service_ = "doveadm";  // Dovecot's word: passdbs and policies know it
  std::string session_, local_name_, client_id_;
  wire::AuthRequestInfo rest_;  // what owns its values
};

}  // namespace postern::ctl
