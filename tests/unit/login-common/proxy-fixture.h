#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config/settings.h"
#include "io/loop.h"
#include "io/socket.h"
#include "io/stream.h"
#include "lib/log.h"
#include "login-common/proxy.h"

/// What the proxy's tests share: a loop that runs until something holds, a made-up dialogue, and
/// backends on loopback that follow a script in the same loop.
namespace postern::login::test {

inline sockaddr* as_sockaddr(sockaddr_storage& address) {
  return reinterpret_cast<sockaddr*>(&address);
}

/// Runs `loop` until `done` holds. False after 20 s: only a broken program waits so long.
inline bool run_until(io::Loop& loop, const std::function<bool()>& done) {
  struct Watchdog {
    bool barked = false;
    void on_time() noexcept { barked = true; }
  } dog;
  io::Timer timer;
  timer.start(loop, io::Callback<>::to<&Watchdog::on_time>(dog));
  timer.set(io::Milliseconds(20000));
  while (!done() && !dog.barked) loop.run_once(true);
  timer.cancel();
  return !dog.barked;
}

/// Lets everything happen that needs no waiting.
inline void run_dry(io::Loop& loop) {
  for (int i = 0; i < 20; ++i) loop.run_once(false);
}

/// A login of one command. Backend: "* OK", then "OK …", "NO …", "TEMP …", "BUSY …" (remote) or
/// "CONF …" (remote_config); with STARTTLS an "S OK" before.
class ToyDialogue final : public BackendDialogue {
 public:
  explicit ToyDialogue(const BackendTarget& target) : target_(target) {}

  Then on_line(std::string_view line, WipingBuffer& out, WipingBuffer& to_client) override {
    if (state_ == "/none") {
      if (!line.starts_with("* OK")) {
        return fail(FailureType::protocol, "Invalid banner: " + std::string(line));
      }
      if (target_.tls == BackendTls::starttls) {
        out += "STARTTLS\r\n";
        state_ = "starttls/banner";
        return Then::read_line;
      }
      return login("login/banner", out);
    }
    if (state_ == "starttls/banner") {
      if (line != "S OK") return fail(FailureType::remote, "STARTTLS failed");
      state_ = "/starttls";
      return Then::start_tls;
    }
    if (line.starts_with("* ")) {
      to_client.append(line).append("\r\n");
      return Then::read_line;
    }
    if (line.starts_with("REMARK ")) {
      remark_ = "Unexpected input, ignoring: " + std::string(line);
      return Then::read_line;
    }
    if (line.starts_with("OK")) {
      to_client.append("a ").append(line).append("\r\n");
      return Then::logged_in;
    }
    if (line.starts_with("NO ")) {
      return fail(FailureType::auth_replied, std::string(line.substr(3)),
                  "a " + std::string(line) + "\r\n");
    }
    if (line.starts_with("TEMP ")) {
      return fail(FailureType::auth_tempfail, std::string(line.substr(5)),
                  "a NO [UNAVAILABLE] " + std::string(line.substr(5)) + "\r\n");
    }
    if (line.starts_with("BUSY")) return fail(FailureType::remote, "not now");
    if (line.starts_with("CONF")) return fail(FailureType::remote_config, "cannot");
    if (line.starts_with("REFUSED")) return fail(FailureType::auth_not_replied, "token expired");
    return fail(FailureType::protocol, "Invalid input");
  }
  Then on_tls_started(WipingBuffer& out) override { return login("login/starttls", out); }
  std::string state() const override { return state_; }
  std::string take_remark() override { return std::exchange(remark_, {}); }
  const Failure& failure() const override { return failure_; }

  static std::unique_ptr<BackendDialogue> make(const BackendTarget& target) {
    return std::make_unique<ToyDialogue>(target);
  }

 private:
  Then login(std::string state, WipingBuffer& out) {
    state_ = std::move(state);
    out.append("LOGIN ").append(target_.user).append(' ');
    out.append(target_.password.reveal()).append("\r\n");
    return Then::read_line;
  }
  Then fail(FailureType type, std::string reason, std::string reply = {}) {
    failure_ = {type, std::move(reason), std::move(reply)};
    return Then::failed;
  }
  const BackendTarget& target_;
  std::string state_ = "/none";
  std::string remark_;
  Failure failure_;
};

/// One thing a scripted backend does.
struct Act {
  enum Kind : std::uint8_t { send, expect, start_tls, close, reset, drip };
  Kind kind = send;
  std::string
      text;  // send: as it is; drip: in one-byte pieces; expect: reads a line with this in it
};

/// A backend on loopback. Each connection follows the next script, the last one again and again;
/// at a script's end it stays and gathers what comes.
class ScriptedBackend {
 public:
  using Script = std::vector<Act>;

