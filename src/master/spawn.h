#pragma once

#include <sys/resource.h>
#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/handle.h"
#include "lib/result.h"

/// Starting one child: descriptors, limits, privilege, exec. Spec: master.md sections 1.3 and 2.5.
namespace postern::master {

/// Whom a child runs as, looked up before there is a child.
struct Identity {
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups;  // all supplementary ones
  bool operator==(const Identity&) const = default;
};

/// Looks up a service's user and groups.
/// @param user          name or number; empty is root
/// @param group         name or number; empty is the user's
/// @param extra_groups  names or numbers
Result<Identity> find_identity(const std::string& user, const std::string& group,
                               const std::vector<std::string>& extra_groups);

/// Numbers of a user and a group by name or number; empty gives -1 (leave as it is).
Result<uid_t> find_user(const std::string& name);
Result<gid_t> find_group(const std::string& name);

struct SpawnRequest {
  std::vector<std::string> arguments;  // [0] is the program's absolute path
  std::string title;                   // argv[0] as the process list shows it
  std::vector<std::string> environment;
  std::string service;    // for the error line
  std::string directory;  // working directory; with confine the root directory to be

  // Borrowed; they become 2, 3, 4, 5… in the child.
  int log_fd = -1;
  int channel_fd = -1;
  int settings_fd = -1;
  std::vector<int> listener_fds;

  std::optional<Identity> identity;  // none: runs as the caller
  bool confine = false;  // leaves CAP_SYS_CHROOT for service::confine(); only with an identity
  rlim_t max_files = 1024;
  rlim_t max_memory = RLIM_INFINITY;  // bytes of address space
  bool may_fork = true;               // otherwise RLIMIT_NPROC forbids it
};

/// Forks and execs. In the child 0 and 1 are /dev/null, every other descriptor is closed, signals
/// are as after login, core files off, no_new_privs on; with an identity, groups, gid and uid are
/// changed and the bounding set is empty before exec. What fails in the child it writes to log_fd,
/// in the form of lib/log.h, and ends with 77 (privilege), 71 (system), 84 (exec).
/// @return the pid, or why there is no child
Result<pid_t> spawn(const SpawnRequest& request);

/// fork() such that nothing of the master runs by itself in the child: signals are as after login
/// there, and what was not yet logged is not logged twice.
/// @return 0 in the child
Result<pid_t> fork_apart();

/// A memfd that holds `bytes` and can never change.
/// @param name  for /proc
Result<UniqueFd> sealed_memory(const char* name, std::string_view bytes);
// The same step by step, for who lets another process write it.
Result<UniqueFd> unsealed_memory(const char* name);
Status write_all(int fd, std::string_view bytes);
Status seal_memory(int fd);

/// PATH, TZ and, in builds with sanitizers, their options; nothing else is inherited.
/// @param confined  the process will change its root directory
std::vector<std::string> child_environment(bool confined = false);

}  // namespace postern::master
