#include "service/service.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <limits>

#include "lib/check.h"
#include "lib/log.h"
#include "service/privilege.h"
#include "service/service-impl.h"
#include "wire/channel.h"
#include "wire/refusal.h"
#include "wire/tab-line.h"

namespace postern::service {
namespace {

constexpr std::chrono::seconds kEndAfterStop{5};
constexpr std::chrono::seconds kStatusInterval{1};
constexpr std::chrono::seconds kAcceptPause{1};
constexpr std::size_t kMaxRowFields = 32;    // what the master reads
constexpr std::size_t kMaxRowValue = 16000;  // bytes; escaped, three of them fit a packet

bool is_pipe(int fd) noexcept {
  struct stat status {};
  return fstat(fd, &status) == 0 && S_ISFIFO(status.st_mode);
}

bool is_channel(int fd) noexcept {
  int type = 0;
  socklen_t length = sizeof type;
  return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) == 0 && type == SOCK_SEQPACKET;
}

/// An inherited descriptor is not close-on-exec and perhaps not non-blocking.
void adopt(int fd) noexcept {
  fcntl(fd, F_SETFD, FD_CLOEXEC);
  const int flags = fcntl(fd, F_GETFL);
  if (flags >= 0 && (flags & O_NONBLOCK) == 0) fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

bool is_readable(int fd) noexcept {
  pollfd p{fd, POLLIN, 0};
  return ::poll(&p, 1, 0) == 1;
}

/// True if the command line has `--template`. Read from the kernel, so that no program has to pass
/// its arguments on.
bool started_as_template() {
  const UniqueFd fd(::open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC));
  std::string text(4096, '\0');
  const ssize_t n = fd ? ::read(fd.get(), text.data(), text.size()) : 0;
  text.resize(static_cast<std::size_t>(std::max<ssize_t>(n, 0)));
  constexpr std::string_view kWord{"\0--template\0", 12};
  return text.find(kWord) != std::string::npos;
}

}  // namespace

// --- start ---

ServiceImpl::ServiceImpl(std::string_view name) {
  log::open(name, is_pipe(STDERR_FILENO));
  if (!is_channel(wire::kChannelFd)) {
    log::open(name, false);
    log::fatal(EX_USAGE, "this program is a part of postern, which starts it");
  }
  // The master's business; an operator who sends them to all of us by name ends nothing.
  for (const int number : {SIGUSR1, SIGHUP}) std::signal(number, SIG_IGN);
  adopt(wire::kChannelFd);
  channel_.open(UniqueFd(wire::kChannelFd));
  load_settings(name);
  is_template_ = started_as_template();
  take_listeners();
  failed_connects_.start(loop, io::Callback<>::to<&ServiceImpl::fail_connects>(*this));
}

void ServiceImpl::load_settings(std::string_view name) {
  const UniqueFd fd(wire::kSettingsFd);
  auto loaded = config::Snapshot::load(fd.get());
  if (!loaded.ok()) log::fatal(EX_CONFIG, "{}", loaded.error().text);
  snapshot = std::move(loaded.value());
  settings = snapshot.service;
  listeners = snapshot.listeners;
  // The log process's own stderr is the master's, no pipe to itself.
  if (settings.type == config::ServiceType::log) log::open(name, false);
}

void ServiceImpl::take_listeners() {
  Acceptor::Owner& self = *this;
  for (std::size_t i = 0; i < listeners.size(); i++) {
    const int fd = wire::kFirstListenerFd + static_cast<int>(i);
    if (fcntl(fd, F_GETFD) < 0) log::fatal(EX_SOFTWARE, "listener {} was not inherited", i);
    adopt(fd);
    acceptors_.push_back(std::make_unique<Acceptor>(self, i, UniqueFd(fd)));
  }
  if (!acceptors_.empty() && !settings.protocol.empty()) reserve_.hold();
}

void ServiceImpl::confine_or_die() {
  if (auto confined = confine(); !confined.ok()) {
    log::fatal(EX_NOPERM, "cannot give up privilege: {}", confined.error().text);
  }
}

int ServiceImpl::run(Handler& handler) {
  handler_ = &handler;
  confine_or_die();
  const bool is_copy = is_template_ && serve_template();
  if (is_template_) return EX_OK;
  start();
  log::flush();
  loop.run();
  log::flush();
#ifndef __SANITIZE_ADDRESS__  // so that leaks show
  // A copy shares nearly all its memory with the template. Tidying it up would copy it first.
  if (is_copy) ::_Exit(EX_OK);
#else
  static_cast<void>(is_copy);
#endif
  return EX_OK;
}

