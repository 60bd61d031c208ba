#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "lib/ip.h"

/// login_source_ips: the addresses to connect to backends from, in turn.
namespace postern::login {

class SourceIps {
 public:
  SourceIps() = default;  // the kernel's choice
  /// Resolves names (waits for DNS: call it before the process serves anybody) and, if the first
  /// word begins with `?`, leaves out what cannot be bound now. What is wrong is logged.
  explicit SourceIps(const std::vector<std::string>& setting);
  explicit SourceIps(std::vector<IpAddress> addresses) : addresses_(std::move(addresses)) {}

  bool empty() const noexcept { return addresses_.empty(); }
  std::size_t size() const noexcept { return addresses_.size(); }
  /// The next address of the family of `to`; nothing if there is none.
  std::optional<IpAddress> next(const IpAddress& to) noexcept;

 private:
  std::vector<IpAddress> addresses_;
  std::size_t turn_ = 0;  // begins anywhere
};

}  // namespace postern::login
