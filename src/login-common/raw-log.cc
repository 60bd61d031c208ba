#include "login-common/raw-log.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <ctime>
#include <utility>

#include "lib/log.h"
#include "lib/text.h"

namespace postern::login {
namespace {

/// Commands that never carry a secret.
constexpr std::array<std::string_view, 11> kHarmless{"ID",   "STARTTLS", "STLS",    "CAPABILITY",
                                                     "CAPA", "EHLO",     "XCLIENT", "USER",
                                                     "NOOP", "QUIT",     "LOGOUT"};

constexpr std::array<std::string_view, 2> kWithMechanism{"AUTH", "AUTHENTICATE"};
constexpr std::array<std::string_view, 2> kWithPassword{"LOGIN", "PASS"};

template <std::size_t N>
bool is_one_of(std::string_view word, const std::array<std::string_view, N>& words) noexcept {
  return std::any_of(words.begin(), words.end(),
                     [word](std::string_view one) { return same_text(word, one); });
}

/// The end of the word that begins at `at`.
std::size_t word_end(std::string_view line, std::size_t at) noexcept {
  return at < line.size() ? std::min(line.find(' ', at), line.size()) : line.size();
}

std::string file_stamp() {
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  localtime_r(&now, &local);
  std::array<char, 32> text{};
  const std::size_t size = std::strftime(text.data(), text.size(), "%Y%m%d-%H%M%S", &local);
  return {text.data(), size};
}

}  // namespace

std::string SecretMask::mask(std::string_view line) {
  std::size_t begin = 0;
  std::size_t end = word_end(line, begin);
  // IMAP's commands stand behind a tag, and ours is one letter.
  if (end == 1 && line.size() > 1) {
    begin = 2;
    end = word_end(line, begin);
  }
  const std::string_view command = line.substr(begin, end - begin);
  const bool harmless = !begun_ && is_one_of(command, kHarmless);
  std::size_t shown = 0;
  if (!begun_ && is_one_of(command, kWithMechanism)) shown = word_end(line, end + 1);
  if (!begun_ && is_one_of(command, kWithPassword)) shown = end;
  if (!harmless || line.ends_with('}')) begun_ = true;
  if (harmless || shown == line.size()) return std::string(line);
  if (shown == 0) return fmt::format("<{} octets>", line.size());
  return fmt::format("{} <{} octets>", line.substr(0, shown), line.size() - shown - 1);
}

Result<std::unique_ptr<RawLog>> RawLog::open(const std::string& directory, bool secrets) {
  static unsigned count = 0;
  const std::string name = fmt::format("{}/{}.{}.{}", directory, file_stamp(), getpid(), ++count);
  std::unique_ptr<RawLog> log(new RawLog());
  log->secrets_ = secrets;
  for (const auto& [file, end] : {std::pair{&log->in_, ".in"}, std::pair{&log->out_, ".out"}}) {
    file->name = name + end;
    file->fd.reset(::open(file->name.c_str(),
                          O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!file->fd) return system_error(fmt::format("open({}) failed", file->name), errno);
  }
  return log;
}

void RawLog::write(File& file, std::string_view bytes) {
  if (!file.fd || bytes.empty()) return;
  const auto now = std::chrono::duration_cast<std::chrono::microseconds>(
                       std::chrono::system_clock::now().time_since_epoch())
                       .count();
  const std::string stamp = fmt::format("{}.{:06} ", now / 1'000'000, now % 1'000'000);
  std::string text;
  while (!bytes.empty()) {
    const std::size_t end = bytes.find('\n');
    const std::size_t size = end == std::string_view::npos ? bytes.size() : end + 1;
    if (!file.inside_line) text += stamp;
    text += bytes.substr(0, size);
    file.inside_line = end == std::string_view::npos;
    bytes.remove_prefix(size);
  }
  const ssize_t n = ::write(file.fd.get(), text.data(), text.size());
  if (n == static_cast<ssize_t>(text.size())) return;
  log::error("{}",
             system_error(fmt::format("write({}) failed", file.name), n < 0 ? errno : ENOSPC).text);
  file.fd.reset();
}

void RawLog::in(std::string_view bytes) {
  write(in_, bytes);
}

void RawLog::out(std::string_view bytes) {
  write(out_, bytes);
}

void RawLog::out_commands(std::string_view lines) {
  if (secrets_) return out(lines);
  std::string text;
  while (!lines.empty()) {
    const std::size_t end = std::min(lines.find("\r\n"), lines.size());
    text += mask_.mask(lines.substr(0, end));
    text += "\r\n";
    lines.remove_prefix(std::min(end + 2, lines.size()));
  }
  out(text);
}

}  // namespace postern::login
