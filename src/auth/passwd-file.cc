#include "auth/passwd-file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "auth/fields.h"
#include "lib/handle.h"
#include "lib/log.h"
#include "lib/text.h"

namespace postern::auth {
namespace {

constexpr std::size_t kMaxFile = std::size_t{256} << 20;  // bytes

/// The parts of a line at unescaped colons.
std::vector<std::string_view> split_line(std::string_view line) {
  std::vector<std::string_view> parts;
  std::size_t begin = 0;
  for (std::size_t i = 0; i <= line.size(); i++) {
    // Only the name can hold an escaped colon.
    if (i < line.size() && line[i] == '\\' && parts.empty()) {
      i++;
      continue;
    }
    if (i >= line.size() || line[i] == ':') {
      parts.push_back(line.substr(begin, std::min(i, line.size()) - begin));
      begin = i + 1;
    }
  }
  return parts;
}

/// The 8th and all later parts are one text (a value may hold colons). An empty 8th with a 9th is
/// Dovecot 1.0's format: a mail location.
std::vector<std::string> extra_fields(std::string_view line,
                                      const std::vector<std::string_view>& parts) {
  if (parts.size() < 8) return {};
  const auto at = static_cast<std::size_t>(parts[7].data() - line.data());
  const std::string_view rest = line.substr(at);
  if (parts[7].empty() && parts.size() > 8) {
    const std::string_view location = rest.substr(1);
    if (trim(location).empty()) return {};
    return {"userdb_mail=" + std::string(location)};
  }
  return split_field_text(rest);
}

/// libpam-pwdfile's forms beside Dovecot's own: `data[13]` is CRYPT, `data[34]` PLAIN-MD5.
Secret stored_password(std::string_view text) {
  if (!text.starts_with('{')) {
    for (const auto& [ending, scheme] :
         {std::pair<std::string_view, std::string_view>{"[13]", "{CRYPT}"},
          {"[34]", "{PLAIN-MD5}"}}) {
      if (!text.ends_with(ending)) continue;
      WipingBuffer out(scheme);
      out += text.substr(0, text.size() - ending.size());
      return Secret(std::move(out));
    }
  }
  return Secret(text);
}

Result<WipingBuffer> read_file(int fd, std::size_t size) {
  WipingBuffer out;
  while (out.size() <= kMaxFile) {
    const std::size_t room = std::max<std::size_t>(size + 1, 4096);
    const ssize_t n = ::read(fd, out.reserve(room), room);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return system_error("read()", errno);
    if (n == 0) return out;
    out.commit(static_cast<std::size_t>(n));
  }
  return Error{EFBIG, "the file is too large"};
}

bool same_file(const struct stat& a, const struct stat& b) noexcept {
  return a.st_ino == b.st_ino && a.st_dev == b.st_dev && a.st_size == b.st_size &&
         a.st_mtim.tv_sec == b.st_mtim.tv_sec && a.st_mtim.tv_nsec == b.st_mtim.tv_nsec &&
         a.st_ctim.tv_sec == b.st_ctim.tv_sec && a.st_ctim.tv_nsec == b.st_ctim.tv_nsec;
}

}  // namespace

PasswdTable PasswdTable::parse(std::string_view text, std::vector<std::string>& problems) {
  PasswdTable out;
  unsigned number = 0;
  while (!text.empty()) {
    number++;
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(text.size(), end + 1));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty() || line.front() == '#' || line.front() == ':') continue;
    const std::string where = "line " + std::to_string(number) + ": ";
    if (line.find('\0') != std::string_view::npos) {
      problems.push_back(where + "NUL byte");
      continue;
    }
    const std::vector<std::string_view> parts = split_line(line);
    PasswdEntry entry;
    entry.user = std::string(parts[0]);
    if (out.by_name_.contains(entry.user)) {
      problems.push_back(where + "User " + log_safe(entry.user) + " exists more than once");
      continue;
    }
    if (parts.size() > 1) {
      entry.password = stored_password(parts[1]);
      entry.has_password = true;
    }
    if (parts.size() > 2) entry.uid = std::string(trim(parts[2]));
    if (parts.size() > 3) entry.gid = std::string(trim(parts[3]));
    if (parts.size() > 5) entry.home = std::string(parts[5]);
    entry.extra = extra_fields(line, parts);
    out.by_name_.emplace(entry.user, out.entries_.size());
    out.entries_.push_back(std::move(entry));
  }
  return out;
}

const PasswdEntry* PasswdTable::find(std::string_view user) const noexcept {
  const auto it = by_name_.find(std::string(user));
  return it == by_name_.end() ? nullptr : &entries_[it->second];
}

Result<const PasswdTable*> PasswdFile::table(TimePoint now) {
  using std::chrono::seconds;
  last_used_ = now;
  if (!ever_checked_ || now - checked_ >= seconds(1)) {
    ever_checked_ = true;
    checked_ = now;
    struct stat status {};
    Status loaded = Done{};
    if (::stat(path_.c_str(), &status) < 0) {
      loaded = system_error("stat(" + path_ + ") failed", errno);
    } else if (!loaded_ || !same_file(status, status_)) {
      loaded = reload(status);
    }
    if (loaded.ok()) {
      complained_ = false;
    } else {
      error_ = loaded.error();
      if (loaded_ && !complained_) {
        log::error("passwd-file {}: {}; going on with what it held before", path_, error_.text);
        complained_ = true;
      }
    }
  }
  if (!loaded_) return error_;
  return &table_;
}

Status PasswdFile::reload(const struct stat& status) {
  const UniqueFd fd(::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) return system_error("open(" + path_ + ") failed", errno);
  if (!S_ISREG(status.st_mode)) return Error{EISDIR, path_ + " is not a file"};
  Result<WipingBuffer> text = read_file(fd.get(), static_cast<std::size_t>(status.st_size));
  if (!text.ok()) return Error{text.error().code, path_ + ": " + text.error().text};
  std::vector<std::string> problems;
  PasswdTable table = PasswdTable::parse(text.value().view(), problems);
  for (const std::string& problem : problems) log::error("passwd-file {}: {}", path_, problem);
  log::debug("passwd-file {}: Read {} users in 0 secs", path_, table.entries().size());
  table_ = std::move(table);
  status_ = status;
  loaded_ = true;
  return Done{};
}

std::string escape_passwd_name(std::string_view name) {
  std::string out;
  out.reserve(name.size());
  for (const char c : name) {
    if (c == ':' || c == '\\') out += '\\';
    if (c == '\n') {
      out += "\\n";
    } else {
      out += c;
    }
  }
  return out;
}

}  // namespace postern::auth
