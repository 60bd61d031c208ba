#include "master/listener.h"

#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "lib/text.h"

namespace postern::master {
namespace {

constexpr int kBacklog = 4096;  // the kernel caps it at net.core.somaxconn

Status set_option(int fd, int level, int name, const char* what) {
  const int on = 1;
  if (setsockopt(fd, level, name, &on, sizeof on) != 0) return system_error(what, errno);
  return Done{};
}

bool fill_unix(const std::string& path, sockaddr_un& out) noexcept {
  out = sockaddr_un{};
  out.sun_family = AF_UNIX;
  if (path.size() >= sizeof out.sun_path) return false;
  std::memcpy(out.sun_path, path.data(), path.size());
  return true;
}

const sockaddr* generic(const void* address) noexcept {
  return static_cast<const sockaddr*>(address);
}

/// Clears the way for a socket: nothing there, or a socket that nobody answers on.
Status remove_stale(const std::string& path, const sockaddr_un& address) {
  struct stat found {};
  if (lstat(path.c_str(), &found) != 0) {
    if (errno == ENOENT) return Done{};
    return system_error(log_safe(path), errno);
  }
  if (!S_ISSOCK(found.st_mode))
    return Error{EEXIST, log_safe(path) + " exists and is not a socket"};
  const UniqueFd probe(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!probe) return system_error("socket", errno);
  // EAGAIN is an answer, too: somebody's queue is full.
  if (connect(probe.get(), generic(&address), sizeof address) == 0 || errno == EAGAIN) {
    return Error{EADDRINUSE,
                 "Postern is already running? Socket already exists: " + log_safe(path)};
  }
  if (errno != ECONNREFUSED) return system_error(log_safe(path), errno);
  if (unlink(path.c_str()) != 0 && errno != ENOENT) {
    return system_error("unlink(" + log_safe(path) + ")", errno);
  }
  return Done{};
}

}  // namespace

std::string ListenerSpec::key() const {
  return is_unix ? "unix " + path : "tcp " + endpoint.text();
}

Status make_parents(const std::string& path) {
  for (std::size_t slash = path.find('/', 1); slash != std::string::npos;
       slash = path.find('/', slash + 1)) {
    const std::string parent = path.substr(0, slash);
    if (mkdir(parent.c_str(), 0755) == 0) {
      // The umask must not decide who can reach a socket.
      if (chmod(parent.c_str(), 0755) != 0) return system_error(log_safe(parent), errno);
      continue;
    }
    struct stat found {};
    if (errno != EEXIST) return system_error("mkdir(" + log_safe(parent) + ")", errno);
    if (stat(parent.c_str(), &found) != 0) return system_error(log_safe(parent), errno);
    if (!S_ISDIR(found.st_mode)) return Error{ENOTDIR, log_safe(parent) + " is not a directory"};
    if ((found.st_mode & S_IWOTH) != 0 && (found.st_mode & S_ISVTX) == 0) {
      return Error{EPERM, log_safe(parent) + " can be written to by everyone"};
    }
  }
  return Done{};
}

Listener::~Listener() {
  if (!fd_ || !spec_.is_unix) return;
  // Best effort: the next start removes what is left.
  if (is_reachable()) unlink(spec_.path.c_str());
}

bool Listener::is_reachable() const noexcept {
  if (!spec_.is_unix) return true;
  struct stat found {};
  return lstat(spec_.path.c_str(), &found) == 0 && found.st_dev == device_ &&
         found.st_ino == inode_;
}

Result<std::unique_ptr<Listener>> Listener::open(const ListenerSpec& spec) {
  std::unique_ptr<Listener> listener(new Listener(spec));
  if (auto opened = spec.is_unix ? listener->open_unix() : listener->open_tcp(); !opened.ok()) {
    return opened.error();
  }
  return listener;
}

Status Listener::open_tcp() {
  sockaddr_storage address{};
  const socklen_t length = spec_.endpoint.to_sockaddr(address);
  const bool v6 = spec_.endpoint.ip.is_v6();
  UniqueFd fd(socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return system_error("socket", errno);
  // What is set here is inherited by every accepted socket: no system call per client.
  if (auto set = set_option(fd.get(), SOL_SOCKET, SO_REUSEADDR, "SO_REUSEADDR"); !set.ok())
    return set;
  if (auto set = set_option(fd.get(), SOL_SOCKET, SO_KEEPALIVE, "SO_KEEPALIVE"); !set.ok())
    return set;
  if (auto set = set_option(fd.get(), IPPROTO_TCP, TCP_NODELAY, "TCP_NODELAY"); !set.ok())
    return set;
  if (spec_.reuse_port) {
    if (auto set = set_option(fd.get(), SOL_SOCKET, SO_REUSEPORT, "SO_REUSEPORT"); !set.ok())
      return set;
  }
  if (v6) {
    // `::` is IPv6 alone, so that `*` can be beside it.
    if (auto set = set_option(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, "IPV6_V6ONLY"); !set.ok())
      return set;
  }
  if (bind(fd.get(), generic(&address), length) != 0) return system_error("bind", errno);
  if (listen(fd.get(), kBacklog) != 0) return system_error("listen", errno);
  fd_ = std::move(fd);
  return Done{};
}

/// The socket in the file system, by a handle: a directory may belong to somebody else, who can
/// make the name mean another file at any time.
Result<UniqueFd> Listener::hold_path() const {
  UniqueFd held(::open(spec_.path.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  struct stat found {};
  if (!held || fstat(held.get(), &found) != 0) return system_error(log_safe(spec_.path), errno);
  if (!S_ISSOCK(found.st_mode)) return Error{EEXIST, log_safe(spec_.path) + " was replaced"};
  return held;
}

Status Listener::open_unix() {
  sockaddr_un address{};
  if (!fill_unix(spec_.path, address)) {
    return Error{ENAMETOOLONG, log_safe(spec_.path) + ": path too long for a socket"};
  }
  if (auto made = make_parents(spec_.path); !made.ok()) return made;
  if (auto clear = remove_stale(spec_.path, address); !clear.ok()) return clear;
  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return system_error("socket", errno);
  // Born with its mode.
  const mode_t before = umask(0777 & ~spec_.mode);
  const int failed = bind(fd.get(), generic(&address), sizeof address) == 0 ? 0 : errno;
  umask(before);
  if (failed != 0) return system_error("bind(" + log_safe(spec_.path) + ")", failed);
  const auto held = hold_path();
  if (!held.ok()) return held.error();
  struct stat made {};
  if (fstat(held.value().get(), &made) != 0) return system_error(log_safe(spec_.path), errno);
  device_ = made.st_dev;
  inode_ = made.st_ino;
  if (fchownat(held.value().get(), "", spec_.uid, spec_.gid, AT_EMPTY_PATH) != 0) {
    const Error error = system_error("chown(" + log_safe(spec_.path) + ")", errno);
    unlink(spec_.path.c_str());
    return error;
  }
  if (listen(fd.get(), kBacklog) != 0) return system_error("listen", errno);
  fd_ = std::move(fd);
  return Done{};
}

Status Listener::adjust(const ListenerSpec& spec) {
  const bool same = spec.mode == spec_.mode && spec.uid == spec_.uid && spec.gid == spec_.gid;
  if (spec.is_unix && !same) {
    const auto held = hold_path();
    if (!held.ok()) return held.error();
    const std::string handle = "/proc/self/fd/" + std::to_string(held.value().get());
    if (fchownat(held.value().get(), "", spec.uid, spec.gid, AT_EMPTY_PATH) != 0) {
      return system_error("chown(" + log_safe(spec.path) + ")", errno);
    }
    if (chmod(handle.c_str(), spec.mode) != 0) {
      return system_error("chmod(" + log_safe(spec.path) + ")", errno);
    }
  }
  spec_ = spec;
  return Done{};
}

unsigned Listener::backlog() const noexcept {
  if (spec_.is_unix) return 1;
  tcp_info info{};
  socklen_t size = sizeof info;
  // On a listening socket tcpi_unacked is the length of the accept queue.
  if (getsockopt(fd_.get(), IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return 1;
  return std::max(1U, static_cast<unsigned>(info.tcpi_unacked));
}

Listeners open_listeners(const std::vector<ListenerSpec>& specs, const Listeners& old,
                         std::vector<std::string>& errors) {
  Listeners out;
  std::vector<std::pair<std::shared_ptr<Listener>, ListenerSpec>> taken_over;
  for (const ListenerSpec& spec : specs) {
    const std::string key = spec.key();
    if (out.contains(key)) continue;  // the configuration has refused real duplicates
    if (const auto found = old.find(key); found != old.end() && found->second->is_reachable()) {
      out.emplace(key, found->second);
      taken_over.emplace_back(found->second, spec);
      continue;
    }
    auto opened = Listener::open(spec);
    if (opened.ok()) {
      out.emplace(key, std::move(opened).value());
      continue;
    }
    errors.push_back(spec.is_unix ? opened.error().text
                                  : "listen(" + spec.endpoint.ip.text() + ", " +
                                        std::to_string(spec.endpoint.port) +
                                        ") failed: " + opened.error().text);
  }
  if (!errors.empty()) return {};
  for (auto& [listener, spec] : taken_over) {
    if (auto adjusted = listener->adjust(spec); !adjusted.ok())
      errors.push_back(adjusted.error().text);
  }
  return errors.empty() ? out : Listeners{};
}

}  // namespace postern::master
