#include "master/spawn.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <pwd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include "lib/handle.h"
#include "lib/log.h"
#include "lib/text.h"
#include "wire/channel.h"

namespace postern::master {
namespace {

constexpr int kExecFailed = 84;  // Dovecot's FATAL_EXEC
constexpr std::size_t kNameBuffer = 16384;

#ifdef __SANITIZE_ADDRESS__
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

// Everything from here to run_child() runs between fork and exec. The master has no threads, but
// keep to system calls all the same: nothing here may allocate or log.

// Where the child's last words go: the log pipe, under whatever number it has at the moment. Only
// the child changes it.
int report_fd = -1;

/// The line of lib/log.h, written by hand; then the end.
[[noreturn]] void die(const SpawnRequest& request, int exit_code, const char* what) {
  char text[512];
  const char* reason = strerrordesc_np(errno);
  const int length =
      std::snprintf(text, sizeof text, "\001%c%d master: service(%s): %s: %s\n",
                    static_cast<int>(log::Level::fatal), static_cast<int>(getpid()),
                    request.service.c_str(), what, reason == nullptr ? "unknown error" : reason);
  const auto size = std::min(sizeof text - 1, static_cast<std::size_t>(std::max(length, 0)));
  // Nobody is left to tell if this fails.
  [[maybe_unused]] const ssize_t written = ::write(report_fd, text, size);
  _exit(exit_code);
}

/// Moves the descriptors to 2…; `high` has room for one number each.
void place_descriptors(const SpawnRequest& request, std::vector<int>& high) {
  const int first_free = wire::kFirstListenerFd + static_cast<int>(request.listener_fds.size());
  const auto lift = [&request, first_free](int fd) {
    const int copy = fcntl(fd, F_DUPFD_CLOEXEC, first_free);
    if (copy < 0) die(request, EX_OSERR, "cannot copy a descriptor");
    return copy;
  };
  high[0] = lift(request.log_fd);
  report_fd = high[0];
  high[1] = lift(request.channel_fd);
  high[2] = lift(request.settings_fd);
  for (std::size_t i = 0; i < request.listener_fds.size(); ++i) {
    high[i + 3] = lift(request.listener_fds[i]);
  }
  const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  if (null < 0) die(request, EX_OSERR, "cannot open /dev/null");
  if (dup2(null, 0) < 0 || dup2(null, 1) < 0) die(request, EX_OSERR, "dup2");
  for (std::size_t i = 0; i < high.size(); ++i) {
    if (dup2(high[i], static_cast<int>(i) + 2) < 0) die(request, EX_OSERR, "dup2");
    report_fd = 2;
  }
  // All of them are close-on-exec from birth; this is for the one somebody forgot.
  syscall(SYS_close_range, first_free, ~0U, CLOSE_RANGE_CLOEXEC);
}

void set_limit(const SpawnRequest& request, int which, rlim_t value) {
  rlimit limit{};
  if (getrlimit(static_cast<__rlimit_resource>(which), &limit) != 0) {
    die(request, EX_OSERR, "getrlimit");
  }
  // Without privilege the hard limit cannot be raised; what can be had is taken.
  if (value != RLIM_INFINITY && (geteuid() == 0 || value <= limit.rlim_max)) {
    limit.rlim_max = value;
  }
  limit.rlim_cur = std::min(value, limit.rlim_max);
  if (setrlimit(static_cast<__rlimit_resource>(which), &limit) != 0) {
    die(request, EX_OSERR, "setrlimit");
  }
}

constexpr std::uint64_t bit(int capability) noexcept {
  return std::uint64_t{1} << static_cast<unsigned>(capability);
}

// What a service that runs as root on purpose (PAM, shadow) can still do.
constexpr std::uint64_t kRootKeeps = bit(CAP_DAC_OVERRIDE) | bit(CAP_DAC_READ_SEARCH) |
                                     bit(CAP_SETUID) | bit(CAP_SETGID) | bit(CAP_AUDIT_WRITE);

void set_capabilities(const SpawnRequest& request, std::uint64_t permitted,
                      std::uint64_t inheritable) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2]{};
  for (unsigned half = 0; half < 2; ++half) {
    data[half].permitted = data[half].effective =
        static_cast<std::uint32_t>(permitted >> (32 * half));
    data[half].inheritable = static_cast<std::uint32_t>(inheritable >> (32 * half));
  }
  if (syscall(SYS_capset, &header, data) != 0) die(request, EX_NOPERM, "capset");
}

std::uint64_t permitted_capabilities(const SpawnRequest& request) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2]{};
  if (syscall(SYS_capget, &header, data) != 0) die(request, EX_NOPERM, "capget");
  return data[0].permitted | std::uint64_t{data[1].permitted} << 32U;
}

