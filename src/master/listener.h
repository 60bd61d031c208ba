#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "lib/handle.h"
#include "lib/ip.h"
#include "lib/result.h"

/// Listening sockets: opened once, kept over reloads. Spec: master.md sections 1.1 and 1.7.
namespace postern::master {

/// One address to listen on. Two with the same key are the same listener.
struct ListenerSpec {
  bool is_unix = false;
  Endpoint endpoint;                   // TCP
  bool reuse_port = false;             // TCP
  std::string path;                    // UNIX, absolute
  mode_t mode = 0600;                  // UNIX
  uid_t uid = static_cast<uid_t>(-1);  // UNIX; -1 leaves it
  gid_t gid = static_cast<gid_t>(-1);

  /// "tcp 127.0.0.1:143", "unix /run/postern/login/login".
  std::string key() const;
};

/// An open listening socket; a UNIX one is removed from the file system with it.
class Listener {
 public:
  ~Listener();
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;
  Listener(Listener&&) = delete;
  Listener& operator=(Listener&&) = delete;

  /// Binds and listens. A UNIX socket nobody answers on is replaced; one that answers is an Error,
  /// as is anything that is not a socket. Owner and mode are set before it listens.
  static Result<std::unique_ptr<Listener>> open(const ListenerSpec& spec);

  /// Makes an open listener what `spec` (of the same key) now says: mode and owner.
  Status adjust(const ListenerSpec& spec);
  /// False if it is a UNIX socket that nobody reaches any more: its name is gone, or another's.
  bool is_reachable() const noexcept;

  int fd() const noexcept { return fd_.get(); }
  const ListenerSpec& spec() const noexcept { return spec_; }
  /// How many connections wait to be accepted, at least 1; for a UNIX socket always 1.
  unsigned backlog() const noexcept;

 private:
  explicit Listener(ListenerSpec spec) : spec_(std::move(spec)) {}
  Status open_tcp();
  Status open_unix();
  Result<UniqueFd> hold_path() const;

  ListenerSpec spec_;
  UniqueFd fd_;
  dev_t device_ = 0;  // of the socket in the file system, so that only our own is removed
  ino_t inode_ = 0;
};

/// Listeners by key; generations share them.
using Listeners = std::map<std::string, std::shared_ptr<Listener>>;

/// Opens what `specs` asks for, taking over what `old` has under the same key and can be reached.
/// All or nothing: on failure everything opened here is closed again and `errors` has one line
/// each.
/// @return the listeners by key; empty if there were errors
Listeners open_listeners(const std::vector<ListenerSpec>& specs, const Listeners& old,
                         std::vector<std::string>& errors);

/// Creates the missing parents of `path` (0755). Refuses ones that everybody may write to, unless
/// they are sticky as /tmp is: whoever can rename a directory can put another in its place.
Status make_parents(const std::string& path);

}  // namespace postern::master
