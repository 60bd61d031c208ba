#pragma once

#include "lib/result.h"

/// A child's half of giving up privilege. The master has changed user and groups, emptied the
/// bounding set and set no_new_privs before it ran the program (master/spawn.h). What is left to
/// the child is what cannot be done before exec: leaving the file system (the dynamic loader needs
/// it), and being undumpable (exec resets it).
namespace postern::service {

/// Closes the door: once, after everything that needs files is loaded, before the first foreign
/// byte.
///
/// If the master left CAP_SYS_CHROOT in the ambient set, that is its order to confine this process
/// to the working directory it started in; the root directory is changed to it. Then every
/// capability is dropped (a process that runs as root on purpose keeps what the master left it),
/// no_new_privs is set and the process made undumpable, so that no core and no debugger of the same
/// user sees its memory. An Error means the process must not go on.
Status confine();

}  // namespace postern::service
