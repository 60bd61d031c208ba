#include "master/child-message.h"

#include <cerrno>
#include <limits>
#include <optional>

#include "lib/text.h"
#include "wire/channel.h"
#include "wire/tab-line.h"

namespace postern::master {
namespace {

constexpr std::uint64_t kMaxId = std::numeric_limits<std::uint64_t>::max();
constexpr std::uint64_t kMaxCount = 1'000'000'000;
constexpr std::size_t kMaxName = 64;  // bytes
constexpr std::uint64_t kMaxMilliseconds = 24UL * 3600 * 1000;

/// The fields of a packet after its verb; what is missing or wrong is remembered.
class Fields {
 public:
  explicit Fields(wire::TabFields& fields) noexcept : fields_(fields) {}

  std::uint64_t number(std::uint64_t max) {
    const auto field = fields_.next();
    const auto value = field ? decimal(*field, 0, max) : std::nullopt;
    if (!value) ok_ = false;
    return value.value_or(0);
  }
  unsigned count() { return static_cast<unsigned>(number(kMaxCount)); }
  std::string optional_text() {
    const auto field = fields_.next();
    return field ? wire::tab_unescape(*field) : std::string();
  }
  std::chrono::milliseconds time() {
    return std::chrono::milliseconds(static_cast<std::int64_t>(number(kMaxMilliseconds)));
  }
  Endpoint backend() {
    const auto address = fields_.next();
    const auto ip = address ? IpAddress::parse(*address) : std::nullopt;
    const auto port = number(65535);
    if (!ip || port == 0) ok_ = false;
    return {ip.value_or(IpAddress()), static_cast<std::uint16_t>(port)};
  }
  bool at_end() const noexcept { return fields_.rest().empty(); }
  /// `message` if everything was there and nothing is left.
  template <class T>
  Result<ChildMessage> give(T message) {
    if (!ok_ || fields_.next()) return Error{EPROTO, "a message with wrong fields"};
    return ChildMessage(std::move(message));
  }
  void fail() noexcept { ok_ = false; }

 private:
  wire::TabFields& fields_;
  bool ok_ = true;
};

bool is_socket_name(std::string_view name) noexcept {
  return !name.empty() && name.size() <= kMaxName &&
         name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-/") == std::string_view::npos;
}

Result<ChildMessage> parse_row(wire::TabFields& fields, Fields& values) {
  RowMessage row;
  row.id = values.number(kMaxId);
  while (const auto field = fields.next()) {
    const std::size_t equals = field->find('=');
    if (equals == std::string_view::npos || equals == 0 || row.fields.size() == kMaxRowFields) {
      return Error{EPROTO, "a row with wrong fields"};
    }
    row.fields.emplace_back(std::string(field->substr(0, equals)),
                            wire::tab_unescape(field->substr(equals + 1)));
  }
  return values.give(std::move(row));
}

/// What a full process adds.
Result<ChildMessage> parse_status(Fields& values, StatusMessage status) {
  if (values.at_end()) return values.give(std::move(status));
  status.has_evictable = true;
  status.evictable = values.count();
  status.holder = values.optional_text();
  status.held = values.count();
  if (status.holder.size() > kMaxHolder) values.fail();
  return values.give(std::move(status));
}

/// What login processes say of backends; nothing if it is none of that.
std::optional<Result<ChildMessage>> parse_of_backend(std::string_view verb, Fields& values) {
  if (verb == wire::kBackendFailed) {
    BackendFailedMessage out;
    out.backend = values.backend();
    out.failure.took = values.time();
    out.failure.since_success = values.time();
    out.failure.patience = values.time();
    out.failure.text = values.optional_text();
    return values.give(std::move(out));
  }
  if (verb == wire::kBackendWorked) return values.give(BackendWorkedMessage{values.backend()});
  if (verb == wire::kBackendProbe) {
    BackendProbeMessage out;
    out.id = values.number(kMaxId);
    out.backend = values.backend();
    return values.give(out);
  }
  if (verb == wire::kBackendSlow) {
    BackendSlowMessage out;
    out.backend = values.backend();
    out.count = values.count();
    return values.give(out);
  }
  return std::nullopt;
}

}  // namespace

Result<ChildMessage> parse_child_message(std::string_view packet) {
  wire::TabFields fields(packet);
  const std::string_view verb = fields.next().value_or("");
  Fields values(fields);
  if (verb == wire::kStatus) {
    const unsigned available = values.count();
    const unsigned clients = values.count();
    const unsigned relaying = values.count();
    return parse_status(values, {available, clients, relaying, false, 0, {}, 0});
  }
  if (verb == wire::kReady) return values.give(ReadyMessage{});
  if (verb == wire::kFinished) return values.give(FinishedMessage{});
  if (verb == wire::kRow) return parse_row(fields, values);
  if (verb == wire::kConnect) {
    ConnectMessage out;
    out.id = values.number(kMaxId);
    out.name = values.optional_text();
    if (!is_socket_name(out.name)) values.fail();
    return values.give(std::move(out));
  }
  if (verb == wire::kDone) {
    DoneMessage out;
    out.id = values.number(kMaxId);
    out.code = static_cast<int>(values.number(255));
    out.text = values.optional_text();
    return values.give(std::move(out));
  }
  if (verb == wire::kForked) {
    ForkedMessage out;
    out.id = values.number(kMaxId);
    out.pid = static_cast<pid_t>(values.number(std::numeric_limits<pid_t>::max()));
    out.text = values.optional_text();
    return values.give(std::move(out));
  }
  if (auto of_backend = parse_of_backend(verb, values)) return *std::move(of_backend);
  return Error{EPROTO, "an unknown message"};
}

}  // namespace postern::master