  ScriptedBackend(io::Loop& loop, std::vector<Script> scripts,
                  std::shared_ptr<io::TlsContext> tls = nullptr, bool implicit = false)
      : loop_(loop), scripts_(std::move(scripts)), tls_(std::move(tls)), implicit_(implicit) {
    fd_.reset(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    sockaddr_storage address{};
    const socklen_t size = Endpoint{*IpAddress::parse("127.0.0.1"), 0}.to_sockaddr(address);
    EXPECT_EQ(::bind(fd_.get(), as_sockaddr(address), size), 0);
    EXPECT_EQ(::listen(fd_.get(), 16), 0);
    port_ = io::local_endpoint(fd_.get()).port;
    watch_.start(loop_, fd_.get(), io::Callback<unsigned>::to<&ScriptedBackend::on_accept>(*this));
    watch_.want(io::FdWatch::kRead);
  }

  struct Connection {
    ScriptedBackend* owner = nullptr;
    Script script;
    std::size_t step = 0, sent = 0;
    std::string got;       // everything after the last expected line
    std::string expected;  // the lines that were expected
    bool eof = false, broken = false, closed = false, ready = false;
    io::Stream stream;

    void on_event(unsigned events) noexcept {
      if ((events & io::Stream::kTlsFailed) != 0) {
        broken = true;
        shut();
        return;
      }
      if ((events & io::Stream::kTlsStarted) != 0) ready = true;
      if (!closed) read_all();
      run();
    }
    void read_all() {
      char buffer[16384];
      while (!eof && !broken && ready) {
        const io::IoResult r = stream.read(buffer, sizeof buffer);
        if (r.status == io::IoStatus::ok) got.append(buffer, r.bytes);
        if (r.status == io::IoStatus::closed) eof = true;
        if (r.status == io::IoStatus::error) broken = true;
        if (r.status != io::IoStatus::ok) break;
      }
    }
    void shut() {
      if (!closed) stream.close();
      closed = true;
    }
    void run() {
      bool blocked = false;
      while (!closed && ready && !blocked && step < script.size()) {
        const Act& act = script[step];
        switch (act.kind) {
          case Act::send:
          case Act::drip: {
            const std::size_t most = act.kind == Act::drip ? 1 : act.text.size();
            while (sent < act.text.size()) {
              const io::IoResult r = stream.write(std::string_view(act.text).substr(sent, most));
              if (r.status != io::IoStatus::ok) break;
              sent += r.bytes;
              if (act.kind == Act::drip) break;
            }
            if (sent == act.text.size()) {
              ++step;
              sent = 0;
            } else {
              blocked = true;
            }
            break;
          }
          case Act::expect: {
            const std::size_t end = got.find('\n');
            if (end == std::string::npos) {
              blocked = true;
              break;
            }
            const std::string line = got.substr(0, end + 1);
            EXPECT_NE(line.find(act.text), std::string::npos) << line;
            expected += line;
            got.erase(0, end + 1);
            ++step;
            break;
          }
          case Act::start_tls:
            ++step;
            ready = false;
            stream.want(false, false);
            stream.start_tls_server(owner->tls_, {});
            return;
          case Act::reset: {
            const linger hard{1, 0};
            ::setsockopt(stream.fd(), SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
            shut();
            return;
          }
          case Act::close:
            shut();
            return;
        }
      }
      if (closed || !ready) return;
      const bool sending = step < script.size() && script[step].kind != Act::expect;
      stream.want(!eof && !broken, sending && !broken);
    }
  };

  std::uint16_t port() const noexcept { return port_; }
  std::size_t count() const noexcept { return connections_.size(); }
  Connection& at(std::size_t i) { return *connections_.at(i); }
  Connection& last() { return *connections_.back(); }
  void stop_listening() {
    watch_.stop();
    fd_.reset();
  }

 private:
  void on_accept(unsigned /*what*/) noexcept {
    for (;;) {
      Result<io::Accepted> got = io::accept_connection(fd_.get());
      if (!got.ok()) return;
      auto connection = std::make_unique<Connection>();
      connection->owner = this;
      connection->script = scripts_.at(std::min(connections_.size(), scripts_.size() - 1));
      connection->stream.open(loop_, std::move(got.value().fd),
                              io::Callback<unsigned>::to<&Connection::on_event>(*connection));
      connections_.push_back(std::move(connection));
      Connection& c = *connections_.back();
      if (implicit_) {
        c.stream.start_tls_server(tls_, {});
      } else {
        c.ready = true;
        c.run();
      }
    }
  }
  io::Loop& loop_;
  std::vector<Script> scripts_;
  std::shared_ptr<io::TlsContext> tls_;
  bool implicit_;
  UniqueFd fd_;
  std::uint16_t port_ = 0;
  io::FdWatch watch_;
  std::vector<std::unique_ptr<Connection>> connections_;
};

/// What was logged since the last call. Between construction and destruction descriptor 2 is a
/// file.
class LogCapture {
 public:
  LogCapture() {
    log::flush();
    ::testing::internal::CaptureStderr();
  }
  ~LogCapture() { take(); }
  LogCapture(const LogCapture&) = delete;
  LogCapture& operator=(const LogCapture&) = delete;
  const std::string& text() {
    take();
    return text_;
  }

 private:
  void take() {
    if (taken_) return;
    taken_ = true;
    log::flush();
    text_ = ::testing::internal::GetCapturedStderr();
  }
  bool taken_ = false;
  std::string text_;
};

}  // namespace postern::login::test