void empty_bounding_set(const SpawnRequest& request, std::uint64_t keep) {
  for (int capability = 0; capability < 64; ++capability) {
    if ((keep & bit(capability)) != 0) continue;
    if (prctl(PR_CAPBSET_DROP, static_cast<long>(capability), 0L, 0L, 0L) != 0) {
      if (errno == EINVAL) break;  // past the last this kernel knows
      die(request, EX_NOPERM, "cannot drop the bounding set");
    }
  }
}

void become(const SpawnRequest& request, const Identity& identity) {
  const bool root = identity.uid == 0;
  const std::uint64_t left = request.confine ? bit(CAP_SYS_CHROOT) : 0;
  // Into the inheritable set while the bounding set still allows it.
  set_capabilities(request, permitted_capabilities(request), left);
  empty_bounding_set(request, root ? kRootKeeps | left : 0);
  if (setgroups(identity.groups.size(), identity.groups.data()) != 0) {
    die(request, EX_NOPERM, "setgroups");
  }
  if (setresgid(identity.gid, identity.gid, identity.gid) != 0) {
    die(request, EX_NOPERM, "setgid");
  }
  if (left != 0 && prctl(PR_SET_KEEPCAPS, 1L, 0L, 0L, 0L) != 0) {
    die(request, EX_NOPERM, "keepcaps");
  }
  if (setresuid(identity.uid, identity.uid, identity.uid) != 0) {
    die(request, EX_NOPERM, "setuid");
  }
  if (left == 0) return;
  if (!root) set_capabilities(request, left, left);
  if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, static_cast<long>(CAP_SYS_CHROOT), 0L, 0L) != 0) {
    die(request, EX_NOPERM, "cannot pass on CAP_SYS_CHROOT");
  }
}

[[noreturn]] void run_child(const SpawnRequest& request, std::vector<int>& high,
                            char* const* arguments, char* const* environment) {
  report_fd = request.log_fd;
  setsid();  // a terminal's ^C is for the master alone
  umask(0077);
  place_descriptors(request, high);
  set_limit(request, RLIMIT_CORE, 0);
  set_limit(request, RLIMIT_NOFILE, request.max_files);
  if (!kSanitized && request.max_memory != RLIM_INFINITY) {
    set_limit(request, RLIMIT_AS, request.max_memory);
  }
  if (chdir(request.directory.c_str()) != 0) die(request, EX_OSERR, "chdir");
  if (request.identity) become(request, *request.identity);
  // After setuid: exec would refuse a user who was already over the limit when it was taken on.
  if (!kSanitized && !request.may_fork) set_limit(request, RLIMIT_NPROC, 0);
  if (prctl(PR_SET_NO_NEW_PRIVS, 1L, 0L, 0L, 0L) != 0) die(request, EX_NOPERM, "no_new_privs");
  execve(request.arguments[0].c_str(), arguments, environment);
  die(request, kExecFailed, "execve");
}

std::vector<char*> pointers(const std::vector<std::string>& strings) {
  std::vector<char*> out;
  out.reserve(strings.size() + 1);
  // execve's signature is older than const; it changes nothing.
  for (const std::string& text : strings) out.push_back(const_cast<char*>(text.c_str()));
  out.push_back(nullptr);
  return out;
}

struct Account {
  uid_t uid = 0;
  gid_t gid = 0;
  std::string name;
};

Result<Account> find_account(const std::string& user) {
  std::vector<char> buffer(kNameBuffer);
  passwd entry{};
  passwd* found = nullptr;
  const auto number = decimal(user, 0, 0xfffffffe);
  const int failed =
      number ? getpwuid_r(static_cast<uid_t>(*number), &entry, buffer.data(), buffer.size(), &found)
             : getpwnam_r(user.c_str(), &entry, buffer.data(), buffer.size(), &found);
  if (found != nullptr) return Account{found->pw_uid, found->pw_gid, found->pw_name};
  if (number) return Account{static_cast<uid_t>(*number), static_cast<gid_t>(*number), {}};
  if (failed != 0) return system_error("user " + log_safe(user), failed);
  return Error{ENOENT, "no such user: " + log_safe(user)};
}

}  // namespace

Result<uid_t> find_user(const std::string& name) {
  if (name.empty()) return static_cast<uid_t>(-1);
  auto account = find_account(name);
  if (!account.ok()) return account.error();
  return account.value().uid;
}

Result<gid_t> find_group(const std::string& name) {
  if (name.empty()) return static_cast<gid_t>(-1);
  if (const auto number = decimal(name, 0, 0xfffffffe)) return static_cast<gid_t>(*number);
  std::vector<char> buffer(kNameBuffer);
  group entry{};
  group* found = nullptr;
  const int failed = getgrnam_r(name.c_str(), &entry, buffer.data(), buffer.size(), &found);
  if (found != nullptr) return found->gr_gid;
  if (failed != 0) return system_error("group " + log_safe(name), failed);
  return Error{ENOENT, "no such group: " + log_safe(name)};
}

