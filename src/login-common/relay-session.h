#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "io/stream.h"
#include "login-common/relay.h"

namespace postern::login {

/// One relayed session. Small on purpose: thousands rest at a time.
class RelaySession {
 public:
  RelaySession(Relay& relay, RelayStart&& start, std::uint64_t id, std::size_t index);
  ~RelaySession();
  RelaySession(const RelaySession&) = delete;
  RelaySession& operator=(const RelaySession&) = delete;

  /// Writes what was brought along and begins to read. May end the session.
  void begin();
  SessionRow row() const;
  /// Ends the session: "Disconnected by proxy: REASON". The object is retired, now or, with
  /// `spread`, once the client's turn has come.
  void kick(std::string_view reason, bool spread);
  /// The backend is gone and the client is to learn of it later, at due().
  bool lingering() const noexcept { return lingering_; }
  io::TimePoint due() const noexcept { return last_io_; }
  /// Closes what is open and goes, without a word.
  void end() noexcept;
  /// May end the session.
  void sweep(io::TimePoint now);
  bool closing() const noexcept { return up_.eof || down_.eof; }
  std::size_t waiting() const noexcept { return up_.waiting() + down_.waiting(); }
  void set_index(std::size_t index) noexcept { index_ = static_cast<std::uint32_t>(index); }
  std::size_t index() const noexcept { return index_; }
  std::uint64_t id() const noexcept { return id_; }

 private:
  enum class Side : std::uint8_t { client, backend };

  /// One direction.
  struct Flow {
    WipingBuffer pending;                  // read, not yet taken
    std::unique_ptr<PipePool::Pipe> pipe;  // likewise, in the kernel
    std::uint64_t written = 0;             // bytes, ever
    std::uint8_t heat = 0;                 // how many full reads in a row
    bool eof = false;                      // its source has stopped sending
    bool finished = false;                 // and its sink has been told
    bool limited = false;                  // kUnsentBytes is set
    std::size_t waiting() const noexcept { return pending.size() + (pipe ? pipe->filled : 0); }
    bool clear() const noexcept { return waiting() == 0; }
    /// All that will ever come has been passed on.
    bool over() const noexcept { return eof && clear(); }
  };
  /// What a step came to.
  enum class Go : std::uint8_t {
    more,   // there may be more at once
    wait,   // for the source or the sink
    ended,  // the session is gone: return
  };

  void on_client(unsigned events) noexcept;
  void on_backend(unsigned events) noexcept;
  void on_events(Side side, unsigned events);

  io::Stream& stream(Side side) noexcept { return side == Side::client ? *client_ : *backend_; }
  static Side other(Side side) noexcept {
    return side == Side::client ? Side::backend : Side::client;
  }
  Flow& flow_from(Side side) noexcept { return side == Side::client ? up_ : down_; }

  bool pump(Side from);
  Go copy_once(Side from);
  Go splice_once(Side from);
  bool send(Flow& flow, Side to, std::string_view bytes);
  bool drain(Side to);
  Go drain_pipe(Flow& flow, Side to);
  void end_of(Side from);
  bool settle();
  void give_back_pipe(Flow& flow) noexcept;
  void limit_unsent(Flow& flow, Side to) noexcept;

  void fail(Side side, std::string_view what);
  void finish(std::string_view who, std::string_view error, bool with_counters, bool spread);
  io::Milliseconds hold() noexcept;
  void discard() noexcept;
  void leave_record() noexcept;
  bool spreads() const noexcept {
    return settings_->login_proxy_max_disconnect_delay.count() > 0 && record_ != nullptr;
  }
  std::string_view text(unsigned field) const noexcept;

  Relay& relay_;
  std::unique_ptr<io::Stream> client_, backend_;
  std::shared_ptr<const config::LoginSettings> settings_;
  BackendRecord* record_;
  std::unique_ptr<RawLog> raw_log_;
  Flow up_, down_;                 // to the backend, to the client
  std::unique_ptr<char[]> texts_;  // NOLINT(modernize-avoid-c-arrays): NUL-separated, see text()
  io::TimePoint last_io_;          // lingering: the end
  Endpoint dest_;
  std::uint64_t id_;
  std::uint32_t index_;
  bool keepalive_set_ = false;
  bool ended_ = false;
  bool lingering_ = false;
  Side closed_by_ = Side::client;  // first; means something if closing()
};

}  // namespace postern::login
