#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <list>
#include <string>
#include <unordered_map>

/// Penalties of addresses for failed logins: numbers that auth sets and asks for; what they mean is
/// auth's business. Spec: master.md 4.1 and 4.3. Pure state, the clock (Unix time) is the caller's.
namespace postern::anvil {

struct Penalty {
  unsigned value = 0;
  std::int64_t last = 0;         // Unix time of the last raise; 0: never
  std::int64_t last_update = 0;  // of the last PENALTY-INC, counted or not
};

class Penalties {
 public:
  /// @param most  idents there may be; the longest untouched goes first
  explicit Penalties(std::size_t most = 500'000) : most_(most) {}

  /// Zeros if the ident is unknown or forgotten.
  Penalty get(const std::string& ident, std::int64_t now);
  /// Sets the penalty. The same wrong password again (its checksum is among the last ten) is not a
  /// new guess: then it is one less and the time stays.
  /// @param checksum  of the password; 0: none, always counts
  void set(const std::string& ident, std::uint32_t checksum, unsigned value, std::int64_t now);
  /// How long after its last update an ident is forgotten.
  void set_lifetime(std::int64_t seconds) noexcept { lifetime_ = seconds; }
  std::int64_t lifetime() const noexcept { return lifetime_; }

  /// Calls `visit(ident, penalty)`, oldest update first.
  template <class Visit>
  void for_each(std::int64_t now, Visit visit) {
    expire(now);
    for (const Record& record : by_age_) visit(record.ident, record.penalty);
  }
  std::size_t size() const noexcept { return by_age_.size(); }

  static constexpr unsigned kMaxValue = 65535;
  static constexpr std::int64_t kDefaultLifetime = 3600;

 private:
  struct Record {
    std::string ident;
    Penalty penalty;
    std::array<std::uint32_t, 10> checksums{};  // newest first; 0: none
  };
  using ByAge = std::list<Record>;

  void expire(std::int64_t now);

  std::size_t most_;
  ByAge by_age_;
  std::unordered_map<std::string, ByAge::iterator> by_ident_;
  std::int64_t lifetime_ = kDefaultLifetime;
};

}  // namespace postern::anvil
