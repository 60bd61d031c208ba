#include "login-common/refresh-notes.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "lib/log.h"
#include "lib/result.h"
#include "wire/tab-line.h"

namespace postern::login {
namespace {

constexpr io::Milliseconds kRetry{60'000};  // after the FIFO could not be opened or written to

}  // namespace

RefreshNotes::RefreshNotes(io::Loop& loop) : loop_(loop) {
  timer_.start(loop_, io::Callback<>::to<&RefreshNotes::on_timer>(*this));
}

void RefreshNotes::add(std::uint64_t session, std::string_view user, unsigned every,
                       const std::string& path) {
  Note note;
  note.line = wire::tab_escape(user) + '\n';
  note.path = path;
  note.every = io::Milliseconds(std::int64_t{every} * 1000);
  note.due = loop_.now() + note.every;
  if (!timer_.armed() || note.due < next_) {
    next_ = note.due;
    timer_.set(note.every);
  }
  notes_[session] = std::move(note);
}

void RefreshNotes::remove(std::uint64_t session) noexcept {
  notes_.erase(session);
}

void RefreshNotes::on_timer() noexcept {
  const io::TimePoint now = loop_.now();
  next_ = io::TimePoint::max();
  for (auto& [session, note] : notes_) {
    if (note.due <= now) {
      write(note);
      note.due = now + note.every;
    }
    next_ = std::min(next_, note.due);
  }
  if (!notes_.empty()) timer_.set(std::chrono::ceil<io::Milliseconds>(next_ - now));
}

void RefreshNotes::write(const Note& note) {
  if (open_path_ != note.path) {
    fifo_.reset();
    open_path_ = note.path;
    retry_at_ = {};
  }
  if (!fifo_) {
    if (loop_.now() < retry_at_) return;
    fifo_.reset(::open(note.path.c_str(), O_WRONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC));
    if (!fifo_) {
      retry_at_ = loop_.now() + kRetry;
      log::error("{}", system_error(fmt::format("open({}) failed", note.path), errno).text);
      return;
    }
  }
  // Less than PIPE_BUF: all or nothing.
  if (::write(fifo_.get(), note.line.data(), note.line.size()) >= 0) return;
  log::error("{}", system_error(fmt::format("write({}) failed", note.path), errno).text);
  fifo_.reset();
  retry_at_ = loop_.now() + kRetry;
}

}  // namespace postern::login
