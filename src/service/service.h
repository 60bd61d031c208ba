#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config/snapshot.h"
#include "io/loop.h"
#include "io/socket.h"
#include "lib/handle.h"
#include "lib/result.h"

/// A child of the master, its side: start, the control channel, listeners, the end. Every program
/// but the master is built on it. Spec: wire/channel.h.
///
///   int main() {
///     service::Service service("imap-login");       // log, snapshot, loop
///     LoginServer server(service);                  // a service::Handler
///     return service.run(server);
///   }
namespace postern::service {

/// A question of the master's (wire/channel.h, `call`); answer it with rows, then done. It may be
/// kept and answered later; destroyed unanswered it answers 75.
class Call {
 public:
  Call(Call&&) noexcept;
  Call& operator=(Call&&) noexcept;
  ~Call();
  const std::string& verb() const noexcept { return verb_; }
  const std::vector<std::string>& arguments() const noexcept { return arguments_; }
  /// Rows are queued without limit but sent as the master takes them.
  void row(const std::vector<std::pair<std::string, std::string>>& fields);
  void done(int code, std::string_view text = {});

 private:
  friend class ServiceImpl;
  Call(class ServiceImpl* service, std::uint64_t id, std::string verb,
       std::vector<std::string> arguments);
  class ServiceImpl* service_ = nullptr;
  std::uint64_t id_ = 0;
  std::string verb_;
  std::vector<std::string> arguments_;
};

/// Clients before login that could make room.
struct Evictable {
  unsigned clients = 0;
  std::string holder;  // from where most clients come, at most 64 bytes
  unsigned held = 0;   // of those from there, so many could go
  bool operator==(const Evictable&) const = default;
};

/// What a program does. All are called from the loop.
class Handler {
 public:
  virtual ~Handler() = default;
  /// A connection came in on listener `index` (of snapshot.listeners).
  virtual void on_accept(std::size_t index, io::Accepted connection) noexcept = 0;
  /// No new clients any more (drain, service_count used up, or the master is gone): listeners are
  /// closed already. Call Service::finish() when the last client has gone, at once if there is
  /// none. Called once. If service_count is what ended it, the last client's on_accept has been
  /// called before.
  virtual void on_drain() noexcept = 0;
  /// SIGTERM: end the clients with a word, then finish(); 5 s later the process ends anyway.
  virtual void on_terminate() noexcept = 0;
  /// Close the `count` oldest clients before login.
  virtual void on_evict(unsigned count) noexcept { static_cast<void>(count); }
  /// Whom on_evict() could close now; asked while the process is full.
  virtual Evictable evictable() const { return {}; }
  virtual void on_call(Call call) noexcept { static_cast<void>(call); }
  /// In a process the template made (see Service::serve_template): it is about to run, everything
  /// loaded so far is there, connections to other processes are not.
  virtual void on_forked() noexcept {}
  /// A packet only some programs understand (log: pipe, file). False: unknown.
  virtual bool on_packet(std::string_view verb, const std::vector<std::string>& fields,
                         UniqueFd fd) noexcept {
    static_cast<void>(verb), static_cast<void>(fields), static_cast<void>(fd);
    return false;
  }
};

/// How many clients may come and how many have come; the numbers behind `status`.
struct Load {
  unsigned clients = 0;   // before login: they fill client_limit
  unsigned relaying = 0;  // sessions; they do not
};

class Service {
 public:
  /// Opens the log on descriptor 2, reads the snapshot from descriptor 4 and closes it. Without
  /// a master (started by hand) says so and exits 64. Wiping memory functions are set before
  /// libevent is used.
  /// @param name  of the program, for its log
  explicit Service(std::string_view name);
  ~Service();
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;

  io::Loop& loop() noexcept;
  /// The settings, to be moved into LoginConfig, AuthConfig …; service() and listeners() stay.
  config::Snapshot take_snapshot();
  const config::ServiceSettings& settings() const noexcept;
  const std::vector<config::SocketInfo>& listeners() const noexcept;

  /// Confines the process (privilege.h), tells the master it is ready and runs the loop until
  /// finish(). When the command line says `--template`, it forks on the master's order instead and
  /// each copy runs: the loop does not turn in a template, so timers and watches that the Handler's
  /// constructor starts begin in the copies. The template is confined before its first copy.
  /// @return the exit status
  int run(Handler& handler);

  /// Tells what is going on; the service sends `status` when the process becomes full or stops
  /// being full at once, otherwise at most once a second, and stops accepting while full or while
  /// accept() is out of descriptors. service_count is counted here: once it is used up the
  /// listeners close, `finished` is sent when no client before login is left (until then the
  /// master may want to evict it), and the process ends with its last session.
  void set_load(Load load) noexcept;
  /// What evictable() says of a client has changed for good: where it comes from.
  void evictable_changed() noexcept;
  /// A message that only this program's master understands (wire/channel.h).
  void tell_master(std::string_view verb, const std::vector<std::string>& fields);
  /// The last client is gone: ends run() with this turn.
  void finish() noexcept;
  bool draining() const noexcept;
  bool master_gone() const noexcept;

  /// A connection to another process by name ("auth", "auth-worker", "anvil", see
  /// master/supervisor.h for who may ask for what); survives chroot. Never calls back before it
  /// returns.
  void connect(std::string_view name, std::function<void(Result<UniqueFd>)> answer);

 private:
  friend class Call;
  friend class ServiceImpl;
  std::unique_ptr<class ServiceImpl> impl_;
};

}  // namespace postern::service