void ServiceImpl::start() {
  sigterm_.start(loop, SIGTERM, io::Callback<int>::to<&ServiceImpl::on_signal>(*this));
  sigint_.start(loop, SIGINT, io::Callback<int>::to<&ServiceImpl::on_signal>(*this));
  // What the master has said already is there before the first client.
  while (channel_.is_open() && is_readable(channel_.fd())) on_channel();
  channel_.watch(loop, io::Callback<>::to<&ServiceImpl::on_channel>(*this));
  ready_ = true;
  send(WipingBuffer(wire::kReady));
  was_full_ = available() == 0;
  watch_listeners();
}

// --- the channel ---

void ServiceImpl::on_channel() noexcept {
  auto packet = channel_.receive();
  if (!packet.ok()) {
    const int code = packet.error().code;
    if (code == EAGAIN) return;
    if (code == EMSGSIZE) log::fatal(EX_PROTOCOL, "the master sent too long a message");
    on_master_gone();
    return;
  }
  auto message = parse_master_message(packet.value().bytes.view(), std::move(packet.value().fd));
  if (!message.ok()) log::fatal(EX_PROTOCOL, "the master sent {}", message.error().text);
  on_message(std::move(message.value()));
}

void ServiceImpl::on_message(MasterMessage message) noexcept {
  if (auto* connected = std::get_if<ConnectedMessage>(&message)) {
    on_connected(std::move(*connected));
  } else if (auto* call = std::get_if<CallMessage>(&message)) {
    handler_->on_call(Call(this, call->id, std::move(call->verb), std::move(call->arguments)));
  } else if (std::holds_alternative<DrainMessage>(message)) {
    drain();
  } else if (std::holds_alternative<StopMessage>(message)) {
    terminate();
  } else if (const auto* evict = std::get_if<EvictMessage>(&message)) {
    on_evict(evict->count);
  } else if (auto* other = std::get_if<OtherMessage>(&message)) {
    if (!handler_->on_packet(other->verb, other->fields, std::move(other->fd))) {
      log::fatal(EX_PROTOCOL, "the master sent an unknown message");
    }
  } else {
    log::fatal(EX_PROTOCOL, "the master takes this process for a template");
  }
}

/// The master knows what was so when it was told last; who cannot help says so.
void ServiceImpl::on_evict(unsigned count) noexcept {
  if (handler_->evictable().clients > 0) {
    handler_->on_evict(count);
  } else if (!finished_sent_) {
    send_status();
  }
}

void ServiceImpl::on_master_gone() noexcept {
  master_gone = true;
  channel_.close();
  log::warning("The master process is gone; no new clients");
  if (!connects_.empty()) failed_connects_.trigger();
  drain();
}

// --- connections to other processes ---

void ServiceImpl::connect(std::string_view name, std::function<void(Result<UniqueFd>)> answer) {
  const std::uint64_t id = ++last_connect_;
  connects_.emplace(id, std::move(answer));
  if (!channel_.is_open()) {
    failed_connects_.trigger();
    return;
  }
  WipingBuffer packet;
  wire::TabLine(packet, wire::kConnect).add(id).add(name);
  send(std::move(packet));
}

void ServiceImpl::on_connected(ConnectedMessage message) noexcept {
  const auto found = connects_.find(message.id);
  if (found == connects_.end()) {
    log::fatal(EX_PROTOCOL, "the master answered what was not asked");
  }
  const auto answer = std::move(found->second);
  connects_.erase(found);
  if (message.fd) {
    answer(std::move(message.fd));
  } else {
    answer(Error{ECONNREFUSED, message.text.empty() ? "refused" : message.text});
  }
}

void ServiceImpl::fail_connects() noexcept {
  decltype(connects_) waiting;
  waiting.swap(connects_);
  for (const auto& [id, answer] : waiting) {
    answer(Error{ENOTCONN, "the master process is gone"});
  }
}

// --- accepting ---

unsigned ServiceImpl::available() const noexcept {
  const std::uint64_t limit =
      settings.client_limit > 0 ? settings.client_limit : std::numeric_limits<unsigned>::max();
  const std::uint64_t clients = std::uint64_t{load_.clients} + not_in_load_;
  std::uint64_t free = limit > clients ? limit - clients : 0;
  if (settings.service_count > 0) {
    const std::uint64_t left =
        settings.service_count > accepted_ ? settings.service_count - accepted_ : 0;
    free = std::min(free, left);
  }
  return static_cast<unsigned>(free);
}

