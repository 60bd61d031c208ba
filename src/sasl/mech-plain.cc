#include "sasl/server.h"

namespace postern::sasl {
namespace {

/// authzid NUL authcid NUL password: exactly two NULs.
class PlainServer final : public ServerMech {
 public:
  ServerStep step(std::optional<std::string_view> response, Credentials& out,
                  WipingBuffer& /*challenge*/) override {
    if (!response) return ServerStep::challenge;
    const std::size_t first = response->find('\0');
    if (first == std::string_view::npos) return ServerStep::invalid;
    const std::size_t second = response->find('\0', first + 1);
    if (second == std::string_view::npos ||
        response->find('\0', second + 1) != std::string_view::npos) {
      return ServerStep::invalid;
    }
    out.authcid = std::string(response->substr(first + 1, second - first - 1));
    out.authzid = std::string(response->substr(0, first));
    if (out.authzid == out.authcid) out.authzid.clear();
    out.password = Secret(response->substr(second + 1));
    return ServerStep::verify;
  }
};

}  // namespace

std::unique_ptr<ServerMech> make_plain_server(const ServerBinding& /*binding*/) {
  return std::make_unique<PlainServer>();
}

}  // namespace postern::sasl
