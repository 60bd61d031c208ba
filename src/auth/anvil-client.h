#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>

#include "auth/clean-addresses.h"
#include "auth/environment.h"
#include "io/line-stream.h"
#include "io/loop.h"
#include "lib/ip.h"
#include "service/service.h"

namespace postern::auth {

/// Penalties of addresses, kept by anvil: PENALTY-LEVEL, -FAIL and -PASS. Without anvil there are
/// none; a connection that is lost is tried again every ten seconds, and logins go on meanwhile.
class AnvilClient final : private io::LineStream::Owner {
 public:
  explicit AnvilClient(service::Service& service) : service_(service) {}
  ~AnvilClient();
  AnvilClient(const AnvilClient&) = delete;
  AnvilClient& operator=(const AnvilClient&) = delete;

  void start();
  bool connected() const noexcept { return stream_ != nullptr; }
  /// What is held against an address (IPv6: its /48) when that user logs in; zeros when anvil does
  /// not say so soon.
  std::uint64_t penalty(const IpAddress& ip, std::uint32_t user,
                        std::function<void(PenaltyLevels)> call);
  /// True if anvil said just now that the address has none: no need to ask.
  bool known_clean(const IpAddress& ip) const;
  void raise(const IpAddress& ip, std::uint32_t checksum, std::uint32_t user);
  void forgive(const IpAddress& ip, std::uint32_t user);
  void cancel(std::uint64_t id) noexcept;

 private:
  struct Question {
    std::uint64_t id = 0;
    std::function<void(PenaltyLevels)> call;  // empty: cancelled
    TimePoint asked;
    IpAddress key;
    bool raised = false;  // since: the answer is old
  };
  void on_line(io::LineStream& stream, std::string_view line) override;
  void on_closed(io::LineStream& stream) override;
  void lost();
  void on_tick() noexcept;
  void arm(io::Milliseconds wait);

  service::Service& service_;
  std::unique_ptr<io::LineStream> stream_;
  std::deque<Question> questions_;
  CleanAddresses clean_;
  std::uint64_t next_ = 0;
  io::Timer timer_;
  bool timer_started_ = false;
  bool warned_ = false;
  bool version_known_ = false;  // of this connection's anvil
};

}  // namespace postern::auth
