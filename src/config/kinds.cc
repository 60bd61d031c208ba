#include "config/kinds.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include "config/sql-query.h"
#include "config/suggest.h"
#include "config/variables.h"
#include "lib/text.h"

namespace postern::config {

Status kinds::check_format(std::string_view text, const VariableSet& known) {
  const Result<Template> compiled = Template::compile(text, known);
  if (!compiled.ok()) return compiled.error();
  return Done{};
}

}  // namespace postern::config

namespace postern::config::kinds {
namespace {

using std::chrono::milliseconds;

constexpr std::uint64_t kMax64 = std::numeric_limits<std::uint64_t>::max();

Error bad(std::string text) {
  return Error{0, std::move(text)};
}

std::string quoted(std::string_view value) {
  return "'" + log_safe_line(value, 80) + "'";
}

/// "MIN-MAX" cut in two; a missing end is an empty view.
std::pair<std::string_view, std::string_view> range_ends(std::string_view range) {
  const std::size_t dash = range.find('-');
  if (dash == std::string_view::npos) return {range, {}};
  return {range.substr(0, dash), range.substr(dash + 1)};
}

/// A number and what follows it without the blanks between.
struct Quantity {
  std::uint64_t number = 0;
  std::string_view unit;
};

std::optional<Quantity> quantity(std::string_view text) {
  const std::size_t digits = std::min(text.size(), text.find_first_not_of("0123456789"));
  const auto number = decimal(text.substr(0, digits), 0, kMax64);
  if (!number) return std::nullopt;
  return Quantity{*number, trim(text.substr(digits))};
}

/// Dovecot's units of time: each word may be cut short or in the plural.
std::optional<std::uint64_t> time_unit_ms(std::string_view unit) {
  struct Unit {
    std::string_view word;
    std::uint64_t ms;
  };
  constexpr std::array<Unit, 18> kUnits{{{"ms", 1},
                                         {"msec", 1},
                                         {"msecs", 1},
                                         {"millisecond", 1},
                                         {"milliseconds", 1},
                                         {"s", 1000},
                                         {"sec", 1000},
                                         {"secs", 1000},
                                         {"second", 1000},
                                         {"seconds", 1000},
                                         {"m", 60'000},
                                         {"min", 60'000},
                                         {"mins", 60'000},
                                         {"minute", 60'000},
                                         {"minutes", 60'000},
                                         {"h", 3'600'000},
                                         {"hour", 3'600'000},
                                         {"hours", 3'600'000}}};
  constexpr std::array<Unit, 6> kLongUnits{{{"d", 86'400'000},
                                            {"day", 86'400'000},
                                            {"days", 86'400'000},
                                            {"w", 604'800'000},
                                            {"week", 604'800'000},
                                            {"weeks", 604'800'000}}};
  const auto same = [unit](const Unit& u) { return same_text(u.word, unit); };
  if (const auto* u = std::find_if(kUnits.begin(), kUnits.end(), same); u != kUnits.end())
    return u->ms;
  if (const auto* u = std::find_if(kLongUnits.begin(), kLongUnits.end(), same);
      u != kLongUnits.end()) {
    return u->ms;
  }
  return std::nullopt;
}

Result<milliseconds> parse_interval(std::string_view text) {
  const auto q = quantity(text);
  if (!q) {
    return bad(fmt::format("{} is not a time (a number and ms, s, m, h, d or w)", quoted(text)));
  }
  if (q->unit.empty()) {
    if (q->number == 0) return milliseconds(0);
    return bad(
        fmt::format("Time interval {} is missing units (add e.g. 's' for seconds)", quoted(text)));
  }
  const auto ms = time_unit_ms(q->unit);
  if (!ms) {
    return bad(
        fmt::format("Invalid time interval: {} (units are ms, s, m, h, d, w)", quoted(text)));
  }
  constexpr auto kMost = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  if (q->number > kMost / 2 / *ms) return bad(fmt::format("{} is too long a time", quoted(text)));
  return milliseconds(static_cast<std::int64_t>(q->number * *ms));
}

Result<std::uint64_t> parse_bytes(std::string_view text) {
  const auto q = quantity(text);
  if (!q) return bad(fmt::format("{} is not a size (a number and B, k, M, G or T)", quoted(text)));
  std::string_view unit = q->unit;
  if (unit.empty() || same_text(unit, "b")) return q->number;
  constexpr std::string_view kPrefixes = "kmgt";
  const std::size_t power = kPrefixes.find(ascii_lower(unit.front()));
  unit.remove_prefix(1);
  if (power == std::string_view::npos ||
      !(unit.empty() || same_text(unit, "b") || same_text(unit, "ib"))) {
    return bad(fmt::format("Invalid size: {} (units are B, k, M, G, T)", quoted(text)));
  }
  const unsigned shift = 10 * (static_cast<unsigned>(power) + 1);
  if (q->number > kMax64 >> shift) return bad(fmt::format("{} is too large a size", quoted(text)));
  return q->number << shift;
}

}  // namespace

Result<bool> boolean::parse(const Value& value, std::string_view /*choices*/) {
  const std::string_view text = value.view();
  if (same_text(text, "yes") || same_text(text, "y") || text == "1") return true;
  if (same_text(text, "no") || same_text(text, "n") || text == "0") return false;
  return bad(fmt::format("Invalid boolean value: {} (use yes or no)", quoted(text)));
}
std::string boolean::print(bool value, std::string_view /*choices*/) {
  return value ? "yes" : "no";
}

Result<unsigned> number::parse(const Value& value, std::string_view choices) {
  constexpr std::uint64_t kMost = std::numeric_limits<unsigned>::max();
  const auto [low, high] = range_ends(choices);
  const std::uint64_t min = decimal(low, 0, kMost).value_or(0);
  const std::uint64_t max = decimal(high, 0, kMost).value_or(kMost);
  const auto n = decimal(value.view(), 0, kMost);
  if (!n) return bad(fmt::format("Invalid number {}: Not a valid number", quoted(value.view())));
  if (*n < min || *n > max) {
    return bad(fmt::format("{} is out of range (from {} to {})", *n, min, max));
  }
  return static_cast<unsigned>(*n);
}
std::string number::print(unsigned value, std::string_view /*choices*/) {
  return std::to_string(value);
}

Result<std::uint64_t> size::parse(const Value& value, std::string_view /*choices*/) {
  return parse_bytes(value.view());
}
std::string size::print(std::uint64_t value, std::string_view /*choices*/) {
  constexpr std::string_view kPrefixes = "kMGT";
  std::size_t power = 0;
  while (power < kPrefixes.size() && value != 0 && value % 1024 == 0) {
    value /= 1024;
    power++;
  }
  if (value == 0) return "0";
  return fmt::format("{} {}", value, power == 0 ? 'B' : kPrefixes[power - 1]);
}

Result<milliseconds> time::parse(const Value& value, std::string_view choices) {
  const std::string_view text = value.view();
  if (choices.empty()) {
    // Dovecot writes "never" as 4294967295 seconds, 2.4 as infinite.
    if (same_text(text, "infinite")) return kInfinite;
    const auto q = quantity(text);
    if (q && q->number >= std::numeric_limits<std::uint32_t>::max()) return kInfinite;
  }
  Result<milliseconds> parsed = parse_interval(text);
  if (!parsed.ok() || choices.empty()) return parsed;
  const auto [low, high] = range_ends(choices);
  const milliseconds t = parsed.value();
  if (!low.empty() && t < parse_interval(low).value()) {
    return bad(fmt::format("{} is too short (at least {})", quoted(text), low));
  }
  if (!high.empty() && t > parse_interval(high).value()) {
    return bad(fmt::format("{} is too long (at most {})", quoted(text), high));
  }
  return t;
}
std::string time::print(milliseconds value, std::string_view /*choices*/) {
  if (value == kInfinite) return "infinite";
  struct Unit {
    std::int64_t ms;
    std::string_view name;
  };
  constexpr std::array<Unit, 6> kUnits{{{604'800'000, "weeks"},
                                        {86'400'000, "days"},
                                        {3'600'000, "hours"},
                                        {60'000, "mins"},
                                        {1000, "secs"},
                                        {1, "msecs"}}};
  const std::int64_t ms = value.count();
  if (ms == 0) return "0";
  for (const Unit& unit : kUnits) {
    if (ms % unit.ms == 0) return fmt::format("{} {}", ms / unit.ms, unit.name);
  }
  return {};
}

Result<std::string> text::parse(const Value& value, std::string_view /*choices*/) {
  return std::string(value.view());
}
std::string text::print(const std::string& value, std::string_view /*choices*/) {
  return value;
}

Result<std::string> path_below::parse(const Value& value, std::string_view choices) {
  if (value.view().starts_with('/')) {
    return bad(fmt::format("{} begins with a slash; the path is relative", quoted(value.view())));
  }
  // Dovecot's tcp:HOST:PORT.
  if (value.view().starts_with("tcp:")) {
    return bad(fmt::format("{} is not a path: nothing is sent elsewhere", quoted(value.view())));
  }
  return text::parse(value, choices);
}

Result<std::string> host_name::parse(const Value& value, std::string_view choices) {
  constexpr std::size_t kMost = 255;  // bytes, RFC 5321 section 4.5.3.1.2
  const std::string_view name = value.view();
  const bool fits = name.size() <= kMost && std::all_of(name.begin(), name.end(), [](char c) {
                      return (ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z') ||
                             (c >= '0' && c <= '9') ||
                             std::string_view("-._:[]").find(c) != std::string_view::npos;
                    });
  if (fits) return text::parse(value, choices);
  return bad(fmt::format("{} is not the name of a host (as mail.example.com)", quoted(name)));
}

Result<Secret> secret::parse(const Value& value, std::string_view /*choices*/) {
  return value.text.copy();
}
std::string secret::print(const Secret& value, std::string_view /*choices*/) {
  return value.empty() ? "" : "<hidden>";
}

Result<std::string> sql_query::parse(const Value& value, std::string_view choices) {
  const Result<SqlQuery> compiled = SqlQuery::compile(value.view());
  if (!compiled.ok()) return compiled.error();
  return text::parse(value, choices);
}

Result<std::string> scheme::parse(const Value& value, std::string_view choices) {
  if (value.view().empty()) return std::string{};
  const std::string_view name = value.view().substr(0, value.view().find('.'));
  const Result<unsigned> known = parse_choice(name, choices);
  if (!known.ok()) return known.error();
  if (name.size() < value.view().size()) {
    const Result<unsigned> encoding =
        parse_choice(value.view().substr(name.size() + 1), "b64 base64 hex");
    if (!encoding.ok()) return encoding.error();
  }
  return std::string(value.view());
}

Result<std::vector<std::string>> words::parse(const Value& value, std::string_view choices) {
  std::vector<std::string> out;
  for (const std::string_view word : postern::words(value.view(), " \t,")) {
    if (choices.empty()) {
      out.emplace_back(word);
      continue;
    }
    const Result<unsigned> index = parse_choice(word, choices);
    if (!index.ok()) return index.error();
    std::string known = print_choice(index.value(), choices);
    if (std::find(out.begin(), out.end(), known) == out.end()) out.push_back(std::move(known));
  }
  return out;
}
std::string words::print(const std::vector<std::string>& value, std::string_view /*choices*/) {
  return fmt::format("{}", fmt::join(value, " "));
}

Result<std::vector<Network>> networks::parse(const Value& value, std::string_view /*choices*/) {
  std::vector<Network> out;
  for (const std::string_view word : postern::words(value.view(), " \t,")) {
    const auto network = Network::parse(word);
    if (!network) {
      return bad(fmt::format("{} is not an address or network (192.0.2.0/24, 2001:db8::/32)",
                             quoted(word)));
    }
    out.push_back(*network);
  }
  return out;
}
std::string networks::print(const std::vector<Network>& value, std::string_view /*choices*/) {
  std::string out;
  for (const Network& network : value) {
    if (!out.empty()) out += ' ';
    out += network.text();
  }
  return out;
}

Result<FileText> file::parse(const Value& value, std::string_view /*choices*/) {
  constexpr std::string_view kPem = "-----BEGIN";
  FileText out;
  out.path = value.path;
  if (!value.text.empty()) {
    if (value.path.empty() && value.view().find(kPem) == std::string_view::npos) {
      return bad(
          fmt::format("the content of a file is wanted here, not its name (did you mean <{}?)",
                      log_safe_line(value.view(), 80)));
    }
    out.content = std::make_shared<const Secret>(value.text.copy());
  }
  return out;
}
std::string file::print(const FileText& value, std::string_view /*choices*/) {
  if (!value.path.empty()) return value.path;
  return value.empty() ? "" : "<hidden>";
}

Result<unsigned> mode::parse(const Value& value, std::string_view /*choices*/) {
  const std::string_view text = value.view();
  unsigned bits = 0;
  if (text.empty() || text.size() > 5) {
    return bad(fmt::format("{} is not a mode (octal, as 0600)", quoted(text)));
  }
  for (const char c : text) {
    if (c < '0' || c > '7')
      return bad(fmt::format("{} is not a mode (octal, as 0600)", quoted(text)));
    bits = bits * 8 + static_cast<unsigned>(c - '0');
  }
  if (bits > 0777) return bad(fmt::format("{} is not a mode (at most 0777)", quoted(text)));
  return bits;
}
std::string mode::print(unsigned value, std::string_view /*choices*/) {
  return value == 0 ? "0" : fmt::format("{:04o}", value);
}

Result<std::vector<KeyPin>> key_pins::parse(const Value& value, std::string_view /*choices*/) {
  std::optional<std::vector<KeyPin>> pins = parse_pins(value.view());
  if (pins) return *std::move(pins);
  return bad(
      fmt::format("{} is not a list of keys, each as sha256//BASE64 (the SHA-256 of the "
                  "public key)",
                  quoted(value.view())));
}
std::string key_pins::print(const std::vector<KeyPin>& value, std::string_view /*choices*/) {
  std::string out;
  for (const KeyPin& pin : value) out += (out.empty() ? "" : " ") + pin.text();
  return out;
}

Result<TcpKeepalive> keepalive::parse(const Value& value, std::string_view /*choices*/) {
  const std::string_view text = value.view();
  TcpKeepalive out;
  if (same_text(text, "no") || text == "0") return out;
  const auto parts = postern::words(text, ":");
  constexpr std::uint64_t kMostSeconds =
      32767;                                  // the kernel's bounds for TCP_KEEPIDLE, TCP_KEEPINTVL
  constexpr std::uint64_t kMostProbes = 127;  // and TCP_KEEPCNT
  if (parts.size() == 3) {
    const auto idle = decimal(parts[0], 1, kMostSeconds);
    const auto interval = decimal(parts[1], 1, kMostSeconds);
    const auto count = decimal(parts[2], 1, kMostProbes);
    if (idle && interval && count) {
      out.idle = static_cast<unsigned>(*idle);
      out.interval = static_cast<unsigned>(*interval);
      out.count = static_cast<unsigned>(*count);
      return out;
    }
  }
  return bad(
      fmt::format("{} is not IDLE:INTERVAL:COUNT in seconds (as 120:30:4), nor no", quoted(text)));
}
std::string keepalive::print(const TcpKeepalive& value, std::string_view /*choices*/) {
  if (value.count == 0) return "no";
  return fmt::format("{}:{}:{}", value.idle, value.interval, value.count);
}

Result<PasswordLog> password_log::parse(const Value& value, std::string_view /*choices*/) {
  const std::string_view text = value.view();
  const std::string_view how = text.substr(0, text.find(':'));
  PasswordLog out;
  if (same_text(text, "no")) return out;
  if (same_text(how, "plain") || same_text(how, "yes")) {
    return bad("Postern never writes a password to a log (use sha1, sha1:N or no)");
  }
  if (same_text(how, "sha1")) {
    out.sha1 = true;
    if (how.size() == text.size()) return out;
    if (const auto n = decimal(text.substr(how.size() + 1), 1, 40)) {
      out.truncate = static_cast<unsigned>(*n);
      return out;
    }
  }
  return bad(fmt::format("{} is not one of no, sha1, sha1:N (N from 1 to 40)", quoted(text)));
}
std::string password_log::print(const PasswordLog& value, std::string_view /*choices*/) {
  if (!value.sha1) return "no";
  return value.truncate == 0 ? "sha1" : fmt::format("sha1:{}", value.truncate);
}

Result<unsigned> parse_choice(std::string_view value, std::string_view choices) {
  const auto list = postern::words(choices);
  if (value.empty() && !list.empty() && list.front() == "none") return 0U;
  for (std::size_t i = 0; i < list.size(); i++) {
    if (same_text(list[i], value)) return static_cast<unsigned>(i);
  }
  std::string what = fmt::format("{} is not one of {}", quoted(value), fmt::join(list, ", "));
  const std::string_view close = closest(value, list);
  if (!close.empty()) what += fmt::format(" (did you mean {}?)", close);
  return bad(std::move(what));
}

std::string print_choice(unsigned index, std::string_view choices) {
  const auto list = postern::words(choices);
  return index < list.size() ? std::string(list[index]) : std::string{};
}

}  // namespace postern::config::kinds
