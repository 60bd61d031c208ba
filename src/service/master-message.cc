#include "service/master-message.h"

#include <cerrno>
#include <limits>
#include <optional>

#include "lib/text.h"
#include "wire/channel.h"
#include "wire/tab-line.h"

namespace postern::service {
namespace {

using Fields = std::vector<std::string_view>;

std::optional<std::uint64_t> number(const Fields& fields, std::size_t index, std::uint64_t max) {
  if (index >= fields.size()) return std::nullopt;
  return decimal(fields[index], 0, max);
}

std::vector<std::string> unescape_from(const Fields& fields, std::size_t first) {
  std::vector<std::string> out;
  for (std::size_t i = first; i < fields.size(); i++) out.push_back(wire::tab_unescape(fields[i]));
  return out;
}

Error bad() {
  return Error{EPROTO, "a message with wrong fields"};
}

constexpr std::uint64_t kMaxId = std::numeric_limits<std::uint64_t>::max();

Result<MasterMessage> parse_connected(const Fields& fields, UniqueFd fd) {
  const auto id = number(fields, 1, kMaxId);
  // Either a descriptor or a reason.
  if (!id || fields.size() > 3 || (fd && fields.size() != 2)) return bad();
  ConnectedMessage out{*id, std::move(fd), {}};
  if (fields.size() == 3) out.text = wire::tab_unescape(fields[2]);
  return MasterMessage(std::move(out));
}

}  // namespace

Result<MasterMessage> parse_master_message(std::string_view packet, UniqueFd fd) {
  const Fields fields = wire::split_tabs(packet);
  const std::string_view verb = fields.front();
  if (verb == wire::kConnected) return parse_connected(fields, std::move(fd));
  if (verb == wire::kFork) {
    const auto id = number(fields, 1, kMaxId);
    if (!id || fields.size() != 2 || !fd) return bad();
    return MasterMessage(ForkMessage{*id, std::move(fd)});
  }
  const bool known =
      verb == wire::kCall || verb == wire::kDrain || verb == wire::kStop || verb == wire::kEvict;
  if (!known) {
    if (verb.empty()) return bad();
    return MasterMessage(OtherMessage{std::string(verb), unescape_from(fields, 1), std::move(fd)});
  }
  if (fd) return bad();
  if (verb == wire::kCall) {
    const auto id = number(fields, 1, kMaxId);
    if (!id || fields.size() < 3 || fields[2].empty()) return bad();
    return MasterMessage(CallMessage{*id, std::string(fields[2]), unescape_from(fields, 3)});
  }
  if (verb == wire::kEvict) {
    const auto count = number(fields, 1, 1'000'000'000);
    if (!count || fields.size() != 2) return bad();
    return MasterMessage(EvictMessage{static_cast<unsigned>(*count)});
  }
  if (fields.size() != 1) return bad();
  if (verb == wire::kDrain) return MasterMessage(DrainMessage{});
  return MasterMessage(StopMessage{});
}

}  // namespace postern::service
