#include "login-common/access-lookup.h"

#include <fmt/format.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <utility>

#include "io/socket.h"
#include "lib/text.h"

namespace postern::login {

AccessLookup::AccessLookup(io::Loop& loop, Connect connect, const std::vector<std::string>& paths,
                           std::string_view protocol, int client_fd,
                           std::function<void(Verdict)> done)
    : loop_(loop),
      connect_(std::move(connect)),
      paths_(paths),
      protocol_(protocol),
      client_fd_(client_fd),
      done_(std::move(done)),
      alive_(std::make_shared<AccessLookup*>(this)) {
  timer_.start(loop_, io::Callback<>::to<&AccessLookup::on_time>(*this));
}

AccessLookup::~AccessLookup() {
  *alive_ = nullptr;
  drop();
}

void AccessLookup::start() {
  timer_.set(kTimeout);
  connect_(index_, [alive = alive_](Result<UniqueFd> answer) {
    if (*alive != nullptr) (*alive)->connected(std::move(answer));
  });
}

void AccessLookup::connected(Result<UniqueFd> answer) {
  if (!answer.ok()) return refuse(log::Level::error, "connect() failed: " + answer.error().text);
  fd_ = std::move(answer).value();
  const Status sent = io::send_packet(fd_.get(), fmt::format("{}\n", protocol_), client_fd_);
  if (!sent.ok()) return refuse(log::Level::error, sent.error().text);
  watch_.start(loop_, fd_.get(), io::Callback<unsigned>::to<&AccessLookup::on_ready>(*this));
  watch_.want(io::FdWatch::kRead);
}

void AccessLookup::on_ready(unsigned /*what*/) noexcept {
  constexpr std::size_t kAnswer = 2;  // bytes
  std::array<char, kAnswer> buffer{};
  const ssize_t n = ::recv(fd_.get(), buffer.data(), kAnswer - answer_.size(), 0);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  // One that closes without having read the question leaves a reset.
  if (n < 0 && errno != ECONNRESET) {
    return refuse(log::Level::error, system_error("recv", errno).text);
  }
  if (n > 0) answer_.append(buffer.data(), static_cast<std::size_t>(n));
  if (n > 0 && answer_.size() < kAnswer) return;
  if (answer_ == "0\n" || n <= 0) return refuse(log::Level::info, "Client refused");
  if (answer_ != "1\n") return refuse(log::Level::error, "Invalid input");
  drop();
  if (++index_ < paths_.size()) return start();
  Verdict verdict;
  verdict.granted = true;
  end(std::move(verdict));
}

void AccessLookup::on_time() noexcept {
  refuse(log::Level::error, "Timed out while waiting for reply");
}

std::string AccessLookup::line(std::string_view what) const {
  return fmt::format("access({}): {}", log_safe(paths_[index_], 200), what);
}

void AccessLookup::refuse(log::Level level, std::string_view what) {
  Verdict verdict;
  verdict.level = level;
  verdict.line = line(what);
  end(std::move(verdict));
}

void AccessLookup::end(Verdict verdict) {
  drop();
  const auto done = std::exchange(done_, nullptr);
  done(std::move(verdict));  // this may be gone
}

void AccessLookup::drop() noexcept {
  timer_.cancel();
  watch_.stop();
  fd_.reset();
  answer_.clear();
}

}  // namespace postern::login
