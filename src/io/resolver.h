#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "io/loop.h"
#include "lib/ip.h"
#include "lib/result.h"

/// Names to addresses without waiting (libevent's evdns: /etc/resolv.conf and /etc/hosts).
namespace postern::io {

class Resolver {
 public:
  /// The answer: at least one address (as the servers order them, IPv4 and IPv6), or why not.
  using Answer = std::function<void(Result<std::vector<IpAddress>>)>;

  explicit Resolver(Loop& loop);
  ~Resolver();
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;

  /// Addresses are answered too, at the end of the turn like everything else. Never calls `answer`
  /// before it returns. Simultaneous requests for one name share one query; at most `timeout`.
  /// @return a number for cancel()
  std::uint64_t resolve(const std::string& name, Milliseconds timeout, Answer answer);
  /// The answer will not be called.
  void cancel(std::uint64_t id) noexcept;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace postern::io
