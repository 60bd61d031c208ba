#include <poll.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sysexits.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "lib/log-fork.h"
#include "lib/log.h"
#include "service/service-impl.h"
#include "wire/channel.h"
#include "wire/tab-line.h"

namespace postern::service {
namespace {

/// A fork whose child is the master's child, not ours: the master sees it end and nobody has to be
/// reaped here. fork(3) would do no more but for its handlers, of which we have none that matter:
/// there is one thread, and OpenSSL's random generator reseeds when it sees another pid.
pid_t fork_for_the_master() noexcept {
  return static_cast<pid_t>(syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0L, 0L, 0L, 0L));
}

WipingBuffer forked(std::uint64_t id, pid_t pid) {
  WipingBuffer packet;
  wire::TabLine(packet, wire::kForked).add(id).add(static_cast<std::uint64_t>(pid));
  return packet;
}

WipingBuffer fork_failed(std::uint64_t id, std::string_view why) {
  WipingBuffer packet;
  wire::TabLine(packet, wire::kForked).add(id).add(std::uint64_t{0}).add(why);
  return packet;
}

bool wait_readable(int fd) noexcept {
  pollfd p{fd, POLLIN, 0};
  while (::poll(&p, 1, -1) < 0) {
    if (errno != EINTR) return false;
  }
  return true;
}

}  // namespace

bool ServiceImpl::serve_template() {
  // A template touches no client and holds no session: signals end it as they end any program.
  // The loop does not turn here, so that a copy finds it as the Handler's constructor left it.
  send(WipingBuffer(wire::kReady));
  log::flush();
  while (wait_readable(channel_.fd())) {
    auto packet = channel_.receive();
    if (!packet.ok()) {
      if (packet.error().code == EAGAIN) continue;
      return false;  // the master is gone
    }
    auto message = parse_master_message(packet.value().bytes.view(), std::move(packet.value().fd));
    if (!message.ok()) log::fatal(EX_PROTOCOL, "the master sent {}", message.error().text);
    if (std::holds_alternative<DrainMessage>(message.value()) ||
        std::holds_alternative<StopMessage>(message.value())) {
      return false;
    }
    if (auto* fork = std::get_if<ForkMessage>(&message.value())) {
      if (fork_copy(std::move(*fork))) return true;
    } else if (const auto* call = std::get_if<CallMessage>(&message.value())) {
      send_done(call->id, EX_OK, {});  // it has no sessions
    } else if (auto* other = std::get_if<OtherMessage>(&message.value())) {
      // New ticket keys and the like: the copies to come inherit them.
      if (!handler_->on_packet(other->verb, other->fields, std::move(other->fd))) {
        log::fatal(EX_PROTOCOL, "the master sent an unknown message");
      }
    } else {
      log::fatal(EX_PROTOCOL, "the master sent a template a message for other processes");
    }
    log::flush();
  }
  return false;
}

/// True in the copy.
bool ServiceImpl::fork_copy(ForkMessage message) {
  log::flush();  // or its lines would come twice
  const pid_t pid = fork_for_the_master();
  if (pid == 0) {
    become_copy(std::move(message.channel));
    return true;
  }
  if (pid > 0) {
    send(forked(message.id, pid));
  } else {
    send(fork_failed(message.id, strerrordesc_np(errno)));
  }
  return false;
}

void ServiceImpl::become_copy(UniqueFd channel) {
  is_template_ = false;
  log::after_fork();
  channel_.close();
  channel_.open(std::move(channel));
  loop.after_fork();
#ifndef __SANITIZE_ADDRESS__  // its leak check needs a thread
  const rlimit none{0, 0};
  if (setrlimit(RLIMIT_NPROC, &none) != 0) log::warning("cannot forbid this process to fork");
#endif
  handler_->on_forked();
}

}  // namespace postern::service
