#pragma once

#include <chrono>
#include <cstddef>
#include <string_view>

#include "lib/result.h"
#include "lib/secret.h"

/// The keys that TLS session tickets are sealed with, the same in all login processes of all
/// protocols. They are made here, live in memory and are forgotten; or they are the operator's, for
/// several hosts that resume each other's sessions (ssl_ticket_keys).
namespace postern::master {

class TicketKeys {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  static constexpr std::size_t kOne = 80;   // bytes: name 16, HMAC 32, AES 32
  static constexpr std::size_t kMade = 2;   // the one in use, and the one before it
  static constexpr std::size_t kGiven = 8;  // at most, of the operator's

  /// What is wrong with the content of the operator's file; Done if nothing.
  static Status check(std::string_view given);

  /// A new key; what was sealed with the one before can still be opened.
  Status rotate(TimePoint now);
  /// How much of `life` the newest of our own has left: who restarts the clock whenever something
  /// else is new never comes to the end of it.
  std::chrono::milliseconds left(TimePoint now, std::chrono::milliseconds life) const noexcept;
  /// The operator's instead, newest first. They were checked.
  void use(std::string_view given) { keys_ = Secret(given); }
  /// Newest first, kOne bytes each. Empty before the first call of either.
  std::string_view view() const noexcept { return keys_.reveal(); }

 private:
  Secret keys_;
  TimePoint made_;
};

}  // namespace postern::master
