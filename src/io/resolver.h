#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "io/loop.h"
#include "lib/ip.h"
#include "lib/result.h"

/// Names to addresses without waiting (libevent's evdns: /etc/resolv.conf and /etc/hosts).
namespace postern::io {

/// Which files say how to resolve.
struct ResolverFiles {
  std::string resolv_conf = "/etc/resolv.conf";
  std::string hosts = "/etc/hosts";
};

class Resolver {
 public:
  /// The answer: at least one address (as the servers order them, IPv4 and IPv6), or why not.
  using Answer = std::function<void(Result<std::vector<IpAddress>>)>;

  /// Reads the files now, before the process is confined; a file that cannot be read counts as
  /// empty (no name server: 127.0.0.1, as resolv.conf(5) says). Sockets are opened with the first
  /// question, so that a process may be forked from this one meanwhile.
  explicit Resolver(Loop& loop, const ResolverFiles& files = {});
  ~Resolver();
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;

  /// Addresses are answered too, at the end of the turn like everything else. Never calls `answer`
  /// before it returns. Simultaneous requests for one name share one query; at most `timeout`, then
  /// the Error is ETIMEDOUT. A name that does not exist or has no address is ENOENT, a server that
  /// fails EAGAIN, a text that is no host name EINVAL. IPv4 addresses come first. Search domains
  /// are not used: a name is what it says.
  /// @return a number for cancel()
  std::uint64_t resolve(const std::string& name, Milliseconds timeout, Answer answer);
  /// The answer will not be called.
  void cancel(std::uint64_t id) noexcept;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace postern::io
