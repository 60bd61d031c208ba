#include "transcript.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "lib/text.h"

namespace postern::test {
namespace {

/// `\r \n \t \\ \xNN \"` undone.
std::string unescape(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\' || i + 1 == text.size()) {
      out += text[i];
      continue;
    }
    switch (text[++i]) {
      case 'r':
        out += '\r';
        break;
      case 'n':
        out += '\n';
        break;
      case 't':
        out += '\t';
        break;
      case 'x': {
        const auto byte = hex_decode(text.substr(i + 1, 2));
        out += byte ? *byte : "?";
        i += 2;
        break;
      }
      default:
        out += text[i];
    }
  }
  return out;
}

/// `"text" + "x" * 5 + 3 pairs "kN" "v"*2`: the recorder's shorthand for long input.
class Expression {
 public:
  explicit Expression(std::string_view text) : rest_(text) {}

  std::string value() {
    std::string out = term();
    while (take('+')) out += term();
    return out;
  }

 private:
  bool take(char c) {
    rest_ = trim(rest_);
    if (!rest_.starts_with(c)) return false;
    rest_.remove_prefix(1);
    return true;
  }
  std::size_t number() {
    rest_ = trim(rest_);
    std::size_t n = 0;
    while (!rest_.empty() && rest_.front() >= '0' && rest_.front() <= '9') {
      n = n * 10 + static_cast<std::size_t>(rest_.front() - '0');
      rest_.remove_prefix(1);
    }
    return n;
  }
  std::string quoted() {
    if (!take('"')) return "";
    std::size_t end = 0;
    while (end < rest_.size() && rest_[end] != '"') end += rest_[end] == '\\' ? 2U : 1U;
    std::string out = unescape(rest_.substr(0, end));
    rest_.remove_prefix(std::min(rest_.size(), end + 1));
    if (!take('*')) return out;
    std::string repeated;
    for (std::size_t n = number(); n > 0; --n) repeated += out;
    return repeated;
  }
  std::string term() {
    rest_ = trim(rest_);
    if (rest_.starts_with('"')) return quoted();
    const std::size_t pairs = number();
    rest_ = trim(rest_);
    rest_.remove_prefix(std::min<std::size_t>(rest_.size(), 5));  // "pairs"
    std::string key = quoted();
    std::string value = quoted();
    if (key.empty()) key = "kN";
    if (value.empty()) value = "v";
    std::string out;
    for (std::size_t i = 0; i < pairs; ++i) {
      out.append(i == 0 ? "\"" : " \"").append(key.substr(0, key.size() - 1));
      out.append(std::to_string(i)).append("\" \"").append(value).append("\"");
    }
    return out;
  }

  std::string_view rest_;
};

std::string path_of(const std::string& name) {
  return std::string(POSTERN_TRANSCRIPTS) + "/" + name;
}

std::string_view without_time(std::string_view line) {
  std::string_view rest = trim(line);
  const std::size_t blank = rest.find(' ');
  if (!line.starts_with(' ') && !(line.size() > 1 && line[0] >= '0' && line[0] <= '9')) return line;
  if (blank == std::string_view::npos) return line;
  const std::string_view time = rest.substr(0, blank);
  if (time.find_first_not_of("0123456789.") != std::string_view::npos) return line;
  // What follows is kept with its trailing blanks.
  return line.substr(static_cast<std::size_t>(time.data() - line.data()) + blank + 1);
}

void take_line(std::string_view line, bool escapes, Transcript& out) {
  using Kind = Event::Kind;
  const auto text = [escapes](std::string_view raw) {
    return escapes ? unescape(raw) : std::string(raw);
  };
  line = without_time(line);
  const std::string_view body = line.size() > 3 ? line.substr(3) : std::string_view{};
  if (line.starts_with("# server:")) out.server = line;
  if (line.starts_with("# config:")) out.configs.emplace_back(line.substr(10));
  if (line.starts_with("LOG ")) out.logs.emplace_back(line.substr(4));
  if (line.starts_with("AUTH> ")) out.auth_requests.push_back(unescape(line.substr(6)));
  if (line.starts_with("AUTH< ")) out.auth_replies.push_back(unescape(line.substr(6)));
  if (line.starts_with("# [TLS handshake ok") || line.starts_with("# [TLS handshake done")) {
    out.events.push_back({Kind::tls, std::string(line)});
  }
  if (line.starts_with("# [backend accepts")) out.events.push_back({Kind::accepted, ""});
  if (line.starts_with("C:")) out.events.push_back({Kind::client, text(body) + "\r\n"});
  if (line.starts_with("C> ")) {
    out.events.push_back(
        {Kind::client, body.starts_with('"') ? Expression(body).value() : text(body)});
  }
  if (line.starts_with("S:")) out.events.push_back({Kind::server, text(body)});
  if (line.starts_with("P:")) out.events.push_back({Kind::to_backend, text(body)});
  if (line.starts_with("B:")) {
    std::string bytes = text(body);
    const std::size_t times = bytes.find("<5000 times>");
    if (times != std::string::npos) bytes = bytes.substr(0, times - 1) + std::string(5000, 'x');
    out.events.push_back({Kind::backend, bytes});
  }
}

}  // namespace

bool Transcript::logged(std::string_view text) const {
  return std::any_of(logs.begin(), logs.end(), [text](const std::string& line) {
    return line.find(text) != std::string::npos;
  });
}

