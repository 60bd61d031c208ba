#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "auth/password-scheme.h"
#include "lib/ip.h"
#include "lib/log.h"
#include "lib/result.h"
#include "lib/secret.h"

namespace postern::auth {

using TimePoint = std::chrono::steady_clock::time_point;
using Milliseconds = std::chrono::milliseconds;

/// A comparison to be made by somebody else, because it takes long.
struct HashJob {
  const PasswordScheme* scheme = nullptr;
  Secret stored;  // raw data
  Secret password;
  std::string client;  // whose turn it takes: the client's address
};

/// What is held against an address: levels, see anvil/penalties.h.
struct PenaltyLevels {
  unsigned user = 0;     // when that user logs in
  unsigned address = 0;  // when somebody does who is not known there; never less
};

/// Anything that may have to die in the middle of its own callback.
class Retirable {
 public:
  virtual ~Retirable() = default;
};

/// All that requests need of the world: time, waiting, other processes, the log. The server gives
/// them the event loop's; tests give them a clock they move by hand. Callbacks are never called
/// before the function that took them has returned, and never after cancel().
class Environment {
 public:
  virtual ~Environment() = default;

  virtual TimePoint now() const noexcept = 0;
  virtual std::int64_t unix_time() const noexcept = 0;  // seconds
  /// Less than `below`, which is not 0.
  virtual std::uint32_t random(std::uint32_t below) noexcept = 0;

  /// @return never 0; for cancel()
  virtual std::uint64_t after(Milliseconds wait, std::function<void()> call) = 0;
  /// Failed is an internal failure: no worker, the worker died, it took too long.
  virtual std::uint64_t verify(HashJob job, std::function<void(VerifyResult)> call) = 0;
  virtual std::uint64_t resolve(const std::string& name, Milliseconds timeout,
                                std::function<void(Result<std::vector<IpAddress>>)> call) = 0;
  // Penalties (anvil/penalties.h says how they come and go).
  virtual bool counts_penalties() const noexcept = 0;
  /// What is held against an address when that user logs in; zeros if nobody counts it.
  /// @param user  user_key() of the name
  virtual std::uint64_t penalty(const IpAddress& ip, std::uint32_t user,
                                std::function<void(PenaltyLevels)> call) = 0;
  /// True if the answer of penalty() would be zeros for certain, whoever the user.
  virtual bool known_without_penalty(const IpAddress& ip) const = 0;
  /// A login failed. @param checksum  guess_key() of what was tried; 0: each try counts
  virtual void raise_penalty(const IpAddress& ip, std::uint32_t checksum, std::uint32_t user) = 0;
  /// A login was right from an address that penalty() had something against.
  virtual void forgive(const IpAddress& ip, std::uint32_t user) = 0;
  /// Of anything above; unknown and used numbers are ignored.
  virtual void cancel(std::uint64_t id) noexcept = 0;

  virtual void log(log::Level level, std::string_view text) = 0;
  /// Destroys `object` later, not during the present callback.
  virtual void retire(std::unique_ptr<Retirable> object) = 0;
};

}  // namespace postern::auth
