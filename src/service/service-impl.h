#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "service/acceptor.h"
#include "service/channel.h"
#include "service/master-message.h"
#include "service/service.h"

/// The inside of Service.
namespace postern::service {

class ServiceImpl : private Acceptor::Owner {
 public:
  explicit ServiceImpl(std::string_view name);
  ~ServiceImpl() override = default;
  ServiceImpl(const ServiceImpl&) = delete;
  ServiceImpl& operator=(const ServiceImpl&) = delete;

  int run(Handler& handler);
  void set_load(Load load) noexcept;
  void evictable_changed() noexcept;
  void finish() noexcept { loop.stop(); }
  void connect(std::string_view name, std::function<void(Result<UniqueFd>)> answer);
  void tell_master(std::string_view verb, const std::vector<std::string>& fields);
  void send_row(std::uint64_t id, const std::vector<std::pair<std::string, std::string>>& fields);
  void send_done(std::uint64_t id, int code, std::string_view text);

  io::Loop loop;
  config::Snapshot snapshot;
  config::ServiceSettings settings;
  std::vector<config::SocketInfo> listeners;
  bool draining = false;
  bool master_gone = false;

 private:
  // Acceptor::Owner
  bool may_accept() noexcept override { return ready_ && !draining && available() > 0; }
  void on_connection(std::size_t index, io::Accepted connection) noexcept override;
  void on_accept_failed(const Error& error) noexcept override;

  void load_settings(std::string_view name);
  void take_listeners();
  void confine_or_die();
  void start();
  /// The template's life. True in a copy, which then goes on as any other process.
  bool serve_template();
  bool fork_copy(ForkMessage message);
  void become_copy(UniqueFd channel);

  void on_channel() noexcept;
  void on_message(MasterMessage message) noexcept;
  void on_connected(ConnectedMessage message) noexcept;
  void on_evict(unsigned count) noexcept;
  void on_master_gone() noexcept;
  void on_signal(int number) noexcept;
  void on_time_to_end() noexcept;
  void on_status_due() noexcept;
  void on_accept_again() noexcept;
  void fail_connects() noexcept;

  void drain() noexcept;
  void terminate() noexcept;
  void close_listeners() noexcept;
  void watch_listeners() noexcept;
  unsigned refuse_all() noexcept;
  /// Clients that may still come at the same time as those that are there; 0 is full.
  unsigned available() const noexcept;
  bool used_up() const noexcept {
    return settings.service_count > 0 && accepted_ >= settings.service_count;
  }
  void report(bool at_once) noexcept;
  void send_status() noexcept;
  void send(WipingBuffer packet) { channel_.send(std::move(packet)); }

  Handler* handler_ = nullptr;
  Channel channel_;
  std::vector<std::unique_ptr<Acceptor>> acceptors_;
  io::ReserveDescriptor reserve_;
  std::unordered_map<std::uint64_t, std::function<void(Result<UniqueFd>)>> connects_;
  std::uint64_t last_connect_ = 0;
  io::Deferred failed_connects_;
  io::SignalWatch sigterm_;
  io::SignalWatch sigint_;
  io::Timer end_timer_;
  io::Timer status_timer_;
  io::Timer accept_timer_;
  Load load_;
  Load told_;  // what the last status said
  std::optional<io::TimePoint> last_status_;
  std::uint64_t accepted_ = 0;
  // Clients accepted since set_load(), which a Handler may call only at the end of the turn.
  unsigned not_in_load_ = 0;
  bool is_template_ = false;
  bool ready_ = false;
  bool was_full_ = false;
  bool accepting_paused_ = false;
  bool finished_sent_ = false;
  bool terminating_ = false;
};

}  // namespace postern::service
