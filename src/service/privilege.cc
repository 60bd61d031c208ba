#include "service/privilege.h"

#include <cap-ng.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>

namespace postern::service {
namespace {

Status change_root() {
  // The time zone's file is read at its first use, which would be too late.
  tzset();
  if (chroot(".") != 0) return system_error("chroot", errno);
  if (chdir("/") != 0) return system_error("chdir /", errno);
  return Done{};
}

Status drop_capabilities() {
  capng_clear(CAPNG_SELECT_BOTH);
  // Lowering only what is there already fails without CAP_SETPCAP for the bounding set, which the
  // master has emptied; the process's own sets and the ambient one are what is left.
  if (capng_apply(CAPNG_SELECT_CAPS) != 0) return Error{EPERM, "cannot drop capabilities"};
  if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0L, 0L, 0L) != 0 && errno != EINVAL) {
    return system_error("clear the ambient capabilities", errno);
  }
  return Done{};
}

}  // namespace

Status confine() {
  const bool confined =
      prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, static_cast<long>(CAP_SYS_CHROOT), 0L, 0L) == 1;
  if (confined) {
    if (auto changed = change_root(); !changed.ok()) return changed;
  }
  if (geteuid() != 0) {
    if (auto dropped = drop_capabilities(); !dropped.ok()) return dropped;
  }
  if (prctl(PR_SET_NO_NEW_PRIVS, 1L, 0L, 0L, 0L) != 0) return system_error("no_new_privs", errno);
#ifndef __SANITIZE_ADDRESS__  // the leak check at exit traces its own process
  if (prctl(PR_SET_DUMPABLE, 0L, 0L, 0L, 0L) != 0) return system_error("undumpable", errno);
#endif
  return Done{};
}

}  // namespace postern::service