Result<Identity> find_identity(const std::string& user, const std::string& group,
                               const std::vector<std::string>& extra_groups) {
  auto account = find_account(user.empty() ? "0" : user);
  if (!account.ok()) return account.error();
  Identity out;
  out.uid = account.value().uid;
  out.gid = account.value().gid;
  if (!group.empty()) {
    auto gid = find_group(group);
    if (!gid.ok()) return gid.error();
    out.gid = gid.value();
  }
  if (!account.value().name.empty() && out.uid != 0) {
    int count = 64;
    std::vector<gid_t> groups(static_cast<std::size_t>(count));
    if (getgrouplist(account.value().name.c_str(), out.gid, groups.data(), &count) < 0) {
      groups.resize(static_cast<std::size_t>(count));
      if (getgrouplist(account.value().name.c_str(), out.gid, groups.data(), &count) < 0) {
        return Error{EINVAL, "cannot list the groups of " + log_safe(user)};
      }
    }
    groups.resize(static_cast<std::size_t>(count));
    out.groups = std::move(groups);
  } else {
    out.groups = {out.gid};
  }
  for (const std::string& name : extra_groups) {
    auto gid = find_group(name);
    if (!gid.ok()) return gid.error();
    out.groups.push_back(gid.value());
  }
  return out;
}

std::vector<std::string> child_environment(bool confined) {
  std::vector<std::string> out{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"};
  std::vector<const char*> names{"TZ"};
  if (kSanitized) {
    names.insert(names.end(), {"ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS"});
  }
  for (const char* name : names) {
    // The master has no threads.
    const char* value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe)
    if (value != nullptr) out.push_back(std::string(name) + '=' + value);
  }
  if (kSanitized && confined) {
    // The leak check reads /proc, which a changed root directory hides.
    const char* value = std::getenv("ASAN_OPTIONS");  // NOLINT(concurrency-mt-unsafe)
    std::erase_if(out, [](const std::string& entry) { return entry.starts_with("ASAN_OPTIONS="); });
    out.push_back("ASAN_OPTIONS=" + (value != nullptr ? std::string(value) + ':' : std::string()) +
                  "detect_leaks=0");
  }
  return out;
}

Result<pid_t> spawn(const SpawnRequest& request) {
  std::vector<std::string> argument_texts = request.arguments;
  if (!request.title.empty()) argument_texts[0] = request.title;
  const std::vector<char*> arguments = pointers(argument_texts);
  const std::vector<char*> environment = pointers(request.environment);
  std::vector<int> high(request.listener_fds.size() + 3, -1);
  auto pid = fork_apart();
  if (pid.ok() && pid.value() == 0) run_child(request, high, arguments.data(), environment.data());
  return pid;
}

Result<pid_t> fork_apart() {
  // Whatever the master has not yet written must not be written twice.
  log::flush();
  // No signal handler of the master's runs in the child, which shares its event loop's descriptors.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const pid_t pid = fork();
  if (pid == 0) {
    struct sigaction action {};
    action.sa_handler = SIG_DFL;
    // Some numbers cannot be changed.
    for (int number = 1; number < NSIG; ++number) sigaction(number, &action, nullptr);
    sigset_t none;
    sigemptyset(&none);
    pthread_sigmask(SIG_SETMASK, &none, nullptr);
    return pid;
  }
  const int failed = errno;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (pid < 0) {
    rlimit limit{};
    if (getrlimit(RLIMIT_NPROC, &limit) != 0) limit.rlim_cur = 0;
    Error error = system_error("fork", failed);
    error.text += " (ulimit -u " + std::to_string(limit.rlim_cur) + " reached?)";
    return error;
  }
  return pid;
}

Result<UniqueFd> unsealed_memory(const char* name) {
  UniqueFd fd(memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd) return system_error("memfd_create", errno);
  return fd;
}

Status write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return system_error("write to a memfd", errno);
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return Done{};
}

Status seal_memory(int fd) {
  if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) != 0) {
    return system_error("seal a memfd", errno);
  }
  return Done{};
}

Result<UniqueFd> sealed_memory(const char* name, std::string_view bytes) {
  auto fd = unsealed_memory(name);
  if (!fd.ok()) return fd;
  if (const Status written = write_all(fd.value().get(), bytes); !written.ok()) {
    return written.error();
  }
  if (const Status sealed = seal_memory(fd.value().get()); !sealed.ok()) return sealed.error();
  return fd;
}

}  // namespace postern::master