void ServiceImpl::on_connection(std::size_t index, io::Accepted connection) noexcept {
  accepted_++;
  not_in_load_++;
  const bool last = used_up();
  if (last) close_listeners();
  handler_->on_accept(index, std::move(connection));
  if (last) drain();
}

/// However many wait, and whether or not a connection of ours ends: it goes on in a second.
void ServiceImpl::on_accept_failed(const Error& error) noexcept {
  unsigned told = 0;
  // Programs of ours wait.
  if (!settings.protocol.empty() && io::is_out_of_descriptors(error.code)) told = refuse_all();
  log::error("{} ({} refused, trying again in a second)", error.text, told);
  accepting_paused_ = true;
  watch_listeners();
  accept_timer_.start(loop, io::Callback<>::to<&ServiceImpl::on_accept_again>(*this));
  accept_timer_.set(kAcceptPause);
}

/// At every listener, as none is watched from now on: the others' clients would be told only when
/// theirs happens to be the first that fails.
/// @return how many
unsigned ServiceImpl::refuse_all() noexcept {
  unsigned told = 0;
  for (std::size_t i = 0; i < acceptors_.size(); i++) {
    if (acceptors_[i]->fd() < 0) continue;
    const std::string_view word =
        listeners[i].ssl ? std::string_view{} : wire::refusal(settings.protocol);
    told += reserve_.refuse(acceptors_[i]->fd(), word);
  }
  return told;
}

void ServiceImpl::on_accept_again() noexcept {
  if (!settings.protocol.empty()) reserve_.hold();  // should it have been lost
  accepting_paused_ = false;
  watch_listeners();
}

void ServiceImpl::watch_listeners() noexcept {
  const bool on = may_accept() && !accepting_paused_;
  for (const auto& acceptor : acceptors_) acceptor->watch(loop, on);
}

void ServiceImpl::close_listeners() noexcept {
  // The objects stay: one of them may be the caller.
  for (const auto& acceptor : acceptors_) acceptor->close();
}

// --- what the master is told ---

void ServiceImpl::set_load(Load load) noexcept {
  load_ = load;
  not_in_load_ = 0;
  if (!ready_) return;
  const bool full = available() == 0;
  if (full != was_full_) {
    was_full_ = full;
    if (!draining) watch_listeners();
    report(true);
  } else {
    report(false);
  }
}

void ServiceImpl::report(bool at_once) noexcept {
  if (used_up()) {
    if (load_.clients > 0) {
      // It may still be evicted; the first status says so.
      if (at_once) send_status();
      return;
    }
    // Without sessions either it ends in a moment, which says enough.
    if (!finished_sent_ && load_.relaying > 0) {
      finished_sent_ = true;
      send_status();
      send(WipingBuffer(wire::kFinished));
    }
    return;
  }
  if (load_.clients == told_.clients && load_.relaying == told_.relaying && !at_once) return;
  const io::TimePoint now = loop.now();
  if (at_once || !last_status_ || now - *last_status_ >= kStatusInterval) {
    send_status();
  } else if (!status_timer_.armed()) {
    status_timer_.start(loop, io::Callback<>::to<&ServiceImpl::on_status_due>(*this));
    status_timer_.set(std::chrono::ceil<io::Milliseconds>(kStatusInterval - (now - *last_status_)));
  }
}

/// With one client a process it is known when that came, unless a balancer said more later.
void ServiceImpl::evictable_changed() noexcept {
  if (ready_ && !finished_sent_ && load_.clients > 0 && available() == 0) send_status();
}

void ServiceImpl::on_status_due() noexcept {
  if (load_.clients != told_.clients || load_.relaying != told_.relaying) send_status();
}

void ServiceImpl::send_status() noexcept {
  status_timer_.cancel();
  last_status_ = loop.now();
  told_ = load_;
  WipingBuffer packet;
  wire::TabLine line(packet, wire::kStatus);
  line.add(available()).add(load_.clients).add(load_.relaying);
  if (load_.clients > 0 && available() == 0) {
    const Evictable who = handler_->evictable();
    line.add(who.clients).add(who.holder).add(who.held);
  }
  send(std::move(packet));
}

void ServiceImpl::tell_master(std::string_view verb, const std::vector<std::string>& fields) {
  WipingBuffer packet;
  wire::TabLine line(packet, verb);
  for (const std::string& field : fields) line.add(field);
  send(std::move(packet));
}

