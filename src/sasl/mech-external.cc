#include "sasl/server.h"

namespace postern::sasl {
namespace {

/// As whom to log in, or nothing; who it is, is known from outside. There is no password.
class ExternalServer final : public ServerMech {
 public:
  ServerStep step(std::optional<std::string_view> response, Credentials& out,
                  WipingBuffer& /*challenge*/) override {
    if (!response) return ServerStep::challenge;
    out.authzid = std::string(*response);
    return ServerStep::verify;
  }
};

}  // namespace

std::unique_ptr<ServerMech> make_external_server(const ServerBinding& /*binding*/) {
  return std::make_unique<ExternalServer>();
}

}  // namespace postern::sasl
