#include "anvil/dialogue.h"

#include <algorithm>
#include <cerrno>
#include <limits>
#include <optional>

#include "lib/text.h"
#include "wire/tab-line.h"

namespace postern::anvil {
namespace {

constexpr std::uint64_t kMaxLifetime = 366ULL * 24 * 3600;

Error input_error(std::string_view command, std::string_view what) {
  std::string text = "Anvil client input error: ";
  text.append(command).append(": ").append(what);
  return Error{EPROTO, std::move(text)};
}

std::optional<std::uint32_t> number(std::string_view text) {
  const auto value = decimal(text, 0, std::numeric_limits<std::uint32_t>::max());
  if (!value) return std::nullopt;
  return static_cast<std::uint32_t>(*value);
}

}  // namespace

const std::vector<Dialogue::Command>& Dialogue::commands() {
  static const std::vector<Command> table{
      {"CONNECT", 2, &Dialogue::connect},
      {"DISCONNECT", 2, &Dialogue::disconnect},
      {"LOOKUP", 1, &Dialogue::lookup},
      {"RESERVE", 3, &Dialogue::reserve},
      {"CONNECT-DUMP", 0, &Dialogue::connect_dump},
      {"KILL", 1, &Dialogue::kill},
      {"PENALTY-LEVEL", 2, &Dialogue::penalty_level},
      {"PENALTY-FAIL", 3, &Dialogue::penalty_fail},
      {"PENALTY-PASS", 2, &Dialogue::penalty_pass},
      {"PENALTY-GET", 1, &Dialogue::penalty_get},
      {"PENALTY-INC", 3, &Dialogue::penalty_inc},
      {"PENALTY-SET-EXPIRE-SECS", 1, &Dialogue::penalty_set_expire},
      {"PENALTY-DUMP", 0, &Dialogue::penalty_dump},
  };
  return table;
}

Status Dialogue::on_line(std::string_view line, Now now, WipingBuffer& out) {
  Fields fields;
  for (const std::string_view field : wire::split_tabs(line)) {
    fields.push_back(wire::tab_unescape(field));
  }
  const std::string name = fields.front();
  if (!version_seen_) {
    version_seen_ = true;
    return on_version(fields, out);
  }
  const auto command = std::find_if(commands().begin(), commands().end(),
                                    [&name](const Command& c) { return c.name == name; });
  if (command == commands().end()) {
    return Error{EPROTO, "Anvil client input error: Unknown command: " + log_safe(name)};
  }
  fields.erase(fields.begin());
  if (fields.size() < command->parameters) return input_error(name, "Not enough parameters");
  state_.counts.expire(now.steady);
  return (this->*command->handler)(fields, now, out);
}

Status Dialogue::on_version(const Fields& fields, WipingBuffer& out) {
  const bool good =
      fields.size() >= 4 && fields[0] == "VERSION" && fields[1] == "anvil" && fields[2] == "1";
  if (!good) {
    return Error{EPROTO,
                 "Anvil client not compatible with this server (mixed old and new binaries?)"};
  }
  minor_ = number(fields[3]).value_or(0);
  if (minor_ >= 1) wire::TabLine(out, "VERSION").add("anvil").add(1).add(kMinor).end();
  return Done{};
}

/// Who does the arithmetic himself is no auth of ours, or one from before there were levels.
void Dialogue::complain_of_age() {
  if (minor_ >= 1 || age_told_) return;
  age_told_ = true;
  complaints_.emplace_back(
      "An auth process of another version counts penalties for failed logins by rules of its own; "
      "restart Postern");
}

Status Dialogue::connect(const Fields& fields, Now, WipingBuffer&) {
  if (!state_.counts.connect(channel_, fields[0], fields[1])) {
    return input_error("CONNECT", "Too many connections");
  }
  return Done{};
}

Status Dialogue::disconnect(const Fields& fields, Now, WipingBuffer&) {
  if (!state_.counts.disconnect(channel_, fields[0], fields[1])) {
    complaints_.push_back("connect limit: disconnection for unknown pid " + log_safe(fields[0]) +
                          " + ident " + log_safe(fields[1], 160));
  }
  return Done{};
}

Status Dialogue::lookup(const Fields& fields, Now, WipingBuffer& out) {
  out += std::to_string(state_.counts.lookup(fields[0]));
  out += '\n';
  return Done{};
}

Status Dialogue::reserve(const Fields& fields, Now now, WipingBuffer& out) {
  const auto limit = decimal(fields[2], 0, std::numeric_limits<unsigned>::max());
  if (!limit) return input_error("RESERVE", "Invalid parameters");
  const auto reservation = state_.counts.reserve(channel_, fields[0], fields[1],
                                                 static_cast<unsigned>(*limit), now.steady);
  out += reservation.granted ? "1 " : "0 ";
  out += std::to_string(reservation.count);
  out += '\n';
  return Done{};
}

Status Dialogue::connect_dump(const Fields&, Now, WipingBuffer& out) {
  state_.counts.for_each(
      [&out](const std::string& ident, Channel, const std::string& session, unsigned count) {
        wire::tab_escape(ident, out);
        wire::TabLine(out, "").add(session).add(std::uint64_t{count}).end();
      });
  out += '\n';
  return Done{};
}

Status Dialogue::kill(const Fields&, Now, WipingBuffer&) {
  return Error{EPERM, "Anvil client input error: KILL sent by a non-master connection"};
}

/// `PENALTY-LEVEL IDENT USER`: what is held against the address, for that user and for others.
Status Dialogue::penalty_level(const Fields& fields, Now now, WipingBuffer& out) {
  const auto user = number(fields[1]);
  if (!user) return input_error("PENALTY-LEVEL", "Invalid parameters");
  const Penalties::Level level = state_.penalties.level(fields[0], *user, now.unix_time);
  out += std::to_string(level.user);
  out += ' ';
  out += std::to_string(level.address);
  out += '\n';
  return Done{};
}

/// `PENALTY-FAIL IDENT CHECKSUM USER`
Status Dialogue::penalty_fail(const Fields& fields, Now now, WipingBuffer&) {
  const auto checksum = number(fields[1]);
  const auto user = number(fields[2]);
  if (!checksum || !user) return input_error("PENALTY-FAIL", "Invalid parameters");
  state_.penalties.fail(fields[0], *checksum, *user, now.unix_time);
  return Done{};
}

/// `PENALTY-PASS IDENT USER`
Status Dialogue::penalty_pass(const Fields& fields, Now now, WipingBuffer&) {
  const auto user = number(fields[1]);
  if (!user) return input_error("PENALTY-PASS", "Invalid parameters");
  state_.penalties.succeed(fields[0], *user, now.unix_time);
  return Done{};
}

Status Dialogue::penalty_get(const Fields& fields, Now now, WipingBuffer& out) {
  const Penalty penalty = state_.penalties.get(fields[0], now.unix_time);
  out += std::to_string(penalty.value);
  out += ' ';
  out += std::to_string(penalty.last);
  out += '\n';
  return Done{};
}

Status Dialogue::penalty_inc(const Fields& fields, Now now, WipingBuffer&) {
  const auto checksum = number(fields[1]);
  const auto value = decimal(fields[2], 0, Penalties::kMaxValue);
  if (!checksum || !value || (*value == 0 && *checksum != 0)) {
    return input_error("PENALTY-INC", "Invalid parameters");
  }
  complain_of_age();
  state_.penalties.set(fields[0], *checksum, static_cast<unsigned>(*value), now.unix_time);
  return Done{};
}

Status Dialogue::penalty_set_expire(const Fields& fields, Now, WipingBuffer&) {
  const auto seconds = decimal(fields[0], 1, kMaxLifetime);
  if (!seconds) return input_error("PENALTY-SET-EXPIRE-SECS", "Invalid parameters");
  complain_of_age();
  state_.penalties.set_lifetime(static_cast<std::int64_t>(*seconds));
  return Done{};
}

Status Dialogue::penalty_dump(const Fields&, Now now, WipingBuffer& out) {
  state_.penalties.for_each(now.unix_time, [&out](const std::string& ident, const Penalty& p) {
    wire::tab_escape(ident, out);
    wire::TabLine(out, "")
        .add(std::uint64_t{p.value})
        .add(static_cast<std::uint64_t>(p.last))
        .add(static_cast<std::uint64_t>(p.last_update))
        .end();
  });
  out += '\n';
  return Done{};
}

}  // namespace postern::anvil
