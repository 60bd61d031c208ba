#include "sasl/server.h"

namespace postern::sasl {
namespace {

/// "Username:" name "Password:" password. An initial response that is not empty is the name.
class LoginServer final : public ServerMech {
 public:
  ServerStep step(std::optional<std::string_view> response, Credentials& out,
                  WipingBuffer& challenge) override {
    switch (state_) {
      case State::start:
        if (!response || response->empty()) {
          state_ = State::name;
          challenge += "Username:";
          return ServerStep::challenge;
        }
        return take_name(*response, out, challenge);
      case State::name:
        return take_name(response.value_or(""), out, challenge);
      case State::password:
        state_ = State::done;
        out.password = Secret(response.value_or(""));
        return ServerStep::verify;
      case State::done:
        break;
    }
    return ServerStep::invalid;
  }

 private:
  enum class State : std::uint8_t { start, name, password, done };

  ServerStep take_name(std::string_view name, Credentials& out, WipingBuffer& challenge) {
    state_ = State::password;
    out.authcid = std::string(name);
    challenge += "Password:";
    return ServerStep::name;
  }

  State state_ = State::start;
};

}  // namespace

std::unique_ptr<ServerMech> make_login_server(const ServerBinding& /*binding*/) {
  return std::make_unique<LoginServer>();
}

}  // namespace postern::sasl