void ServiceImpl::send_row(std::uint64_t id,
                           const std::vector<std::pair<std::string, std::string>>& fields) {
  WipingBuffer packet;
  wire::TabLine line(packet, wire::kRow);
  line.add(id);
  std::size_t count = 0;
  for (const auto& [key, value] : fields) {
    WipingBuffer field;
    wire::TabLine(field, "").key(key, std::string_view(value).substr(0, kMaxRowValue));
    // A row that is too long loses its last fields: better than not to be seen.
    if (++count > kMaxRowFields || packet.size() + field.size() > wire::kMaxPacket) break;
    packet += field.view();
  }
  send(std::move(packet));
}

void ServiceImpl::send_done(std::uint64_t id, int code, std::string_view text) {
  WipingBuffer packet;
  wire::TabLine line(packet, wire::kDone);
  line.add(id).add(static_cast<std::uint64_t>(std::clamp(code, 0, 255)));
  if (!text.empty()) line.add(text.substr(0, kMaxRowValue));
  send(std::move(packet));
}

// --- the end ---

void ServiceImpl::drain() noexcept {
  if (draining) return;
  draining = true;
  close_listeners();
  accept_timer_.cancel();
  handler_->on_drain();
}

void ServiceImpl::terminate() noexcept {
  if (terminating_) return;
  terminating_ = true;
  draining = true;
  close_listeners();
  end_timer_.start(loop, io::Callback<>::to<&ServiceImpl::on_time_to_end>(*this));
  end_timer_.set(kEndAfterStop);
  handler_->on_terminate();
}

void ServiceImpl::on_time_to_end() noexcept {
  loop.stop();
}

void ServiceImpl::on_signal(int number) noexcept {
  if (number == SIGTERM) {
    terminate();
  } else if (load_.clients == 0 && load_.relaying == 0) {
    drain();  // SIGINT means: end if idle
  }
}

// --- the face ---

Service::Service(std::string_view name) {
  io::initialise();
  impl_ = std::make_unique<ServiceImpl>(name);
}
Service::~Service() = default;
io::Loop& Service::loop() noexcept {
  return impl_->loop;
}
config::Snapshot Service::take_snapshot() {
  return std::move(impl_->snapshot);
}
const config::ServiceSettings& Service::settings() const noexcept {
  return impl_->settings;
}
const std::vector<config::SocketInfo>& Service::listeners() const noexcept {
  return impl_->listeners;
}
int Service::run(Handler& handler) {
  return impl_->run(handler);
}
void Service::set_load(Load load) noexcept {
  impl_->set_load(load);
}
void Service::evictable_changed() noexcept {
  impl_->evictable_changed();
}
void Service::tell_master(std::string_view verb, const std::vector<std::string>& fields) {
  impl_->tell_master(verb, fields);
}
void Service::finish() noexcept {
  impl_->finish();
}
bool Service::draining() const noexcept {
  return impl_->draining;
}
bool Service::master_gone() const noexcept {
  return impl_->master_gone;
}
void Service::connect(std::string_view name, std::function<void(Result<UniqueFd>)> answer) {
  impl_->connect(name, std::move(answer));
}

// --- Call ---

Call::Call(ServiceImpl* service, std::uint64_t id, std::string verb,
           std::vector<std::string> arguments)
    : service_(service), id_(id), verb_(std::move(verb)), arguments_(std::move(arguments)) {}

Call::Call(Call&& other) noexcept
    : service_(std::exchange(other.service_, nullptr)),
      id_(other.id_),
      verb_(std::move(other.verb_)),
      arguments_(std::move(other.arguments_)) {}

Call& Call::operator=(Call&& other) noexcept {
  if (this == &other) return *this;
  if (service_ != nullptr) done(EX_TEMPFAIL);
  service_ = std::exchange(other.service_, nullptr);
  id_ = other.id_;
  verb_ = std::move(other.verb_);
  arguments_ = std::move(other.arguments_);
  return *this;
}

Call::~Call() {
  if (service_ != nullptr) done(EX_TEMPFAIL, "not answered");
}

void Call::row(const std::vector<std::pair<std::string, std::string>>& fields) {
  POSTERN_CHECK(service_ != nullptr);
  service_->send_row(id_, fields);
}

void Call::done(int code, std::string_view text) {
  POSTERN_CHECK(service_ != nullptr);
  std::exchange(service_, nullptr)->send_done(id_, code, text);
}

}  // namespace postern::service
