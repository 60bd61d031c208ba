#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "io/line-stream.h"
#include "io/loop.h"
#include "lib/ip.h"
#include "lib/result.h"

/// How many clients of one address wait for their login, over all processes of a service: anvil
/// counts them (login_max_connections_per_ip).
namespace postern::login {

/// Who holds connections from `address`: in IPv6 everybody has a /64 of addresses.
IpAddress holder_of(const IpAddress& address) noexcept;

class AddressCounts final : private io::LineStream::Owner {
 public:
  static constexpr std::chrono::seconds kAnswerLimit{2};
  static constexpr std::chrono::seconds kReconnect{10};

  /// Gets a connection to anvil, or says why not; never before it returns.
  using Connect = std::function<void(std::function<void(Result<UniqueFd>)>)>;
  /// @param service  "imap-login": what is counted together
  AddressCounts(io::Loop& loop, Connect connect, std::string service);
  ~AddressCounts();
  AddressCounts(const AddressCounts&) = delete;
  AddressCounts& operator=(const AddressCounts&) = delete;

  /// Asks whether there is room for one more client of `address`, and counts it if so.
  /// @param answer  called once, never before this returns, unless release() comes first. Where
  ///                anvil does not answer everybody has room: a count is no reason to lock out.
  /// @return not 0; to be given to release(), whatever the answer
  std::uint64_t reserve(const IpAddress& address, unsigned limit,
                        std::function<void(bool granted)> answer);
  /// The client is gone, or logged in.
  void release(std::uint64_t id);
  /// Nobody will ask any more: gives the connection up, and with it all that is counted.
  void stop() noexcept;

 private:
  enum class State : std::uint8_t { idle, connecting, connected };
  struct Entry {
    std::string ident;
    unsigned limit = 0;
    std::function<void(bool)> answer;  // empty once it has been called
  };
  struct Question {
    std::uint64_t id = 0;
    std::string ident;
  };
  void connect();
  void connected(Result<UniqueFd> answer);
  void ask(std::uint64_t id, const Entry& entry);
  void tell(std::string_view verb, std::uint64_t id, const std::string& ident);
  void on_line(io::LineStream& stream, std::string_view line) override;
  void on_closed(io::LineStream& stream) override;
  void on_time() noexcept;
  void lost(std::string_view why);
  void grant_all();

  io::Loop& loop_;
  Connect connect_;
  std::string service_;
  State state_ = State::idle;
  std::unique_ptr<io::LineStream> stream_;
  std::map<std::uint64_t, Entry> entries_;  // counted, or asked about
  std::deque<Question> asked_;              // in the order of anvil's answers
  std::uint64_t last_ = 0;
  io::Timer timer_;        // of the oldest question
  io::Deferred granted_;   // to those who ask while anvil is away
  io::TimePoint retry_{};  // not before
  bool warned_ = false;
};

}  // namespace postern::login
