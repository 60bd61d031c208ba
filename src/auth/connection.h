#pragma once

#include <memory>

#include "auth/line-session.h"
#include "io/loop.h"
#include "io/socket.h"
#include "io/stream.h"

namespace postern::auth {

/// Carries the bytes of one session.
class Connection final : private LineSession::Carrier {
 public:
  class Owner {
   public:
    /// The connection is over; the owner retires it.
    virtual void on_connection_over(Connection& connection) noexcept = 0;

   protected:
    ~Owner() = default;
  };

  Connection(io::Loop& loop, UniqueFd fd, std::unique_ptr<LineSession> session, Owner& owner);
  ~Connection();
  /// Sends the session's greeting and begins to read; may end in Owner::on_connection_over().
  void start() noexcept { flush(); }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

 private:
  void on_event(unsigned event) noexcept;
  void on_output() noexcept override;
  void flush() noexcept;
  void read() noexcept;
  void over(bool peer_gone) noexcept;

  io::Deferred flush_;  // goes with the object, so that it never comes after it
  io::Stream stream_;
  std::unique_ptr<LineSession> session_;
  Owner& owner_;
  bool over_ = false;
};

}  // namespace postern::auth
