#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "io/loop.h"
#include "lib/handle.h"

/// proxy_refresh: every so many seconds of a session its user's name goes to a FIFO, from which a
/// director learns who is still there. Source: Dovecot 2.3's login_proxy_notify_path.
namespace postern::login {

class RefreshNotes {
 public:
  explicit RefreshNotes(io::Loop& loop);

  /// @param session  the relay's id of it
  /// @param every    seconds, at least 1
  /// @param path     of the FIFO; kept open, and tried again a minute after it failed
  void add(std::uint64_t session, std::string_view user, unsigned every, const std::string& path);
  void remove(std::uint64_t session) noexcept;

 private:
  struct Note {
    std::string line;  // the name, tab-escaped, and its LF
    std::string path;
    io::Milliseconds every{0};
    io::TimePoint due;
  };
  void on_timer() noexcept;
  void write(const Note& note);

  io::Loop& loop_;
  io::Timer timer_;
  io::TimePoint next_{};  // when timer_ is due
  std::map<std::uint64_t, Note> notes_;
  UniqueFd fifo_;
  std::string open_path_;     // of fifo_
  io::TimePoint retry_at_{};  // not opened again before
};

}  // namespace postern::login
