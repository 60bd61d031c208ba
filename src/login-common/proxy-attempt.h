#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "io/loop.h"
#include "io/socket.h"
#include "io/stream.h"
#include "lib/secret.h"
#include "login-common/backend-dialogue.h"
#include "login-common/backend-record.h"
#include "login-common/destination.h"
#include "login-common/proxy-core.h"
#include "login-common/proxy-log.h"
#include "login-common/proxy.h"

namespace postern::login {

/// One login at a backend: checks, connects (again), drives the dialogue, and says how it ended.
/// One deadline covers all of it.
class Attempt final : public ProxyAttempt {
 public:
  /// Between a failed connection and the next.
  static constexpr io::Milliseconds kPause{1000};
  /// No further connection with less time left than this.
  static constexpr io::Milliseconds kTooLate{1100};

  Attempt(ProxyCoreImpl& core, ProxyClient client, std::function<void(ProxyVerdict)> done);
  ~Attempt() override;
  Attempt(const Attempt&) = delete;
  Attempt& operator=(const Attempt&) = delete;

  /// Reads `fields` and sets out. Never calls `done`.
  void begin(ProxyFields fields);
  std::string state() const override;
  Endpoint backend() const override;
  std::string dest_user() const override;
  std::string log_prefix() const override;
  void relay(std::unique_ptr<io::Stream> client, WipingBuffer client_input, WipingBuffer to_client,
             std::uint64_t sent_to_client) override;

 private:
  enum class Phase : std::uint8_t {
    reporting,   // failed inside begin(): said at the next turn
    asking,      // the backend is down: may this one probe?
    connecting,  // until the backend is heard or TLS begins
    tls,         // handshake
    dialogue,
    pausing,  // before the next connection
    over,     // the verdict is out
  };

  // Connecting (proxy-connect.cc).
  void connect();
  std::string refusal() const;
  void refuse(std::string reason);
  void ask_probe();
  void on_probe(bool granted);
  void open_connection();
  bool open_socket(const Endpoint& to);
  void choose_source(const IpAddress& to);
  void arm_connect_timer();
  void on_connect_writable();
  bool send_proxy_header();
  void open_raw_log();
  void connect_failed(int error);
  bool connected() const;
  std::string where_text() const;
  void drop_connection();

  // TLS (proxy-tls.cc).
  bool checks_certificate() const;
  Result<std::shared_ptr<io::TlsContext>> tls_context(io::Verify& verify);
  void start_tls();
  void on_tls_started();
  void on_tls_failed();

  // The dialogue (proxy-attempt.cc).
  void on_stream(unsigned events) noexcept;
  void on_timer() noexcept;
  void on_readable();
  void read_lines();
  bool take_line(std::string_view line);
  bool follow(Then then);
  void flush();
  void logged_in();
  void disconnected(const std::string& why);

  // The end.
  void fail(FailureType type, std::string reason, std::string reply = {});
  bool may_move_on(FailureType type) const;
  bool may_retry(FailureType type) const;
  void log_failure(FailureType type, const std::string& reason) const;
  void log_line(log::Level level, std::string_view prefix, std::string_view message) const;
  void report();
  void leave_record() noexcept;
  StartedFacts started_facts() const;

  ProxyCoreImpl& core_;
  ProxyClient client_;
  std::function<void(ProxyVerdict)> done_;
  std::string user_;  // after auth
  std::optional<Destination> destination_;
  Phase phase_ = Phase::reporting;
  io::Timer timer_;
  io::TimePoint started_, deadline_, connection_started_;
  BackendRecord* record_ = nullptr;  // while this attempt counts in it
  std::size_t address_ = 0;          // of destination_->addresses, in use
  std::optional<IpAddress> source_;
  bool source_chosen_ = false;
  std::uint64_t question_ = 0;  // to the master, about a probe; 0: none
  bool tried_ = false;          // any address
  bool retry_allowed_ = true;
  bool in_begin_ = false;
  unsigned reconnects_ = 0;
  // One connection.
  std::unique_ptr<io::Stream> stream_;
  std::unique_ptr<BackendDialogue> dialogue_;
  std::unique_ptr<RawLog> raw_log_;
  WipingBuffer input_, output_, to_client_;
  std::size_t lines_ = 0;       // read
  std::size_t bytes_ = 0;       // read
  bool asked_ = false;          // a command has been written, on this side of TLS
  std::size_t early_ = 0;       // bytes of input_ that came before the last command went out
  bool local_trouble_ = false;  // what failed is ours: the backend is not to blame
  std::uint64_t sent_ = 0;      // bytes written
  // What report() says.
  std::optional<Failure> failure_;
};

}  // namespace postern::login
