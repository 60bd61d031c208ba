#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <list>
#include <string>
#include <unordered_map>
#include <vector>

/// Penalties of addresses for failed logins. Spec: master.md 4.1 and 4.3. Pure state, the clock
/// (Unix time) is the caller's.
///
/// An address has a level, 0 to kMaxLevel; what it costs in seconds is auth's business. A wrong
/// password that was not among the last ten raises it by one, a quarter of an hour without takes
/// one off. A good login leaves the level as it is, or an attacker with an account of his own could
/// take it back between two guesses; but its user is known here from then on and the level is not
/// for him, until a guess at his password comes from here. So whoever shares an address with an
/// attacker pays once. (That he is known must show only when his password is right: auth's
/// business, too.)
namespace postern::anvil {

struct Penalty {
  unsigned value = 0;
  std::int64_t last = 0;         // Unix time of the last raise; 0: never
  std::int64_t last_update = 0;  // of the last that was told, counted or not
};

class Penalties {
 public:
  static constexpr unsigned kMaxValue = 65535;
  static constexpr unsigned kMaxLevel = 4;
  static constexpr std::int64_t kFade = 900;  // seconds after which a level less remains
  static constexpr std::int64_t kDefaultLifetime = 3600;  // also of what fail() has counted
  /// Known at an address; who has not logged in the longest goes first.
  static constexpr std::size_t kMostUsers = 256;

  /// @param most  idents there may be; the longest untouched goes first
  explicit Penalties(std::size_t most = 500'000) : most_(most) {}

  /// A level that has faded so far.
  struct Level {
    unsigned user = 0;     // for that user
    unsigned address = 0;  // for others
  };
  /// @param user  a number for the user's name
  Level level(const std::string& ident, std::uint32_t user, std::int64_t now);
  /// A login has failed.
  /// @param checksum  of name and password; 0: none, always counts
  void fail(const std::string& ident, std::uint32_t checksum, std::uint32_t user, std::int64_t now);
  /// A login has succeeded.
  void succeed(const std::string& ident, std::uint32_t user, std::int64_t now);

  // The same table for programs that do the arithmetic themselves, as Dovecot's auth does.
  /// Zeros if the ident is unknown or forgotten.
  Penalty get(const std::string& ident, std::int64_t now);
  /// Sets the penalty. The same wrong password again (its checksum is among the last ten) is not a
  /// new guess: then it is one less and the time stays.
  /// @param checksum  of the password; 0: none, always counts
  void set(const std::string& ident, std::uint32_t checksum, unsigned value, std::int64_t now);
  /// How long after its last update an ident is forgotten that only set() has counted: what others
  /// ask for shortens no penalty that fail() made.
  void set_lifetime(std::int64_t seconds) noexcept { lifetime_ = seconds; }
  std::int64_t lifetime() const noexcept { return lifetime_; }

  /// Calls `visit(ident, penalty)`, oldest update first.
  template <class Visit>
  void for_each(std::int64_t now, Visit visit) {
    expire(now);
    auto told = told_.begin();
    for (const Record& record : counted_) {
      for (; told != told_.end() && told->penalty.last_update <= record.penalty.last_update; ++told)
        visit(told->ident, told->penalty);
      visit(record.ident, record.penalty);
    }
    for (; told != told_.end(); ++told) visit(told->ident, told->penalty);
  }
  std::size_t size() const noexcept { return by_ident_.size(); }

 private:
  struct Record {
    std::string ident;
    Penalty penalty;
    std::array<std::uint32_t, 10> checksums{};  // newest first; 0: none
    std::vector<std::uint32_t> users;           // who are known here, the latest login last
    bool counted = false;                       // by fail(): in counted_, else in told_
  };
  using ByAge = std::list<Record>;

  Record& touch(const std::string& ident, bool counted, std::int64_t now);
  void forget_oldest(ByAge& list);
  static void fade(Penalty& penalty, std::int64_t now) noexcept;
  /// @return true: it is among the last ten, and is the newest of them now
  static bool seen_before(Record& record, std::uint32_t checksum) noexcept;
  static void remember(Record& record, std::uint32_t checksum) noexcept;
  void expire(std::int64_t now);

  std::size_t most_;
  ByAge counted_, told_;  // oldest update first
  std::unordered_map<std::string, ByAge::iterator> by_ident_;
  std::int64_t lifetime_ = kDefaultLifetime;
};

}  // namespace postern::anvil