namespace {
/// The value of `key="…"` or `key=…` in the text.
std::optional<std::string> value_of(std::string_view key, std::string_view config) {
  const std::string name = std::string(key) + "=";
  std::size_t at = config.find(name);
  while (at != std::string_view::npos && at > 0 && config[at - 1] != ' ') {
    at = config.find(name, at + 1);
  }
  if (at == std::string_view::npos) return std::nullopt;
  std::string_view value = config.substr(at + name.size());
  if (!value.starts_with('"')) return std::string(value.substr(0, value.find_first_of(" ,;")));
  std::size_t end = 1;
  while (end < value.size() && value[end] != '"') end += value[end] == '\\' ? 2U : 1U;
  return unescape(value.substr(1, end - 1));
}
}  // namespace

std::optional<std::string> Transcript::setting(std::string_view key) const {
  for (const std::string& whole : configs) {
    const std::string_view config = std::string_view(whole).substr(0, whole.find("; login_log"));
    if (auto value = value_of(key, config)) return value;
  }
  return std::nullopt;
}

std::optional<std::string> Transcript::setting_of_name(std::string_view key) const {
  constexpr std::string_view kAsked = "; SNI ";
  for (const Event& event : events) {
    const std::size_t at = event.bytes.find(kAsked);
    if (event.kind != Event::Kind::tls || at == std::string::npos) continue;
    const std::size_t start = at + kAsked.size();
    const std::string block =
        "local_name " + event.bytes.substr(start, event.bytes.find(']') - start) + " {";
    const std::size_t found = configs.at(0).find(block);
    if (found != std::string::npos) return value_of(key, configs.at(0).substr(found));
  }
  return std::nullopt;
}

Transcript read_transcript(const std::string& name, bool escapes) {
  Transcript out;
  out.file = name;
  std::ifstream in(path_of(name), std::ios::binary);
  std::string line;
  while (std::getline(in, line)) take_line(line, escapes, out);
  return out;
}

std::vector<std::string> transcripts(std::string_view prefix) {
  std::vector<std::string> out;
  for (const auto& entry : std::filesystem::directory_iterator(POSTERN_TRANSCRIPTS)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(prefix) && name.ends_with(".txt")) out.push_back(name);
  }
  std::sort(out.begin(), out.end());
  return out;
}

std::vector<Row> read_table(const std::string& name) {
  std::vector<Row> out;
  std::ifstream in(path_of(name));
  std::string line;
  while (std::getline(in, line)) {
    if (line.empty() || line.starts_with('#')) continue;
    Row row;
    std::size_t start = 0;
    while (start <= line.size()) {
      const std::size_t end = std::min(line.size(), line.find('\t', start));
      row.push_back(line.substr(start, end - start));
      start = end + 1;
    }
    out.push_back(std::move(row));
  }
  return out;
}

Differences::Differences() {
  for (const Row& row : read_table("differences.txt")) {
    entries_.push_back({row.at(0), row.at(1), row.at(2)});
  }
}

namespace {
bool names(const std::string& pattern, const std::string& file) {
  if (!pattern.ends_with('*')) return pattern == file;
  return file.starts_with(pattern.substr(0, pattern.size() - 1));
}

std::vector<std::string> lines(const std::string& ours) {
  std::vector<std::string> out;
  if (ours == "(nothing)") return out;
  std::size_t start = 0;
  while (true) {
    const std::size_t end = ours.find("\\n", start);
    out.push_back(ours.substr(start, end == std::string::npos ? end : end - start));
    if (end == std::string::npos) return out;
    start = end + 2;
  }
}
}  // namespace

std::vector<std::string> Differences::apply(const std::string& file,
                                            const std::vector<std::string>& recorded) {
  std::vector<std::string> out;
  std::size_t i = 0;
  while (i < recorded.size()) {
    std::size_t taken = 0;
    for (Entry& entry : entries_) {
      const std::vector<std::string> theirs = lines(entry.recorded);
      if (!names(entry.file, file) || theirs.size() > recorded.size() - i) continue;
      const auto here = recorded.begin() + static_cast<std::ptrdiff_t>(i);
      if (!std::equal(theirs.begin(), theirs.end(), here)) continue;
      entry.used = true;
      taken = theirs.size();
      const std::vector<std::string> ours = lines(entry.ours);
      out.insert(out.end(), ours.begin(), ours.end());
      break;
    }
    if (taken == 0) out.push_back(recorded[i]);
    i += std::max<std::size_t>(taken, 1);
  }
  return out;
}

std::vector<std::string> Differences::at_end(const std::string& file, std::string_view prefix) {
  for (Entry& entry : entries_) {
    if (!names(entry.file, file) || entry.recorded != "(end)" || !entry.ours.starts_with(prefix)) {
      continue;
    }
    entry.used = true;
    return lines(entry.ours);
  }
  return {};
}

bool Differences::listed(const std::string& file, const std::string& line) {
  const auto here = [&line](const std::string& ours) {
    return ours == line || ours.starts_with(line + " (");
  };
  for (Entry& entry : entries_) {
    if (!names(entry.file, file)) continue;
    const std::vector<std::string> ours = lines(entry.ours);
    if (std::none_of(ours.begin(), ours.end(), here)) continue;
    entry.used = true;
    return true;
  }
  return false;
}

std::vector<std::string> Differences::unused(std::string_view prefix) const {
  std::vector<std::string> out;
  for (const Entry& entry : entries_) {
    constexpr std::array<std::string_view, 7> kOverTheWire{
        "LOG: ", "B: ", "(not over the wire)", "(answer)", "(rest)", "(added)", "(connections)"};
    const bool over_the_wire =
        std::any_of(kOverTheWire.begin(), kOverTheWire.end(),
                    [&entry](std::string_view start) { return entry.recorded.starts_with(start); });
    if (entry.file.starts_with(prefix) && !entry.used && !over_the_wire) {
      out.push_back(entry.file + ": " + entry.recorded);
    }
  }
  return out;
}

}  // namespace postern::test
