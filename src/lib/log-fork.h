#pragma once

namespace postern::log {

/// In a child that fork(3) has not made (clone(2)): its lines carry its own number from now on.
void after_fork() noexcept;

}  // namespace postern::log
